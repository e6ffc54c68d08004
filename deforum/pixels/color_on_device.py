"""Colour match on a render device, without a copy to the host: the rules of `deforum.pixels.color` as tensors.

Histograms are counted in whole numbers, so that results do not depend on the order in which a card adds them up. Where
the number of entries depends on the picture, as of the colours that a reference has, arrays keep their full length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from deforum.models.transfer import upload
from deforum.pixels.image import Device, Image, quantized

Tensor = torch.Tensor

WEIGHT = 2**36  # steps of a weight of 1 in a histogram: weights are added up as whole numbers


# --- colour spaces ----------------------------------------------------------------------------------------------------

WHITE = (0.950456, 1.0, 1.088754)  # D65
TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
FROM_XYZ = ((3.240479, -1.53715, -0.498535), (-0.969256, 1.875991, 0.041556), (0.055648, -0.204043, 1.057311))
SMALL, SLOPE, SHIFT = 0.008856, 7.787, 16 / 116  # CIE LAB is linear below SMALL


def to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB (3, H, W) in 0..1 to L 0..100, a and b."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).pow(2.4))
    x, y, z = (sum(w * c for w, c in zip(row, linear, strict=True)) / n for row, n in zip(TO_XYZ, WHITE, strict=True))
    fx, fy, fz = (torch.where(t > SMALL, t.clamp(min=SMALL).pow(1 / 3), SLOPE * t + SHIFT) for t in (x, y, z))
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)))


def from_lab(lab: Tensor) -> Tensor:
    """Invert `to_lab`; colours outside of sRGB are clipped."""
    light, a, b = lab
    fy = (light + 16) / 116
    xyz = [
        torch.where(f > SLOPE * SMALL + SHIFT, f**3, (f - SHIFT) / SLOPE) * n
        for f, n in zip((fy + a / 500, fy, fy - b / 200), WHITE, strict=True)
    ]
    linear = torch.stack([sum((w * c for w, c in zip(row, xyz, strict=True)), 0 * light) for row in FROM_XYZ])
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-6).pow(1 / 2.4) - 0.055)


def to_hsv(rgb: Tensor) -> Tensor:
    """Convert RGB (3, H, W) in 0..1 to hue in degrees, saturation and value in 0..1."""
    red, green, blue = rgb
    value, spread = rgb.amax(0), rgb.amax(0) - rgb.amin(0)
    eps = torch.finfo(torch.float32).eps
    per = 60 / (spread + eps)
    hue = torch.where(
        value == red,
        (green - blue) * per,
        torch.where(value == green, (blue - red) * per + 120, (red - green) * per + 240),
    )
    return torch.stack((torch.where(hue < 0, hue + 360, hue), spread / (value + eps), value))


def from_hsv(hsv: Tensor) -> Tensor:
    """Invert `to_hsv`; hues outside of 0..360 go round the circle."""
    hue, saturation, value = hsv
    # Distance of the hue from red, green and blue, in sectors of 60 degrees.
    away = [((hue / 60 + turn).remainder(6) - 3).abs() for turn in (0, 4, 2)]
    ramps = torch.stack([each - 1 for each in away]).clamp(0, 1)
    rgb: Tensor = value * (1 - saturation * (1 - ramps))
    return rgb


CONVERSIONS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "LAB": (to_lab, from_lab),
    "HSV": (to_hsv, from_hsv),
}
"""Conversions to the spaces that are not RGB, and back."""


# --- the curves of a match --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curve:
    """A piecewise linear function per channel, of the bins of a histogram that are in use: all are (C, N).

    `known` is the argument at each bin, ascending, `target` the value there. From the bin before (`low`) to the one
    behind (`high`) in use; -1 and N where there is none. Where `jumps`, the value does not go over to that of the bin
    behind, but jumps at the argument `above`.
    """

    known: Tensor
    target: Tensor
    low: Tensor
    high: Tensor
    above: Tensor
    jumps: Tensor

    @classmethod
    def of(cls, used: Tensor, known: Tensor, above: Tensor, target: Tensor, gap: float) -> Curve:
        """`used` (C, N): the bins in use. A step of `target` wider than `gap` is a jump."""
        count = used.shape[1]
        index = torch.arange(count, device=used.device).expand_as(used)
        low = torch.where(used, index, -1).cummax(1).values
        behind = torch.where(used, index, count).flip(1).cummin(1).values.flip(1)
        high = torch.cat((behind[:, 1:], torch.full_like(behind[:, :1], count)), 1)
        step = target.gather(1, high.clamp(max=count - 1)) - target.gather(1, low.clamp(min=0))
        return cls(known, target, low, high, above, step > gap)

    def at(self, x: Tensor) -> Tensor:
        """Evaluate at (C, M), as np.interp does: beyond the ends the value is that of the end."""
        count = self.known.shape[1]
        place = torch.searchsorted(self.known.contiguous(), x.contiguous(), right=True) - 1
        inside = place.clamp(min=0)
        low = torch.where(place < 0, -1, self.low.gather(1, inside))
        high = torch.where(low < 0, self._first(), self.high.gather(1, inside))
        a, b = low.clamp(min=0), high.clamp(max=count - 1)
        x0, x1, y0, y1 = (each.gather(1, at) for each in (self.known, self.target) for at in (a, b))
        y = (y1 - y0) / (x1 - x0) * (x - x0) + y0
        jumped = torch.where(x < self.above.gather(1, a), y0, y1)
        y = torch.where(self.jumps.gather(1, a), jumped, y)
        return torch.where(low < 0, y1, torch.where(high >= count, y0, y))

    def _first(self) -> Tensor:
        """The first bin in use of each channel, (C, 1)."""
        return torch.where(self.low[:, :1] >= 0, 0, self.high[:, :1])


def shares_below(counts: Tensor) -> Tensor:
    """Return the cumulative share of pixels below the middle of each bin; pixels in one bin count as half below."""
    return (counts.cumsum(1) - counts / 2) / counts.sum(1, keepdim=True)


def counted(bins: Tensor, size: int, weights: Tensor | None = None) -> Tensor:
    """Return the histograms of whole numbers 0..size-1, (C, N) int64, as (C, size) float64."""
    ones = torch.ones_like(bins) if weights is None else weights
    return torch.zeros(len(bins), size, dtype=torch.int64, device=bins.device).scatter_add_(1, bins, ones).double()


# --- in floating point ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FloatMatch:
    """The match in floating point in one space. `ranges` are the lowest and the highest value of each channel."""

    space: str
    ranges: tuple[tuple[float, float], ...]
    swapped: bool
    """Red and blue are swapped in both conversions."""
    circle: bool
    """The first channel is an angle over its range, its histogram weighted by the product of the others."""
    steps: int
    gap: float
    """As a share of a channel's range."""
    least: float
    """Weight of a pixel whose others are 0."""

    def counts(self, image: Image) -> Tensor:
        """Return the histograms of a picture, (3, steps) float64."""
        channels = self._channels(image)
        return self._counts(channels, self._bins(channels))

    def curves(self, counts: Tensor) -> tuple[tuple[Curve, Tensor], ...]:
        """Return the curve of each channel from the histograms of the reference, and its shares (1, steps)."""
        return tuple(self._curve(counts[i : i + 1], i) for i in range(3))

    def match(self, image: Image, curves: tuple[tuple[Curve, Tensor], ...]) -> Image:
        """Match the histograms of a picture to those of the curves."""
        channels = self._channels(image)
        bins = self._bins(channels)
        counts = self._counts(channels, bins)
        change = torch.cat([self._change(counts[i : i + 1], i, *curve) for i, curve in enumerate(curves)])
        matched = channels + change.float().gather(1, bins).view_as(channels)
        before, after = self._back(channels), self._back(matched)
        result = ((after - before) + image).clamp_(0, 1)
        return result[None].contiguous(memory_format=torch.channels_last)[0]

    def _channels(self, image: Image) -> Tensor:
        given = image.clamp(0, 1)
        given = given.flip(0) if self.swapped else given
        return CONVERSIONS[self.space][0](given) if self.space in CONVERSIONS else given

    def _back(self, channels: Tensor) -> Tensor:
        rgb = CONVERSIONS[self.space][1](channels) if self.space in CONVERSIONS else channels
        return rgb.flip(0) if self.swapped else rgb

    def _bins(self, channels: Tensor) -> Tensor:
        """Return the bin of each pixel, (3, H W) int64."""
        scaled = [
            (channel - low) * ((self.steps - 1 / 64) / (high - low))
            for channel, (low, high) in zip(channels, self.ranges, strict=True)
        ]
        return torch.stack(scaled).flatten(1).to(torch.int64).clamp_(0, self.steps - 1)

    def _counts(self, channels: Tensor, bins: Tensor) -> Tensor:
        counts = counted(bins, self.steps)
        if not self.circle:
            return counts
        weights = ((channels[1] * channels[2] + self.least).double() * WEIGHT).round().to(torch.int64)
        return torch.cat((counted(bins[:1], self.steps, weights.view(1, -1)) / WEIGHT, counts[1:]))

    def _values(self, channel: int, device: Device) -> Tensor:
        low, high = self.ranges[channel]
        middle = torch.arange(self.steps, dtype=torch.float64, device=device) + 0.5
        return (low + (high - low) * middle / self.steps)[None]

    def _curve(self, wanted: Tensor, channel: int) -> tuple[Curve, Tensor]:
        low, high = self.ranges[channel]
        known, above = shares_below(wanted), wanted.cumsum(1) / wanted.sum(1, keepdim=True)
        used, target, shares = wanted > 0, self._values(channel, wanted.device), known
        if self.circle and channel == 0:
            used = used.repeat(1, 3)
            known, above = (torch.cat((each - 1, each, each + 1), 1) for each in (known, above))
            target = torch.cat((target, target + high, target + 2 * high), 1)
        return Curve.of(used, known, above, target, self.gap * (high - low)), shares

    def _change(self, counts: Tensor, channel: int, curve: Curve, wanted: Tensor) -> Tensor:
        share = shares_below(counts)
        if self.circle and channel == 0:
            ordered = (share - wanted).sort(1).values  # steps are even: the median lies between two
            share = share - (ordered[:, self.steps // 2 - 1] + ordered[:, self.steps // 2])[:, None] / 2
        return curve.at(share) - self._values(channel, counts.device)


# --- in 8 bit, level for level ----------------------------------------------------------------------------------------

LEVELS = 256


@dataclass(frozen=True, eq=False)
class LevelMatch:
    """The match in 8 bit. `codes` are OpenCV's conversions to the space and back; None: no conversion."""

    codes: tuple[int, int] | None

    def counts(self, image: Image) -> Tensor:
        """Return the histograms of a picture, (3, LEVELS) float64."""
        return counted(self._levels(image), LEVELS)

    def curves(self, counts: Tensor) -> Curve:
        known = counts.cumsum(1) / counts.sum(1, keepdim=True)
        levels = torch.arange(LEVELS, dtype=torch.float64, device=counts.device).expand_as(counts)
        return Curve.of(counts > 0, known, known, levels.contiguous(), float("inf"))

    def match(self, image: Image, curve: Curve) -> Image:
        levels = self._levels(image)
        counts = counted(levels, LEVELS)
        lut = curve.at(counts.cumsum(1) / counts.sum(1, keepdim=True)).to(torch.int64)
        matched = lut.gather(1, levels)
        rgb = matched.T if self.codes is None else _all_colors(self.codes[1], image.device)[_number(matched)]
        pixels = rgb.float().mul_(np.float32(1 / 255).item()).view(*image.shape[1:], 3)
        return pixels.permute(2, 0, 1)

    def _levels(self, image: Image) -> Tensor:
        """Return the levels of the channels, (3, H W) int64."""
        levels = quantized(image, 8).view(-1, 3).T.to(torch.int64)
        return levels if self.codes is None else _all_colors(self.codes[0], image.device)[_number(levels)].T.long()


def _number(levels: Tensor) -> Tensor:
    """Return the number of each colour (3, N) in `_all_colors`, (N,)."""
    first, second, third = levels
    number: Tensor = (first * LEVELS + second) * LEVELS + third
    return number


@lru_cache(maxsize=4)
def _all_colors(code: int, device: Device) -> Tensor:
    """Return the conversion of every colour of 8 bit by OpenCV, (2**24, 3) uint8, 48 MiB: exactly its arithmetic."""
    converted = np.empty((LEVELS, LEVELS * LEVELS, 3), np.uint8)
    rest = np.stack(np.meshgrid(*[np.arange(LEVELS, dtype=np.uint8)] * 2, indexing="ij"), -1).reshape(1, -1, 2)
    for first in range(LEVELS):
        plane = np.concatenate((np.full((1, rest.shape[1], 1), first, np.uint8), rest), 2)
        converted[first] = cv2.cvtColor(plane, code)[0]
    with torch.inference_mode(False):
        return upload(torch.from_numpy(converted.reshape(-1, 3)), device)
