"""Deep space: nebulas, galaxies and planets."""

from __future__ import annotations

import math

import numpy as np

from training.world.canvas import Canvas
from training.world.primitives import SIZE, Colour, jitter, mix, ramp, rgb, smooth
from training.world.sky import paint_stars

PLANETS: dict[str, list[Colour]] = {
    "orange": [(0.70, 0.36, 0.20), (0.90, 0.66, 0.42), (0.98, 0.88, 0.70)],
    "blue": [(0.10, 0.26, 0.62), (0.24, 0.56, 0.84), (0.90, 0.96, 1.00)],
    "purple": [(0.36, 0.16, 0.46), (0.70, 0.42, 0.72), (0.96, 0.82, 0.92)],
    "green": [(0.10, 0.36, 0.34), (0.30, 0.66, 0.54), (0.90, 0.96, 0.80)],
    "red": [(0.46, 0.10, 0.08), (0.78, 0.30, 0.16), (0.96, 0.66, 0.40)],
    "grey": [(0.40, 0.40, 0.42), (0.64, 0.63, 0.62), (0.90, 0.89, 0.86)],
}


def space_scene(c: Canvas) -> None:
    """Paint deep space: a nebula, stars, and a galaxy or one or two planets."""
    rng = c.rng
    c.facts.scene = "space"
    c.facts.weather = c.facts.time = ""
    tint = [(0.55, 0.16, 0.62), (0.10, 0.36, 0.66), (0.66, 0.22, 0.28), (0.10, 0.52, 0.52)]
    names = ["purple", "blue", "red", "teal"]
    which = int(rng.integers(len(tint)))
    glow = smooth(0.4 + 0.4 * c.noise(rng, 3.6))
    strength = float(rng.choice([0.15, 0.8]))
    c.image = rgb((0.02, 0.025, 0.07)) + glow[..., None] * rgb(tint[which]) * np.float32(strength)
    paint_stars(c, int(rng.integers(25, 70)), SIZE)
    c.note("stars")
    if strength > 0.5:
        c.note(f"{names[which]} nebula")
    if rng.random() < 0.15:
        c.note("galaxy")
        _galaxy(c)
        return
    ring = rng.random() < 0.5
    radius = float(rng.uniform(44, 68) if ring else rng.uniform(56, 104))
    x, y = float(rng.uniform(0.36, 0.64) * SIZE), float(rng.uniform(0.38, 0.62) * SIZE)
    light = float(rng.choice([0.0, math.pi]) + rng.uniform(-0.8, 0.8))
    if rng.random() < 0.35:
        turn = float(rng.uniform(0, 2 * math.pi))
        mx, my = x + 112 * math.cos(turn), y + 112 * math.sin(turn)
        if radius < 80 and 22 < mx < 234 and 22 < my < 234:
            _planet(c, mx, my, float(rng.uniform(12, 20)), light, False)
            c.note("small moon")
    colour = _planet(c, x, y, radius, light, ring)
    c.note(f"{colour} ringed planet" if ring else f"{colour} planet")


def _galaxy(c: Canvas) -> None:
    rng = c.rng
    x, y, turn = rng.uniform(100, 156), rng.uniform(100, 156), rng.uniform(0, math.pi)
    dx, dy = c.x - x, c.y - y
    u = dx * math.cos(turn) + dy * math.sin(turn)
    v = (-dx * math.sin(turn) + dy * math.cos(turn)) / rng.uniform(0.35, 0.8)
    radius = np.hypot(u, v)
    arms = 0.5 + 0.5 * np.cos(2 * np.arctan2(v, u) - 3.6 * np.log(radius + 6) + 0.3 * c.noise(rng, 2.9))
    glow = np.exp(-radius / 38) * (0.3 + 0.9 * arms * np.clip(radius / 20, 0, 1)) + np.exp(-radius / 11)
    tint = mix(jitter(rng, (0.55, 0.6, 1.0), 0.1), (1.0, 0.9, 0.72), np.exp(-radius / 26))
    c.image = np.clip(c.image + tint * np.clip(glow, 0, 1.2)[..., None], 0, 1)


def _planet(c: Canvas, x: float, y: float, radius: float, light: float, ring: bool) -> str:
    """Paint a planet lit from the angle ``light`` in radians; return the name of its colour."""
    rng = c.rng
    dx, dy = (c.x - x) / radius, (c.y - y) / radius
    r2 = dx * dx + dy * dy
    z = np.sqrt(np.clip(1 - r2, 0, 1))
    name = str(rng.choice(list(PLANETS)))
    stops = [jitter(rng, k, 0.03) for k in PLANETS[name]]
    tilt = float(rng.uniform(-0.5, 0.5))
    across, up = dx * math.cos(tilt) + dy * math.sin(tilt), -dx * math.sin(tilt) + dy * math.cos(tilt)
    swirl = c.noise(rng, 3.4)
    if rng.random() < 0.55:  # gas giant: bands along the latitude
        bands = c.at(c.profile(rng, 3.0, 4), (up * 0.45 + 0.5) * SIZE + swirl * 5)
        surface = ramp(bands, stops)
    else:
        surface = ramp(0.5 + 0.3 * swirl + 0.04 * across, stops)
    shade = dx * math.cos(light) * 0.8 + dy * math.sin(light) * 0.8 + z * 0.45
    shade = smooth(shade * 0.9 + 0.3)
    colour = surface * (0.05 + shade[..., None])
    air = np.exp(-np.clip(np.sqrt(r2) - 1, 0, None) * 16) * (r2 > 1)
    c.image = np.clip(c.image + air[..., None] * stops[1] * np.float32(0.28), 0, 1)
    rim = c.cover((1 - np.sqrt(r2)) * radius)
    near = np.clip(0.35 + radius / 140 + 0.2 * z, 0, 1)
    if not ring:
        c.over(rim, np.clip(colour, 0, 1), near)
        return name
    flat = float(rng.uniform(0.22, 0.4))
    around = np.hypot(across, up / flat)
    grooves = 0.75 + 0.25 * c.at(c.profile(rng, 2.8, 4), (around - 1.3) * 250)
    band = smooth((around - 1.35) * 14) * smooth((2.15 - around) * 14) * grooves
    tone = mix(stops[2], (0.9, 0.85, 0.75), 0.4)
    c.over(np.asarray(band * (up < 0), np.float32), tone * np.float32(0.8), near)
    c.over(rim, np.clip(colour, 0, 1), near)
    c.over(np.asarray(band * (up >= 0), np.float32), tone, near)
    return name
