"""Make examples/clips/valley.mp4, the clip of the examples: a flight along a lake between mountains, with sound.

    python examples/clips/make_valley.py [OUTPUT.mp4]

Everything is computed: the land is a field of heights seen by a camera with perspective, so that near things move more
than far ones; a balloon drifts through it by itself. The same numbers come out in every run.

Convention: land is measured in units of 1 = the camera's height above the water; x to the right, z ahead, y up.
"""

from __future__ import annotations

import sys
import tempfile
import wave
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
from numpy.typing import NDArray

from deforum.video.writer import Soundtrack, VideoWriter

Float = NDArray[np.float32]

WIDTH, HEIGHT, FPS, NUM_FRAMES = 320, 176, 12, 48
FINER = 2  # each pixel is the mean of so many by so many
FOCAL = 0.9  # of the width
HORIZON = 0.40  # share of the height, where the camera looks straight ahead
FARTHEST, STEPS = 90.0, 700
TILE = 1024  # samples along a side of the land, which repeats
SCALE = 0.06  # units between two samples
SUN = np.array([-0.50, 0.28, 0.82], np.float32)


def noise(seed: int, exponent: float, coarsest: float = 3.0) -> Float:
    """Make a field (TILE, TILE) that repeats, of deviation 1: a spectrum that falls with frequency to an exponent."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(TILE) * TILE
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    spectrum = np.where(radius < coarsest, 0, np.maximum(radius, 1) ** -exponent)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((TILE, TILE))) * spectrum).real
    return np.asarray(field / field.std(), np.float32)


def smooth(x: Float, low: float, high: float) -> Float:
    """Go from 0 at `low` to 1 at `high`."""
    share = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def mix(a: Float, b: Float, share: Float) -> Float:
    return np.asarray(a + (b - a) * share[..., None], np.float32)


def rgb(red: float, green: float, blue: float) -> Float:
    return np.array([red, green, blue], np.float32)


class Land:
    """Heights and colours, (TILE, TILE) and (TILE, TILE, 3); a valley along z with a lake in it."""

    def __init__(self) -> None:
        rough, broad, fine = noise(4, 2.0), noise(9, 2.6), noise(2, 1.2)
        across = (np.arange(TILE) - TILE / 2) * SCALE
        along = np.arange(TILE) * SCALE
        middle = 3.2 * np.sin(along * 2 * np.pi / (TILE * SCALE))[:, None]
        aside = np.abs(across[None] - middle).astype(np.float32)
        walls = smooth(aside, 3.0, 22.0) * (9 + 3.0 * broad)
        heights = walls * (1 + 0.24 * rough) + 0.35 * smooth(aside, 1.5, 4.0) * (rough + 0.6) - 0.35 + 0.05 * fine
        self.height = np.maximum(heights, 0).astype(np.float32)
        self.is_water = heights <= 0
        slope_z, slope_x = np.gradient(heights / SCALE)
        normal = np.stack([-slope_x, np.ones_like(heights), -slope_z], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        light = np.clip(normal @ (SUN / np.linalg.norm(SUN)), 0, 1)
        meadow = mix(rgb(0.24, 0.40, 0.12), rgb(0.50, 0.50, 0.16), smooth(fine, -1, 1.5))
        woods = mix(rgb(0.07, 0.20, 0.09), rgb(0.13, 0.28, 0.10), smooth(fine, -1, 1))
        rock = mix(rgb(0.34, 0.30, 0.28), rgb(0.50, 0.45, 0.40), smooth(fine, -1.5, 1.5))
        ground = mix(meadow, woods, smooth(broad + 0.6 * rough + 0.5 * fine, -0.4, 0.1))
        ground = mix(np.broadcast_to(rgb(0.62, 0.55, 0.40), ground.shape), ground, smooth(heights, 0.0, 0.10))
        ground = mix(ground, rock, smooth(heights + 0.8 * fine, 4.0, 6.0))
        ground = mix(
            ground, np.broadcast_to(rgb(0.95, 0.96, 1.0), ground.shape), smooth(heights + 0.6 * fine, 7.6, 8.8)
        )
        shade = rgb(0.34, 0.40, 0.52) + light[..., None] * rgb(1.15, 0.98, 0.72)
        self.color = (ground * shade).astype(np.float32)
        self.clouds = noise(21, 1.9)

    def at(self, field: NDArray[np.generic], x: Float, z: Float) -> Float:
        """Read a field at places in units: between samples, and beyond the edge from the other side."""
        column = np.mod(x / SCALE + TILE / 2, TILE).astype(np.float32)
        row = np.mod(z / SCALE, TILE).astype(np.float32)
        source = np.ascontiguousarray(field, np.float32)
        return np.asarray(cv2.remap(source, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def sky(land: Land, right: Float, up: Float, drift: float) -> Float:
    """Paint the sky in directions given by their slopes to the right and up (negative: mirrored)."""
    up = np.abs(up)
    color = mix(rgb(0.98, 0.78, 0.56), rgb(0.30, 0.50, 0.82), smooth(up, 0.0, 0.42))
    beside = np.hypot(right - SUN[0] / SUN[2], up - SUN[1] / SUN[2])
    color = color + np.exp(-((beside / 0.16) ** 2))[..., None] * rgb(0.5, 0.36, 0.18)
    color = mix(color, np.broadcast_to(rgb(1.0, 0.97, 0.85), color.shape), smooth(-beside, -0.042, -0.034))
    reach = 2.2 / (up + 0.10)
    cover = land.at(land.clouds, (right * reach + 0.2 * drift) * 2.4, (reach + 0.3 * drift) * 2.4)
    share = smooth(cover, 0.35, 1.5) * smooth(up, 0.02, 0.14) * 0.9
    return mix(color, np.broadcast_to(rgb(1.0, 0.94, 0.88), color.shape), share)


def draw(land: Land, second: float) -> Float:
    """Draw the picture of one moment, (HEIGHT * FINER, WIDTH * FINER, 3)."""
    width, height = WIDTH * FINER, HEIGHT * FINER
    x0, z0 = 3.0 * np.sin(0.35 * second - 0.4) + 0.6, 4.0 + 2.2 * second
    y0, turn, roll = 1.5 + 0.25 * np.sin(0.8 * second), 0.10 * np.sin(0.9 * second), 0.05 * np.sin(0.9 * second + 0.6)
    across = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5) / FOCAL
    rows = np.arange(height, dtype=np.float32)
    focal = FOCAL * width
    # The camera rolls a little: rows are moved up and down by columns, which for small angles is the same.
    tilt = (roll * across * focal).astype(np.float32)
    horizon = HORIZON * height
    # Depths grow geometrically, as pixels see them.
    depth = np.geomspace(0.5, FARTHEST, STEPS).astype(np.float32)[:, None]
    sides = depth * across[None]
    x = (x0 + sides * np.cos(turn) + depth * np.sin(turn)).astype(np.float32)
    z = (z0 + depth * np.cos(turn) - sides * np.sin(turn)).astype(np.float32)
    level = horizon + (y0 - land.at(land.height, x, z)) / depth * focal + tilt[None]
    seen = np.minimum.accumulate(level, axis=0)  # (STEPS, width): nothing behind is seen below this row
    right = np.broadcast_to(across[None] + turn, (height, width)).astype(np.float32)
    up = ((horizon + tilt[None] - rows[:, None]) / focal).astype(np.float32)
    picture = sky(land, right, up, second)
    hit = np.stack([np.searchsorted(-seen[:, i], -rows, side="left") for i in range(width)], 1)  # (height, width)
    is_land = hit < STEPS
    step, column = np.minimum(hit, STEPS - 1), np.broadcast_to(np.arange(width)[None], hit.shape)
    place_x, place_z, distance = x[step, column], z[step, column], np.broadcast_to(depth, x.shape)[step, column]
    ground = land.at(land.color, place_x, place_z)
    ripple = (
        land.at(land.clouds, place_x * 9 + second * 1.5, place_z * 4) * 0.02
        + land.at(land.clouds, place_x * 23 - second, place_z * 9 + second * 2) * 0.015
    )
    water = sky(land, right + ripple, up + ripple, second) * rgb(0.52, 0.62, 0.68) + rgb(0.0, 0.03, 0.05)
    ground = mix(ground, water, smooth(land.at(land.is_water, place_x, place_z), 0.4, 0.6))
    air = 1 - np.exp(-distance / 42)
    haze = mix(rgb(0.80, 0.76, 0.74), rgb(1.0, 0.80, 0.58), np.exp(-(((right + 0.6) / 0.5) ** 2)))
    ground = mix(ground, haze, np.where(is_land, air, 0).astype(np.float32))
    picture = np.where(is_land[..., None], ground, picture)
    far = np.where(is_land, distance, np.inf)
    ahead = np.array([2.2 - 0.35 * second - x0, 2.3 + 0.12 * second - y0, 19.0 + 0.6 * second - z0])
    side, deep = ahead[0] * np.cos(turn) - ahead[2] * np.sin(turn), ahead[0] * np.sin(turn) + ahead[2] * np.cos(turn)
    at_x, at_y = (side / deep * FOCAL + 0.5) * width, horizon - ahead[1] / deep * focal
    return balloon(picture, far, at_x, at_y + roll * side / deep * focal, 0.85 / deep * focal, deep)


def balloon(picture: Float, far: Float, x: float, y: float, radius: float, depth: float) -> Float:
    """Draw a striped balloon with its basket where nothing nearer is."""
    height, width = picture.shape[:2]
    columns, rows = (np.arange(width) - x) / radius, (np.arange(height) - y) / radius
    u, v = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    narrow = np.where(v > 0, np.maximum(1 - 0.32 * v**2 * (v < 1.3), 0.3), 1.0)
    envelope = 1 - (u / narrow) ** 2 - (v / np.where(v > 0, 1.28, 1.0)) ** 2
    around = np.arcsin(np.clip(u / narrow / np.sqrt(np.clip(1 - (v / 1.28) ** 2, 0.05, 1)), -1, 1))
    stripes = mix(rgb(0.85, 0.14, 0.10), rgb(0.98, 0.84, 0.34), smooth(np.sin(around * 7), -0.15, 0.15))
    shade = np.clip(0.75 - 0.45 * u - 0.22 * v, 0.3, 1.15)
    picture = mix(picture, stripes * shade[..., None], (smooth(envelope, 0, 0.06) * (far > depth)).astype(np.float32))
    basket = smooth(0.20 - np.abs(u), 0, 0.03) * smooth(0.16 - np.abs(v - 1.72), 0, 0.03)
    ropes = smooth(0.03 - np.abs(np.abs(u) - 0.26 + 0.2 * (v - 1.1)), 0, 0.02) * (np.abs(v - 1.35) < 0.25)
    dark = np.maximum(basket, ropes) * (far > depth)
    return mix(picture, np.broadcast_to(rgb(0.26, 0.17, 0.10), picture.shape), dark.astype(np.float32))


def write_sound(path: Path, seconds: float, rate: int = 44100) -> None:
    """Synthesise wind and a slow chord with a bell on every beat of 120 a minute."""
    t = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(5)
    wind = cv2.GaussianBlur(rng.standard_normal(len(t))[None], (0, 0), 12)[0]
    wind *= 0.25 * (1 + 0.5 * np.sin(2 * np.pi * t / 2.7)) / wind.std() * 0.4
    swell = np.sin(np.pi * np.clip(t / seconds, 0, 1)) ** 0.5
    chord = sum(np.sin(2 * np.pi * f * t + 0.3 * np.sin(2 * np.pi * 4 * t)) for f in (110.0, 164.81, 220.0, 277.18))
    bell = np.zeros_like(t)
    for beat, pitch in enumerate((554.37, 659.26, 880.0, 659.26) * int(np.ceil(seconds / 2))):
        since = t - 0.5 * beat
        bell += np.where(since >= 0, np.exp(-5 * np.maximum(since, 0)) * np.sin(2 * np.pi * pitch * since), 0)
    sound = np.clip(0.30 * wind + 0.06 * swell * chord + 0.14 * bell, -1, 1) * np.minimum(1, (seconds - t) / 0.15)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32000).astype("<i2").tobytes())


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("valley.mp4")
    land = Land()
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        write_sound(sound, NUM_FRAMES / FPS)
        with VideoWriter(path, WIDTH, HEIGHT, FPS, quality=20, preset="slower", soundtrack=Soundtrack(sound)) as video:
            for i in range(NUM_FRAMES):
                picture = cv2.resize(draw(land, i / FPS), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                video.write((np.clip(picture, 0, 1) ** 0.9 * 255 + 0.5).astype(np.uint8))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
