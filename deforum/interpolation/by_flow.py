"""Pictures in between by optical flow in both directions, with what hides what.

Each picture's flow towards the other is completed where it is hidden (`match`), and carried to the time between: where
two surfaces meet, the one that both pictures show is in front. A pixel between is read once in each picture, and is a
mix of those that show its surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from deforum.flow import FlowModel, load_flow
from deforum.flow.dense import SMALLEST, both_ways
from deforum.interpolation import Interpolator, InterpolatorSource
from deforum.interpolation.match import Match, match
from deforum.motion.positions import Positions, Sampling, inside, pixels, read_at, sample_at
from deforum.motion.splat import cells_of, spread
from deforum.pixels.image import Device, Image, Mask, for_channels

SAME = 1.5  # px; two motions that differ by less are those of one surface
RANKS = 255  # steps of how well a pixel is seen in both pictures
LEAST = 1e-4  # share of a picture that does not show a surface, for where neither does
SAMPLING: Sampling = "bicubic"


def load(source: InterpolatorSource, device: Device) -> Interpolator:
    assert source.flow is not None
    return ByFlow(load_flow(source.flow, device))


@dataclass(frozen=True)
class ByFlow:
    """An `Interpolator` that moves both pictures along the flow between them."""

    model: FlowModel

    @torch.inference_mode()
    def __call__(self, first: Image, last: Image, at: Sequence[float]) -> list[Image]:
        if min(first.shape[1:]) < SMALLEST:
            return [torch.lerp(first, last, time) for time in at]
        forward, backward = both_ways(self.model, first, last)
        there, back = match(first, forward, backward), match(last, backward, forward)
        return [meet(first, last, there, back, time) for time in at]


def carry(found: Match, time: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Carry a flow along itself to a time: the flow (2, H, W) px of what is there, and where nothing is: (H, W) bool.

    Of surfaces that meet, the one is taken that is seen in both pictures.
    """
    height, width = found.seen.shape
    size = height * width
    here = pixels(width, height, found.flow.device)
    cells = cells_of(torch.add(here, found.flow, alpha=time).flatten(1), width, height)
    # Rank and index in one number: the largest of a cell is the same in any order.
    rank = (found.seen.flatten() * RANKS).long() * size
    rank += torch.arange(1, size + 1, device=rank.device)
    best = torch.zeros((height + 3) * (width + 3), dtype=torch.int64, device=rank.device)
    nearest = spread(best.scatter_reduce_(0, cells, rank, "amax").view(height + 3, width + 3))
    index = ((nearest - 1).clamp_(min=0) % size).flatten()
    return found.flow.flatten(1)[:, index].view(2, height, width), nearest == 0


def meet(first: Image, last: Image, there: Match, back: Match, time: float) -> Image:
    """Make the picture at a time between two, given each one's motion towards the other."""
    height, width = there.seen.shape
    here = pixels(width, height, first.device)
    onwards, empty = carry(there, time)
    backwards, also_empty = carry(back, 1 - time)
    backwards = -backwards  # both are now the motion from first to last
    apart = (onwards - backwards).square().sum(0).sqrt()
    both = (apart < SAME) & ~empty & ~also_empty
    flow = torch.where(both, torch.lerp(onwards, backwards, time), torch.where(empty, backwards, onwards))
    in_first, in_last = torch.add(here, flow, alpha=-time), torch.add(here, flow, alpha=1 - time)
    a = (1 - time) * (shows(there.flow, in_first, flow) + LEAST)
    b = time * (shows(-back.flow, in_last, flow) + LEAST)
    return torch.lerp(read(first, in_first), read(last, in_last), for_channels(b / (a + b)))


def shows(motion: torch.Tensor, places: Positions, flow: torch.Tensor) -> Mask:
    """Return how well a picture shows at `places` a surface that moves by `flow`, given its own motion: (H, W)."""
    missed = (read_at(motion, places) - flow).square_().sum(0)
    return missed.mul_(-1 / SAME**2).exp_() * inside(places)


def read(image: Image, places: Positions) -> Image:
    return sample_at(image, places, SAMPLING, "border").clamp_(0, 1)
