"""Warps made from optical flow; masks and flow moved by a warp; warps of different kinds composed.

Convention: flow (H, W, 2) px from the old picture to the new: see `deforum.flow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch

from deforum.models.transfer import stays_on
from deforum.motion.positions import (
    SAME_PLACE,
    Chart,
    Charts,
    Edge,
    Positions,
    Sampling,
    comes_back,
    follow,
    inside,
    pixels,
    read_at,
    sample_at,
)
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, Mask
from deforum.pixels.sharpness import blur_on_device

Flow = torch.Tensor  # (H, W, 2) float32 px

STEPS = 4  # fixed-point iterations of `invert`
DOUBT_SHARE, DOUBT = 0.01, 0.2  # forward-backward tolerance: share of the squared flows, plus px^2


@dataclass(frozen=True)
class FlowWarp:
    """A dense motion: `source` is the position in the old picture of each pixel of the new one.

    Satisfies `deforum.motion.warps.Warp`. Motions are composed as positions, so that a picture is sampled once.
    """

    source: Positions
    solve: Callable[[], Charts]
    """Computes the charts; called when first needed."""
    edge: Edge = "mirror"
    sampling: Sampling = "bilinear"

    @staticmethod
    def of(
        flow: Flow,
        backward: Flow | None = None,
        *,
        factor: float = 1,
        edge: Edge = "mirror",
        sampling: Sampling = "bilinear",
    ) -> FlowWarp:
        """Make the warp that moves a picture by `factor` times a flow, (H, W, 2) px from old to new.

        The inverse of the flow is found by iteration. `backward`, the flow from the new picture to the old, is its
        start where given: it resolves occlusions.
        """
        there = to_positions(flow, factor)
        source = invert(there, None if backward is None else to_positions(backward, factor))

        def solve() -> Charts:
            return (
                Chart(source, inside(source) * comes_back(source, there)),
                Chart(there, inside(there) * comes_back(there, source)),
            )

        return FlowWarp(source, solve, edge, sampling)

    @cached_property
    def _solved(self) -> Charts:
        return self.solve()

    def __call__(self, image: Image) -> Image:
        """Warp a picture, (C, H, W) in 0..1."""
        moved = sample_at(image, self.source, self.sampling, self.edge)
        return moved.clamp_(0, 1) if self.sampling == "bicubic" else moved  # bicubic overshoots at edges

    def then(self, later: FlowWarp) -> FlowWarp:
        return replace(self, source=follow(self.source, later.source), solve=lambda: chain(self, later))

    def inverse(self) -> FlowWarp:
        here, there = self._solved
        return replace(self, source=there.positions, solve=lambda: (there, here))

    def coverage(self) -> Mask:
        return self._solved[0].covers

    def charts(self) -> Charts:
        return self._solved


def to_positions(flow: Flow, factor: float = 1) -> Positions:
    """Return the destination of each pixel, (2, H, W) px, under `factor` times a flow (H, W, 2)."""
    height, width = flow.shape[:2]
    return torch.add(pixels(width, height, flow.device), flow.permute(2, 0, 1), alpha=factor)


def invert(there: Positions, guess: Positions | None = None) -> Positions:
    """Invert a map of destinations by fixed-point iteration: return the source of each pixel, (2, H, W) px.

    `guess` starts the iteration, and stays where no pixel lands. By default it takes the flow at the destination for
    the flow at the source.
    """
    height, width = there.shape[1:]
    here = pixels(width, height, there.device)
    flow = there - here
    guess = here - flow if guess is None else guess
    source = guess
    for _ in range(STEPS):
        source = here - read_at(flow, source)
    return torch.where(lands(there, source) > 0, source, guess)


def lands(there: Positions, source: Positions) -> Mask:
    """Return the mask (H, W) of pixels whose `source` lands back on them: 1 to SAME_PLACE / 2 px, 0 from SAME_PLACE."""
    height, width = there.shape[1:]
    missed = (follow(there, source) - pixels(width, height, there.device)).abs().amax(0)
    soft: Mask = (2 * (1 - missed / SAME_PLACE)).clamp(0, 1)
    return soft


def join(first: Warp, later: Warp, *, edge: Edge | None = None, sampling: Sampling | None = None) -> Warp:
    """Compose two motions of any kinds into one, so that a picture is sampled once.

    Two of a kind use their own `then`; others are composed as positions. `edge` and `sampling` default to the first's.
    """
    if type(first) is type(later) and edge is None and sampling is None:
        return first.then(later)
    source = follow(_source(first), _source(later))
    return FlowWarp(source, lambda: chain(first, later), edge or first.edge, sampling or first.sampling)


def chain(first: Warp, later: Warp) -> Charts:
    """Compose the charts of two motions, one after the other."""
    (here, there), (later_here, later_there) = first.charts(), later.charts()
    source = follow(here.positions, later_here.positions)
    back = follow(later_there.positions, there.positions)
    covers = later_here.covers * read_at(here.covers[None], later_here.positions)[0]
    back_covers = there.covers * read_at(later_there.covers[None], there.positions)[0]
    # Disocclusions and occlusions of less than a pixel in each motion add up: test the round trip of both together.
    return Chart(source, covers * comes_back(source, back)), Chart(back, back_covers * comes_back(back, source))


def _source(warp: Warp) -> Positions:
    return warp.source if isinstance(warp, FlowWarp) else warp.charts()[0].positions


def move_mask(warp: Warp, mask: Mask) -> Mask:
    """Warp a mask, or other values by position: (H, W). Sources beyond the edge read the outermost values."""
    return read_at(mask[None], _source(warp))[0]


def move_flow(warp: Warp, flow: Flow) -> Flow:
    """Warp a flow, (H, W, 2) px: both ends of each vector are moved, so that rotation and scale act on it too."""
    here, there = warp.charts()
    start = here.positions
    end = start + read_at(flow.permute(2, 0, 1), start)
    return (follow(there.positions, end) - follow(there.positions, start)).permute(1, 2, 0)


def consistency(forward: Flow, backward: Flow, *, blur: int = 0) -> Mask:
    """Return the forward-backward consistency mask of two flows, (H, W): 1 where the round trip returns to its start.

    `blur` is the deviation in px of a Gaussian that softens it. Source: N. Sundaram et al., "Dense point trajectories
    by GPU-accelerated large displacement optical flow", 2010; the tolerance is taken from Deforum's recorded masks.
    """
    returned = read_at(backward.permute(2, 0, 1), to_positions(forward)).permute(1, 2, 0)
    missed = (forward + returned).square().sum(-1)
    allowed = DOUBT_SHARE * (forward.square().sum(-1) + returned.square().sum(-1)) + DOUBT
    agrees = (missed <= allowed).float()
    if not blur:
        return agrees
    size = 2 * blur + 1
    if stays_on(agrees.device):
        return blur_on_device(agrees[None], size, blur, replicate=True)[0]
    soft = cv2.GaussianBlur(agrees.cpu().numpy(), (size, size), blur, borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(np.asarray(soft, np.float32)).to(forward.device)


def reliable_flow(forward: Flow, backward: Flow, *, blur: int = 0, opposed: float = 0) -> Flow:
    """Return the forward flow where it is consistent with the backward flow; elsewhere -`opposed` times it, (H, W, 2).

    `blur` as in `consistency`. Deforum's `opposed` is 0.75.
    """
    agrees = consistency(forward, backward, blur=blur)[..., None]
    return forward * torch.lerp(torch.full_like(agrees, -opposed), torch.ones_like(agrees), agrees)
