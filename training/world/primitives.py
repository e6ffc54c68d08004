"""Drawing primitives: coordinate arrays, noise fields, colours and shapes."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256
Float = NDArray[np.float32]
Colour = tuple[float, float, float]
X: Float = np.arange(SIZE, dtype=np.float32)
Y: Float = X[:, None]


@functools.lru_cache(maxsize=64)
def noise_tile(exponent: float, number: int) -> Float:
    """Return a seamless 512x512 noise field with power spectrum 1/f^exponent, mean 0, standard deviation 1."""
    rng = np.random.default_rng([7, int(exponent * 100), number])
    fy, fx = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None]
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((512, 512))) * radius ** (-exponent / 2)
    # Without this, waves of about the tile's length would make some crops dark and others bright all over.
    spectrum *= radius > 1.5 / 512
    tile = np.fft.irfft2(spectrum)
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def noise(rng: np.random.Generator, exponent: float) -> Float:
    """Return a random 256x256 crop of a noise field; a higher exponent is smoother (2 rough, 3.4 soft)."""
    tile = noise_tile(exponent, int(rng.integers(6)))
    y, x = rng.integers(0, 256, 2)
    cut = tile[y : y + SIZE, x : x + SIZE]
    return cut[:, ::-1] if rng.random() < 0.5 else cut


def profile(rng: np.random.Generator, exponent: float, lowest: float = 0.7) -> Float:
    """Return 1-D noise (W,) with power spectrum 1/f^exponent, scaled to 0..1; ``lowest`` is in waves per 512 px."""
    frequency = np.fft.rfftfreq(512)
    frequency[0] = np.inf
    amplitude = np.where(frequency * 512 >= lowest, frequency ** (-exponent / 2), 0)
    line = np.fft.irfft(np.fft.rfft(rng.standard_normal(512)) * amplitude)[:SIZE]
    return ((line - line.min()) / (np.ptp(line) + 1e-6)).astype(np.float32)


def ground_noise(rng: np.random.Generator, horizon: float, exponent: float, across: float, along: float) -> Float:
    """Return noise (H, W) on the ground plane in perspective, below the row ``horizon``, finer towards it."""
    distance = 1 / np.maximum((Y - horizon) / SIZE, 0.004)
    x0, y0 = rng.uniform(0, 512, 2)
    u = (X - SIZE / 2) * distance * across * 0.25 + x0
    v = np.broadcast_to(distance * along * 16 + y0, u.shape)
    tile = noise_tile(exponent, int(rng.integers(6)))
    waves = cv2.remap(
        tile, (u % 512).astype(np.float32), (v % 512).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    fade = np.clip((Y - horizon) / (0.16 * SIZE), 0, 1)  # fades out near the horizon, where a pixel covers many waves
    return np.asarray(waves * fade, dtype=np.float32)


def rgb(colour: Colour | Float) -> Float:
    """Convert a colour to an array (3,)."""
    return np.asarray(colour, dtype=np.float32)


def mix(a: Colour | Float, b: Colour | Float, amount: float | Float) -> Float:
    """Interpolate from ``a`` (amount 0) to ``b`` (1); an amount (H, W) or (H, 1) applies to all channels."""
    amount = np.asarray(amount, dtype=np.float32)
    if amount.ndim:
        amount = amount[..., None]
    return np.asarray(rgb(a) * (1 - amount) + rgb(b) * amount, dtype=np.float32)


def jitter(rng: np.random.Generator, colour: Colour | Float, spread: float = 0.04) -> Float:
    """Add normal noise of standard deviation ``spread`` to each channel of a colour."""
    return np.clip(rgb(colour) + rng.normal(0, spread, 3).astype(np.float32), 0, 1)


def pick(rng: np.random.Generator, colours: list[Colour], spread: float = 0.03) -> Float:
    """Choose a random colour and `jitter` it."""
    return jitter(rng, colours[int(rng.integers(len(colours)))], spread)


def smooth(x: float | Float) -> Float:
    """Return the smoothstep of x, clipped to [0, 1]."""
    x = np.clip(np.asarray(x, dtype=np.float32), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), dtype=np.float32)


def ramp(values: Float, stops: list[Float]) -> Float:
    """Map values (...) in [0, 1] to colours (..., 3) of a gradient with evenly spaced stops."""
    position = np.clip(values, 0, 1) * (len(stops) - 1)
    table = np.stack(stops)
    left = np.minimum(position.astype(np.int32), len(stops) - 2)
    part = (position - left)[..., None]
    return np.asarray(table[left] * (1 - part) + table[left + 1] * part, dtype=np.float32)


def disc(x: float, y: float, radius: float) -> Float:
    """Return the antialiased mask (H, W) of a disc."""
    return np.clip(radius - np.hypot(X - x, Y - y) + 0.5, 0, 1).astype(np.float32)


def polygon(points: list[tuple[float, float]] | NDArray[np.float64]) -> Float:
    """Return the antialiased mask (H, W) of a filled polygon with corners (x, y)."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    corners = np.round(np.asarray(points) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255
