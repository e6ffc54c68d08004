"""Layouts: scenes for the depth model other than landscapes, in which lower is not nearer.

Corridors, streets between houses, caves, the view up into a wood and down on land, things before a wall, and boughs in
front of landscapes. They have no captions and are not used for the text-to-image model.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from training import world
from training.world import SIZE, Canvas, Float, Picture, mix, smooth

_X: Float = np.arange(SIZE, dtype=np.float32)
_Y: Float = _X[:, None]


def _tone(rng: np.random.Generator) -> Float:
    """Draw a random colour, mostly of reduced saturation."""
    colour = rng.uniform(0.12, 0.95, 3)
    return np.asarray(colour.mean() + (colour - colour.mean()) * rng.uniform(0.2, 1.1), np.float32).clip(0, 1)


def _veiled(colour: Float, haze: Float, inverse_depth: Float, strength: float) -> Float:
    """Blend a colour into the haze with distance, given its inverse depth."""
    return mix(colour, haze, np.asarray(np.exp(-inverse_depth / 0.2) * strength, np.float32))


def _tunnel(c: Canvas) -> None:
    """Paint a corridor, a tube, or a street under the sky; the farthest point is the vanishing point."""
    rng = c.rng
    kind = str(rng.choice(["corridor", "tube", "street"]))
    x, y = rng.uniform(0.25, 0.75, 2) * SIZE
    dx, dy = _X - x, _Y - y
    wide, high = rng.uniform(0.5, 1.3, 2)
    sides = np.stack(np.broadcast_arrays(-dx / wide, dx / wide, -dy / high, dy / high))
    near = np.hypot(dx / wide, dy / high) if kind == "tube" else sides.max(0)
    depth = np.clip(near / np.quantile(near, 0.97), 0.01, 1).astype(np.float32)
    side = np.zeros((SIZE, SIZE), np.int32) if kind == "tube" else sides.argmax(0)
    tones = np.stack([_tone(rng) for _ in range(4)])
    tones[1] = tones[0] * rng.uniform(0.7, 1)
    # Stripes across get narrower with distance; stripes along converge at the vanishing point.
    across = np.sign(np.sin(rng.uniform(1.5, 5) / depth)) * np.clip(depth * 12 - 1, 0, 1)
    around = np.arctan2(dy, dx) * 3 if kind == "tube" else np.where(side < 2, dy, dx) / np.maximum(near, 1)
    along = np.sign(np.sin(around * rng.uniform(4, 14) + rng.uniform(0, 6)))
    shade = 1 + across * rng.uniform(0, 0.2) + along * rng.uniform(0, 0.15) + 0.05 * c.noise(rng, 3.0)
    if kind == "street":
        world.paint_sky(c)
    haze = c.haze if kind == "street" else _tone(rng) * np.float32(rng.uniform(0.1, 1.2))
    colour = np.clip(_veiled(tones[side] * shade[..., None], haze, depth, float(rng.uniform(0.5, 1))), 0, 1)
    c.over(np.asarray(side != 2 if kind == "street" else np.ones_like(depth), np.float32), colour, depth)


def _cave(c: Canvas) -> None:
    """Paint a landscape seen through the mouth of a cave, an arch or a window."""
    rng = c.rng
    world.SCENES[str(rng.choice(["sea", "desert", "hills", "mountains"]))][1](c)
    c.inverse_depth *= 0.4
    x, y = rng.uniform(0.3, 0.7, 2) * SIZE
    dx, dy = (_X - x) / rng.uniform(50, 100), (_Y - y) / rng.uniform(50, 100)
    square = rng.random() < 0.3
    out = np.maximum(np.abs(dx), np.abs(dy)) if square else np.hypot(dx, dy) + 0.16 * c.noise(rng, 3.4)
    depth = np.clip(0.45 + 0.3 * (np.hypot(dx, dy) - 1), 0.42, 1).astype(np.float32)
    if square:  # a wall is flat
        depth[:] = rng.uniform(0.5, 0.9)
    shade = 1.1 - 0.35 * np.clip(out - 1, 0, 2) + 0.16 * c.noise(rng, 3.2)
    rock = _tone(rng) * np.float32(rng.uniform(0.2, 0.8))
    c.over(smooth((out - 1) * 20 + 0.5), np.clip(rock * np.clip(shade, 0.1, 2)[..., None], 0, 1), depth)


def _canopy(c: Canvas) -> None:
    """Paint the view up between converging trunks or towers: higher is farther."""
    rng = c.rng
    c.horizon = 300.0
    world.paint_sky(c)
    c.facts.things = []
    x, y = rng.uniform(0.35, 0.65, 2) * SIZE
    reach = np.hypot(_X - x, _Y - y) / 150
    depth = np.clip(0.06 + 0.9 * reach**1.3, 0, 1).astype(np.float32)
    bark, leaf = _tone(rng) * np.float32(0.6), _tone(rng) * np.float32(0.7)
    for k in range(int(rng.integers(3, 6))):  # layers of leaves, the farthest first
        level = 0.12 + 0.12 * k
        mask = smooth((c.noise(rng, 2.9) - 1.0 + 0.35 * reach) * 3)
        c.over(mask, _veiled(leaf * np.float32(1.1 - 0.15 * k), c.haze, np.full_like(depth, level), 0.8), level)
    for angle in rng.uniform(0, 2 * math.pi, int(rng.integers(5, 12))):
        a, start, half = float(angle), float(rng.uniform(8, 60)), float(rng.uniform(0.03, 0.12))
        points = [(x + r * math.cos(a + s), y + r * math.sin(a + s)) for r, s in
                  ((start, -half / 3), (start, half / 3), (320, half), (320, -half))]  # fmt: skip
        colour = _veiled(bark * np.float32(rng.uniform(0.7, 1.2)), c.haze, depth, 0.8)
        c.over(c.polygon(points), np.clip(colour * (1 + 0.08 * c.noise(rng, 3.0))[..., None], 0, 1), depth)


def _things(c: Canvas) -> None:
    """Paint balls and boxes before a wall, at any height; nearer ones are larger, clearer and in front."""
    rng = c.rng
    wall, haze = _tone(rng), _tone(rng)
    slant = rng.normal(0, 0.0004, 2)
    back = np.clip(0.12 + slant[0] * (_X - 128) + slant[1] * (_Y - 128), 0.02, 0.5).astype(np.float32)
    c.image = np.clip(mix(wall, haze, 0.5) * (1 + 0.06 * c.noise(rng, 3.2) + 2 * (back - 0.12))[..., None], 0, 1)
    c.inverse_depth = back
    size = float(rng.uniform(60, 110))
    sun = float(rng.uniform(0, 2 * math.pi))
    for near in np.sort(rng.uniform(0.2, 1, int(rng.integers(5, 16)))):
        x, y = rng.uniform(-10, SIZE + 10, 2)
        # Depth must be visible to be learned: all are of similar size, and haze increases with distance.
        radius = float(size * near * rng.uniform(0.6, 0.7))
        tone = _veiled(_tone(rng), haze, np.float32(near / 2), 0.9)
        dx, dy = (_X - x) / radius, (_Y - y) / radius
        light = dx * math.cos(sun) + dy * math.sin(sun)
        if rng.random() < 0.5:
            bulge = np.sqrt(np.clip(1 - dx * dx - dy * dy, 0, 1))
            shade = np.clip(0.55 + 0.4 * light + 0.3 * bulge, 0.15, 1.25)
            c.over(c.disc(float(x), float(y), radius), np.clip(tone * shade[..., None], 0, 1), near + 0.05 * bulge)
        else:
            a, n = rng.uniform(0, 2 * math.pi), int(rng.integers(3, 7))
            corners = [(x + radius * math.cos(a + 2 * math.pi * k / n), y + radius * math.sin(a + 2 * math.pi * k / n))
                       for k in range(n)]  # fmt: skip
            c.over(c.polygon(corners), np.clip(tone * (0.9 + 0.15 * light)[..., None], 0, 1), near)


def _from_above(c: Canvas) -> None:
    """Paint land seen from above, without a horizon, with trees and blocks on it."""
    rng = c.rng
    c.horizon = h = float(-rng.uniform(60, 500))
    ground = np.broadcast_to((_Y - h) / (SIZE - h) * rng.uniform(0.4, 0.7), (SIZE, SIZE)).astype(np.float32)
    c.image = np.clip(_tone(rng) * (1 + 0.12 * c.noise(rng, 3.0) + 0.06 * c.noise(rng, 2.6))[..., None], 0, 1)
    c.inverse_depth = ground
    leaf = _tone(rng) * np.float32(0.8)
    for y in np.sort(rng.uniform(-10, SIZE + 20, int(rng.integers(10, 40)))):
        x, scale = float(rng.uniform(0, SIZE)), float(ground[int(np.clip(y, 0, SIZE - 1)), 0])
        if rng.random() < 0.6:
            radius = scale * float(rng.uniform(25, 60))
            tall = radius / 100  # the height of a tree grows with its width
            shade = np.clip(0.9 - 0.35 * ((_X - x) + (_Y - y)) / radius, 0.4, 1.3)
            c.over(c.disc(x, float(y), radius), np.clip(leaf * shade[..., None], 0, 1), scale + tall)
        else:
            half, rise = scale * float(rng.uniform(20, 50)), scale * float(rng.uniform(20, 80))
            tall = rise / 130
            tone = _tone(rng)
            front = [(x - half, y), (x + half, y), (x + half, y - rise), (x - half, y - rise)]
            roof = [
                (x - half, y - rise),
                (x + half, y - rise),
                (x + half, y - rise - half),
                (x - half, y - rise - half),
            ]
            c.over(c.polygon(front), tone * np.float32(0.7), scale + 0.5 * tall)
            c.over(c.polygon(roof), tone, scale + tall)


def _boughs(c: Canvas) -> None:
    """Paint a landscape with dark leaves hanging into it, nearer than everything else."""
    rng = c.rng
    world.SCENES[str(rng.choice(["sea", "desert", "hills", "mountains", "forest", "flowers", "city"]))][1](c)
    c.inverse_depth *= 0.75
    turn = float(rng.choice([0.0, 0.0, 0.8, -0.8, 1.6, -1.6]))
    height = (_Y - 128) * math.cos(turn) + (_X - 128) * math.sin(turn) + 128  # from the top, or from a side
    edge = rng.uniform(20, 90) + 34 * c.noise(rng, 3.2)
    leaf = _tone(rng) * np.float32(rng.uniform(0.15, 0.7))
    shade = 1 + 0.2 * c.noise(rng, 2.8)
    c.over(smooth((edge - height) / 5), np.clip(leaf * shade[..., None], 0, 1), float(rng.uniform(0.8, 1)))


SHARE = 0.5  # share of layouts among the depth model's pictures
LAYOUTS: dict[str, tuple[float, Callable[[Canvas], None]]] = {
    "tunnel": (0.24, _tunnel),
    "cave": (0.14, _cave),
    "canopy": (0.12, _canopy),
    "things": (0.22, _things),
    "from above": (0.12, _from_above),
    "boughs": (0.16, _boughs),
}


def is_layout(seed: int, index: int, share: float = SHARE) -> bool:
    """Whether picture ``index`` of the world ``seed`` is a layout; otherwise it is a scene of `training.world`."""
    return bool(np.random.default_rng([seed, index, 2]).random() < share)


def draw(seed: int, index: int, share: float = SHARE) -> Picture:
    """Draw picture ``index`` of the depth model's world ``seed``: a layout with probability ``share``, else a scene."""
    rng = np.random.default_rng([seed, index, 2])
    rng.random()  # skips the number that `is_layout` used
    if not is_layout(seed, index, share):
        return world.draw(seed, index, unseen=True, anywhere=True)
    time = str(rng.choice(list(world.LIGHTS)))
    c = Canvas(rng, time, float(rng.uniform(0.3, 0.7) * SIZE))
    names = list(LAYOUTS)
    LAYOUTS[names[int(rng.choice(len(names), p=[LAYOUTS[n][0] for n in names]))]][1](c)
    image = cv2.GaussianBlur(np.clip(c.image, 0, 1), (0, 0), 0.6)
    return Picture(np.round(image * 255).astype(np.uint8), np.clip(c.inverse_depth, 0, 1).astype(np.float32), c.facts)
