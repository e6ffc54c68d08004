"""In-betweens whose details move from one diffused picture to the next, where a cross-fade would show them twice.

What the camera does is known; what else has moved between an older picture, brought to the place of the newer one by
the camera, and the newer one, is found as optical flow. Where that flow agrees with the one back, things follow it;
elsewhere they fade.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from deforum.animate import Between, CrossFade, Pair, Stages, View, Warp, cross_fade
from deforum.flow import FlowModel
from deforum.flow.warp import Flow, FlowWarp, consistency, invert, join, manner_of, move_flow, to_positions
from deforum.image import Image
from deforum.positions import Sampling, follow, read_at, sample_at
from deforum.timeline import Frame

SOFTNESS = 2  # px, of the border between what moves and what fades
FADE = CrossFade()
SAMPLING: Sampling = "bicubic"  # an in-between that is softer than its neighbours flickers


def with_flow(stages: Stages, model: FlowModel | None) -> Stages:
    """Let in-betweens follow the flow that a model finds; None: they fade."""
    return stages if model is None else replace(stages, mix=FollowFlow(model))


@dataclass(frozen=True)
class FollowFlow:
    """Moves both pictures along the flow between them, so that they meet: a `deforum.animate.Mix`.

    The flow is scaled by the newer picture's cadence_flow_factor. A picture that was diffused from noise alone, at
    strength 0, has nothing to do with the one before, and is faded in.
    """

    model: FlowModel

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        if key.params.strength == 0:
            return FADE.meet(moved, newer, key)
        flow = self.residual(moved, newer, key)

        def between(a: View, b: View, fade: float) -> Image:
            here = move_flow(b.warp, flow)
            there = to_positions(here)
            start = invert(to_positions(here, fade))  # where each pixel is in the older picture
            end = follow(there, start)  # and in the newer one
            older, older_covers = see(a, start)
            newer, newer_covers = see(b, end)
            return cross_fade(older, older_covers, newer, newer_covers, fade)

        return between

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        begins = pair.fade == 0
        if pair.older is None or key.params.strength == 0 or (begins and fade == 1):
            return FADE.step(pair, warp, key, fade)
        flow = self.residual(warp(pair.older), pair.newer, key) if begins or pair.flow is None else pair.flow
        flow = flow if begins else move_flow(warp, flow)
        # Where both pictures are alike at a share of the way, that is how far the older one has gone, and how far the
        # newer one still has to go.
        on = FlowWarp.of(flow, factor=fade - pair.fade)
        older = None if fade == 1 else join(warp, on)(pair.older)
        newer = FlowWarp.of(flow, factor=fade - 1)(pair.newer) if begins else join(warp, on)(pair.newer)
        return Pair(older, newer, fade, flow)

    def residual(self, moved: Image, newer: Image, key: Frame) -> Flow:
        """Find what has moved beside the camera: (H, W, 2) px, where the newer picture stands."""
        forward, backward = self.model(moved, newer), self.model(newer, moved)
        trusted = consistency(forward, backward, blur=SOFTNESS)[..., None]
        return forward * trusted * key.params.cadence_flow_factor


def see(view: View, places: torch.Tensor) -> tuple[Image, torch.Tensor]:
    """Read a picture at places (2, H, W) of the view: the picture, and where it covers them, (H, W)."""
    here, _ = view.warp.charts()
    edge, _ = manner_of(view.warp)
    seen = sample_at(view.image, follow(here.positions, places), SAMPLING, edge).clamp_(0, 1)
    return seen, read_at(here.covers[None], places)[0]
