"""Abstract patterns of two colours."""

from __future__ import annotations

import math

import numpy as np

from training.world.canvas import Canvas
from training.world.primitives import SIZE, Colour, mix, rgb, smooth

ABSTRACT_COLOURS: dict[str, Colour] = {
    "red": (0.86, 0.14, 0.16), "orange": (0.96, 0.54, 0.12), "yellow": (0.99, 0.86, 0.26),
    "green": (0.20, 0.62, 0.30), "teal": (0.08, 0.58, 0.60), "blue": (0.14, 0.32, 0.80),
    "purple": (0.48, 0.20, 0.70), "pink": (0.96, 0.50, 0.70), "black": (0.04, 0.04, 0.06),
    "white": (0.97, 0.97, 0.96), "gold": (0.84, 0.66, 0.26),
}  # fmt: skip


def abstract_scene(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "abstract"
    c.facts.weather = c.facts.time = ""
    names = [str(n) for n in c.sky.choice(list(ABSTRACT_COLOURS), 2, replace=False)]
    stops = [rgb(ABSTRACT_COLOURS[n]) for n in names]
    x, y = rng.uniform(0.35, 0.65, 2) * SIZE
    dx, dy = c.x - x, c.y - y
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    turn = float(rng.choice([0.0, math.pi / 4, math.pi / 2, -math.pi / 4]))
    across, along = dx * math.cos(turn) + dy * math.sin(turn), -dx * math.sin(turn) + dy * math.cos(turn)
    kind = str(rng.choice(["spiral", "rings", "stripes", "checkerboard", "waves", "rays", "circles"]))
    step = float(rng.uniform(18, 34))  # half a period, px
    if kind == "spiral":
        wave = np.sin(int(rng.integers(1, 4)) * angle + rng.choice([-1, 1]) * radius * math.pi / step)
    elif kind == "rings":
        wave = np.cos(radius * math.pi / step)
    elif kind == "stripes":
        wave = np.sin(across * math.pi / step)
    elif kind == "checkerboard":
        step *= 1.3
        wave = np.sin(across * math.pi / step) * np.sin(along * math.pi / step) * 2
    elif kind == "waves":
        wave = np.sin((across + 16 * np.sin(along * math.pi / 42)) * math.pi / step)
    elif kind == "rays":
        wave = np.sin(int(rng.integers(5, 11)) * angle) * np.clip(radius / 16, 0, 1)
    else:  # circles in rows
        cell = 2.2 * step
        wave = (0.36 * cell - np.hypot((across % cell) - cell / 2, (along % cell) - cell / 2)) / 5
    c.image = mix(stops[0], stops[1], smooth(np.asarray(wave, np.float32) * 2.2 + 0.5))
    c.facts.palette = " and ".join(names)
    c.note(kind)
    c.inverse_depth[:] = 0.5
