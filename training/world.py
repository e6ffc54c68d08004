"""A procedural world: 256x256 pictures with honest captions and true inverse depth.

``draw(seed, index)`` is a pure function of its two numbers.  A picture is painted back to front on a
``Canvas`` (sky, far layers, near layers), so every brush stroke also knows how near it is; what was
painted is noted in ``Facts``, from which `training.captions` writes the captions.

The world is small on purpose: each scene is a few `PLACES`, each sky one of `SKIES`, and pictures differ in which
of them meet, in time of day, weather, palette, style, and in how near one stands.  A small model learns places by heart
and draws them clearly; of a world where every mountain is a new one it learns the average mountain, which is fog.

Convention: images are RGB, float32 in [0, 1] while painting and uint8 when done, shape (H, W, 3);
inverse depth is float32 (H, W), 0 infinitely far and 1 at the camera's feet; x to the right, y down, in
pixels of the 256 px picture.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256
Float = NDArray[np.float32]
Colour = tuple[float, float, float]

_X: Float = np.arange(SIZE, dtype=np.float32)
_Y: Float = _X[:, None]


@dataclass
class Facts:
    """What a picture shows, in words that `training.captions` knows."""

    scene: str = ""
    time: str = ""
    weather: str = ""
    palette: str = ""
    style: str = ""
    things: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """One drawn picture: ``image`` uint8 (H, W, 3) RGB, ``inverse_depth`` float32 (H, W), and its facts."""

    image: NDArray[np.uint8]
    inverse_depth: Float
    facts: Facts


@dataclass(frozen=True)
class Light:
    """The light of one time of day: sky gradient from top to horizon, glow at the sun, light on surfaces."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    glow: Colour
    sun: Colour
    surface: Colour
    sun_height: tuple[float, float]  # above the horizon, in picture heights
    dark: bool = False


LIGHTS: dict[str, Light] = {
    "dawn": Light((0.38, 0.50, 0.74), (0.74, 0.68, 0.78), (1.00, 0.78, 0.66), (1.0, 0.80, 0.62),
                  (1.0, 0.93, 0.78), (0.84, 0.74, 0.76), (0.02, 0.16)),
    "day": Light((0.20, 0.45, 0.84), (0.42, 0.66, 0.93), (0.78, 0.89, 0.97), (1.0, 1.0, 0.92),
                 (1.0, 1.0, 0.90), (1.0, 0.98, 0.94), (0.25, 0.45)),
    "golden": Light((0.36, 0.52, 0.74), (0.82, 0.76, 0.66), (1.00, 0.82, 0.50), (1.0, 0.80, 0.42),
                    (1.0, 0.95, 0.72), (1.0, 0.83, 0.58), (0.08, 0.24)),
    "sunset": Light((0.26, 0.22, 0.46), (0.82, 0.38, 0.40), (1.00, 0.62, 0.26), (1.0, 0.55, 0.22),
                    (1.0, 0.86, 0.50), (0.74, 0.48, 0.42), (0.02, 0.15)),
    "dusk": Light((0.12, 0.14, 0.36), (0.34, 0.28, 0.54), (0.84, 0.52, 0.58), (0.9, 0.5, 0.5),
                  (0.9, 0.6, 0.5), (0.42, 0.38, 0.56), (-0.3, -0.2)),
    "night": Light((0.02, 0.04, 0.14), (0.06, 0.10, 0.26), (0.16, 0.24, 0.42), (0.4, 0.5, 0.7),
                   (0.95, 0.96, 0.88), (0.40, 0.48, 0.72), (0.25, 0.50), dark=True),
}  # fmt: skip

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


# --- noise -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _tile(exponent: float, number: int) -> Float:
    """A seamless 512x512 field with power spectrum 1/f^exponent, mean 0, deviation 1."""
    rng = np.random.default_rng([7, int(exponent * 100), number])
    fy, fx = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None]
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((512, 512))) * radius ** (-exponent / 2)
    # Waves longer than half a tile would make one crop all dark and the next all bright.
    spectrum *= radius > 1.5 / 512
    tile = np.fft.irfft2(spectrum)
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def noise(rng: np.random.Generator, exponent: float) -> Float:
    """A random 256x256 cut of a noise field; a higher exponent is smoother (2 rough, 3.4 soft)."""
    tile = _tile(exponent, int(rng.integers(6)))
    y, x = rng.integers(0, 256, 2)
    cut = tile[y : y + SIZE, x : x + SIZE]
    return cut[:, ::-1] if rng.random() < 0.5 else cut


def _profile(rng: np.random.Generator, exponent: float, lowest: float = 0.7) -> Float:
    """A 1-D line of 1/f^exponent noise over the picture's width, between 0 and 1."""
    frequency = np.fft.rfftfreq(512)
    frequency[0] = np.inf
    amplitude = np.where(frequency * 512 >= lowest, frequency ** (-exponent / 2), 0)
    line = np.fft.irfft(np.fft.rfft(rng.standard_normal(512)) * amplitude)[:SIZE]
    return ((line - line.min()) / (np.ptp(line) + 1e-6)).astype(np.float32)


def _ground_noise(rng: np.random.Generator, horizon: float, exponent: float, across: float, along: float) -> Float:
    """Noise lying on the ground plane, in perspective: finer and flatter towards the horizon (row)."""
    distance = 1 / np.maximum((_Y - horizon) / SIZE, 0.004)
    x0, y0 = rng.uniform(0, 512, 2)
    u = (_X - SIZE / 2) * distance * across * 0.25 + x0
    v = np.broadcast_to(distance * along * 16 + y0, u.shape)
    tile = _tile(exponent, int(rng.integers(6)))
    waves = cv2.remap(
        tile, (u % 512).astype(np.float32), (v % 512).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    fade = np.clip((_Y - horizon) / (0.16 * SIZE), 0, 1)  # beyond, one pixel covers many waves
    return np.asarray(waves * fade, dtype=np.float32)


# --- colour ------------------------------------------------------------------------------------------


def _rgb(colour: Colour | Float) -> Float:
    return np.asarray(colour, dtype=np.float32)


def mix(a: Colour | Float, b: Colour | Float, amount: float | Float) -> Float:
    """``a`` at amount 0, ``b`` at 1; a (H, W) or (H, 1) amount is spread over the channels."""
    amount = np.asarray(amount, dtype=np.float32)
    if amount.ndim:
        amount = amount[..., None]
    return np.asarray(_rgb(a) * (1 - amount) + _rgb(b) * amount, dtype=np.float32)


def _jitter(rng: np.random.Generator, colour: Colour | Float, spread: float = 0.04) -> Float:
    return np.clip(_rgb(colour) + rng.normal(0, spread, 3).astype(np.float32), 0, 1)


def smooth(x: float | Float) -> Float:
    """Smoothstep of x clipped to [0, 1]."""
    x = np.clip(np.asarray(x, dtype=np.float32), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), dtype=np.float32)


def _ramp(values: Float, stops: list[Float]) -> Float:
    """Colours (..., 3) of values in [0, 1] along evenly spaced stops."""
    position = np.clip(values, 0, 1) * (len(stops) - 1)
    table = np.stack(stops)
    left = np.minimum(position.astype(np.int32), len(stops) - 2)
    part = (position - left)[..., None]
    return np.asarray(table[left] * (1 - part) + table[left + 1] * part, dtype=np.float32)


# --- the canvas --------------------------------------------------------------------------------------


class Canvas:
    """A picture being painted back to front, and the weather and light that all layers share."""

    def __init__(
        self, rng: np.random.Generator, time: str, horizon: float, sky: np.random.Generator | None = None
    ) -> None:
        """``rng`` draws the place, ``sky`` what is above it; one for both where none is given."""
        self.rng = rng
        self.sky = sky or rng
        self.facts = Facts(time=time)
        self.light = LIGHTS[time]
        self.horizon = horizon
        self.image: Float = np.zeros((SIZE, SIZE, 3), np.float32)
        self.inverse_depth: Float = np.zeros((SIZE, SIZE), np.float32)
        self.surface = _jitter(rng, self.light.surface, 0.03)
        self.haze = _rgb(self.light.horizon)
        self.sun_x = float(rng.uniform(0.15, 0.85) * SIZE)
        self.sun_y = 0.0
        self.sun_visible = False
        self.fog = 0.0

    def over(self, mask: Float, colour: Colour | Float, inverse_depth: float | Float) -> None:
        """Paint ``colour`` where ``mask`` (H, W) is 1."""
        self.image = mix(self.image, colour, mask)
        self.inverse_depth = np.where(mask > 0.5, np.float32(inverse_depth), self.inverse_depth)

    def lit(self, albedo: Colour | Float, far: float, shade: float | Float = 1.0) -> Float:
        """A surface's colour in this light: shaded, then veiled by haze (``far`` 0 near, 1 at the horizon)."""
        shade = np.asarray(shade, dtype=np.float32)
        colour = _rgb(albedo) * self.surface * (shade[..., None] if shade.ndim else shade)
        return mix(colour, self.haze, min(1.0, far * (0.75 + 0.6 * self.fog) + 0.25 * self.fog))

    def ground_depth(self, near: float = 1.0) -> Float:
        """Inverse depth (H, W) of the ground plane below the horizon."""
        rows = np.clip((_Y - self.horizon) / (SIZE - self.horizon), 0, 1) * near
        return np.broadcast_to(rows, (SIZE, SIZE)).astype(np.float32)

    def note(self, *things: str) -> None:
        self.facts.things += things


def disc(x: float, y: float, radius: float) -> Float:
    return np.clip(radius - np.hypot(_X - x, _Y - y) + 0.5, 0, 1).astype(np.float32)


def polygon(points: list[tuple[float, float]] | NDArray[np.float64]) -> Float:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    corners = np.round(np.asarray(points) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


# --- sky ---------------------------------------------------------------------------------------------


def _stars(c: Canvas, count: int, below: float) -> None:
    stars = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(count):
        x, y = c.rng.uniform(0, SIZE), c.rng.uniform(0, below)
        bright, radius = c.rng.uniform(0.6, 1.0), c.rng.choice([1.0, 1.5, 2.2], p=[0.4, 0.4, 0.2])
        x0, y0 = int(x), int(y)
        ys, xs = slice(max(y0 - 5, 0), y0 + 6), slice(max(x0 - 5, 0), x0 + 6)
        spot = np.exp(-((_X[xs] - x) ** 2 + (_Y[ys] - y) ** 2) / (radius * radius))
        stars[ys, xs] = np.maximum(stars[ys, xs], spot * bright)
    c.image = np.maximum(c.image, stars[..., None] * _rgb((1.0, 0.98, 0.92)))


def _moon(c: Canvas, x: float, y: float, radius: float) -> None:
    glow = np.exp(-np.hypot(_X - x, _Y - y) / (radius * 1.8))
    c.image = np.clip(c.image + glow[..., None] * _rgb((0.30, 0.32, 0.36)), 0, 1)
    spots = np.clip(0.93 + 0.06 * noise(c.rng, 3.0), 0.7, 1)
    moon = _rgb((0.98, 0.96, 0.86)) * spots[..., None]
    mask = disc(x, y, radius)
    if c.rng.random() < 0.35:
        mask = mask * (1 - disc(x + radius * 0.55, y - radius * 0.2, radius * 0.95))
        c.note("crescent moon")
    else:
        c.note("moon")
    c.over(mask, moon, 0.0)


def _clouds(c: Canvas, cover: float) -> None:
    """Clouds as noise on a plane overhead: flat and small near the horizon."""
    rng, light = c.rng, c.light
    distance = 1 / np.maximum((c.horizon - _Y) / SIZE + 0.35, 0.35)
    x0, y0 = rng.uniform(0, 512, 2)
    u = (_X - SIZE / 2) * distance * 0.5 + x0
    v = np.broadcast_to(distance * 84 + y0, u.shape)
    tile = _tile(3.6, int(rng.integers(6)))
    density = cv2.remap(tile, (u % 512).astype(np.float32), (v % 512).astype(np.float32),
                        cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)  # fmt: skip
    amount = smooth((density - 1.1 + 1.9 * cover) * 0.95) * smooth((c.horizon - _Y) / 26)
    lower = np.roll(density, -5, axis=0)
    top = np.clip(0.62 + 0.55 * (density - lower) + 0.10 * density, 0, 1)
    white = _rgb((1.0, 1.0, 1.0)) * _rgb(light.surface)
    if light.dark:
        bright, shadow = _rgb((0.26, 0.32, 0.46)), _rgb((0.07, 0.10, 0.20))
    elif c.facts.weather in ("rain", "storm"):
        bright, shadow = mix(white, (0.45, 0.47, 0.52), 0.6), _rgb((0.22, 0.23, 0.28))
    else:
        bright, shadow = mix(white, light.glow, 0.55), mix(light.zenith, light.horizon, 0.55)
    c.image = mix(c.image, mix(shadow, bright, top), np.clip(amount * 0.92, 0, 1))


def paint_sky(c: Canvas, clouds: float | None = None) -> None:
    place, c.rng = c.rng, c.sky
    rng, light = c.rng, c.light
    shift = rng.normal(0, 0.025, 3).astype(np.float32)
    zenith, middle, low = (np.clip(_rgb(k) + shift, 0, 1)
                           for k in (light.zenith, light.middle, light.horizon))  # fmt: skip
    weather = c.facts.weather
    if weather in ("rain", "storm", "snow", "fog"):
        grey = _rgb((0.70, 0.72, 0.76)) if weather in ("fog", "snow") else _rgb((0.42, 0.45, 0.50))
        grey = grey * mix((1.0, 1.0, 1.0), light.surface, 0.8)
        zenith, middle, low = (mix(k, grey, 0.62) for k in (zenith, middle, low))
        c.surface = mix(c.surface, np.full(3, c.surface.mean(), np.float32) * 0.88, 0.6)
    c.haze = low
    c.fog = {"fog": 0.8, "snow": 0.35, "rain": 0.3}.get(weather, 0.0)
    height = np.clip(_Y / max(c.horizon, 40), 0, 1)[:, 0]
    column = _ramp(height**1.1, [zenith, middle, low])
    c.image = np.repeat(column[:, None], SIZE, axis=1)

    c.sun_y = c.horizon - float(rng.uniform(*light.sun_height)) * SIZE * min(1, c.horizon / 130)
    open_sky = weather in ("", "cloudy", "clear")
    if light.dark and open_sky:
        if rng.random() < 0.12:  # the Milky Way: a soft slanted band
            slope, start = rng.uniform(-1.5, 1.5), rng.uniform(0.2, 0.8) * SIZE
            band = np.exp(-(((_X - start) - slope * (_Y - 60)) ** 2) / (2 * 26.0**2))
            band = band * (0.6 + 0.25 * noise(rng, 2.9)) * smooth((c.horizon - _Y) / 90)
            tint = _jitter(rng, (0.50, 0.46, 0.66), 0.08)
            c.image = np.clip(c.image + np.clip(band, 0, 1)[..., None] * tint * 0.8, 0, 1)
            c.note("milky way")
        _stars(c, int(rng.integers(25, 60)), c.horizon)
        c.note("stars")
        if rng.random() < 0.6:
            c.sun_visible = True
            _moon(c, c.sun_x, max(c.sun_y, 30.0), float(rng.uniform(15, 27)))
            c.sun_y = max(c.sun_y, 30.0)
        if rng.random() < 0.18:  # aurora: curtains hanging from a wavy line
            line = c.horizon * (0.35 + 0.35 * _profile(rng, 3.4))
            down = (_Y - line) / (0.4 * c.horizon)
            curtain = np.exp(-np.abs(down) * np.where(down > 0, 6, 1.8)) * (0.5 + 0.5 * _profile(rng, 1.6))
            tint = mix((0.15, 0.95, 0.55), (0.55, 0.25, 0.9), np.clip(-down, 0, 1))
            c.image = np.clip(c.image + tint * curtain[..., None] * 0.75, 0, 1)
            c.note("aurora")
    elif not light.dark and light.sun_height[0] > -0.1 and open_sky:
        radius = np.hypot(_X - c.sun_x, (_Y - c.sun_y) * 1.15)
        wide = np.exp(-radius / rng.uniform(40, 80))
        c.image = mix(c.image, light.glow, wide * 0.75)
        if rng.random() < 0.75 or c.facts.time == "sunset":
            size = rng.uniform(10, 15) if c.facts.time == "day" else rng.uniform(14, 28)
            c.image = mix(c.image, light.sun, np.exp(-np.maximum(radius - size, 0) / 9) * 0.6)
            c.over(disc(c.sun_x, c.sun_y, float(size)), light.sun, 0.0)
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


def _lightning(c: Canvas) -> None:
    rng = c.rng
    x, y = float(rng.uniform(0.2, 0.8) * SIZE), 0.12 * c.horizon
    points = [(x, y)]
    while y < c.horizon - 4:
        x, y = x + float(rng.normal(0, 9)), y + float(rng.uniform(7, 15))
        points.append((x, min(y, c.horizon)))
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(mask, [np.round(np.array(points) * 16).astype(np.int32)], False, 255, 3, cv2.LINE_AA, 4)
    glow = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 14) * 3
    c.image = np.clip(c.image + glow[..., None] * _rgb((0.55, 0.5, 0.85)), 0, 1)
    c.over(mask.astype(np.float32) / 255, (1.0, 0.97, 1.0), 0.0)
    c.note("lightning")


# --- trees and houses --------------------------------------------------------------------------------


def _pine_shape(rng: np.random.Generator, x: float, base: float, height: float) -> NDArray[np.float64]:
    """A conifer's outline: tiers of branches widening towards the ground."""
    tiers = 6
    left, right = [], []
    for k in range(tiers):
        top = base - height * (1 - k / tiers * 0.92)
        low = base - height * (1 - (k + 1.25) / tiers * 0.88)
        width = height * 0.235 * (k + 1.3) / tiers * rng.uniform(0.85, 1.15)
        left += [(x - width * 0.28 * (k > 0), top), (x - width, low)]
        right += [(x + width * 0.28 * (k > 0), top), (x + width, low)]
    return np.array([*left, (x - height * 0.03, base), (x + height * 0.03, base), *right[::-1]])


def _pines(c: Canvas, ground: Float, heights: tuple[float, float], count: int, albedo: Colour | Float,
           far: float, near: float) -> None:  # fmt: skip
    """A stand of conifers rooted on the line ``ground`` (W,)."""
    rng = c.rng
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for x in rng.uniform(-8, SIZE + 8, count):
        base = float(ground[int(np.clip(x, 0, SIZE - 1))]) + 3
        shape = _pine_shape(rng, float(x), base, float(rng.uniform(*heights)))
        cv2.fillPoly(mask, [np.round(shape * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    shade = 0.85 + 0.16 * noise(rng, 2.9)
    c.over(mask.astype(np.float32) / 255, c.lit(albedo, far, shade), near)


def _round_tree(c: Canvas, x: float, base: float, height: float, albedo: Colour | Float, far: float,
                near: float) -> None:  # fmt: skip
    """A broadleaf tree: a trunk and a crown of overlapping discs lit from the sun's side."""
    rng = c.rng
    trunk = [(x - height * 0.045, base), (x - height * 0.025, base - height * 0.5),
             (x + height * 0.025, base - height * 0.5), (x + height * 0.045, base)]  # fmt: skip
    c.over(polygon(trunk), c.lit((0.30, 0.20, 0.14), far), near)
    side = 1 if c.sun_x > x else -1
    crown = np.zeros((SIZE, SIZE), np.float32)
    light = np.zeros((SIZE, SIZE), np.float32)
    y0, r0 = base - height * 0.66, height * 0.2
    for _ in range(9):
        angle, out = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.0)
        cx, cy = x + math.cos(angle) * r0 * 1.15 * out, y0 + math.sin(angle) * r0 * 0.85 * out
        clump = disc(cx, cy, r0 * float(rng.uniform(0.55, 0.85)))
        crown = np.maximum(crown, clump)
    light = ((_X - x) * side - (_Y - y0)) / (r0 * 2.6)
    shade = np.clip(0.82 + 0.28 * light + 0.16 * noise(rng, 2.9), 0.4, 1.35)
    c.over(crown, c.lit(albedo, far, shade), near)


def _palm(c: Canvas, x: float, base: float, height: float, near: float) -> None:
    rng = c.rng
    lean = float(rng.uniform(-0.35, 0.35)) * height
    steps = np.linspace(0, 1, 9)
    spine = np.stack([x + lean * steps**2, base - height * steps], axis=1)
    half = height * 0.03 * (1 - 0.45 * steps)
    trunk = np.concatenate([spine - np.stack([half, half * 0], 1), (spine + np.stack([half, half * 0], 1))[::-1]])
    dark = c.lit((0.36, 0.26, 0.17), 0.05)
    c.over(polygon(trunk), dark, near)
    top = spine[-1]
    fronds = np.zeros((SIZE, SIZE), np.uint8)
    for angle in np.linspace(-0.15, math.pi + 0.15, 8) + rng.normal(0, 0.1, 8):
        reach = height * float(rng.uniform(0.36, 0.48))
        along = np.linspace(0, 1, 8)
        px = top[0] + math.cos(angle) * reach * along
        py = top[1] - math.sin(angle) * reach * along * 0.75 + reach * 0.75 * along**2
        width = reach * 0.09 * np.sin(np.pi * np.clip(along * 0.9 + 0.1, 0, 1))
        leaf = np.concatenate([np.stack([px, py - width], 1), np.stack([px, py + width], 1)[::-1]])
        cv2.fillPoly(fronds, [np.round(leaf * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    shade = 0.9 + 0.12 * noise(rng, 2.9)
    c.over(fronds.astype(np.float32) / 255, c.lit((0.20, 0.42, 0.18), 0.03, shade), near)


def _house(c: Canvas, x: float, base: float, width: float, far: float, near: float) -> None:
    rng = c.rng
    high, deep = width * 0.62, width * 0.5
    wall = _jitter(rng, (0.90, 0.84, 0.74), 0.06)
    roof = _jitter(rng, [(0.62, 0.22, 0.16), (0.36, 0.30, 0.32), (0.55, 0.36, 0.22)][int(rng.integers(3))])
    c.over(polygon([(x, base), (x, base - high), (x + width, base - high), (x + width, base)]),
           c.lit(wall, far), near)  # fmt: skip
    c.over(polygon([(x - width * 0.12, base - high), (x + width * 0.2, base - high - deep),
                     (x + width * 0.8, base - high - deep), (x + width * 1.12, base - high)]),
           c.lit(roof, far), near)  # fmt: skip
    glass = _rgb((1.0, 0.82, 0.42)) if c.light.dark or c.facts.time == "dusk" else c.lit((0.28, 0.34, 0.42), far)
    for k in (0.16, 0.62):
        x0, y0, s = x + width * k, base - high * 0.75, width * 0.22
        c.over(polygon([(x0, y0), (x0 + s, y0), (x0 + s, y0 + s), (x0, y0 + s)]), glass, near)
    c.note("house")


# --- layers of land and water ------------------------------------------------------------------------


def _peak(c: Canvas, x: float, top: float, base: float, half: float, far: float, near: float,
          albedo: Float, snow: float) -> None:  # fmt: skip
    """A peak with its summit at (x, top), ``half`` wide to each side at row ``base``: a light and a dark flank, a cap.

    ``snow`` is the share of its height that is white.
    """
    rng = c.rng
    down = np.clip((_Y - top) / (base - top), 0, 1.2)  # 0 at the summit, 1 at the foot
    wave = 2 * _profile(rng, 2.6, 1.2)[:, None] - 1
    ridge = x + half * down * (0.12 + 0.28 * wave)
    left = x - half * rng.uniform(0.8, 1.2) * down + 0.08 * half * np.roll(wave, 70, 0) * np.sin(np.pi * down)
    right = x + half * rng.uniform(0.8, 1.2) * down + 0.08 * half * np.roll(wave, 140, 0) * np.sin(np.pi * down)
    mask = np.clip(np.minimum(_X - left, right - _X) / 1.2 + 0.5, 0, 1) * (top < _Y)
    across = np.clip((_X - ridge) / np.maximum(half * down, 1), -1.5, 1.5)
    light = np.tanh((_X - ridge) / 2.5) * (1 if c.sun_x > x else -1)
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


def _range(c: Canvas, top: float, base: float, far: float, near: float, albedo: Float, snow: float, peaks: int) -> None:
    """Peaks side by side, the highest in front of the others; its summit is at row ``top``."""
    rng = c.rng
    places = (np.arange(peaks) + rng.uniform(0.2, 0.8, peaks)) / peaks * SIZE
    heights = rng.uniform(0.45, 0.8, peaks)
    heights[int(rng.integers(peaks))] = 1.0
    for k in np.argsort(heights):
        tall = float(base - top) * float(heights[k])
        half = tall * float(rng.uniform(0.75, 1.15))
        _peak(c, float(places[k]), base - tall, base, half, far, near, albedo, snow * float(heights[k]))


def _hill(c: Canvas, base: float, swell: float, far: float, near: tuple[float, float], albedo: Float,
          exponent: float = 4.2, texture: float = 0.04) -> Float:  # fmt: skip
    """A soft hill whose crest waves above row ``base``; returns the crest (W,)."""
    rng = c.rng
    crest = base + swell * (0.5 - _profile(rng, exponent, 0.8))
    mask = np.clip(_Y - crest + 0.5, 0, 1)
    slope = cv2.GaussianBlur(np.gradient(crest).reshape(1, -1), (0, 0), 12)[0]
    side = 1.0 if c.sun_x > SIZE / 2 else -1.0
    below = np.clip((_Y - crest) / 60, 0, 1)
    shade = 1.03 - 0.26 * below + 0.45 * np.clip(slope * side, -0.5, 0.5)
    shade = shade + texture * _ground_noise(rng, base - 0.5 * swell - 24, 2.9, 1.0, 9.0)
    shade = shade + 0.45 * texture * noise(rng, 2.9)
    depth = near[0] + (near[1] - near[0]) * np.clip((_Y - crest) / 90, 0, 1)
    c.over(mask, c.lit(albedo, far, np.clip(shade, 0.4, 1.35)), depth)
    return np.asarray(crest, dtype=np.float32)


def _water(c: Canvas, top: float, roughness: float, tint: Float, near: float = 1.0, mask: Float | None = None) -> None:
    """Water from row ``top`` down: the picture above mirrored, rippled, and tinted with the near rows."""
    rng = c.rng
    ripples = _ground_noise(rng, top, 2.9, 0.7, 7.0)
    swell = _ground_noise(rng, top, 2.9, 0.35, 2.2)
    nearness = np.clip((_Y - top) / (SIZE - top), 0, 1)
    bend = roughness * (2 + 34 * nearness) * (ripples + 0.6 * swell)
    rows = 2 * top - _Y - np.abs(bend) * 0.8 - bend * 0.5
    mirrored = cv2.remap(
        c.image,
        (_X + bend * 0.25 + 0 * _Y).astype(np.float32),
        np.clip(rows, 0, top).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    deep = tint * c.surface * (1 + 0.16 * (ripples + swell)[..., None])
    colour = mix(mirrored * np.float32(0.93), deep, np.clip(0.12 + roughness * 0.35 + 0.42 * nearness, 0, 0.85))
    if c.sun_visible and abs(c.sun_y) < top + 40:  # the glitter path under sun or moon
        width = 7 + 34 * nearness
        column = np.exp(-(((_X - c.sun_x) / width) ** 2))
        sparkle = smooth((ripples * 0.8 + 0.55) * 0.9) * column * (1 - 0.35 * nearness)
        strength = 0.55 if c.light.dark else 0.85
        if c.facts.time == "day":
            strength = 0.4
        colour = mix(colour, c.light.sun, sparkle * strength)
    colour = mix(colour, c.haze, c.fog * 0.5 * (1 - nearness))
    area = np.clip(_Y - top + 0.5, 0, 1) * np.ones_like(_X) if mask is None else mask
    c.over(np.asarray(area, dtype=np.float32), colour, nearness * near)


def _blossom(c: Canvas, x: float, y: float, radius: float, colour: Float, near: float, haze: float) -> None:
    """One flower seen from the front: round petals around a yellow heart, darker between the petals."""
    rng = c.rng
    count, turn = int(rng.integers(5, 8)), rng.uniform(0, 6)
    tall = rng.uniform(0.7, 1.0)
    petal, dark = c.lit(colour, haze), c.lit(colour * np.float32(0.72), haze)
    for tone, size in ((dark, 1.0), (petal, 0.86)):
        for k in range(count):
            angle = turn + k * 2 * math.pi / count
            px, py = x + 0.56 * radius * math.cos(angle), y + 0.56 * radius * tall * math.sin(angle)
            shape = ((px, py), (radius * 0.92 * size, radius * 0.62 * size), math.degrees(angle))
            cv2.ellipse(c.image, shape, tuple(float(v) for v in tone), -1, cv2.LINE_AA)
            cv2.ellipse(c.inverse_depth, shape, near, -1)
    heart = (0.99, 0.80, 0.22) if colour[0] + colour[1] < 1.75 else (0.80, 0.44, 0.10)
    cv2.circle(c.image, (round(x * 16), round(y * 16)), round(radius * 4.6),
               tuple(float(v) for v in c.lit(heart, haze)), -1, cv2.LINE_AA, 4)  # fmt: skip


def _scatter_flowers(c: Canvas, start: float, colours: list[Float], count: int) -> None:
    """Flowers over the ground from row ``start`` down, larger and sparser towards the camera."""
    rng = c.rng
    for part in np.sort(rng.random(count) ** 1.4):  # many far, few near
        y = start + 6 + float(part) * (SIZE - start)
        tint = np.clip(colours[int(rng.integers(len(colours)))] * rng.uniform(0.88, 1.1), 0, 1).astype(np.float32)
        x, near = float(rng.uniform(-6, SIZE + 6)), float(np.clip((y - c.horizon) / (SIZE - c.horizon), 0.05, 1))
        _blossom(c, x, y, 4.5 + 20 * float(part) ** 1.3, tint, near, 0.25 * (1 - float(part)))


# --- scenes ------------------------------------------------------------------------------------------

_GREENS: list[Colour] = [(0.34, 0.55, 0.22), (0.44, 0.58, 0.24), (0.28, 0.47, 0.24), (0.52, 0.60, 0.30)]
_SEAS: list[Colour] = [(0.06, 0.34, 0.48), (0.05, 0.26, 0.44), (0.10, 0.46, 0.52), (0.08, 0.22, 0.36)]


def _pick(rng: np.random.Generator, colours: list[Colour], spread: float = 0.03) -> Float:
    return _jitter(rng, colours[int(rng.integers(len(colours)))], spread)


def _mountains(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "mountains"
    paint_sky(c)
    rock = _pick(rng, [(0.44, 0.44, 0.50), (0.48, 0.42, 0.40), (0.38, 0.42, 0.48), (0.52, 0.44, 0.38)])
    snow = float(rng.uniform(0.35, 0.6)) if rng.random() < 0.7 or c.facts.weather == "snow" else 0.0
    top = float(rng.uniform(24, 60))
    if rng.random() < 0.6:
        _range(c, top + 34, h + 14, 0.75, 0.04, rock, snow * 0.8, 4)
    _range(c, top, h + 16, 0.3, 0.08, rock, snow, int(rng.integers(1, 4)))
    if snow:
        c.note("snow peaks")
    foot = float(h + rng.uniform(0, 12))
    kind = rng.choice(["lake", "pines", "meadow"], p=[0.4, 0.3, 0.3])
    if kind == "lake":
        _hill(c, foot - 4, 12, 0.3, (0.1, 0.14), _pick(rng, _GREENS) * 0.7)
        if rng.random() < 0.6:
            _pines(c, np.full(SIZE, foot + 1, np.float32), (16, 30), 22, (0.13, 0.25, 0.17), 0.2, 0.15)
            c.note("pine trees")
        _water(c, foot + 3, 0.10, _rgb((0.10, 0.30, 0.38)))
        c.note("lake")
        return
    grass = _pick(rng, _GREENS)
    if c.facts.weather == "snow":
        grass = _rgb((0.92, 0.94, 0.98))
    crest = _hill(c, foot, 22, 0.22, (0.12, 0.3), grass * 0.85)
    if kind == "pines":
        _pines(c, crest, (20, 36), 20, (0.15, 0.28, 0.18), 0.18, 0.3)
        crest = _hill(c, foot + 42, 30, 0.06, (0.4, 0.8), grass * 0.8)
        _pines(c, crest, (50, 100), 9, (0.10, 0.22, 0.14), 0.04, 0.6)
        c.note("pine trees")
    else:
        _hill(c, foot + 34, 24, 0.05, (0.35, 1.0), grass)
        if rng.random() < 0.4:
            _scatter_flowers(c, foot + 46, [_pick(rng, _FLOWERS_RGB)], 26)
            c.note("wildflowers")
        c.note("meadow")


def _sea(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "sea"
    paint_sky(c)
    if rng.random() < 0.3:
        side = float(rng.choice([0.0, 1.0]))
        island = _profile(rng, 2.6) * (np.clip(1 - np.abs(_X / SIZE - side) * 1.8, 0, 1) ** 0.7) * rng.uniform(26, 60)
        mask = np.clip(_Y - (h - island) + 0.5, 0, 1) * (island > 1)
        shade = 0.85 + 0.18 * noise(rng, 2.9)
        c.over(mask, c.lit(_pick(rng, [(0.36, 0.40, 0.34), (0.46, 0.42, 0.38)]), 0.4, shade), 0.05)
        c.note("island")
    _water(c, h, float(rng.uniform(0.35, 0.75)), _pick(rng, _SEAS))
    if rng.random() < 0.25:
        x, size = float(rng.uniform(0.2, 0.8) * SIZE), float(rng.uniform(24, 52))
        base = h + size * 0.22
        c.over(polygon([(x - size * 0.36, base - size * 0.1), (x + size * 0.36, base - size * 0.1),
                         (x + size * 0.24, base + size * 0.06), (x - size * 0.26, base + size * 0.06)]),
               c.lit((0.36, 0.22, 0.16), 0.1), 0.15)  # fmt: skip
        sail = c.lit((0.97, 0.95, 0.90), 0.1)
        c.over(polygon([(x, base - size), (x, base - size * 0.14), (x + size * 0.42, base - size * 0.14)]), sail, 0.15)
        c.over(polygon([(x - size * 0.05, base - size * 0.85), (x - size * 0.05, base - size * 0.14),
                         (x - size * 0.34, base - size * 0.14)]), sail * np.float32(0.9), 0.15)  # fmt: skip
        c.note("sailboat")
    if rng.random() < 0.55:
        c.facts.scene = "beach"
        tilt = float(rng.uniform(-0.28, 0.28))
        shore = h + (SIZE - h) * rng.uniform(0.42, 0.66) + tilt * (_X - SIZE / 2) + 9 * (_profile(rng, 3.2) - 0.5)
        mask = np.clip((_Y - shore) / 1.5 + 0.5, 0, 1)
        sand = _pick(rng, [(0.90, 0.79, 0.58), (0.93, 0.86, 0.70), (0.84, 0.70, 0.52)])
        shade = 1 + 0.07 * _ground_noise(rng, h, 2.9, 1.2, 4.0) + 0.03 * noise(rng, 2.9)
        wet = np.exp(-np.clip(_Y - shore, 0, None) / 10)
        colour = mix(c.lit(sand, 0.05, shade), c.lit(sand * np.float32(0.62), 0.05), wet)
        depth = c.ground_depth()
        c.over(np.asarray(mask, np.float32), colour, depth)
        for out, strength in ((0.0, 0.9), (-11.0, 0.6), (-24.0, 0.4)):
            line = shore + out + 3 * (_profile(rng, 2.6) - 0.5)
            foam = np.exp(-(((_Y - line) / (2.6 if out == 0 else 1.8)) ** 2))
            foam = foam * np.clip(0.75 + 0.3 * noise(rng, 2.9), 0, 1) * strength
            c.image = mix(c.image, c.lit((1.0, 1.0, 1.0), 0.0), np.asarray(foam, np.float32))
        if rng.random() < 0.4:
            x = float(rng.choice([rng.uniform(20, 70), rng.uniform(186, 236)]))
            for k in range(int(rng.integers(1, 3))):
                _palm(c, x + 26 * k, float(SIZE - rng.uniform(4, 34)), float(rng.uniform(105, 165)), 0.8)
            c.note("palm trees")


def _desert(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "desert"
    paint_sky(c)
    sand = _pick(rng, [(0.90, 0.66, 0.38), (0.86, 0.56, 0.32), (0.93, 0.76, 0.52), (0.80, 0.46, 0.28)])
    kind = rng.choice(["dunes", "mesas", "pyramids", "cactus"], p=[0.46, 0.2, 0.14, 0.2])
    side = 1.0 if c.sun_x > SIZE / 2 else -1.0
    if kind == "mesas":
        for _ in range(int(rng.integers(2, 5))):
            x, w, tall = rng.uniform(0, SIZE), rng.uniform(26, 62), rng.uniform(28, 62)
            points = [(x - w * 0.72, h + 4), (x - w * 0.5, h - tall * 0.45), (x - w * 0.44, h - tall),
                      (x + w * 0.44, h - tall), (x + w * 0.5, h - tall * 0.45), (x + w * 0.72, h + 4)]  # fmt: skip
            strata = 0.9 + 0.1 * np.sin(_Y / rng.uniform(2, 3.5)) + 0.2 * np.clip((_X - x) / w * side, -0.6, 0.6)
            c.over(polygon(points), c.lit((0.72, 0.36, 0.22), 0.25, strata + 0.05 * noise(rng, 2.9)), 0.08)
        c.note("rocky mesas")
    if kind == "pyramids":
        for k in range(int(rng.integers(1, 4))):
            x, tall = rng.uniform(0.15, 0.85) * SIZE, rng.uniform(44, 84) * (0.85**k)
            ridge, edge = x + side * tall * 0.25, tall * 1.0
            warm = _rgb((0.90, 0.72, 0.46))
            rows = 1 + 0.04 * np.sin(_Y * 1.6)
            c.over(polygon([(x - edge, h + 5), (x, h - tall), (ridge, h + 5)]),
                   c.lit(warm, 0.2, (0.72 if side > 0 else 1.08) * rows), 0.1)  # fmt: skip
            c.over(polygon([(ridge, h + 5), (x, h - tall), (x + edge, h + 5)]),
                   c.lit(warm, 0.2, (1.08 if side > 0 else 0.72) * rows), 0.1)  # fmt: skip
        c.note("pyramids")
    layers = 5 if kind == "dunes" else 3
    for k in range(layers):
        t = k / max(layers - 1, 1)
        base = h + (SIZE - h) * 0.72 * t**1.35 + (2 if kind != "dunes" else -6)
        swell = (10 + 46 * t) * (1.0 if kind == "dunes" else 0.45)
        crest = base + swell * (0.5 - _profile(rng, 4.4, 0.8))
        slope = np.gradient(crest)
        # The slip face: dark under the crest on the side away from the sun, with a curved border.
        below = np.clip((_Y - crest) / (14 + 60 * t), 0, 1)
        slope = cv2.GaussianBlur(slope.reshape(1, -1), (0, 0), 5)[0]
        # Downhill the border drifts sideways, or the shadow would hang like a curtain.
        along = np.clip(_X + below * (50 + 30 * noise(rng, 3.4)) * side, 0, SIZE - 1).astype(np.int32)
        lean = np.tanh(slope[along] * side * 3.0)
        shade = 1.04 + 0.42 * lean * np.exp(-1.8 * below) - 0.16 * below
        ripple = np.sin((_Y - crest) / (1.6 + 3.4 * t) + 1.2 * noise(rng, 3.4))
        shade = shade + (0.045 * t) * ripple + 0.02 * noise(rng, 2.9)
        mask = np.clip(_Y - crest + 0.5, 0, 1)
        depth = np.clip(0.06 + 0.94 * (t + 0.3 * below) ** 1.4 / 1.4, 0, 1)
        c.over(np.asarray(mask, np.float32), c.lit(sand, 0.5 * (1 - t) ** 1.4, np.clip(shade, 0.35, 1.3)), depth)
    if kind == "dunes":
        c.note("sand dunes")
    if kind == "cactus":
        for _ in range(int(rng.integers(2, 5))):
            t = float(rng.uniform(0.35, 1.0))
            x, base, tall = float(rng.uniform(14, 242)), h + (SIZE - h) * (0.2 + 0.72 * t), 30 + 78 * t
            _cactus(c, x, base, tall, t)
        c.note("cactus")


def _cactus(c: Canvas, x: float, base: float, tall: float, near: float) -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)

    def limb(*points: tuple[float, float], width: float) -> None:
        corners = np.round(np.array(points) * 16).astype(np.int32)
        cv2.polylines(mask, [corners], False, 255, max(2, round(width)), cv2.LINE_AA, 4)

    w = tall * 0.13
    limb((x, base), (x, base - tall), width=w)
    a = tall * 0.24
    limb((x, base - tall * 0.42), (x - a, base - tall * 0.46), (x - a, base - tall * 0.8), width=w * 0.75)
    limb((x, base - tall * 0.32), (x + a, base - tall * 0.36), (x + a, base - tall * 0.66), width=w * 0.75)
    shade = 0.95 + 0.14 * np.sin(_X * 6.28 / max(w * 0.4, 2.4))
    c.over(mask.astype(np.float32) / 255, c.lit((0.26, 0.44, 0.24), 0.1 * (1 - near), shade), 0.2 + 0.7 * near)


def _forest(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "forest"
    kind = rng.choice(["pines", "trunks", "autumn"], p=[0.45, 0.28, 0.27])
    if kind == "pines":
        paint_sky(c)
        green = _pick(rng, [(0.12, 0.30, 0.20), (0.16, 0.34, 0.20), (0.10, 0.28, 0.24)])
        if c.facts.weather == "snow":
            green = mix(green, (0.85, 0.9, 0.95), 0.35)
        ground = float(c.horizon - 8)
        for k in range(5):
            t = k / 4
            crest = _hill(
                c, ground, 10 + 14 * t, 0.62 * (1 - t), (0.1 + 0.18 * k, 0.2 + 0.2 * k), green * (1 + 0.35 * t)
            )
            _pines(c, crest, (16 + 40 * t, 28 + 84 * t), int(40 - 27 * t), green, 0.68 * (1 - t), 0.12 + 0.2 * k)
            if c.facts.weather == "fog" or t < 0.5:
                mist = np.exp(-(((_Y - ground - 14) / 16) ** 2)) * 0.35 * (1 - t)
                c.image = mix(c.image, c.haze, mist * np.ones_like(_X))
            ground += 16 + 26 * t
        c.note("pine trees")
        return
    _woods(c, autumn=kind == "autumn")


def _woods(c: Canvas, autumn: bool) -> None:
    """Inside a wood: ranks of trunks fading into bright air, leaves above, a floor with a path."""
    rng = c.rng
    c.horizon = h = float(rng.uniform(130, 160))
    paint_sky(c, clouds=0.0)
    c.facts.things = []  # the wood hides whatever was in the sky
    leaf = _pick(rng, [(0.86, 0.46, 0.12), (0.80, 0.28, 0.12), (0.90, 0.62, 0.16)] if autumn else
                 [(0.30, 0.50, 0.16), (0.22, 0.44, 0.20), (0.42, 0.56, 0.18)])  # fmt: skip
    bright = mix(c.haze, leaf * c.surface, 0.35)
    middle = np.exp(-(((_X - c.sun_x) / 120) ** 2) - ((_Y - h * 0.72) / 110) ** 2)
    c.image = mix(mix(leaf * c.surface * np.float32(0.62), c.haze, 0.22), bright, middle)
    c.haze = bright
    floor = leaf * np.float32(0.78) if autumn else _rgb((0.30, 0.36, 0.18))
    texture = 1 + 0.16 * _ground_noise(rng, h, 2.9, 1.6, 4.0) + 0.06 * noise(rng, 2.9)
    nearness = np.clip((_Y - h) / (SIZE - h), 0, 1)
    ground = mix(c.haze, c.lit(floor, 0.0, texture), np.clip(0.35 + nearness * 1.1, 0, 1))
    c.over(np.asarray(smooth((_Y - h) / 8) * np.ones_like(_X), np.float32), ground, c.ground_depth())
    if rng.random() < 0.5:
        bend = rng.uniform(-60, 60)
        centre = SIZE / 2 + bend * np.sin(nearness * 2.6) * (1 - nearness * 0.6)
        width = 4 + 62 * nearness
        path = smooth((width - np.abs(_X - centre)) / (2 + 9 * nearness)) * (nearness > 0)
        dirt = c.lit((0.62, 0.50, 0.36), 0.0, texture)
        c.image = mix(c.image, mix(c.haze, dirt, np.clip(0.4 + nearness, 0, 1)), path * 0.85)
        c.note("path")
    bark = _pick(rng, [(0.30, 0.22, 0.16), (0.24, 0.20, 0.18), (0.40, 0.33, 0.28)])
    for k in range(4):
        t = k / 3
        crown = noise(rng, 2.9) * (10 + 16 * t)
        edge = h * (0.62 - 0.30 * t) + crown + 20 * (_profile(rng, 2.8) - 0.5)
        shade = 0.82 + 0.22 * noise(rng, 2.9)
        trunks = np.zeros((SIZE, SIZE), np.uint8)
        for x in rng.uniform(0, SIZE, [11, 9, 6, 3][k]):
            if abs(x - SIZE / 2) < 20 + 40 * t and "path" in c.facts.things:
                continue
            w, base = 1.6 + 9.5 * t**1.3, h + 4 + (SIZE - h) * 0.62 * t**1.2
            lean = float(rng.normal(0, 4))
            outline = np.array([(x + lean - w * 0.7, -4), (x + lean + w * 0.7, -4), (x + w, base - 12),
                                (x + w * 1.7, base), (x - w * 1.7, base), (x - w, base - 12)])  # fmt: skip
            cv2.fillPoly(trunks, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        side = 0.9 + 0.1 * np.sin(_X / (1.2 + 1.5 * t)) + 0.08 * noise(rng, 2.9)
        c.over(trunks.astype(np.float32) / 255, c.lit(bark, 0.75 * (1 - t), side), 0.15 + 0.25 * k)
        mask = smooth((edge - _Y) / 5)
        c.over(mask, c.lit(leaf * np.float32(1.05 - 0.35 * t), 0.62 * (1 - t), shade), 0.1 + 0.2 * k)
    if not c.light.dark and rng.random() < 0.5:
        angle = (_X - c.sun_x) / (_Y + 60)
        rays = smooth(np.sin(angle * rng.uniform(14, 22) + rng.uniform(0, 6)) * 0.9) * middle
        c.image = np.clip(c.image + rays[..., None] * _rgb(c.light.glow) * np.float32(0.22), 0, 1)
        c.note("sunbeams")
    c.note("autumn leaves" if autumn else "tall trees")


def _hills(c: Canvas) -> None:
    rng, h = c.rng, c.horizon
    c.facts.scene = "hills"
    paint_sky(c)
    if rng.random() < 0.4:
        _range(c, h - rng.uniform(50, 80), h + 14, 0.6, 0.04, _rgb((0.42, 0.46, 0.56)), 0.35, 3)
        c.note("distant mountains")
    green = _pick(rng, _GREENS)
    if c.facts.weather == "snow":
        green = _rgb((0.93, 0.95, 0.99))
    c.facts.scene = "valley" if (valley := rng.random() < 0.4) else "hills"
    crests = []
    for k in range(4):
        t = k / 3
        tone = np.clip(green * (0.92 + 0.1 * ((k * 7) % 3)) + rng.normal(0, 0.02, 3), 0, 1).astype(np.float32)
        crest = _hill(
            c, h + (SIZE - h) * 0.62 * t**1.2, 22 + 30 * t, 0.48 * (1 - t), (0.1 + 0.2 * k, 0.25 + 0.25 * k), tone
        )
        crests.append(crest)
        if k < 3 and rng.random() < 0.7:
            for x in rng.uniform(0, SIZE, int(rng.integers(1, 5))):
                size = float(rng.uniform(0.8, 1.2)) * (22 + 34 * t)
                _round_tree(
                    c, float(x), float(crest[int(x)]) + 4, size, green * np.float32(0.6), 0.42 * (1 - t), 0.12 + 0.2 * k
                )
            if "trees" not in c.facts.things:
                c.note("trees")
        if k == 1 and rng.random() < 0.35:
            x = float(rng.uniform(30, 200))
            _house(c, x, float(crest[int(x)]) + 8, float(rng.uniform(34, 54)), 0.15, 0.4)
    if valley:
        water = rng.random() < 0.6
        nearness = np.clip((_Y - h - 14) / (SIZE - h - 14), 0, 1)
        centre = SIZE * rng.uniform(0.35, 0.65) + 46 * np.sin(nearness * rng.uniform(4, 7) + rng.uniform(0, 6)) * (
            1 - 0.3 * nearness
        )
        width = 1.5 + 40 * nearness**1.4
        mask = np.asarray(smooth((width - np.abs(_X - centre)) / 3) * (nearness > 0), np.float32)
        if water:
            mirror = c.image[np.clip(2 * int(h) - np.arange(SIZE), 0, SIZE - 1)]
            glitter = 1 + 0.12 * _ground_noise(rng, h, 2.9, 0.8, 6.0)
            colour = mix(mirror, _rgb((0.16, 0.36, 0.46)) * c.surface, 0.3) * glitter[..., None]
            c.note("river")
        else:
            colour = c.lit((0.74, 0.62, 0.44), 0.1, 1 + 0.1 * _ground_noise(rng, h, 2.9, 1.5, 4.0))
            c.note("path")
        c.over(mask, colour, c.ground_depth())
    elif rng.random() < 0.4:
        x = float(rng.uniform(50, 206))
        base = float(min(crests[-1][int(x)] + 26, 236))
        shade = [(0.30, 0.46, 0.18), (0.82, 0.44, 0.14), (0.92, 0.62, 0.70)][int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        _round_tree(c, x, base, float(rng.uniform(85, 140)), shade, 0.0, 0.85)
        c.note("lone tree" if shade[0] < 0.5 else "autumn tree" if shade[0] < 0.9 else "cherry tree")


FLOWERS: dict[str, Colour] = {
    "red": (0.90, 0.14, 0.14), "yellow": (0.99, 0.84, 0.18), "purple": (0.58, 0.34, 0.78),
    "pink": (0.95, 0.50, 0.68), "white": (0.98, 0.97, 0.94), "blue": (0.34, 0.44, 0.90),
    "orange": (0.97, 0.55, 0.14),
}  # fmt: skip
_FLOWERS_RGB = list(FLOWERS.values())


def _flowers(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "flower field"
    close = rng.random() < 0.3
    c.horizon = h = float(rng.uniform(40, 90) if close else rng.uniform(80, 130))
    paint_sky(c)
    if not close and rng.random() < 0.4:
        _range(c, h - rng.uniform(36, 60), h + 14, 0.6, 0.04, _rgb((0.42, 0.46, 0.56)), 0.35, 3)
        c.note("distant mountains")
    green = _pick(rng, _GREENS)
    _hill(c, h + 2, 14, 0.25, (0.1, 0.3), green * np.float32(0.8))
    shade = 0.85 + 0.1 * _ground_noise(rng, h, 3.0, 1.4, 5.0)
    ground = np.asarray(np.clip((_Y - h - 8) / 6, 0, 1) * np.ones_like(_X), np.float32)
    c.over(ground, c.lit(green * np.float32(0.75), 0.05, shade), c.ground_depth())
    names = list(rng.choice(list(FLOWERS), 2, replace=False))[: 1 if rng.random() < 0.65 else 2]
    tints = [_jitter(rng, FLOWERS[n], 0.03) for n in names]
    # Far flowers merge into a tint of their colour.
    far = np.clip((_Y - h - 8) / 8, 0, 1) * np.clip(1.2 - (_Y - h) / (0.55 * (SIZE - h)), 0, 1)
    c.image = mix(c.image, c.lit(tints[0], 0.2, 0.9), np.asarray(far * 0.6 * np.ones_like(_X), np.float32))
    if not close:
        _scatter_flowers(c, h + 10, tints, int(rng.integers(110, 170)))
        c.note(*[f"{n} flowers" for n in names])
        return
    _scatter_flowers(c, h + 6, tints, 40)
    for k in range(int(rng.integers(2, 5))):
        radius = float(rng.uniform(30, 56))
        x, y = float((k + rng.uniform(0.2, 0.8)) / 4 * SIZE), float(rng.uniform(70, 190))
        stem = [(x - 3, y), (x + 3, y), (x + 4 + rng.uniform(-14, 14), SIZE + 4), (x - 4, SIZE + 4)]
        c.over(polygon(stem), c.lit(green * np.float32(0.55), 0.0), 0.9)
        _blossom(c, x, y, radius, tints[k % len(tints)], 0.95, 0.0)
    c.note("close-up", *[f"{n} flowers" for n in names])


def _city(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "city"
    c.horizon = h = float(rng.uniform(150, 196))
    paint_sky(c)
    lights_on = c.light.dark or c.facts.time in ("dusk", "sunset")
    tone = _pick(rng, [(0.46, 0.50, 0.60), (0.60, 0.52, 0.48), (0.40, 0.48, 0.54)])
    envelope = 0.55 + 0.6 * np.exp(-(((_X - rng.uniform(70, 186)) / 70) ** 2))
    for k in range(2):
        x = float(rng.uniform(-14, 0))
        while x < SIZE:
            wide = float(rng.uniform(26, 46))
            tall = float(rng.uniform(0.45, 1.0) * (150 - 50 * k) * envelope[int(np.clip(x + wide / 2, 0, SIZE - 1))])
            _building(c, round(x), round(h - tall), round(wide), round(h) + 3, tone * (0.95 - 0.3 * k), k, lights_on)
            x += wide + float(rng.choice([0, 0, 3, 12]))
    if lights_on:
        c.note("lit windows")
    if rng.random() < 0.5:
        _water(c, h, 0.22, _pick(rng, _SEAS))
        c.note("water")
    else:
        nearness = np.clip((_Y - h) / (SIZE - h), 0, 1)
        road = c.lit((0.30, 0.30, 0.33), 0.1, 1 + 0.08 * noise(rng, 2.9))
        c.over(np.asarray(np.clip(_Y - h + 0.5, 0, 1) * np.ones_like(_X), np.float32), road, c.ground_depth())
        vanish, half = SIZE / 2 + rng.uniform(-40, 40), 6 + 150 * nearness
        verge = c.lit(_pick(rng, [(0.34, 0.46, 0.26), (0.50, 0.48, 0.46)]), 0.1, 1 + 0.1 * noise(rng, 2.9))
        c.image = mix(c.image, verge, smooth((np.abs(_X - vanish) - half) / 3) * (h < _Y))
        dash = smooth((1.0 + 7 * nearness - np.abs(_X - vanish)) / 2) * (np.sin(26 / (nearness + 0.13)) > 0) * (h < _Y)
        c.image = mix(c.image, c.lit((0.95, 0.90, 0.70), 0.05), np.asarray(dash * 0.8, np.float32))
        c.note("road")


def _building(c: Canvas, x: int, y: int, wide: int, base: int, tone: Float, rank: int, lights_on: bool) -> None:
    """One tower; those of rank 0 stand behind, hazy, and those of rank 1 in front, with large windows."""
    rng = c.rng
    x0, x1, y0 = max(x, 0), min(x + wide, SIZE), max(y, 6)
    if x1 <= x0 or base <= y0:
        return
    near = 0.1 + 0.15 * rank
    wall = c.lit(tone * np.float32(rng.uniform(0.85, 1.12)), 0.5 - 0.42 * rank) * np.float32(0.8 if c.light.dark else 1)
    block = np.empty((base - y0, x1 - x0, 3), np.float32)
    block[:] = wall
    side = max(4, wide // 4)
    if c.sun_x > x:
        block[:, :side] *= 0.78
    else:
        block[:, -side:] *= 0.78
    glass = _rgb((1.0, 0.84, 0.42)) if lights_on else mix(wall * np.float32(0.55), c.light.zenith, 0.35)
    if rank:
        share = float(rng.uniform(0.55, 0.85)) if lights_on else 1.0
        count = max(2, (wide - 4) // 11)
        gap = (wide - 4) / count
        for row in range(6, base - y0 - 10, 13):
            for k in range(count):
                if rng.random() < share:
                    left = round(2 + gap * k + (gap - 6) / 2)
                    block[row : row + 8, left : left + 6] = glass
    c.image[y0:base, x0:x1] = block
    c.inverse_depth[y0:base, x0:x1] = near
    roof = rng.random()
    middle = (x + x + wide) / 2
    if roof < 0.2:
        c.over(polygon([(x + 2, y0), (middle, y0 - wide * 0.7), (x + wide - 2, y0)]), wall * np.float32(0.88), near)
    elif roof < 0.4 and y0 > 30:
        c.over(polygon([(middle - 2, y0), (middle - 1, y0 - 24), (middle + 1, y0 - 24), (middle + 2, y0)]), wall, near)


def _space(c: Canvas) -> None:
    """Deep space: a nebula, stars, one or two planets."""
    rng = c.rng
    c.facts.scene = "space"
    c.facts.weather = c.facts.time = ""
    tint = [(0.55, 0.16, 0.62), (0.10, 0.36, 0.66), (0.66, 0.22, 0.28), (0.10, 0.52, 0.52)]
    names = ["purple", "blue", "red", "teal"]
    which = int(rng.integers(len(tint)))
    glow = smooth(0.4 + 0.4 * noise(rng, 3.6))
    strength = float(rng.choice([0.15, 0.8]))
    c.image = _rgb((0.02, 0.025, 0.07)) + glow[..., None] * _rgb(tint[which]) * np.float32(strength)
    _stars(c, int(rng.integers(25, 70)), SIZE)
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
    dx, dy = _X - x, _Y - y
    u = dx * math.cos(turn) + dy * math.sin(turn)
    v = (-dx * math.sin(turn) + dy * math.cos(turn)) / rng.uniform(0.35, 0.8)
    radius = np.hypot(u, v)
    arms = 0.5 + 0.5 * np.cos(2 * np.arctan2(v, u) - 3.6 * np.log(radius + 6) + 0.3 * noise(rng, 2.9))
    glow = np.exp(-radius / 38) * (0.3 + 0.9 * arms * np.clip(radius / 20, 0, 1)) + np.exp(-radius / 11)
    tint = mix(_jitter(rng, (0.55, 0.6, 1.0), 0.1), (1.0, 0.9, 0.72), np.exp(-radius / 26))
    c.image = np.clip(c.image + tint * np.clip(glow, 0, 1.2)[..., None], 0, 1)


PLANETS: dict[str, list[Colour]] = {
    "orange": [(0.70, 0.36, 0.20), (0.90, 0.66, 0.42), (0.98, 0.88, 0.70)],
    "blue": [(0.10, 0.26, 0.62), (0.24, 0.56, 0.84), (0.90, 0.96, 1.00)],
    "purple": [(0.36, 0.16, 0.46), (0.70, 0.42, 0.72), (0.96, 0.82, 0.92)],
    "green": [(0.10, 0.36, 0.34), (0.30, 0.66, 0.54), (0.90, 0.96, 0.80)],
    "red": [(0.46, 0.10, 0.08), (0.78, 0.30, 0.16), (0.96, 0.66, 0.40)],
    "grey": [(0.40, 0.40, 0.42), (0.64, 0.63, 0.62), (0.90, 0.89, 0.86)],
}


def _planet(c: Canvas, x: float, y: float, radius: float, light: float, ring: bool) -> str:
    """A planet lit from the angle ``light``; returns the name of its colour."""
    rng = c.rng
    dx, dy = (_X - x) / radius, (_Y - y) / radius
    r2 = dx * dx + dy * dy
    z = np.sqrt(np.clip(1 - r2, 0, 1))
    name = str(rng.choice(list(PLANETS)))
    stops = [_jitter(rng, k, 0.03) for k in PLANETS[name]]
    tilt = float(rng.uniform(-0.5, 0.5))
    across, up = dx * math.cos(tilt) + dy * math.sin(tilt), -dx * math.sin(tilt) + dy * math.cos(tilt)
    swirl = noise(rng, 3.4)
    if rng.random() < 0.55:  # gas giant: bands along the latitude
        bands = _profile(rng, 3.0, 4)[np.clip((up * 0.45 + 0.5) * SIZE + swirl * 5, 0, SIZE - 1).astype(np.int32)]
        surface = _ramp(bands, stops)
    else:
        surface = _ramp(0.5 + 0.3 * swirl + 0.04 * across, stops)
    shade = dx * math.cos(light) * 0.8 + dy * math.sin(light) * 0.8 + z * 0.45
    shade = smooth(shade * 0.9 + 0.3)
    colour = surface * (0.05 + shade[..., None])
    air = np.exp(-np.clip(np.sqrt(r2) - 1, 0, None) * 16) * (r2 > 1)
    c.image = np.clip(c.image + air[..., None] * stops[1] * np.float32(0.28), 0, 1)
    rim = np.clip((1 - np.sqrt(r2)) * radius + 0.5, 0, 1)
    near = np.clip(0.35 + radius / 140 + 0.2 * z, 0, 1)
    if not ring:
        c.over(rim, np.clip(colour, 0, 1), near)
        return name
    flat = float(rng.uniform(0.22, 0.4))
    around = np.hypot(across, up / flat)
    grooves = 0.75 + 0.25 * _profile(rng, 2.8, 4)[np.clip((around - 1.3) * 250, 0, SIZE - 1).astype(np.int32)]
    band = smooth((around - 1.35) * 14) * smooth((2.15 - around) * 14) * grooves
    tone = mix(stops[2], (0.9, 0.85, 0.75), 0.4)
    c.over(np.asarray(band * (up < 0), np.float32), tone * np.float32(0.8), near)
    c.over(rim, np.clip(colour, 0, 1), near)
    c.over(np.asarray(band * (up >= 0), np.float32), tone, near)
    return name


ABSTRACT_COLOURS: dict[str, Colour] = {
    "red": (0.86, 0.14, 0.16), "orange": (0.96, 0.54, 0.12), "yellow": (0.99, 0.86, 0.26),
    "green": (0.20, 0.62, 0.30), "teal": (0.08, 0.58, 0.60), "blue": (0.14, 0.32, 0.80),
    "purple": (0.48, 0.20, 0.70), "pink": (0.96, 0.50, 0.70), "black": (0.04, 0.04, 0.06),
    "white": (0.97, 0.97, 0.96), "gold": (0.84, 0.66, 0.26),
}  # fmt: skip


def _abstract(c: Canvas) -> None:
    rng = c.rng
    c.facts.scene = "abstract"
    c.facts.weather = c.facts.time = ""
    names = [str(n) for n in c.sky.choice(list(ABSTRACT_COLOURS), 2, replace=False)]
    stops = [_rgb(ABSTRACT_COLOURS[n]) for n in names]
    x, y = rng.uniform(0.35, 0.65, 2) * SIZE
    dx, dy = _X - x, _Y - y
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


SCENES: dict[str, tuple[float, Callable[[Canvas], None]]] = {
    "mountains": (0.13, _mountains),
    "sea": (0.15, _sea),
    "desert": (0.10, _desert),
    "forest": (0.12, _forest),
    "hills": (0.12, _hills),
    "flowers": (0.10, _flowers),
    "city": (0.11, _city),
    "space": (0.09, _space),
    "abstract": (0.08, _abstract),
}
_TIMES = {"dawn": 0.12, "day": 0.30, "golden": 0.14, "sunset": 0.19, "dusk": 0.09, "night": 0.16}
_WEATHERS = {"": 0.63, "cloudy": 0.22, "fog": 0.07, "snow": 0.05, "storm": 0.03}


COLOURS = frozenset((*FLOWERS, *PLANETS, "teal"))


# --- after the scene ---------------------------------------------------------------------------------


def _precipitation(c: Canvas) -> None:
    rng = c.rng
    if c.facts.weather == "snow":
        flakes = np.zeros((SIZE, SIZE), np.float32)
        for _ in range(int(rng.integers(50, 90))):
            centre = (int(rng.uniform(0, SIZE) * 16), int(rng.uniform(0, SIZE) * 16))
            cv2.circle(flakes, centre, int(rng.uniform(1.4, 3.4) * 16), 1.0, -1, cv2.LINE_AA, 4)
        c.image = mix(c.image, (0.97, 0.98, 1.0), flakes * 0.85)
    elif c.facts.weather == "rain":
        streaks = np.zeros((SIZE, SIZE), np.uint8)
        lean = rng.uniform(-5, 5)
        for _ in range(170):
            x, y, n = rng.uniform(0, SIZE), rng.uniform(-10, SIZE), rng.uniform(9, 20)
            cv2.line(streaks, (int(x), int(y)), (int(x + lean * n / 14), int(y + n)), 255, 1, cv2.LINE_AA)
        c.image = mix(c.image, (0.80, 0.84, 0.90), streaks.astype(np.float32) / 255 * 0.38)


def _grade(c: Canvas, palettes: list[str]) -> None:
    """Turn the whole picture towards a duotone, or treat it in a style, and name that; or leave it."""
    rng = c.rng
    c.image = np.clip(c.image, 0, 1)
    kind = rng.random() if c.facts.scene != "abstract" else 1.0
    if kind < 0.34:
        name = palettes[int(rng.integers(len(palettes)))]
        luma = c.image @ _rgb((0.30, 0.59, 0.11))
        luma = np.asarray(luma ** (0.7 if luma.mean() < 0.25 else 1.0), np.float32)  # keep the dark ones legible
        toned = _ramp(luma, [_rgb(k) for k in PALETTES[name]])
        amount = 1.0 if name == "black and white" else float(rng.uniform(0.85, 1.0))
        c.image = mix(c.image, toned, amount)
        c.facts.palette = name
        _forget_colours(c.facts)
    elif kind < 0.46:
        name = str(rng.choice(list(STYLES)))
        c.image = np.clip(STYLES[name](c.image, rng), 0, 1)
        c.facts.style = name
        if name == "neon":
            _forget_colours(c.facts)
    gamma = float(np.exp(rng.normal(0, 0.05)))
    c.image = c.image ** np.float32(gamma)


def _forget_colours(facts: Facts) -> None:
    """The picture's own colours are gone: a red planet is a planet now."""
    for k, thing in enumerate(facts.things):
        first, _, rest = thing.partition(" ")
        if rest in ("flowers", "planet", "ringed planet", "nebula") and first in COLOURS:
            facts.things[k] = rest


def _edges(image: Float, width: float) -> Float:
    """Where a blurred picture changes, (H, W) in 0..1."""
    soft = cv2.GaussianBlur(image, (0, 0), width)
    steps = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)).max(axis=2)
    return smooth(steps * width * 0.9 - 0.05)


def _neon(image: Float, rng: np.random.Generator) -> Float:
    """Glowing outlines from magenta to cyan over a dark picture."""
    ends = [_rgb(k) for k in ((1.0, 0.15, 0.75), (0.15, 0.9, 1.0))][:: int(rng.choice([-1, 1]))]
    lines = _edges(image, 1.8)
    glow = np.clip(lines + 0.8 * cv2.GaussianBlur(lines, (0, 0), 6), 0, 1.2)[..., None]
    luma = (image @ _rgb((0.30, 0.59, 0.11)))[..., None]
    colour = _ramp(np.broadcast_to(_Y / SIZE, (SIZE, SIZE)), ends)
    return np.asarray(luma * _rgb((0.40, 0.20, 0.62)) + glow * colour, np.float32)


def _pastel(image: Float, rng: np.random.Generator) -> Float:
    """Pale, soft colours."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.2)
    tint = _jitter(rng, (1.0, 0.95, 0.97), 0.02)
    return np.asarray((0.46 + 0.54 * soft**0.8) * tint, np.float32)


def _watercolour(image: Float, rng: np.random.Generator) -> Float:
    """Pale flat washes with darker rims."""
    flat = cv2.bilateralFilter(np.asarray(image, np.float32), 9, 0.25, 5)
    washes = 0.85 * (0.25 + 0.75 * flat) + 0.03 * noise(rng, 3.2)[..., None]
    washes = washes * (1 - 0.35 * _edges(flat, 1.2)[..., None])
    return np.asarray(washes + 0.15 * flat, np.float32)


STYLES: dict[str, Callable[[Float, np.random.Generator], Float]] = {
    "neon": _neon,
    "pastel": _pastel,
    "watercolour": _watercolour,
}

PLACES = {"space": 36, "abstract": 28}  # how many there are of a scene
FEW, SKIES = 12, 10  # how many places of every other scene there are, and skies in all
CLOSEST = 1.5  # enlargement of the pictures that look at a part of a place


def _step_nearer(c: Canvas, rng: np.random.Generator) -> None:
    """Look at a part of the picture; the sun or moon stays in it."""
    side = SIZE / rng.uniform(1, CLOSEST)
    room = SIZE - side
    x, y = rng.uniform(0, room), rng.uniform(0, room)
    if any(thing in c.facts.things for thing in ("sun", "moon", "crescent moon")):
        x = float(np.clip(x, max(0.0, c.sun_x + 30 - side), max(0.0, min(room, c.sun_x - 30))))
        y = float(np.clip(y, max(0.0, c.sun_y + 30 - side), max(0.0, min(room, c.sun_y - 30))))
    scale = SIZE / side
    matrix = np.array([[scale, 0, (0.5 - x) * scale - 0.5], [0, scale, (0.5 - y) * scale - 0.5]])
    border = cv2.BORDER_REPLICATE
    c.image = cv2.warpAffine(c.image, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=border)
    c.inverse_depth = cv2.warpAffine(c.inverse_depth, matrix, (SIZE, SIZE), flags=cv2.INTER_NEAREST, borderMode=border)


# Combinations that training never shows, so that one can ask whether a model puts known parts together.
UNSEEN: frozenset[tuple[str, str]] = frozenset(
    [(scene, name) for i, scene in enumerate(SCENES) for j, name in enumerate(PALETTES)
     if scene != "abstract" and (2 * i + j) % 5 == 0]
    + [("city", "dawn"), ("desert", "dusk"), ("flowers", "dusk"), ("forest", "golden"), ("hills", "dusk"),
       ("mountains", "dawn"), ("sea", "dusk")]
)  # fmt: skip
FAMILIES = {"beach": "sea", "valley": "hills", "flower field": "flowers"}  # of scenes that captions tell apart


def draw(seed: int, index: int, scene: str = "", unseen: bool = False, anywhere: bool = False) -> Picture:
    """Draw picture number ``index`` of the world ``seed``.

    ``scene`` is one of `SCENES`, at random where empty; with ``unseen`` the combinations of `UNSEEN` come too; with
    ``anywhere`` every picture is a place of its own, for a model that is to learn what places have in common.
    """
    rng = np.random.default_rng([seed, index])
    names = list(SCENES)
    drawn = names[int(rng.choice(len(names), p=[SCENES[n][0] for n in names]))]
    scene = scene or drawn
    shares = {name: share for name, share in _TIMES.items() if unseen or (scene, name) not in UNSEEN}
    time = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
    places = np.random.default_rng([3, names.index(scene), int(rng.integers(PLACES.get(scene, FEW)))])
    skies = np.random.default_rng([5, int(rng.integers(SKIES))])
    if anywhere:
        places = skies = rng
    if scene == "abstract":  # colours are all the weather that it has
        skies = rng
    c = Canvas(places, time, float(places.uniform(0.38, 0.62) * SIZE), skies)
    c.facts.weather = str(rng.choice(list(_WEATHERS), p=list(_WEATHERS.values())))
    dry = scene == "desert" and c.facts.weather in ("snow", "fog")
    if dry or (scene, c.facts.weather) in (("sea", "snow"), ("flowers", "snow")):
        c.facts.weather = ""
    SCENES[scene][1](c)
    if c.inverse_depth[int(np.clip(c.sun_y, 0, SIZE - 1)), int(c.sun_x)] > 0:  # something stands before it
        c.facts.things = [thing for thing in c.facts.things if thing not in ("sun", "moon", "crescent moon")]
    _precipitation(c)
    c.rng = rng
    if scene != "abstract" and rng.random() < 0.5:
        _step_nearer(c, rng)
    _grade(c, [name for name in PALETTES if unseen or (scene, name) not in UNSEEN])
    image = np.round(np.clip(c.image, 0, 1) * 255).astype(np.uint8)
    depth = np.clip(c.inverse_depth, 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        image, depth = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(depth[:, ::-1])
    return Picture(image, depth, c.facts)
