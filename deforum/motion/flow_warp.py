"""Motions made from optical flow; and flow, masks and motions moved by each other.

Convention: flow (H, W, 2) px from the old picture to the new: see `deforum.flow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch

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

Flow = torch.Tensor  # (H, W, 2) float32 px

STEPS = 4  # towards where a pixel came from; the flow that takes it here is read there
DOUBT_SHARE, DOUBT = 0.01, 0.2  # of the squared flow, and px^2, that the way back may miss the start by


@dataclass(frozen=True)
class FlowWarp:
    """A dense motion: `source` says, for each pixel of the new picture, where it comes from.

    Satisfies `deforum.motion.warps.Warp`. Motions are joined as positions, so that a picture is sampled once.
    """

    source: Positions
    solve: Callable[[], Charts]
    """Gives the whole geometry; asked when it is needed."""
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
        """Move everything by a flow times a factor.

        A pixel comes from where the flow leads to it. That is searched for; from where `backward`, the flow from the
        new picture to the old, says, if it is given: it knows where things lie behind each other.
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
        """Move a picture, (C, H, W) in 0..1."""
        moved = sample_at(image, self.source, self.sampling, self.edge)
        return moved.clamp_(0, 1) if self.sampling == "bicubic" else moved  # it overshoots at edges

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
    """Say where each pixel goes."""
    height, width = flow.shape[:2]
    return torch.add(pixels(width, height, flow.device), flow.permute(2, 0, 1), alpha=factor)


def invert(there: Positions, guess: Positions | None = None) -> Positions:
    """Turn where each pixel goes into where each one comes from; where nothing comes to, the guess is left.

    Without a guess it is that the flow is the same here as where it started.
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
    """Tell where something comes to, when what is at `source` goes where `there` says: 1, or less where it misses."""
    height, width = there.shape[1:]
    missed = (follow(there, source) - pixels(width, height, there.device)).abs().amax(0)
    soft: Mask = (2 * (1 - missed / SAME_PLACE)).clamp(0, 1)
    return soft


def join(first: Warp, later: Warp, *, edge: Edge | None = None, sampling: Sampling | None = None) -> Warp:
    """Join two motions of any kinds into one, so that a picture is sampled once.

    Two of a kind join as they do; others as positions, with the first one's edge and sampling where none are given.
    """
    if type(first) is type(later) and edge is None and sampling is None:
        return first.then(later)
    source = follow(_source(first), _source(later))
    return FlowWarp(source, lambda: chain(first, later), edge or first.edge, sampling or first.sampling)


def chain(first: Warp, later: Warp) -> Charts:
    """Give the whole geometry of two motions, one after the other."""
    (here, there), (later_here, later_there) = first.charts(), later.charts()
    source = follow(here.positions, later_here.positions)
    back = follow(later_there.positions, there.positions)
    covers = later_here.covers * read_at(here.covers[None], later_here.positions)[0]
    back_covers = there.covers * read_at(later_there.covers[None], there.positions)[0]
    # What each motion uncovers or hides by less than a pixel shows when they are taken together.
    return Chart(source, covers * comes_back(source, back)), Chart(back, back_covers * comes_back(back, source))


def _source(warp: Warp) -> Positions:
    return warp.source if isinstance(warp, FlowWarp) else warp.charts()[0].positions


def move_mask(warp: Warp, mask: Mask) -> Mask:
    """Move a mask, or other values that belong to places: (H, W). Where the picture is made up, its edge decides."""
    return read_at(mask[None], _source(warp))[0]


def move_flow(warp: Warp, flow: Flow) -> Flow:
    """Move a flow: a vector between two places becomes that between the moved places, however they were moved."""
    here, there = warp.charts()
    start = here.positions
    end = start + read_at(flow.permute(2, 0, 1), start)
    return (follow(there.positions, end) - follow(there.positions, start)).permute(1, 2, 0)


def consistency(forward: Flow, backward: Flow, *, blur: int = 0) -> Mask:
    """Tell where a flow and that back agree: (H, W), 1 there, 0 where going there and back misses the start.

    `blur` in px softens it. Source: N. Sundaram et al., "Dense point trajectories by GPU-accelerated large displacement
    optical flow", 2010; how much may be missed is what Deforum's recorded masks show.
    """
    returned = read_at(backward.permute(2, 0, 1), to_positions(forward)).permute(1, 2, 0)
    missed = (forward + returned).square().sum(-1)
    allowed = DOUBT_SHARE * (forward.square().sum(-1) + returned.square().sum(-1)) + DOUBT
    agrees = (missed <= allowed).float()
    if not blur:
        return agrees
    size = 2 * blur + 1
    soft = cv2.GaussianBlur(agrees.cpu().numpy(), (size, size), blur, borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(np.asarray(soft, np.float32)).to(forward.device)


def reliable_flow(forward: Flow, backward: Flow, *, blur: int = 0, opposed: float = 0) -> Flow:
    """Give a flow only where it agrees with that back; elsewhere none, or, `opposed`, a part of it turned round.

    Deforum turns it round by 0.75.
    """
    agrees = consistency(forward, backward, blur=blur)[..., None]
    return forward * torch.lerp(torch.full_like(agrees, -opposed), torch.ones_like(agrees), agrees)
