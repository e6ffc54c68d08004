"""From what a depth network returns to the distances that a camera moves in.

Convention: `raw` is (H, W) float32 as the network returns it, up to an unknown scale and shift: inverse depth, larger
is nearer, or depth, larger is farther; its model says which. Depth is z in scene units, larger is farther, about 1 for
the nearest things.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from deforum.depth import Gives
from deforum.pixels.image import Mask

Depth = torch.Tensor  # (H, W) float32

BINS = 1024
OUTSTANDING = 1.5  # what is taken for the nearest may be this many times as near


def slab_depth(raw: torch.Tensor, gives: Gives, *, as_it_is: bool = False) -> Depth | None:
    """Turn a depth map into what Deforum's camera takes for z: 1 near, 2 far; None (flat) where the map says nothing.

    `as_it_is` takes the values themselves for distances, as Deforum's "(old)" algorithms do.
    """
    if as_it_is:
        return raw
    equalized = equalize(raw)
    if equalized is None:
        return None
    return 2 - equalized if gives == "inverse depth" else 1 + equalized


def equalize(raw: torch.Tensor) -> torch.Tensor | None:
    """Bring a map to 0..1 such that each depth has an equal share of the picture, to 1024 steps.

    None where the map is constant or has a value that is no number.
    """
    low, high = raw.aminmax()
    if not torch.isfinite(high - low) or not high > low:
        return None
    place = (raw - low) / (high - low)
    share = torch.histc(place, BINS, 0, 1).cumsum(0) / raw.numel()
    # A value at the lower edge of a step has the whole step's share; between edges it is interpolated.
    place *= BINS
    step = place.to(torch.int64).clamp_(max=BINS - 1)
    rise = torch.diff(share, append=share[-1:])
    return share[step].add_((place - step).mul_(rise[step]))


@dataclass(frozen=True)
class DepthRange:
    """The raw inverse depths that are taken for the farthest and the nearest of a scene."""

    far: float
    near: float

    @staticmethod
    def of(inverse: torch.Tensor, outside: float = 0.02) -> DepthRange:
        """Measure a map, leaving a small share at either end outside: single pixels decide nothing."""
        values = _coarse(inverse).flatten().sort().values
        margin = round(outside * len(values))
        return DepthRange(float(values[margin]), float(values[-1 - margin]))

    @staticmethod
    def like(inverse: torch.Tensor, wanted: torch.Tensor, known: Mask, range: float, least: float) -> DepthRange | None:
        """Find the span with which a map comes out like another one, in mean and deviation, where that is known.

        None where too little is known, or either is without relief.
        """
        weight = _coarse(known)
        if weight.mean() < 0.1:
            return None
        (mean, deviation), (wanted_mean, wanted_deviation) = (
            _moments(_coarse(one), weight) for one in (inverse, wanted)
        )
        if min(deviation, wanted_deviation) < 1e-6:
            return None
        slope = wanted_deviation / deviation
        far = mean - (wanted_mean - least) / slope
        return DepthRange(far, far + range / slope)

    def toward(self, other: DepthRange, pace: float) -> DepthRange:
        """Go a share of the way to another span."""
        return DepthRange(self.far + pace * (other.far - self.far), self.near + pace * (other.near - self.near))


def steady_depth(
    raw: torch.Tensor,
    gives: Gives,
    span: DepthRange | None,
    *,
    near: float = 1,
    far: float = 50,
    carried: tuple[Depth, Mask] | None = None,
    span_pace: float = 0.1,
    pace: float = 0.2,
) -> tuple[Depth, DepthRange]:
    """Turn a depth map into distances that do not flicker; give them, and the span to hand to the next frame.

    Convention: `near` and `far` are the distances, in scene units, of the nearest and the farthest things of the
    picture. `carried` is the depth of the frame before, moved to this view, and where it is known: this frame's map,
    whose scale and shift are arbitrary, is brought to its scale and shift, and only the share `pace` of it is new.
    Without it the span of the frame before, `span`, takes its place. From there the span goes by `span_pace` to what
    this frame's own is, so that `near` and `far` stay true as the scene changes. Inverse depth is what is scaled and
    mixed: motion in the picture is proportional to it.
    """
    inverse = raw if gives == "inverse depth" else 1 / raw.clamp(min=1e-6)
    least, most = 1 / far, 1 / near
    measured = DepthRange.of(inverse)
    if carried is not None:
        span = DepthRange.like(inverse, 1 / carried[0], carried[1], most - least, least) or span
    span = measured if span is None else span.toward(measured, span_pace)
    reach = max(span.near - span.far, 1e-6 * max(abs(span.near), abs(span.far)), 1e-12)
    # A little may stand out in front of what is taken for the nearest; nothing lies beyond the farthest.
    scaled = ((inverse - span.far) / reach).clamp_(0, OUTSTANDING).mul_(most - least).add_(least)
    if carried is not None:
        depth, known = carried
        # Outlines moved by less than a pixel at a time would stay behind.
        scaled = torch.lerp(scaled, 1 / depth, known * _smooth(1 / depth) * (1 - pace))
    return 1 / scaled, span


def _smooth(inverse: torch.Tensor, step: float = 1.15) -> Mask:
    """Tell where there is no outline of a thing within two pixels."""
    highest = max_pool2d(torch.stack((inverse, -inverse))[None], 5, 1, 2)[0]
    return (highest[0] <= -step * highest[1]).to(inverse.dtype)


def _coarse(values: torch.Tensor) -> torch.Tensor:
    return adaptive_avg_pool2d(values[None, None], (64, 64))[0, 0]


def _moments(values: torch.Tensor, weight: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean = (values * weight).sum() / weight.sum()
    deviation = ((values - mean).square() * weight).sum().div(weight.sum()).sqrt()
    return float(mean), float(deviation)
