"""Scenes full of plants: forests from outside and from within, and fields of flowers."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.canvas import Canvas
from training.world.plants import FLOWERS, paint_blossom, paint_pines, scatter_flowers
from training.world.primitives import SIZE, jitter, mix, pick, rgb, smooth
from training.world.sky import paint_sky
from training.world.terrain import GREENS, paint_hill, paint_range


def forest_scene(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "forest"
    kind = rng.choice(["pines", "trunks", "autumn"], p=[0.45, 0.28, 0.27])
    if kind == "pines":
        paint_sky(c)
        green = pick(rng, [(0.12, 0.30, 0.20), (0.16, 0.34, 0.20), (0.10, 0.28, 0.24)])
        if c.facts.weather == "snow":
            green = mix(green, (0.85, 0.9, 0.95), 0.35)
        ground = float(c.horizon - 8)
        for k in range(5):
            t = k / 4
            crest = paint_hill(
                c, ground, 10 + 14 * t, 0.62 * (1 - t), (0.1 + 0.18 * k, 0.2 + 0.2 * k), green * (1 + 0.35 * t)
            )
            paint_pines(c, crest, (16 + 40 * t, 28 + 84 * t), int(40 - 27 * t), green, 0.68 * (1 - t), 0.12 + 0.2 * k)
            if c.facts.weather == "fog" or t < 0.5:
                mist = np.exp(-(((c.y - ground - 14) / 16) ** 2)) * 0.35 * (1 - t)
                c.image = mix(c.image, c.haze, mist * np.ones_like(c.x))
            ground += 16 + 26 * t
        c.note("pine trees")
        return
    _woods(c, autumn=kind == "autumn")


def _woods(c: Canvas, autumn: bool) -> None:
    """Paint the inside of a wood: rows of trunks fading into bright haze, leaves above, ground, sometimes a path."""
    rng = c.rng
    c.horizon = h = float(rng.uniform(130, 160))
    paint_sky(c, clouds=0.0)
    c.facts.things = []  # the wood hides the things in the sky
    leaf = pick(rng, [(0.86, 0.46, 0.12), (0.80, 0.28, 0.12), (0.90, 0.62, 0.16)] if autumn else
                [(0.30, 0.50, 0.16), (0.22, 0.44, 0.20), (0.42, 0.56, 0.18)])  # fmt: skip
    bright = mix(c.haze, leaf * c.surface, 0.35)
    middle = np.exp(-(((c.x - c.sun_x) / 120) ** 2) - ((c.y - h * 0.72) / 110) ** 2)
    c.image = mix(mix(leaf * c.surface * np.float32(0.62), c.haze, 0.22), bright, middle)
    c.haze = bright
    floor = leaf * np.float32(0.78) if autumn else rgb((0.30, 0.36, 0.18))
    texture = 1 + 0.16 * c.ground_noise(rng, h, 2.9, 1.6, 4.0) + 0.06 * c.noise(rng, 2.9)
    nearness = np.clip((c.y - h) / (SIZE - h), 0, 1)
    ground = mix(c.haze, c.lit(floor, 0.0, texture), np.clip(0.35 + nearness * 1.1, 0, 1))
    c.over(np.asarray(smooth((c.y - h) / 8) * np.ones_like(c.x), np.float32), ground, c.ground_depth())
    if rng.random() < 0.5:
        bend = rng.uniform(-60, 60)
        centre = SIZE / 2 + bend * np.sin(nearness * 2.6) * (1 - nearness * 0.6)
        width = 4 + 62 * nearness
        path = smooth((width - np.abs(c.x - centre)) / (2 + 9 * nearness)) * (nearness > 0)
        dirt = c.lit((0.62, 0.50, 0.36), 0.0, texture)
        c.image = mix(c.image, mix(c.haze, dirt, np.clip(0.4 + nearness, 0, 1)), path * 0.85)
        c.note("path")
    bark = pick(rng, [(0.30, 0.22, 0.16), (0.24, 0.20, 0.18), (0.40, 0.33, 0.28)])
    for k in range(4):
        t = k / 3
        crown = c.noise(rng, 2.9) * (10 + 16 * t)
        edge = h * (0.62 - 0.30 * t) + crown + 20 * (c.profile(rng, 2.8) - 0.5)
        shade = 0.82 + 0.22 * c.noise(rng, 2.9)
        trunks = c.zeros(np.uint8)
        for x in rng.uniform(0, SIZE, [11, 9, 6, 3][k]):
            if abs(x - SIZE / 2) < 20 + 40 * t and "path" in c.facts.things:
                continue
            w, base = 1.6 + 9.5 * t**1.3, h + 4 + (SIZE - h) * 0.62 * t**1.2
            lean = float(rng.normal(0, 4))
            outline = np.array([(x + lean - w * 0.7, -4), (x + lean + w * 0.7, -4), (x + w, base - 12),
                                (x + w * 1.7, base), (x - w * 1.7, base), (x - w, base - 12)])  # fmt: skip
            cv2.fillPoly(trunks, [c.sixteenths(outline)], 255, cv2.LINE_AA, 4)
        side = 0.9 + 0.1 * np.sin(c.x / (1.2 + 1.5 * t)) + 0.08 * c.noise(rng, 2.9)
        c.over(trunks.astype(np.float32) / 255, c.lit(bark, 0.75 * (1 - t), side), 0.15 + 0.25 * k)
        mask = smooth((edge - c.y) / 5)
        c.over(mask, c.lit(leaf * np.float32(1.05 - 0.35 * t), 0.62 * (1 - t), shade), 0.1 + 0.2 * k)
    if not c.light.dark and rng.random() < 0.5:
        angle = (c.x - c.sun_x) / (c.y + 60)
        rays = smooth(np.sin(angle * rng.uniform(14, 22) + rng.uniform(0, 6)) * 0.9) * middle
        c.image = np.clip(c.image + rays[..., None] * rgb(c.light.glow) * np.float32(0.22), 0, 1)
        c.note("sunbeams")
    c.note("autumn leaves" if autumn else "tall trees")


def flowers_scene(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "flower field"
    close = rng.random() < 0.3
    c.horizon = h = float(rng.uniform(40, 90) if close else rng.uniform(80, 130))
    paint_sky(c)
    if not close and rng.random() < 0.4:
        paint_range(c, h - rng.uniform(36, 60), h + 14, 0.6, 0.04, rgb((0.42, 0.46, 0.56)), 0.35, 3)
        c.note("distant mountains")
    green = pick(rng, GREENS)
    paint_hill(c, h + 2, 14, 0.25, (0.1, 0.3), green * np.float32(0.8))
    shade = 0.85 + 0.1 * c.ground_noise(rng, h, 3.0, 1.4, 5.0)
    ground = np.asarray(np.clip((c.y - h - 8) / 6, 0, 1) * np.ones_like(c.x), np.float32)
    c.over(ground, c.lit(green * np.float32(0.75), 0.05, shade), c.ground_depth())
    names = list(rng.choice(list(FLOWERS), 2, replace=False))[: 1 if rng.random() < 0.65 else 2]
    tints = [jitter(rng, FLOWERS[n], 0.03) for n in names]
    # Far flowers merge into a tint of their colour.
    far = np.clip((c.y - h - 8) / 8, 0, 1) * np.clip(1.2 - (c.y - h) / (0.55 * (SIZE - h)), 0, 1)
    c.image = mix(c.image, c.lit(tints[0], 0.2, 0.9), np.asarray(far * 0.6 * np.ones_like(c.x), np.float32))
    if not close:
        scatter_flowers(c, h + 10, tints, int(rng.integers(110, 170)))
        c.note(*[f"{n} flowers" for n in names])
        return
    scatter_flowers(c, h + 6, tints, 40)
    for k in range(int(rng.integers(2, 5))):
        radius = float(rng.uniform(30, 56))
        x, y = float((k + rng.uniform(0.2, 0.8)) / 4 * SIZE), float(rng.uniform(70, 190))
        stem = [(x - 3, y), (x + 3, y), (x + 4 + rng.uniform(-14, 14), SIZE + 4), (x - 4, SIZE + 4)]
        c.over(c.polygon(stem), c.lit(green * np.float32(0.55), 0.0), 0.9)
        paint_blossom(c, x, y, radius, tints[k % len(tints)], 0.95, 0.0)
    c.note("close-up", *[f"{n} flowers" for n in names])
