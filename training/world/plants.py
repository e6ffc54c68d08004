"""Plants: conifers, broadleaf trees, palms, cacti and flowers."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from training.world.canvas import Canvas
from training.world.primitives import SIZE, Colour, Float

FLOWERS: dict[str, Colour] = {
    "red": (0.90, 0.14, 0.14), "yellow": (0.99, 0.84, 0.18), "purple": (0.58, 0.34, 0.78),
    "pink": (0.95, 0.50, 0.68), "white": (0.98, 0.97, 0.94), "blue": (0.34, 0.44, 0.90),
    "orange": (0.97, 0.55, 0.14),
}  # fmt: skip


def _pine_shape(rng: np.random.Generator, x: float, base: float, height: float) -> NDArray[np.float64]:
    """Return the outline (N, 2) of a conifer: tiers of branches that widen towards the ground."""
    tiers = 6
    left, right = [], []
    for k in range(tiers):
        top = base - height * (1 - k / tiers * 0.92)
        low = base - height * (1 - (k + 1.25) / tiers * 0.88)
        width = height * 0.235 * (k + 1.3) / tiers * rng.uniform(0.85, 1.15)
        left += [(x - width * 0.28 * (k > 0), top), (x - width, low)]
        right += [(x + width * 0.28 * (k > 0), top), (x + width, low)]
    return np.array([*left, (x - height * 0.03, base), (x + height * 0.03, base), *right[::-1]])


def paint_pines(c: Canvas, ground: Float, heights: tuple[float, float], count: int, albedo: Colour | Float,
                far: float, near: float) -> None:  # fmt: skip
    """Paint ``count`` conifers on the line ``ground`` (W,), rows in px."""
    rng = c.rng
    mask = c.zeros(np.uint8)
    for x in rng.uniform(-8, SIZE + 8, count):
        base = float(c.at(ground, x)) + 3
        shape = _pine_shape(rng, float(x), base, float(rng.uniform(*heights)))
        cv2.fillPoly(mask, [c.sixteenths(shape)], 255, cv2.LINE_AA, 4)
    shade = 0.85 + 0.16 * c.noise(rng, 2.9)
    c.over(mask.astype(np.float32) / 255, c.lit(albedo, far, shade), near)


def paint_round_tree(c: Canvas, x: float, base: float, height: float, albedo: Colour | Float, far: float,
                     near: float) -> None:  # fmt: skip
    """Paint a broadleaf tree: a trunk and a crown of overlapping discs, lit from the sun's side."""
    rng = c.rng
    trunk = [(x - height * 0.045, base), (x - height * 0.025, base - height * 0.5),
             (x + height * 0.025, base - height * 0.5), (x + height * 0.045, base)]  # fmt: skip
    c.over(c.polygon(trunk), c.lit((0.30, 0.20, 0.14), far), near)
    side = 1 if c.sun_x > x else -1
    crown = c.zeros(np.float32)
    light = c.zeros(np.float32)
    y0, r0 = base - height * 0.66, height * 0.2
    for _ in range(9):
        angle, out = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.0)
        cx, cy = x + math.cos(angle) * r0 * 1.15 * out, y0 + math.sin(angle) * r0 * 0.85 * out
        clump = c.disc(cx, cy, r0 * float(rng.uniform(0.55, 0.85)))
        crown = np.maximum(crown, clump)
    light = ((c.x - x) * side - (c.y - y0)) / (r0 * 2.6)
    shade = np.clip(0.82 + 0.28 * light + 0.16 * c.noise(rng, 2.9), 0.4, 1.35)
    c.over(crown, c.lit(albedo, far, shade), near)


def paint_palm(c: Canvas, x: float, base: float, height: float, near: float) -> None:
    """Paint a palm: a leaning trunk and eight hanging fronds."""
    rng = c.rng
    lean = float(rng.uniform(-0.35, 0.35)) * height
    steps = np.linspace(0, 1, 9)
    spine = np.stack([x + lean * steps**2, base - height * steps], axis=1)
    half = height * 0.03 * (1 - 0.45 * steps)
    trunk = np.concatenate([spine - np.stack([half, half * 0], 1), (spine + np.stack([half, half * 0], 1))[::-1]])
    dark = c.lit((0.36, 0.26, 0.17), 0.05)
    c.over(c.polygon(trunk), dark, near)
    top = spine[-1]
    fronds = c.zeros(np.uint8)
    for angle in np.linspace(-0.15, math.pi + 0.15, 8) + rng.normal(0, 0.1, 8):
        reach = height * float(rng.uniform(0.36, 0.48))
        along = np.linspace(0, 1, 8)
        px = top[0] + math.cos(angle) * reach * along
        py = top[1] - math.sin(angle) * reach * along * 0.75 + reach * 0.75 * along**2
        width = reach * 0.09 * np.sin(np.pi * np.clip(along * 0.9 + 0.1, 0, 1))
        leaf = np.concatenate([np.stack([px, py - width], 1), np.stack([px, py + width], 1)[::-1]])
        cv2.fillPoly(fronds, [c.sixteenths(leaf)], 255, cv2.LINE_AA, 4)
    shade = 0.9 + 0.12 * c.noise(rng, 2.9)
    c.over(fronds.astype(np.float32) / 255, c.lit((0.20, 0.42, 0.18), 0.03, shade), near)


def paint_cactus(c: Canvas, x: float, base: float, tall: float, near: float) -> None:
    """Paint a cactus: a stem with an arm on each side."""
    mask = c.zeros(np.uint8)

    def limb(*points: tuple[float, float], width: float) -> None:
        corners = c.sixteenths(np.array(points))
        cv2.polylines(mask, [corners], False, 255, max(2, round(width * c.scale)), cv2.LINE_AA, 4)

    w = tall * 0.13
    limb((x, base), (x, base - tall), width=w)
    a = tall * 0.24
    limb((x, base - tall * 0.42), (x - a, base - tall * 0.46), (x - a, base - tall * 0.8), width=w * 0.75)
    limb((x, base - tall * 0.32), (x + a, base - tall * 0.36), (x + a, base - tall * 0.66), width=w * 0.75)
    shade = 0.95 + 0.14 * np.sin(c.x * 6.28 / max(w * 0.4, 2.4))
    c.over(mask.astype(np.float32) / 255, c.lit((0.26, 0.44, 0.24), 0.1 * (1 - near), shade), 0.2 + 0.7 * near)


def paint_blossom(c: Canvas, x: float, y: float, radius: float, colour: Float, near: float, haze: float) -> None:
    """Paint a flower seen from the front: round petals with dark gaps around a yellow or orange centre."""
    rng = c.rng
    count, turn = int(rng.integers(5, 8)), rng.uniform(0, 6)
    tall = rng.uniform(0.7, 1.0)
    petal, dark = c.lit(colour, haze), c.lit(colour * np.float32(0.72), haze)
    for tone, size in ((dark, 1.0), (petal, 0.86)):
        for k in range(count):
            angle = turn + k * 2 * math.pi / count
            px, py = x + 0.56 * radius * math.cos(angle), y + 0.56 * radius * tall * math.sin(angle)
            px, py = c.pixels(np.array((px, py))).tolist()
            wide = radius * size * c.scale
            shape = ((px, py), (0.92 * wide, 0.62 * wide), math.degrees(angle))
            cv2.ellipse(c.image, shape, tuple(float(v) for v in tone), -1, cv2.LINE_AA)
            cv2.ellipse(c.inverse_depth, shape, near, -1)
    heart = (0.99, 0.80, 0.22) if colour[0] + colour[1] < 1.75 else (0.80, 0.44, 0.10)
    cv2.circle(c.image, c.sixteenths(np.array((x, y))).tolist(), round(radius * 4.6 * c.scale),
               tuple(float(v) for v in c.lit(heart, haze)), -1, cv2.LINE_AA, 4)  # fmt: skip


def scatter_flowers(c: Canvas, start: float, colours: list[Float], count: int) -> None:
    """Paint flowers on the ground below row ``start``, larger and sparser towards the camera."""
    rng = c.rng
    for part in np.sort(rng.random(count) ** 1.4):  # many far, few near
        y = start + 6 + float(part) * (SIZE - start)
        tint = np.clip(colours[int(rng.integers(len(colours)))] * rng.uniform(0.88, 1.1), 0, 1).astype(np.float32)
        x, near = float(rng.uniform(-6, SIZE + 6)), float(np.clip((y - c.horizon) / (SIZE - c.horizon), 0.05, 1))
        paint_blossom(c, x, y, 4.5 + 20 * float(part) ** 1.3, tint, near, 0.25 * (1 - float(part)))
