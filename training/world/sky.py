"""The sky of any time of day and weather: sun, moon, stars, aurora, clouds and lightning."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.canvas import Canvas
from training.world.primitives import SIZE, jitter, mix, noise_tile, ramp, rgb, smooth


def paint_stars(c: Canvas, count: int, below: float) -> None:
    """Paint ``count`` stars above row ``below``."""
    stars = c.zeros(np.float32)
    for _ in range(count):
        x, y = c.rng.uniform(0, SIZE), c.rng.uniform(0, below)
        bright, radius = c.rng.uniform(0.6, 1.0), c.rng.choice([1.0, 1.5, 2.2], p=[0.4, 0.4, 0.2])
        x0, y0, reach = int(x * c.scale), int(y * c.scale), c.pixels_in(5)
        ys, xs = slice(max(y0 - reach, 0), y0 + reach + 1), slice(max(x0 - reach, 0), x0 + reach + 1)
        spot = np.exp(-((c.x[xs] - x) ** 2 + (c.y[ys] - y) ** 2) / (radius * radius))
        stars[ys, xs] = np.maximum(stars[ys, xs], spot * bright)
    c.image = np.maximum(c.image, stars[..., None] * rgb((1.0, 0.98, 0.92)))


def _moon(c: Canvas, x: float, y: float, radius: float) -> None:
    glow = np.exp(-np.hypot(c.x - x, c.y - y) / (radius * 1.8))
    c.image = np.clip(c.image + glow[..., None] * rgb((0.30, 0.32, 0.36)), 0, 1)
    spots = np.clip(0.93 + 0.06 * c.noise(c.rng, 3.0), 0.7, 1)
    moon = rgb((0.98, 0.96, 0.86)) * spots[..., None]
    mask = c.disc(x, y, radius)
    if c.rng.random() < 0.35:
        mask = mask * (1 - c.disc(x + radius * 0.55, y - radius * 0.2, radius * 0.95))
        c.note("crescent moon")
    else:
        c.note("moon")
    c.over(mask, moon, 0.0)


def _clouds(c: Canvas, cover: float) -> None:
    """Paint clouds as noise on a plane overhead, flat and small near the horizon; ``cover`` is about 0..1."""
    rng, light = c.rng, c.light
    distance = 1 / np.maximum((c.horizon - c.y) / SIZE + 0.35, 0.35)
    x0, y0 = rng.uniform(0, 512, 2)
    u = (c.x - SIZE / 2) * distance * 0.5 + x0
    v = np.broadcast_to(distance * 84 + y0, u.shape)
    tile = noise_tile(3.6, int(rng.integers(6)))
    density = cv2.remap(tile, (u % 512).astype(np.float32), (v % 512).astype(np.float32),
                        cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)  # fmt: skip
    amount = smooth((density - 1.1 + 1.9 * cover) * 0.95) * smooth((c.horizon - c.y) / 26)
    lower = np.roll(density, -c.pixels_in(5), axis=0)
    top = np.clip(0.62 + 0.55 * (density - lower) + 0.10 * density, 0, 1)
    white = rgb((1.0, 1.0, 1.0)) * rgb(light.surface)
    if light.dark:
        bright, shadow = rgb((0.26, 0.32, 0.46)), rgb((0.07, 0.10, 0.20))
    elif c.facts.weather in ("rain", "storm"):
        bright, shadow = mix(white, (0.45, 0.47, 0.52), 0.6), rgb((0.22, 0.23, 0.28))
    else:
        bright, shadow = mix(white, light.glow, 0.55), mix(light.zenith, light.horizon, 0.55)
    c.image = mix(c.image, mix(shadow, bright, top), np.clip(amount * 0.92, 0, 1))


def _lightning(c: Canvas) -> None:
    rng = c.rng
    x, y = float(rng.uniform(0.2, 0.8) * SIZE), 0.12 * c.horizon
    points = [(x, y)]
    while y < c.horizon - 4:
        x, y = x + float(rng.normal(0, 9)), y + float(rng.uniform(7, 15))
        points.append((x, min(y, c.horizon)))
    mask = c.zeros(np.uint8)
    cv2.polylines(mask, [c.sixteenths(np.array(points))], False, 255, c.pixels_in(3), cv2.LINE_AA, 4)
    glow = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 14 * c.scale) * 3
    c.image = np.clip(c.image + glow[..., None] * rgb((0.55, 0.5, 0.85)), 0, 1)
    c.over(mask.astype(np.float32) / 255, (1.0, 0.97, 1.0), 0.0)
    c.note("lightning")


def paint_sky(c: Canvas, clouds: float | None = None) -> None:
    """Paint the sky over the whole picture; ``clouds`` overrides the cloud cover of the weather."""
    place, c.rng = c.rng, c.sky
    rng, light = c.rng, c.light
    shift = rng.normal(0, 0.025, 3).astype(np.float32)
    zenith, middle, low = (np.clip(rgb(k) + shift, 0, 1)
                           for k in (light.zenith, light.middle, light.horizon))  # fmt: skip
    weather = c.facts.weather
    if weather in ("rain", "storm", "snow", "fog"):
        grey = rgb((0.70, 0.72, 0.76)) if weather in ("fog", "snow") else rgb((0.42, 0.45, 0.50))
        grey = grey * mix((1.0, 1.0, 1.0), light.surface, 0.8)
        zenith, middle, low = (mix(k, grey, 0.62) for k in (zenith, middle, low))
        c.surface = mix(c.surface, np.full(3, c.surface.mean(), np.float32) * 0.88, 0.6)
    c.haze = low
    c.fog = {"fog": 0.8, "snow": 0.35, "rain": 0.3}.get(weather, 0.0)
    height = np.clip(c.y / max(c.horizon, 40), 0, 1)[:, 0]
    column = ramp(height**1.1, [zenith, middle, low])
    c.image = np.repeat(column[:, None], c.side, axis=1)

    c.sun_y = c.horizon - float(rng.uniform(*light.sun_height)) * SIZE * min(1, c.horizon / 130)
    open_sky = weather in ("", "cloudy", "clear")
    if light.dark and open_sky:
        if rng.random() < 0.12:  # the Milky Way: a soft slanted band
            slope, start = rng.uniform(-1.5, 1.5), rng.uniform(0.2, 0.8) * SIZE
            band = np.exp(-(((c.x - start) - slope * (c.y - 60)) ** 2) / (2 * 26.0**2))
            band = band * (0.6 + 0.25 * c.noise(rng, 2.9)) * smooth((c.horizon - c.y) / 90)
            tint = jitter(rng, (0.50, 0.46, 0.66), 0.08)
            c.image = np.clip(c.image + np.clip(band, 0, 1)[..., None] * tint * 0.8, 0, 1)
            c.note("milky way")
        paint_stars(c, int(rng.integers(25, 60)), c.horizon)
        c.note("stars")
        if rng.random() < 0.6:
            c.sun_visible = True
            _moon(c, c.sun_x, max(c.sun_y, 30.0), float(rng.uniform(15, 27)) * c.sun_scale)
            c.sun_y = max(c.sun_y, 30.0)
        if rng.random() < 0.18:  # aurora: curtains hanging from a wavy line
            line = c.horizon * (0.35 + 0.35 * c.profile(rng, 3.4))
            down = (c.y - line) / (0.4 * c.horizon)
            curtain = np.exp(-np.abs(down) * np.where(down > 0, 6, 1.8)) * (0.5 + 0.5 * c.profile(rng, 1.6))
            tint = mix((0.15, 0.95, 0.55), (0.55, 0.25, 0.9), np.clip(-down, 0, 1))
            c.image = np.clip(c.image + tint * curtain[..., None] * 0.75, 0, 1)
            c.note("aurora")
    elif not light.dark and light.sun_height[0] > -0.1 and open_sky:
        radius = np.hypot(c.x - c.sun_x, (c.y - c.sun_y) * 1.15)
        wide = np.exp(-radius / rng.uniform(40, 80))
        c.image = mix(c.image, light.glow, wide * 0.75)
        if rng.random() < 0.75 or c.facts.time == "sunset":
            size = (rng.uniform(10, 15) if c.facts.time == "day" else rng.uniform(14, 28)) * c.sun_scale
            c.image = mix(c.image, light.sun, np.exp(-np.maximum(radius - size, 0) / 9) * 0.6)
            c.over(c.disc(c.sun_x, c.sun_y, float(size)), light.sun, 0.0)
            c.sun_visible = True
            if c.sun_y + size * 0.3 < c.horizon:
                c.note("sun")
    cover = {"cloudy": 0.62, "rain": 0.95, "storm": 0.95, "fog": 0.1, "snow": 0.6}.get(weather, 0.1)
    if clouds is not None:
        cover = clouds
    if cover > 0.2:
        _clouds(c, cover + float(rng.uniform(-0.12, 0.12)))
    if weather == "storm":
        _lightning(c)
    c.rng = place
