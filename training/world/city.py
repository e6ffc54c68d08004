"""The city: towers behind a road or water."""

from __future__ import annotations

import math

import numpy as np

from training.world.canvas import Canvas
from training.world.primitives import SIZE, Float, mix, pick, rgb, smooth
from training.world.sky import paint_sky
from training.world.terrain import SEAS, paint_water


def city_scene(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "city"
    c.horizon = h = float(rng.uniform(150, 196))
    paint_sky(c)
    lights_on = c.light.dark or c.facts.time in ("dusk", "sunset")
    tone = pick(rng, [(0.46, 0.50, 0.60), (0.60, 0.52, 0.48), (0.40, 0.48, 0.54)])
    centre = rng.uniform(70, 186)
    for k in range(2):
        x = float(rng.uniform(-14, 0))
        while x < SIZE:
            wide = float(rng.uniform(26, 46))
            # At a whole position: the number of windows, and so all that follows, must not depend on the size.
            middle = int(np.clip(x + wide / 2, 0, SIZE - 1))
            tall = rng.uniform(0.45, 1.0) * (150 - 50 * k) * (0.55 + 0.6 * math.exp(-(((middle - centre) / 70) ** 2)))
            _building(c, round(x), round(h - tall), round(wide), round(h) + 3, tone * (0.95 - 0.3 * k), k, lights_on)
            x += wide + float(rng.choice([0, 0, 3, 12]))
    if lights_on:
        c.note("lit windows")
    if rng.random() < 0.5:
        paint_water(c, h, 0.22, pick(rng, SEAS))
        c.note("water")
    else:
        nearness = np.clip((c.y - h) / (SIZE - h), 0, 1)
        road = c.lit((0.30, 0.30, 0.33), 0.1, 1 + 0.08 * c.noise(rng, 2.9))
        c.over(np.asarray(c.cover(c.y - h) * np.ones_like(c.x), np.float32), road, c.ground_depth())
        vanish, half = SIZE / 2 + rng.uniform(-40, 40), 6 + 150 * nearness
        verge = c.lit(pick(rng, [(0.34, 0.46, 0.26), (0.50, 0.48, 0.46)]), 0.1, 1 + 0.1 * c.noise(rng, 2.9))
        c.image = mix(c.image, verge, smooth((np.abs(c.x - vanish) - half) / 3) * (h < c.y))
        dash = (
            smooth((1.0 + 7 * nearness - np.abs(c.x - vanish)) / 2) * (np.sin(26 / (nearness + 0.13)) > 0) * (h < c.y)
        )
        c.image = mix(c.image, c.lit((0.95, 0.90, 0.70), 0.05), np.asarray(dash * 0.8, np.float32))
        c.note("road")


def _building(c: Canvas, x: int, y: int, wide: int, base: int, tone: Float, rank: int, lights_on: bool) -> None:
    """Paint a tower from row ``y`` to ``base``; rank 0 is behind, in haze, rank 1 in front, with large windows."""
    rng = c.rng
    x0, x1, y0 = max(x, 0), min(x + wide, SIZE), max(y, 6)
    if x1 <= x0 or base <= y0:
        return
    near = 0.1 + 0.15 * rank
    wall = c.lit(tone * np.float32(rng.uniform(0.85, 1.12)), 0.5 - 0.42 * rank) * np.float32(0.8 if c.light.dark else 1)
    top, bottom, left, right = (c.pixels_in(k) for k in (y0, base, x0, x1))
    block = np.empty((bottom - top, right - left, 3), np.float32)
    block[:] = wall
    side = max(4, wide // 4)
    if c.sun_x > x:
        block[:, : c.pixels_in(side)] *= 0.78
    else:
        block[:, -c.pixels_in(side) :] *= 0.78
    glass = rgb((1.0, 0.84, 0.42)) if lights_on else mix(wall * np.float32(0.55), c.light.zenith, 0.35)
    if rank:
        share = float(rng.uniform(0.55, 0.85)) if lights_on else 1.0
        count = max(2, (wide - 4) // 11)
        gap = (wide - 4) / count
        for row in range(6, base - y0 - 10, 13):
            for k in range(count):
                if rng.random() < share:
                    beside = round(2 + gap * k + (gap - 6) / 2)
                    window = c.pixels_in(row), c.pixels_in(row + 8), c.pixels_in(beside), c.pixels_in(beside + 6)
                    block[window[0] : window[1], window[2] : window[3]] = glass
    c.image[top:bottom, left:right] = block
    c.inverse_depth[top:bottom, left:right] = near
    roof = rng.random()
    middle = (x + x + wide) / 2
    if roof < 0.2:
        c.over(c.polygon([(x + 2, y0), (middle, y0 - wide * 0.7), (x + wide - 2, y0)]), wall * np.float32(0.88), near)
    elif roof < 0.4 and y0 > 30:
        c.over(
            c.polygon([(middle - 2, y0), (middle - 1, y0 - 24), (middle + 1, y0 - 24), (middle + 2, y0)]), wall, near
        )
