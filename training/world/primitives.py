"""Drawing primitives: the pixel grid with its coordinates, noise fields and shapes; colours."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256
Float = NDArray[np.float32]
Colour = tuple[float, float, float]


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


class Grid:
    """A square grid of ``side`` pixels over a picture of `SIZE` x `SIZE` units.

    Positions and lengths are in units, so that a picture is the same at every size; only edges are as sharp as the
    pixels allow. Pixel i has its centre at (i + 0.5) / scale - 0.5.
    """

    def __init__(self, side: int = SIZE) -> None:
        self.side = side
        self.scale = side / SIZE
        """Pixels per unit."""
        self.x: Float = ((np.arange(side, dtype=np.float32) + 0.5) / self.scale - 0.5).astype(np.float32)
        """Positions (W,) of the columns."""
        self.y: Float = self.x[:, None]
        """Positions (H, 1) of the rows."""

    def zeros(self, kind: type[Any] = np.float32, channels: tuple[int, ...] = ()) -> NDArray[Any]:
        """Return an array (H, W) or (H, W, C) of zeros."""
        return np.zeros((self.side, self.side, *channels), kind)

    def pixels(self, positions: NDArray[Any] | list[tuple[float, float]]) -> NDArray[Any]:
        """Convert positions to pixels, as OpenCV counts them."""
        return (np.asarray(positions) + 0.5) * self.scale - 0.5

    def pixels_in(self, length: float) -> int:
        """Return the number of pixels in a length, rounded."""
        return round(length * self.scale)

    def sixteenths(self, positions: NDArray[Any] | list[tuple[float, float]]) -> NDArray[np.int32]:
        """Convert positions to sixteenths of a pixel, for OpenCV's drawing functions with ``shift=4``."""
        return np.round(self.pixels(positions) * 16).astype(np.int32)

    def at(self, values: NDArray[Any], position: float | NDArray[Any]) -> NDArray[Any]:
        """Look up values (side, ...) of an axis at positions along it, those of the border beyond it."""
        return np.asarray(values[np.asarray(self.scale * np.clip(position, 0, SIZE - 1)).astype(np.int32)])

    def slope(self, line: NDArray[Any]) -> NDArray[Any]:
        """Return the derivative (W,) of a line (W,) of rows."""
        return np.asarray(np.gradient(line) * self.scale)

    def cover(self, inside: NDArray[Any]) -> Float:
        """Return the antialiased mask of a shape, by the distance ``inside`` its edge, negative outside."""
        return np.asarray(np.clip(self.scale * inside + 0.5, 0, 1), np.float32)

    def disc(self, x: float, y: float, radius: float) -> Float:
        """Return the antialiased mask (H, W) of a disc."""
        return self.cover(radius - np.hypot(self.x - x, self.y - y))

    def polygon(self, points: list[tuple[float, float]] | NDArray[Any]) -> Float:
        """Return the antialiased mask (H, W) of a filled polygon with corners (x, y)."""
        mask = self.zeros(np.uint8)
        cv2.fillPoly(mask, [self.sixteenths(points)], 255, cv2.LINE_AA, 4)
        return np.asarray(mask.astype(np.float32) / 255, np.float32)

    def noise(self, rng: np.random.Generator, exponent: float) -> Float:
        """Return a random crop (H, W) of a noise field; a higher exponent is smoother (2 rough, 3.4 soft)."""
        tile = noise_tile(exponent, int(rng.integers(6)))
        y, x = rng.integers(0, 256, 2)
        cut = tile[y : y + SIZE, x : x + SIZE]
        return self._resized(cut[:, ::-1] if rng.random() < 0.5 else cut, self.side)

    def profile(self, rng: np.random.Generator, exponent: float, lowest: float = 0.7) -> Float:
        """Return 1-D noise (W,) with power spectrum 1/f^exponent, in 0..1; ``lowest`` is in waves per 512 units."""
        frequency = np.fft.rfftfreq(512)
        frequency[0] = np.inf
        amplitude = np.where(frequency * 512 >= lowest, frequency ** (-exponent / 2), 0)
        line = np.fft.irfft(np.fft.rfft(rng.standard_normal(512)) * amplitude)[:SIZE]
        scaled = ((line - line.min()) / (np.ptp(line) + 1e-6)).astype(np.float32)
        return self._resized(scaled[None], 1)[0]

    def ground_noise(self, rng: np.random.Generator, horizon: float, exponent: float, across: float,
                     along: float) -> Float:  # fmt: skip
        """Return noise (H, W) on the ground plane in perspective, below the row ``horizon``, finer towards it."""
        distance = 1 / np.maximum((self.y - horizon) / SIZE, 0.004)
        x0, y0 = rng.uniform(0, 512, 2)
        u = (self.x - SIZE / 2) * distance * across * 0.25 + x0
        v = np.broadcast_to(distance * along * 16 + y0, u.shape)
        tile = noise_tile(exponent, int(rng.integers(6)))
        waves = cv2.remap(
            tile, (u % 512).astype(np.float32), (v % 512).astype(np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        # Fades out near the horizon, where a pixel covers many waves.
        fade = np.clip((self.y - horizon) / (0.16 * SIZE), 0, 1)
        return np.asarray(waves * fade, dtype=np.float32)

    def _resized(self, values: Float, rows: int) -> Float:
        if values.shape == (rows, self.side):
            return values
        return np.asarray(cv2.resize(np.ascontiguousarray(values), (self.side, rows), interpolation=cv2.INTER_CUBIC))


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
