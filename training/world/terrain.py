"""Layers of land and water: mountain ranges, hills, and water that reflects the scene above it."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.canvas import Canvas
from training.world.primitives import SIZE, Colour, Float, mix, smooth

GREENS: list[Colour] = [(0.34, 0.55, 0.22), (0.44, 0.58, 0.24), (0.28, 0.47, 0.24), (0.52, 0.60, 0.30)]
SEAS: list[Colour] = [(0.06, 0.34, 0.48), (0.05, 0.26, 0.44), (0.10, 0.46, 0.52), (0.08, 0.22, 0.36)]


def _peak(c: Canvas, x: float, top: float, base: float, half: float, far: float, near: float,
          albedo: Float, snow: float) -> None:  # fmt: skip
    """Paint a peak with its summit at (x, top) and a half-width ``half`` at row ``base``: light and dark flank, snow.

    ``snow`` is the share of its height that is white.
    """
    rng = c.rng
    down = np.clip((c.y - top) / (base - top), 0, 1.2)  # 0 at the summit, 1 at the foot
    wave = 2 * c.profile(rng, 2.6, 1.2)[:, None] - 1
    ridge = x + half * down * (0.12 + 0.28 * wave)
    left = (
        x - half * rng.uniform(0.8, 1.2) * down + 0.08 * half * np.roll(wave, c.pixels_in(70), 0) * np.sin(np.pi * down)
    )
    right = (
        x
        + half * rng.uniform(0.8, 1.2) * down
        + 0.08 * half * np.roll(wave, c.pixels_in(140), 0) * np.sin(np.pi * down)
    )
    mask = c.cover(np.minimum(c.x - left, right - c.x) / 1.2) * (top < c.y)
    across = np.clip((c.x - ridge) / np.maximum(half * down, 1), -1.5, 1.5)
    light = np.tanh(c.scale * (c.x - ridge) / 2.5) * (1 if c.sun_x > x else -1)
    # Spurs run down both flanks from the summit.
    spurs = np.sin(across * 7 + rng.uniform(0, 6) + 1.5 * wave) * smooth(down * 3)
    shade = np.clip(0.84 + 0.30 * light + 0.09 * spurs, 0.4, 1.25)
    colour = c.lit(albedo, far, shade)
    if snow > 0:
        line = snow * (1 + 0.3 * np.sin(across * 9 + rng.uniform(0, 6)))
        white = c.lit((1.0, 1.0, 1.0), far * 0.7, np.clip(0.84 + 0.24 * light + 0.05 * spurs, 0.5, 1.1))
        colour = mix(colour, white, smooth((line - down) * 14 + 0.5))
    foot = smooth(down * 1.6 - 0.9) * (0.1 + 0.5 * far)
    c.over(np.asarray(mask, np.float32), mix(colour, c.haze, foot), near)


def paint_range(
    c: Canvas, top: float, base: float, far: float, near: float, albedo: Float, snow: float, peaks: int
) -> None:
    """Paint peaks side by side, the highest in front, with its summit at row ``top``."""
    rng = c.rng
    places = (np.arange(peaks) + rng.uniform(0.2, 0.8, peaks)) / peaks * SIZE
    heights = rng.uniform(0.45, 0.8, peaks)
    heights[int(rng.integers(peaks))] = 1.0
    for k in np.argsort(heights):
        tall = float(base - top) * float(heights[k])
        half = tall * float(rng.uniform(0.75, 1.15))
        _peak(c, float(places[k]), base - tall, base, half, far, near, albedo, snow * float(heights[k]))


def paint_hill(c: Canvas, base: float, swell: float, far: float, near: tuple[float, float], albedo: Float,
               exponent: float = 4.2, texture: float = 0.04) -> Float:  # fmt: skip
    """Paint a soft hill with a crest within ``swell``/2 px of row ``base``; return the crest (W,), rows in px."""
    rng = c.rng
    crest = base + swell * (0.5 - c.profile(rng, exponent, 0.8))
    mask = c.cover(c.y - crest)
    slope = cv2.GaussianBlur(c.slope(crest).reshape(1, -1), (0, 0), 12 * c.scale)[0]
    side = 1.0 if c.sun_x > SIZE / 2 else -1.0
    below = np.clip((c.y - crest) / 60, 0, 1)
    shade = 1.03 - 0.26 * below + 0.45 * np.clip(slope * side, -0.5, 0.5)
    shade = shade + texture * c.ground_noise(rng, base - 0.5 * swell - 24, 2.9, 1.0, 9.0)
    shade = shade + 0.45 * texture * c.noise(rng, 2.9)
    depth = near[0] + (near[1] - near[0]) * np.clip((c.y - crest) / 90, 0, 1)
    c.over(mask, c.lit(albedo, far, np.clip(shade, 0.4, 1.35)), depth)
    return np.asarray(crest, dtype=np.float32)


def paint_water(
    c: Canvas, top: float, roughness: float, tint: Float, near: float = 1.0, mask: Float | None = None
) -> None:
    """Paint water below row ``top``: the mirrored, rippled picture above it, more tinted towards the camera."""
    rng = c.rng
    ripples = c.ground_noise(rng, top, 2.9, 0.7, 7.0)
    swell = c.ground_noise(rng, top, 2.9, 0.35, 2.2)
    nearness = np.clip((c.y - top) / (SIZE - top), 0, 1)
    bend = roughness * (2 + 34 * nearness) * (ripples + 0.6 * swell)
    rows = 2 * top - c.y - np.abs(bend) * 0.8 - bend * 0.5
    mirrored = cv2.remap(
        c.image,
        c.pixels(c.x + bend * 0.25 + 0 * c.y).astype(np.float32),
        c.pixels(np.clip(rows, 0, top)).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    deep = tint * c.surface * (1 + 0.16 * (ripples + swell)[..., None])
    colour = mix(mirrored * np.float32(0.93), deep, np.clip(0.12 + roughness * 0.35 + 0.42 * nearness, 0, 0.85))
    if c.sun_visible and abs(c.sun_y) < top + 40:  # the glitter path below sun or moon
        width = 7 + 34 * nearness
        column = np.exp(-(((c.x - c.sun_x) / width) ** 2))
        sparkle = smooth((ripples * 0.8 + 0.55) * 0.9) * column * (1 - 0.35 * nearness)
        strength = 0.55 if c.light.dark else 0.85
        if c.facts.time == "day":
            strength = 0.4
        colour = mix(colour, c.light.sun, sparkle * strength)
    colour = mix(colour, c.haze, c.fog * 0.5 * (1 - nearness))
    area = c.cover(c.y - top) * np.ones_like(c.x) if mask is None else mask
    c.over(np.asarray(area, dtype=np.float32), colour, nearness * near)
