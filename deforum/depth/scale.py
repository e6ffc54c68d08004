"""Conversion of a depth network's output to distances in the camera's scene.

Convention: `raw` is (H, W) float32 as the network returns it, up to an unknown scale and shift: inverse depth, larger
is nearer, or depth, larger is farther, as given by `gives`. Depth is z in scene units, larger is farther, about 1 for
the nearest things.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from deforum.depth import Gives
from deforum.models.transfer import stays_on
from deforum.pixels.image import Mask

Depth = torch.Tensor  # (H, W) float32

BINS = 1024
OUTSTANDING = 1.5  # upper limit of inverse depth on the scale where 0 is the far end of the range and 1 the near one


def slab_depth(raw: torch.Tensor, gives: Gives, *, as_it_is: bool = False) -> Depth | None:
    """Convert a depth map to z of Deforum's camera, (H, W): 1 near, 2 far; None (flat) for a map without relief.

    `as_it_is` returns the values unchanged as distances, as Deforum's "(old)" algorithms do.
    """
    if as_it_is:
        return raw
    if stays_on(raw.device):
        return slab_depth_on_device(raw, gives)
    equalized = equalize(raw)
    if equalized is None:
        return None
    return 2 - equalized if gives == "inverse depth" else 1 + equalized


def slab_depth_on_device(raw: torch.Tensor, gives: Gives) -> Depth:
    """Convert a depth map as `slab_depth` does, without a copy to the host; a map without relief is 1 everywhere."""
    low, high = raw.aminmax()
    has_relief = torch.isfinite(high - low) & (high > low)
    place = torch.where(has_relief, (raw - low) / (high - low), 0)
    equalized = _equalized(place)
    return torch.where(has_relief, 2 - equalized if gives == "inverse depth" else 1 + equalized, 1)


def equalize(raw: torch.Tensor) -> torch.Tensor | None:
    """Equalise the histogram of a map (H, W) to 0..1 with 1024 bins, so that each depth has an equal share of pixels.

    None where the map is constant or has a value that is not finite.
    """
    low, high = raw.aminmax()
    if not torch.isfinite(high - low) or not high > low:
        return None
    return _equalized((raw - low) / (high - low))


def _equalized(place: torch.Tensor) -> torch.Tensor:
    """Equalise a map (H, W) from 0 to 1, in place."""
    share = torch.histc(place, BINS, 0, 1).cumsum(0) / place.numel()
    # A value at the lower edge of a bin has the whole bin's share; between edges it is interpolated.
    place *= BINS
    step = place.to(torch.int64).clamp_(max=BINS - 1)
    rise = torch.diff(share, append=share[-1:])
    return share[step].add_((place - step).mul_(rise[step]))


@dataclass(frozen=True)
class DepthRange:
    """The raw inverse depths that map to the farthest and the nearest distance of a scene.

    Those of a map on a render device stay there, as tensors ().
    """

    far: float | torch.Tensor
    near: float | torch.Tensor

    @staticmethod
    def of(inverse: torch.Tensor, outside: float = 0.02) -> DepthRange:
        """Measure a map of inverse depth (H, W), without the share `outside` at either end, to ignore outliers."""
        values = _coarse(inverse).flatten().sort().values
        margin = round(outside * len(values))
        return DepthRange(_number(values[margin]), _number(values[-1 - margin]))

    @staticmethod
    def like(inverse: torch.Tensor, wanted: torch.Tensor, known: Mask, range: float, least: float) -> DepthRange | None:
        """Return the range that scales a map to another's mean and deviation, over the mask where that is known.

        `range` and `least` are the extent and the lower end of the scaled inverse depth. None where less than a tenth
        is known, or either map is without relief; on a render device a range of NaN.
        """
        weight = _coarse(known)
        if not stays_on(weight.device) and weight.mean() < 0.1:
            return None
        (mean, deviation), (wanted_mean, wanted_deviation) = (
            _moments(_coarse(one), weight) for one in (inverse, wanted)
        )
        slope, is_comparable = wanted_deviation / deviation, None
        if isinstance(deviation, torch.Tensor) and isinstance(wanted_deviation, torch.Tensor):
            is_comparable = (torch.minimum(deviation, wanted_deviation) >= 1e-6) & (weight.mean() >= 0.1)
        elif min(deviation, wanted_deviation) < 1e-6:
            return None
        far = mean - (wanted_mean - least) / slope
        if is_comparable is not None:
            far = torch.where(is_comparable, far, torch.nan)
        return DepthRange(far, far + range / slope)

    def where(self, holds: torch.Tensor, other: DepthRange) -> DepthRange:
        """Return this range where a flag on the device holds, else the other."""
        far, near = (
            torch.where(holds, mine, theirs) for mine, theirs in ((self.far, other.far), (self.near, other.near))
        )
        return DepthRange(far, near)

    def toward(self, other: DepthRange, pace: float) -> DepthRange:
        """Move by the share `pace` toward another range; one of no extent, of a map without relief, leads nowhere."""
        moved = DepthRange(self.far + pace * (other.far - self.far), self.near + pace * (other.near - self.near))
        leads = other.near > other.far
        if isinstance(leads, torch.Tensor):
            return moved.where(leads, self)
        return moved if leads else self


def steady_depth(
    raw: torch.Tensor,
    gives: Gives,
    span: DepthRange | None,
    *,
    near: float = 1,
    far: float = 50,
    carried: tuple[Depth, Mask] | None = None,
    frames: int = 1,
    span_pace: float = 0.2,
    pace: float = 0.2,
) -> tuple[Depth, DepthRange]:
    """Convert a depth map to temporally stable distances; return them, (H, W), and the range for the next map.

    Convention: `near` and `far` are the distances, in scene units, of the nearest and the farthest things of the
    picture. `carried` is the depth of the last map, reprojected to this view `frames` later, with the mask where it is
    known. This map, of arbitrary scale and shift, is scaled to match it, then mixed into it by the share `pace`.
    Without `carried` the range of the last map, `span`, sets the scale. The scale of both then moves by the share
    `span_pace` per frame toward the one by which this map reaches from `near` to `far`. So they stay true as the scene
    changes, and a flight keeps its speed: what is carried comes nearer with each frame, and painting always puts
    new things behind it. Inverse depth is scaled and mixed, because motion in the picture is proportional to it.
    """
    inverse = raw if gives == "inverse depth" else 1 / raw.clamp(min=1e-6)
    least, most = 1 / far, 1 / near
    measured = DepthRange.of(inverse)
    held = span
    if carried is not None:
        liked = DepthRange.like(inverse, 1 / carried[0], carried[1], most - least, least)
        if liked is not None and isinstance(liked.far, torch.Tensor):
            liked = liked.where(liked.far.isfinite(), measured if span is None else span)
        held = liked or span
    held = measured if held is None else held
    span = held.toward(measured, 1 - (1 - span_pace) ** frames)
    if carried is not None:
        depth, known = carried
        # On the scale of this map, on which both are placed anew.
        before = (1 / depth).sub_(least).mul_(_extent(held) / (most - least)).add_(held.far)
        # Except at depth edges: moved by less than a pixel at a time, they would lag behind.
        inverse = torch.lerp(inverse, before, known * _smooth(1 / depth) * (1 - pace))
    # Things may stand out somewhat in front of the near end of the range; nothing lies beyond its far end.
    scaled = ((inverse - span.far) / _extent(span)).clamp_(0, OUTSTANDING).mul_(most - least).add_(least)
    return 1 / scaled, span


def _smooth(inverse: torch.Tensor, step: float = 1.15) -> Mask:
    """Return the mask (H, W) of pixels with no depth edge within two pixels: 1 there, 0 near an edge."""
    if stays_on(inverse.device):
        highest = max_pool2d(torch.stack((inverse, -inverse))[None], 5, 1, 2)[0]
        return (highest[0] <= -step * highest[1]).to(inverse.dtype)
    # The same, fifty times as fast on a CPU.
    square, values = np.ones((5, 5), np.uint8), inverse.contiguous().numpy()
    return torch.from_numpy((cv2.dilate(values, square) <= step * cv2.erode(values, square)).astype(values.dtype))


def _coarse(values: torch.Tensor) -> torch.Tensor:
    return adaptive_avg_pool2d(values[None, None], (64, 64))[0, 0]


def _number(value: torch.Tensor) -> float | torch.Tensor:
    """Return a number () as a float; one on a render device stays there, in the precision of floats where it can."""
    return value.double() if stays_on(value.device) else float(value)


def _extent(span: DepthRange) -> float | torch.Tensor:
    """Return the extent of a range, which is above 0."""
    near, far = span.near, span.far
    if isinstance(near, torch.Tensor) and isinstance(far, torch.Tensor):
        return torch.maximum(near - far, 1e-6 * torch.maximum(near.abs(), far.abs())).clamp(min=1e-12)
    return max(float(near - far), 1e-6 * max(abs(float(near)), abs(float(far))), 1e-12)


def _moments(values: torch.Tensor, weight: torch.Tensor) -> tuple[float | torch.Tensor, float | torch.Tensor]:
    """Return the weighted mean and standard deviation."""
    mean = (values * weight).sum() / weight.sum()
    deviation = ((values - mean).square() * weight).sum().div(weight.sum()).sqrt()
    return _number(mean), _number(deviation)
