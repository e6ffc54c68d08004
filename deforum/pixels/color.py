"""Colour match (histogram matching): a picture takes the colour distribution of a reference, channel by channel.

Convention: images are (3, H, W) RGB float32 0..1; results are clipped to 0..1, arguments are left unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.models.transfer import stays_on, upload
from deforum.pixels.color_on_device import FloatMatch, LevelMatch
from deforum.pixels.image import Device, Image, from_array, round_levels, to_array, to_bytes
from deforum.pixels.sharpness import fine_detail
from deforum.pixels.strips import in_strips

Space = Literal["RGB", "HSV", "LAB"]
Floats = NDArray[np.float64]


LEVELS = 256  # bins of a channel in 8 bit
STEPS = 16384  # bins of a float channel: fine enough that colours show no steps, and three channels fit into 16 bit
TABLE = 65536  # entries of a table for numbers of 16 bit
GAP = 2 / 255  # of a channel's range; wider than the step between levels of an 8-bit picture
GRAY_WEIGHT = 1e-6  # of grey in the hue histogram, against 1 for a full colour: decides only where all is grey
CIRCLE = (0.0, 360.0)


@dataclass(frozen=True)
class ColorSpace:
    """A colour space: a row of SPACES."""

    ranges: tuple[tuple[float, float], ...]
    """Lowest and highest value of each channel, for float pictures."""
    from_rgb: tuple[int, int] | None = None
    """OpenCV's conversions to the space and back, for pictures read as R, G, B; None: no conversion."""
    from_bgr: tuple[int, int] | None = None
    """The same for pictures read as B, G, R."""
    hue_first: bool = False
    """True where the first channel is a hue: its histogram is weighted by saturation x value."""


SPACES: Mapping[Space, ColorSpace] = {
    "RGB": ColorSpace(((0, 1), (0, 1), (0, 1))),
    "HSV": ColorSpace(
        (CIRCLE, (0, 1), (0, 1)),
        (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB),
        (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR),
        hue_first=True,
    ),
    "LAB": ColorSpace(
        ((0, 100), (-128, 128), (-128, 128)),
        (cv2.COLOR_RGB2LAB, cv2.COLOR_LAB2RGB),
        (cv2.COLOR_BGR2LAB, cv2.COLOR_LAB2BGR),
    ),
}


@dataclass(frozen=True, eq=False)
class ColorReference:
    """The colours to match: a histogram of each channel in a colour space; and the `fine_detail` of the reference.

    Convention: counts (3, LEVELS), or with `float_color` (3, STEPS) over the ranges of the space, where hue is weighted
    by saturation x value. `true_channels` False swaps red and blue in both conversions, as Deforum does. That of a
    picture on a render device stays there.
    """

    space: Space
    true_channels: bool
    float_color: bool
    counts: Floats | torch.Tensor
    detail: float | torch.Tensor

    @classmethod
    def of(cls, image: Image, space: Space, *, true_channels: bool, float_color: bool) -> ColorReference:
        """Measure the colours of a picture (3, H, W) of any size."""
        if stays_on(image.device):
            on_device = matching_of(space, true_channels, float_color).counts(image)
            return cls(space, true_channels, float_color, on_device, fine_detail(image))
        counts = (
            _measure_float(image, space, true_channels).counts
            if float_color
            else _count_levels(_convert(to_bytes(image), space, true_channels))
        )
        return cls(space, true_channels, float_color, counts, fine_detail(image))

    @cached_property
    def counts_on_host(self) -> Floats:
        return self.counts.cpu().numpy() if isinstance(self.counts, torch.Tensor) else self.counts

    @cached_property
    def quantiles(self) -> tuple[_Quantiles, ...]:
        """The distribution of each channel, with `float_color`."""
        rows = zip(self.counts_on_host, SPACES[self.space].ranges, strict=True)
        return tuple(_Quantiles.of(counts, *ends) for counts, ends in rows)


@dataclass(frozen=True, eq=False)
class _Quantiles:
    """The value of a channel at a share of pixels below: `target` (N,) at `known` (N,)."""

    known: Floats
    target: Floats
    shares: Floats
    """Share of pixels below the middle of each bin, (STEPS,)."""

    @classmethod
    def of(cls, counts: Floats, low: float, high: float) -> _Quantiles:
        """Take the distribution of a histogram (STEPS,) from low to high."""
        values, shares = _values(low, high), _shares_below(counts)
        taken = np.flatnonzero(counts)
        known, above, target = shares[taken], np.cumsum(counts)[taken] / counts.sum(), values[taken]
        if (low, high) == CIRCLE:
            known, above = (np.concatenate((shares - 1, shares, shares + 1)) for shares in (known, above))
            # All shifted up by one full circle: OpenCV accepts hues above 360, but converts those below 0 wrongly.
            target = np.concatenate((target, target + high, target + 2 * high))
        # The curve jumps between values that are far apart, instead of interpolating colours that the reference lacks.
        last = np.flatnonzero(np.diff(target) > GAP * (high - low))
        known = np.insert(known, np.repeat(last + 1, 2), np.repeat(above[last], 2))
        target = np.insert(target, np.repeat(last + 1, 2), np.column_stack((target[last], target[last + 1])).ravel())
        return cls(known, target, shares)


def match_color(image: Image, reference: ColorReference) -> Image:
    """Match the histogram of each channel to the reference's, in its colour space; image (3, H, W).

    With `float_color` each channel follows a smooth curve in floating point: a picture matched to its own colours is
    unchanged. Without it the picture is rounded to 8 bit, and each level of each channel maps to the reference level of
    the same cumulative share, truncated to a whole number: Deforum's arithmetic, level for level, which darkens by up
    to half a level each time.
    Source: R. C. Gonzalez, R. E. Woods, "Digital Image Processing", histogram matching.
    """
    if stays_on(image.device):
        matching = matching_of(reference.space, reference.true_channels, reference.float_color)
        return matching.match(image, _curves_on(image.device, reference))
    return (_match_float if reference.float_color else _match_levels)(image, reference)


def matching_of(space: Space, true_channels: bool, float_color: bool) -> FloatMatch | LevelMatch:
    """Return the match on a device, which needs no copy to the host."""
    row = SPACES[space]
    if not float_color:
        return LevelMatch(row.from_rgb if true_channels else row.from_bgr)
    return FloatMatch(space, row.ranges, not true_channels, row.hue_first, STEPS, GAP, GRAY_WEIGHT)


@lru_cache(maxsize=4)
def _curves_on(device: Device, reference: ColorReference) -> Any:
    matching = matching_of(reference.space, reference.true_channels, reference.float_color)
    counts = reference.counts
    return matching.curves(counts if isinstance(counts, torch.Tensor) else upload(torch.from_numpy(counts), device))


def _match_levels(image: Image, reference: ColorReference) -> Image:
    pixels, space, true_channels = to_array(image), reference.space, reference.true_channels
    channels, matched = np.empty(pixels.shape, np.uint8), np.empty(pixels.shape, np.float32)

    def read(rows: slice) -> Floats:
        channels[rows] = _convert(round_levels(pixels[rows]), space, true_channels)
        return _count_levels(channels[rows])

    lut = np.empty((1, LEVELS, 3), np.uint8)
    for channel, counts in enumerate(np.sum(in_strips(read, *pixels.shape[:2]), axis=0)):
        wanted = reference.counts_on_host[channel]
        known = np.flatnonzero(wanted)
        share = np.cumsum(counts) / counts.sum()
        lut[0, :, channel] = np.interp(share, np.cumsum(wanted[known]) / wanted.sum(), known)

    def match(rows: slice) -> None:
        strip = _convert(cv2.LUT(channels[rows], lut), space, true_channels, back=True)
        np.multiply(strip, np.float32(1 / 255), out=matched[rows], dtype=np.float32)

    in_strips(match, *pixels.shape[:2])
    return from_array(matched, image.device)


def _count_levels(channels: NDArray[Any]) -> Floats:
    """Return the histogram of each channel of (H, W, 3) levels in 8 bit, (3, LEVELS)."""
    return np.stack([_count(channels, LEVELS, channel) for channel in range(3)])


def _match_float(image: Image, reference: ColorReference) -> Image:
    space, true_channels, pixels = reference.space, reference.true_channels, to_array(image)
    measured = _measure_float(image, space, true_channels)
    table = np.zeros(TABLE, np.float32)
    curves = zip(measured.counts, reference.quantiles, SPACES[space].ranges, strict=True)
    np.concatenate([_curve(counts, wanted, *ends) for counts, wanted, ends in curves], out=table[: 3 * STEPS])
    matched = np.empty_like(pixels)

    def match(rows: slice) -> None:
        strip = measured.strips[rows.start]
        change = np.asarray(cv2.LUT(measured.bins[rows], table), np.float32)
        if SPACES[space].from_rgb is not None:
            # OpenCV's round trip through LAB is off by up to 0.6 levels and darkens by 0.2. The difference of two
            # conversions back cancels this error.
            before = _convert(strip, space, true_channels, back=True)
            change += strip
            change = _convert(change, space, true_channels, back=True)
            change -= before
        change += pixels[rows]
        np.clip(change, 0, 1, out=matched[rows])

    in_strips(match, *pixels.shape[:2])
    return from_array(matched, image.device)


def _curve(counts: Floats, wanted: _Quantiles, low: float, high: float) -> Floats:
    """Return the change of a channel's value in each of the STEPS bins from low to high, (STEPS,); 0 in empty ones.

    A value maps to the reference value with the same share of pixels below. Hues are circular, so that shares count
    from an arbitrary start; the shift of shares that moves hues least is the median of the differences.
    Source: J. Rabin, J. Delon, Y. Gousseau, "Transportation distances on the circle", 2011.
    """
    share, change, taken = _shares_below(counts), np.zeros(STEPS), np.flatnonzero(counts)
    if (low, high) == CIRCLE:
        share -= np.median(share - wanted.shares)
    change[taken] = np.interp(share[taken], wanted.known, wanted.target) - _values(low, high)[taken]
    return change


def _values(low: float, high: float) -> Floats:
    """Return the value in the middle of each of the STEPS bins from low to high, (STEPS,)."""
    return low + (high - low) * (np.arange(STEPS) + 0.5) / STEPS


def _shares_below(counts: Floats) -> Floats:
    """Return the cumulative share of pixels below the middle of each bin; pixels in one bin count as half below."""
    return np.asarray((np.cumsum(counts) - counts / 2) / counts.sum(), np.float64)


@dataclass(frozen=True, eq=False)
class _Measured:
    """A float picture in a colour space."""

    strips: Mapping[int, NDArray[np.float32]]
    """Its channels, (h, W, 3), in strips, by the first row of each."""
    bins: NDArray[np.uint16]
    """Bins of the channels, (H, W, 3), numbered in one row: those of the first channel, of the second, of the third."""
    counts: Floats
    """The histograms, (3, STEPS)."""


def _measure_float(image: Image, space: Space, true_channels: bool) -> _Measured:
    pixels = to_array(image)
    bins, strips = np.empty(pixels.shape, np.uint16), dict[int, NDArray[np.float32]]()
    weights = np.empty(pixels.shape[:2], np.float32) if SPACES[space].hue_first else None
    low, high = np.array(SPACES[space].ranges).T
    scale = (STEPS - 1 / 64) / (high - low)
    offset = STEPS * np.arange(3) - low * scale

    def measure(rows: slice) -> None:
        channels = strips[rows.start] = _convert(np.clip(pixels[rows], 0, 1), space, true_channels)
        bins[rows] = cv2.transform(channels, np.column_stack((np.diag(scale), offset))).astype(np.uint16)
        if weights is not None:
            weights[rows] = channels[..., 1] * channels[..., 2] + GRAY_WEIGHT

    in_strips(measure, *pixels.shape[:2])
    counts = _count(bins.reshape(len(bins), -1), 3 * STEPS).reshape(3, STEPS)
    if weights is not None:
        counts[0] = np.bincount(bins[..., 0].ravel(), weights.ravel(), STEPS)
    return _Measured(strips, bins, counts)


def _count(values: NDArray[Any], size: int, channel: int = 0) -> Floats:
    """Return the histogram of a channel's whole numbers 0..size-1, (size,)."""
    return np.asarray(cv2.calcHist([values], [channel], None, [size], [0, size]), np.float64).ravel()


def _convert(pixels: NDArray[Any], space: Space, true_channels: bool, back: bool = False) -> NDArray[Any]:
    row = SPACES[space]
    conversions = row.from_rgb if true_channels else row.from_bgr
    return pixels if conversions is None else np.asarray(cv2.cvtColor(pixels, conversions[back]))
