"""Post-processing of a painted scene: falling snow and rain, a nearer view, a palette or a style."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.world.canvas import Canvas, Facts
from training.world.plants import FLOWERS
from training.world.primitives import SIZE, Colour, Float, Grid, jitter, mix, ramp, rgb, smooth
from training.world.space import PLANETS

PALETTES: dict[str, tuple[Colour, Colour, Colour]] = {  # dark, middle and light of a duotone
    "purple": ((0.10, 0.04, 0.22), (0.52, 0.28, 0.68), (0.96, 0.84, 0.98)),
    "teal": ((0.01, 0.12, 0.15), (0.12, 0.52, 0.54), (0.82, 0.97, 0.92)),
    "blue": ((0.02, 0.05, 0.18), (0.18, 0.40, 0.74), (0.86, 0.94, 1.00)),
    "crimson": ((0.14, 0.01, 0.05), (0.74, 0.14, 0.20), (1.00, 0.86, 0.76)),
    "orange": ((0.16, 0.05, 0.03), (0.84, 0.42, 0.12), (1.00, 0.92, 0.72)),
    "green": ((0.02, 0.10, 0.06), (0.22, 0.56, 0.26), (0.92, 0.98, 0.80)),
    "pink": ((0.20, 0.06, 0.18), (0.88, 0.42, 0.60), (1.00, 0.92, 0.92)),
    "sepia": ((0.12, 0.08, 0.04), (0.56, 0.43, 0.28), (0.98, 0.92, 0.78)),
    "black and white": ((0.03, 0.03, 0.03), (0.48, 0.48, 0.48), (0.98, 0.98, 0.98)),
    "pink and blue": ((0.06, 0.08, 0.34), (0.62, 0.36, 0.70), (1.00, 0.80, 0.86)),
}
COLOURS = frozenset((*FLOWERS, *PLANETS, "teal"))
CLOSEST = 1.5  # largest enlargement of pictures that show a part of a place


def add_precipitation(c: Canvas) -> None:
    """Paint falling snow or rain, if that is the weather."""
    rng = c.rng
    if c.facts.weather == "snow":
        flakes = c.zeros()
        for _ in range(int(rng.integers(50, 90))):
            centre = [int(rng.uniform(0, SIZE) * 16 * c.scale) for _ in range(2)]
            cv2.circle(flakes, centre, int(rng.uniform(1.4, 3.4) * 16 * c.scale), 1.0, -1, cv2.LINE_AA, 4)
        c.image = mix(c.image, (0.97, 0.98, 1.0), flakes * 0.85)
    elif c.facts.weather == "rain":
        streaks = c.zeros(np.uint8)
        lean = rng.uniform(-5, 5)
        for _ in range(170):
            x, y, n = rng.uniform(0, SIZE), rng.uniform(-10, SIZE), rng.uniform(9, 20)
            ends = [(int(u * c.scale), int(v * c.scale)) for u, v in ((x, y), (x + lean * n / 14, y + n))]
            cv2.line(streaks, *ends, 255, max(1, c.pixels_in(1)), cv2.LINE_AA)
        c.image = mix(c.image, (0.80, 0.84, 0.90), streaks.astype(np.float32) / 255 * 0.38)


def step_nearer(c: Canvas, rng: np.random.Generator) -> None:
    """Enlarge a random part of the picture, up to `CLOSEST` times, that contains the sun or moon."""
    side = SIZE / rng.uniform(1, CLOSEST)
    room = SIZE - side
    x, y = rng.uniform(0, room), rng.uniform(0, room)
    if any(thing in c.facts.things for thing in ("sun", "moon", "crescent moon")):
        x = float(np.clip(x, max(0.0, c.sun_x + 30 - side), max(0.0, min(room, c.sun_x - 30))))
        y = float(np.clip(y, max(0.0, c.sun_y + 30 - side), max(0.0, min(room, c.sun_y - 30))))
    scale = SIZE / side
    left, top = x * c.scale, y * c.scale
    matrix = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
    border, size = cv2.BORDER_REPLICATE, (c.side, c.side)
    c.image = cv2.warpAffine(c.image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=border)
    c.inverse_depth = cv2.warpAffine(c.inverse_depth, matrix, size, flags=cv2.INTER_NEAREST, borderMode=border)


def _scale(image: Float) -> float:
    """Pixels per unit."""
    return image.shape[0] / SIZE


def find_edges(image: Float, width: float) -> Float:
    """Return the edges of a blurred picture, (H, W) in 0..1; ``width`` is the blur's sigma in units."""
    width = width * _scale(image)
    soft = cv2.GaussianBlur(image, (0, 0), width)
    steps = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)).max(axis=2)
    return smooth(steps * width * 0.9 - 0.05)


def _neon(image: Float, rng: np.random.Generator) -> Float:
    """Glowing outlines from magenta to cyan over a dark picture."""
    ends = [rgb(k) for k in ((1.0, 0.15, 0.75), (0.15, 0.9, 1.0))][:: int(rng.choice([-1, 1]))]
    lines = find_edges(image, 1.8)
    glow = np.clip(lines + 0.8 * cv2.GaussianBlur(lines, (0, 0), 6 * _scale(image)), 0, 1.2)[..., None]
    luma = (image @ rgb((0.30, 0.59, 0.11)))[..., None]
    colour = ramp(np.broadcast_to(Grid(len(image)).y / SIZE, image.shape[:2]), ends)
    return np.asarray(luma * rgb((0.40, 0.20, 0.62)) + glow * colour, np.float32)


def _pastel(image: Float, rng: np.random.Generator) -> Float:
    """Pale, soft colours."""  # soft by pixels, not units: a larger picture is crisper
    soft = cv2.GaussianBlur(image, (0, 0), 1.2)
    tint = jitter(rng, (1.0, 0.95, 0.97), 0.02)
    return np.asarray((0.46 + 0.54 * soft**0.8) * tint, np.float32)


def washed(image: Float, contrast: float) -> Float:
    """Smooth a picture (H, W) or (H, W, 3) but for its edges."""
    scale = _scale(image)
    return np.asarray(cv2.bilateralFilter(np.asarray(image, np.float32), 2 * round(4 * scale) + 1, contrast, 5 * scale))


def _watercolour(image: Float, rng: np.random.Generator) -> Float:
    """Pale flat washes with darker rims."""
    flat = washed(image, 0.25)
    washes = 0.85 * (0.25 + 0.75 * flat) + 0.03 * Grid(len(image)).noise(rng, 3.2)[..., None]
    washes = washes * (1 - 0.35 * find_edges(flat, 1.2)[..., None])
    return np.asarray(washes + 0.15 * flat, np.float32)


def _ink(image: Float, rng: np.random.Generator) -> Float:
    """Dark lines and three washes of grey on pale paper."""
    luma = np.asarray(image @ rgb((0.30, 0.59, 0.11)), np.float32)
    low, high = np.percentile(luma, (2, 98))
    tone = ((luma - low) / max(float(high - low), 0.1)).clip(0, 1).astype(np.float32)  # also makes nights legible
    flat = washed(tone, 0.3)
    steps = 0.5 + 0.5 * (smooth((flat - 0.1) * 12) + smooth((flat - 0.28) * 12) + smooth((flat - 0.5) * 12)) / 3
    lines = find_edges(np.asarray(np.repeat(tone[..., None], 3, 2)), 1.3)
    shade = steps * (1 - 0.85 * lines) + 0.02 * Grid(len(image)).noise(rng, 2.4)
    return mix((0.09, 0.08, 0.12), jitter(rng, (0.97, 0.95, 0.89), 0.015), np.clip(shade, 0, 1))


def _low_poly(image: Float, rng: np.random.Generator) -> Float:
    """Flat triangles between random points, denser at edges; each a little lighter or darker."""
    grid, unit = Grid(len(image)), (SIZE, SIZE)
    busy = cv2.GaussianBlur(cv2.resize(find_edges(image, 1.5), unit, interpolation=cv2.INTER_AREA), (0, 0), 5)
    where = rng.random((SIZE, SIZE)) < 0.0016 + 0.02 * busy
    net = cv2.Subdiv2D((-1, -1, SIZE + 2, SIZE + 2))
    border = [k * SIZE / 8 for k in range(9)]
    edge = [point for k in border for point in ((k, 0.0), (k, float(SIZE)), (0.0, k), (float(SIZE), k))]
    for x, y in [*edge, *np.argwhere(where)[:, ::-1].astype(float)]:
        net.insert((x, y))
    corners = net.getTriangleList().reshape(-1, 3, 2)
    corners = corners[((corners >= 0) & (corners <= SIZE)).all((1, 2))]
    soft = cv2.GaussianBlur(image, (0, 0), 2.0 * grid.scale)
    places = np.clip(corners.mean(1), 0, SIZE - 1)
    # By place: what is drawn from rng must not depend on the number of triangles, which differs a little with the size.
    x, y = places.astype(np.int32).T
    lighter = rng.normal(1, 0.06, (SIZE, SIZE))[y, x, None]
    x, y = (places * grid.scale).astype(np.int32).T
    facets = np.clip(soft[y, x] * lighter, 0, 1)
    made = np.array(soft)
    for triangle, colour in zip(grid.sixteenths(corners), facets.tolist(), strict=True):
        cv2.fillConvexPoly(made, triangle, colour, cv2.LINE_AA, 4)
    return made


def _pixel(image: Float, rng: np.random.Generator) -> Float:
    """Squares of 8 px in few colours."""
    little = cv2.resize(image, (SIZE // 8, SIZE // 8), interpolation=cv2.INTER_AREA)
    little = np.clip(little + 1.2 * (little - cv2.GaussianBlur(little, (0, 0), 1.0)), 0, 1)
    few = np.round(little * 7) / 7
    return np.asarray(cv2.resize(few, image.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.float32)


def _oil(image: Float, rng: np.random.Generator) -> Float:
    """Brush strokes along edges, broad ones first, then finer ones where detail is missing (after Hertzmann 1998)."""
    grid = Grid(len(image))
    made = cv2.GaussianBlur(image, (0, 0), 4 * grid.scale)
    for width, count in ((14, 500), (8, 1100), (5, 1500)):
        soft = cv2.GaussianBlur(image, (0, 0), grid.scale * width / 3)
        luma = soft @ rgb((0.30, 0.59, 0.11))
        across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
        places = rng.uniform(0, SIZE, (count, 2))
        off = np.abs(made - soft).max(axis=2)
        for (x, y), lighter, lean in zip(places, rng.normal(1, 0.05, count), rng.normal(0, 0.35, count), strict=True):
            i, j = int(grid.scale * y), int(grid.scale * x)
            if width < 14 and off[i, j] < 0.03:
                continue
            steep = np.hypot(across[i, j], down[i, j]) * grid.scale > 0.01
            turn = np.arctan2(across[i, j], -down[i, j]) + lean if steep else lean
            dx, dy = width * 1.4 * np.cos(turn), width * 1.4 * np.sin(turn)
            ends = grid.sixteenths([(x - dx, y - dy), (x + dx, y + dy)]).tolist()
            colour = np.clip(soft[i, j] * lighter, 0, 1).tolist()
            cv2.line(made, *ends, colour, grid.pixels_in(width), cv2.LINE_AA, 4)
    grey = made.mean(axis=2, keepdims=True)
    return np.asarray(grey + 1.12 * (made - grey), np.float32)


STYLES: dict[str, Callable[[Float, np.random.Generator], Float]] = {
    "neon": _neon,
    "pastel": _pastel,
    "watercolour": _watercolour,
    "ink": _ink,
    "low-poly": _low_poly,
    "pixel": _pixel,
    "oil": _oil,
}
COLOURLESS = ("neon", "ink")  # styles that replace the picture's colours
# Styles that hide small things, and those things.
COARSE = ("low-poly", "pixel", "oil")
SMALL = frozenset(("stars", "small moon", "lit windows", "lightning", "wildflowers", "milky way"))


def _forget_colours(facts: Facts) -> None:
    """Remove colours from the facts after a palette or style replaced them: "red planet" becomes "planet"."""
    for k, thing in enumerate(facts.things):
        first, _, rest = thing.partition(" ")
        if rest in ("flowers", "planet", "ringed planet", "nebula") and first in COLOURS:
            facts.things[k] = rest


def grade(c: Canvas, palettes: list[str]) -> None:
    """Apply a random duotone of ``palettes``, a style or neither to the picture and record it in the facts."""
    rng = c.rng
    c.image = np.clip(c.image, 0, 1)
    kind = rng.random() if c.facts.scene != "abstract" else 1.0
    if kind < 0.34:
        name = palettes[int(rng.integers(len(palettes)))]
        luma = c.image @ rgb((0.30, 0.59, 0.11))
        luma = np.asarray(luma ** (0.7 if luma.mean() < 0.25 else 1.0), np.float32)  # keeps dark pictures legible
        toned = ramp(luma, [rgb(k) for k in PALETTES[name]])
        amount = 1.0 if name == "black and white" else float(rng.uniform(0.85, 1.0))
        c.image = mix(c.image, toned, amount)
        c.facts.palette = name
        _forget_colours(c.facts)
    elif kind < 0.66:
        name = str(rng.choice(list(STYLES)))
        c.image = np.clip(STYLES[name](c.image, rng), 0, 1)
        c.facts.style = name
        if name in COLOURLESS:
            _forget_colours(c.facts)
        if name in COARSE:
            c.facts.things = [thing for thing in c.facts.things if thing not in SMALL]
    gamma = float(np.exp(rng.normal(0, 0.05)))
    c.image = c.image ** np.float32(gamma)
