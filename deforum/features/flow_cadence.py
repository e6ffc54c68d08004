"""Optical-flow cadence: details of in-betweens move along the flow, where a cross-fade would show them twice.

The camera's motion is known. The remaining motion between the older picture, moved to the newer one by the camera,
and the newer one is estimated as optical flow. Where forward and backward flow agree, pixels follow it; elsewhere they
follow what agrees around them, or fade.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from deforum.animation.mix import CrossFade, Seen, sharp_fade
from deforum.animation.parts import Between, Pair, View
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.flow import FlowModel, FlowSource, load_flow
from deforum.flow.dense import both_ways
from deforum.models.transfer import stays_on
from deforum.motion.common_flow import common_flow
from deforum.motion.flow_warp import Flow, FlowWarp, join, move_flow, reliable_flow, to_positions
from deforum.motion.positions import Positions, Sampling, follow, inside, read_at, sample_at
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, Mask
from deforum.timeline.frame import Frame

SOFTNESS = 5  # px, blur of the border between moving and fading areas; a sharper one is visible
FADE = CrossFade()
SAMPLING: Sampling = "bicubic"  # an in-between that is softer than its neighbours flickers


def attach(stages: Stages, found: FlowSource | None, kit: Kit) -> Stages:
    """Let in-betweens follow the flow of optical_flow_cadence.

    The estimators that need no weights compute on the processor. A graphics card would wait for them in each painted
    frame: there `auto` fades.
    """
    if kit.settings.optical_flow_cadence == "auto" and stays_on(kit.device):
        return stages
    return with_flow(stages, None if found is None else kit.load(load_flow, found))


def with_flow(stages: Stages, model: FlowModel | None) -> Stages:
    """Let in-betweens follow the flow of a model; without a model they fade."""
    return stages if model is None else replace(stages, mix=FollowFlow(model))


@dataclass(frozen=True)
class FollowFlow:
    """A `deforum.animation.parts.Mix` that moves both pictures along the flow between them, so that they meet.

    The flow is scaled by the newer picture's cadence_flow_factor. A picture diffused from noise alone, at strength 0,
    is unrelated to the previous one, and is faded in.
    """

    model: FlowModel

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        if fades_only(key):
            return FADE.meet(moved, newer, key)
        forward = key.params.cadence_flow_factor * common_flow(moved, newer, *both_ways(self.model, moved, newer))

        def between(a: View, b: View, fade: float) -> Image:
            flow = move_flow(b.warp, forward)
            start = FlowWarp.of(flow, factor=fade).source  # where what is here is in the older picture
            older = Seen.of(a, *see(a, start)).feathered()
            newer = Seen.of(b, *see(b, follow(to_positions(flow), start))).feathered()  # and in the newer one
            return sharp_fade(older, newer, fade)

        return between

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        begins = pair.fade == 0
        if pair.older is None or fades_only(key) or (begins and fade == 1):
            return FADE.step(pair, warp, key, fade)
        # Both pictures move by the increase of the fade. The newer one begins moved back by the whole flow, so that
        # both are aligned in every frame, and the newer one ends where it was painted.
        if begins or pair.flow is None:
            flow, backward = self.residual(warp(pair.older), pair.newer, key)
            newer_on: Warp | None = FlowWarp.of(backward, factor=1 - fade, sampling=SAMPLING)
        else:
            flow, newer_on = move_flow(warp, pair.flow), None
        step = FlowWarp.of(flow, factor=fade - pair.fade)
        on = join(warp, step, sampling=SAMPLING)
        newer = on(pair.newer) if newer_on is None else newer_on(pair.newer)
        carried = read_at(flow.permute(2, 0, 1), step.source).permute(1, 2, 0)
        return Pair(None if fade == 1 else on(pair.older), newer, fade, carried)

    def residual(self, moved: Image, newer: Image, key: Frame) -> tuple[Flow, Flow]:
        """Estimate the flow beyond the camera's motion, forward and backward, at the newer frame: (H, W, 2) px.

        It is 0 where the two disagree: something is occluded there, or is painted differently.
        """
        forward, backward = both_ways(self.model, moved, newer)
        factor = key.params.cadence_flow_factor
        return (
            factor * reliable_flow(forward, backward, blur=SOFTNESS),
            factor * reliable_flow(backward, forward, blur=SOFTNESS),
        )


def fades_only(key: Frame) -> bool:
    return key.params.strength == 0 or key.params.cadence_flow_factor == 0


def see(view: View, places: Positions) -> tuple[Image, Mask]:
    """Sample a picture once at positions of the view; return it and its coverage there, (H, W)."""
    here, _ = view.warp.charts()
    seen = sample_at(view.image, follow(here.positions, places), SAMPLING, view.warp.edge).clamp_(0, 1)
    return seen, read_at(here.covers[None], places)[0] * inside(places)
