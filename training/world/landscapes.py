"""Scenes of open country: mountains, sea and beach, desert, hills and valley."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.canvas import Canvas
from training.world.plants import FLOWERS, paint_cactus, paint_palm, paint_pines, paint_round_tree, scatter_flowers
from training.world.primitives import SIZE, jitter, mix, pick, rgb, smooth
from training.world.sky import paint_sky
from training.world.terrain import GREENS, SEAS, paint_hill, paint_range, paint_water


def mountains_scene(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "mountains"
    paint_sky(c)
    rock = pick(rng, [(0.44, 0.44, 0.50), (0.48, 0.42, 0.40), (0.38, 0.42, 0.48), (0.52, 0.44, 0.38)])
    snow = float(rng.uniform(0.35, 0.6)) if rng.random() < 0.7 or c.facts.weather == "snow" else 0.0
    top = float(rng.uniform(24, 60))
    if rng.random() < 0.6:
        paint_range(c, top + 34, h + 14, 0.75, 0.04, rock, snow * 0.8, 4)
    paint_range(c, top, h + 16, 0.3, 0.08, rock, snow, int(rng.integers(1, 4)))
    if snow:
        c.note("snow peaks")
    foot = float(h + rng.uniform(0, 12))
    kind = rng.choice(["lake", "pines", "meadow"], p=[0.4, 0.3, 0.3])
    if kind == "lake":
        paint_hill(c, foot - 4, 12, 0.3, (0.1, 0.14), pick(rng, GREENS) * 0.7)
        if rng.random() < 0.6:
            paint_pines(c, np.full(c.side, foot + 1, np.float32), (16, 30), 22, (0.13, 0.25, 0.17), 0.2, 0.15)
            c.note("pine trees")
        paint_water(c, foot + 3, 0.10, rgb((0.10, 0.30, 0.38)))
        c.note("lake")
        return
    grass = pick(rng, GREENS)
    if c.facts.weather == "snow":
        grass = rgb((0.92, 0.94, 0.98))
    crest = paint_hill(c, foot, 22, 0.22, (0.12, 0.3), grass * 0.85)
    if kind == "pines":
        paint_pines(c, crest, (20, 36), 20, (0.15, 0.28, 0.18), 0.18, 0.3)
        crest = paint_hill(c, foot + 42, 30, 0.06, (0.4, 0.8), grass * 0.8)
        paint_pines(c, crest, (50, 100), 9, (0.10, 0.22, 0.14), 0.04, 0.6)
        c.note("pine trees")
    else:
        paint_hill(c, foot + 34, 24, 0.05, (0.35, 1.0), grass)
        if rng.random() < 0.4:
            scatter_flowers(c, foot + 46, [pick(rng, list(FLOWERS.values()))], 26)
            c.note("wildflowers")
        c.note("meadow")


def sea_scene(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "sea"
    paint_sky(c)
    if rng.random() < 0.3:
        side = float(rng.choice([0.0, 1.0]))
        island = c.profile(rng, 2.6) * (np.clip(1 - np.abs(c.x / SIZE - side) * 1.8, 0, 1) ** 0.7) * rng.uniform(26, 60)
        mask = c.cover(c.y - (h - island)) * (island > 1)
        shade = 0.85 + 0.18 * c.noise(rng, 2.9)
        c.over(mask, c.lit(pick(rng, [(0.36, 0.40, 0.34), (0.46, 0.42, 0.38)]), 0.4, shade), 0.05)
        c.note("island")
    paint_water(c, h, float(rng.uniform(0.35, 0.75)), pick(rng, SEAS))
    if rng.random() < 0.25:
        x, size = float(rng.uniform(0.2, 0.8) * SIZE), float(rng.uniform(24, 52))
        base = h + size * 0.22
        c.over(c.polygon([(x - size * 0.36, base - size * 0.1), (x + size * 0.36, base - size * 0.1),
                         (x + size * 0.24, base + size * 0.06), (x - size * 0.26, base + size * 0.06)]),
               c.lit((0.36, 0.22, 0.16), 0.1), 0.15)  # fmt: skip
        sail = c.lit((0.97, 0.95, 0.90), 0.1)
        c.over(
            c.polygon([(x, base - size), (x, base - size * 0.14), (x + size * 0.42, base - size * 0.14)]), sail, 0.15
        )
        c.over(c.polygon([(x - size * 0.05, base - size * 0.85), (x - size * 0.05, base - size * 0.14),
                         (x - size * 0.34, base - size * 0.14)]), sail * np.float32(0.9), 0.15)  # fmt: skip
        c.note("sailboat")
    if rng.random() < 0.55:
        c.facts.scene = "beach"
        tilt = float(rng.uniform(-0.28, 0.28))
        shore = h + (SIZE - h) * rng.uniform(0.42, 0.66) + tilt * (c.x - SIZE / 2) + 9 * (c.profile(rng, 3.2) - 0.5)
        mask = c.cover((c.y - shore) / 1.5)
        sand = pick(rng, [(0.90, 0.79, 0.58), (0.93, 0.86, 0.70), (0.84, 0.70, 0.52)])
        shade = 1 + 0.07 * c.ground_noise(rng, h, 2.9, 1.2, 4.0) + 0.03 * c.noise(rng, 2.9)
        wet = np.exp(-np.clip(c.y - shore, 0, None) / 10)
        colour = mix(c.lit(sand, 0.05, shade), c.lit(sand * np.float32(0.62), 0.05), wet)
        depth = c.ground_depth()
        c.over(np.asarray(mask, np.float32), colour, depth)
        for out, strength in ((0.0, 0.9), (-11.0, 0.6), (-24.0, 0.4)):
            line = shore + out + 3 * (c.profile(rng, 2.6) - 0.5)
            foam = np.exp(-(((c.y - line) / (2.6 if out == 0 else 1.8)) ** 2))
            foam = foam * np.clip(0.75 + 0.3 * c.noise(rng, 2.9), 0, 1) * strength
            c.image = mix(c.image, c.lit((1.0, 1.0, 1.0), 0.0), np.asarray(foam, np.float32))
        if rng.random() < 0.4:
            x = float(rng.choice([rng.uniform(20, 70), rng.uniform(186, 236)]))
            for k in range(int(rng.integers(1, 3))):
                paint_palm(c, x + 26 * k, float(SIZE - rng.uniform(4, 34)), float(rng.uniform(105, 165)), 0.8)
            c.note("palm trees")


def desert_scene(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "desert"
    paint_sky(c)
    sand = pick(rng, [(0.90, 0.66, 0.38), (0.86, 0.56, 0.32), (0.93, 0.76, 0.52), (0.80, 0.46, 0.28)])
    kind = rng.choice(["dunes", "mesas", "pyramids", "cactus"], p=[0.46, 0.2, 0.14, 0.2])
    side = 1.0 if c.sun_x > SIZE / 2 else -1.0
    if kind == "mesas":
        for _ in range(int(rng.integers(2, 5))):
            x, w, tall = rng.uniform(0, SIZE), rng.uniform(26, 62), rng.uniform(28, 62)
            points = [(x - w * 0.72, h + 4), (x - w * 0.5, h - tall * 0.45), (x - w * 0.44, h - tall),
                      (x + w * 0.44, h - tall), (x + w * 0.5, h - tall * 0.45), (x + w * 0.72, h + 4)]  # fmt: skip
            strata = 0.9 + 0.1 * np.sin(c.y / rng.uniform(2, 3.5)) + 0.2 * np.clip((c.x - x) / w * side, -0.6, 0.6)
            c.over(c.polygon(points), c.lit((0.72, 0.36, 0.22), 0.25, strata + 0.05 * c.noise(rng, 2.9)), 0.08)
        c.note("rocky mesas")
    if kind == "pyramids":
        for k in range(int(rng.integers(1, 4))):
            x, tall = rng.uniform(0.15, 0.85) * SIZE, rng.uniform(44, 84) * (0.85**k)
            ridge, edge = x + side * tall * 0.25, tall * 1.0
            warm = rgb((0.90, 0.72, 0.46))
            rows = 1 + 0.04 * np.sin(c.y * 1.6)
            c.over(c.polygon([(x - edge, h + 5), (x, h - tall), (ridge, h + 5)]),
                   c.lit(warm, 0.2, (0.72 if side > 0 else 1.08) * rows), 0.1)  # fmt: skip
            c.over(c.polygon([(ridge, h + 5), (x, h - tall), (x + edge, h + 5)]),
                   c.lit(warm, 0.2, (1.08 if side > 0 else 0.72) * rows), 0.1)  # fmt: skip
        c.note("pyramids")
    layers = 5 if kind == "dunes" else 3
    for k in range(layers):
        t = k / max(layers - 1, 1)
        base = h + (SIZE - h) * 0.72 * t**1.35 + (2 if kind != "dunes" else -6)
        swell = (10 + 46 * t) * (1.0 if kind == "dunes" else 0.45)
        crest = base + swell * (0.5 - c.profile(rng, 4.4, 0.8))
        slope = c.slope(crest)
        # The slip face: dark below the crest on the side away from the sun, with a curved border.
        below = np.clip((c.y - crest) / (14 + 60 * t), 0, 1)
        slope = cv2.GaussianBlur(slope.reshape(1, -1), (0, 0), 5 * c.scale)[0]
        # The border drifts sideways downhill; otherwise the shadow would look like a curtain.
        along = c.x + below * (50 + 30 * c.noise(rng, 3.4)) * side
        lean = np.tanh(c.at(slope, along) * side * 3.0)
        shade = 1.04 + 0.42 * lean * np.exp(-1.8 * below) - 0.16 * below
        ripple = np.sin((c.y - crest) / (1.6 + 3.4 * t) + 1.2 * c.noise(rng, 3.4))
        shade = shade + (0.045 * t) * ripple + 0.02 * c.noise(rng, 2.9)
        mask = c.cover(c.y - crest)
        depth = np.clip(0.06 + 0.94 * (t + 0.3 * below) ** 1.4 / 1.4, 0, 1)
        c.over(np.asarray(mask, np.float32), c.lit(sand, 0.5 * (1 - t) ** 1.4, np.clip(shade, 0.35, 1.3)), depth)
    if kind == "dunes":
        c.note("sand dunes")
    if kind == "cactus":
        for _ in range(int(rng.integers(2, 5))):
            t = float(rng.uniform(0.35, 1.0))
            x, base, tall = float(rng.uniform(14, 242)), h + (SIZE - h) * (0.2 + 0.72 * t), 30 + 78 * t
            paint_cactus(c, x, base, tall, t)
        c.note("cactus")


def hills_scene(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "hills"
    paint_sky(c)
    if rng.random() < 0.4:
        paint_range(c, h - rng.uniform(50, 80), h + 14, 0.6, 0.04, rgb((0.42, 0.46, 0.56)), 0.35, 3)
        c.note("distant mountains")
    green = pick(rng, GREENS)
    if c.facts.weather == "snow":
        green = rgb((0.93, 0.95, 0.99))
    c.facts.scene = "valley" if (valley := rng.random() < 0.4) else "hills"
    crests = []
    for k in range(4):
        t = k / 3
        tone = np.clip(green * (0.92 + 0.1 * ((k * 7) % 3)) + rng.normal(0, 0.02, 3), 0, 1).astype(np.float32)
        crest = paint_hill(
            c, h + (SIZE - h) * 0.62 * t**1.2, 22 + 30 * t, 0.48 * (1 - t), (0.1 + 0.2 * k, 0.25 + 0.25 * k), tone
        )
        crests.append(crest)
        if k < 3 and rng.random() < 0.7:
            for x in rng.uniform(0, SIZE, int(rng.integers(1, 5))):
                size = float(rng.uniform(0.8, 1.2)) * (22 + 34 * t)
                paint_round_tree(
                    c,
                    float(x),
                    float(c.at(crest, x)) + 4,
                    size,
                    green * np.float32(0.6),
                    0.42 * (1 - t),
                    0.12 + 0.2 * k,
                )
            if "trees" not in c.facts.things:
                c.note("trees")
        if k == 1 and rng.random() < 0.35:
            x = float(rng.uniform(30, 200))
            _house(c, x, float(c.at(crest, x)) + 8, float(rng.uniform(34, 54)), 0.15, 0.4)
    if valley:
        water = rng.random() < 0.6
        nearness = np.clip((c.y - h - 14) / (SIZE - h - 14), 0, 1)
        centre = SIZE * rng.uniform(0.35, 0.65) + 46 * np.sin(nearness * rng.uniform(4, 7) + rng.uniform(0, 6)) * (
            1 - 0.3 * nearness
        )
        width = 1.5 + 40 * nearness**1.4
        mask = np.asarray(smooth((width - np.abs(c.x - centre)) / 3) * (nearness > 0), np.float32)
        if water:
            mirror = c.at(c.image, 2 * int(h) - c.y[:, 0])
            glitter = 1 + 0.12 * c.ground_noise(rng, h, 2.9, 0.8, 6.0)
            colour = mix(mirror, rgb((0.16, 0.36, 0.46)) * c.surface, 0.3) * glitter[..., None]
            c.note("river")
        else:
            colour = c.lit((0.74, 0.62, 0.44), 0.1, 1 + 0.1 * c.ground_noise(rng, h, 2.9, 1.5, 4.0))
            c.note("path")
        c.over(mask, colour, c.ground_depth())
    elif rng.random() < 0.4:
        x = float(rng.uniform(50, 206))
        base = float(min(float(c.at(crests[-1], x)) + 26, 236))
        shade = [(0.30, 0.46, 0.18), (0.82, 0.44, 0.14), (0.92, 0.62, 0.70)][int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        paint_round_tree(c, x, base, float(rng.uniform(85, 140)), shade, 0.0, 0.85)
        c.note("lone tree" if shade[0] < 0.5 else "autumn tree" if shade[0] < 0.9 else "cherry tree")


def _house(c: Canvas, x: float, base: float, width: float, far: float, near: float) -> None:
    rng = c.rng
    high, deep = width * 0.62, width * 0.5
    wall = jitter(rng, (0.90, 0.84, 0.74), 0.06)
    roof = jitter(rng, [(0.62, 0.22, 0.16), (0.36, 0.30, 0.32), (0.55, 0.36, 0.22)][int(rng.integers(3))])
    c.over(c.polygon([(x, base), (x, base - high), (x + width, base - high), (x + width, base)]),
           c.lit(wall, far), near)  # fmt: skip
    c.over(c.polygon([(x - width * 0.12, base - high), (x + width * 0.2, base - high - deep),
                     (x + width * 0.8, base - high - deep), (x + width * 1.12, base - high)]),
           c.lit(roof, far), near)  # fmt: skip
    glass = rgb((1.0, 0.82, 0.42)) if c.light.dark or c.facts.time == "dusk" else c.lit((0.28, 0.34, 0.42), far)
    for k in (0.16, 0.62):
        x0, y0, s = x + width * k, base - high * 0.75, width * 0.22
        c.over(c.polygon([(x0, y0), (x0 + s, y0), (x0 + s, y0 + s), (x0, y0 + s)]), glass, near)
    c.note("house")
