"""Diffusing a frame more than once: decorators around diffusion.

Every pass derives its own seed from the frame's, so that later frames do not depend on extra passes. Diffusions from
noise alone, without a picture or at strength 0, are not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deforum.animation.filters import hold_colors
from deforum.animation.parts import Diffuse, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.flow import FlowModel, FlowSource, load_flow
from deforum.motion.flow_warp import FlowWarp
from deforum.pixels.image import Image
from deforum.seeds import derive_seed
from deforum.settings.options import Settings


def attach(stages: Stages, found: FlowSource | None, kit: Kit) -> Stages:
    """Diffuse each frame as often as diffusion_redo and optical_flow_redo_generation say."""
    return with_redo(stages, kit.settings, None if found is None else kit.load(load_flow, found))


def with_redo(stages: Stages, settings: Settings, model: FlowModel | None) -> Stages:
    """Diffuse each frame as often as the settings say; `model` finds the flow of optical_flow_redo_generation."""

    def around(diffuse: Diffuse) -> Diffuse:
        again = redo_diffusion(diffuse, settings.diffusion_redo) if settings.diffusion_redo else diffuse
        return again if model is None else redo_by_flow(again, diffuse, model)

    return replace(stages, around=[*stages.around, around])


def redo_diffusion(diffuse: Diffuse, times: int) -> Diffuse:
    """Add `times` passes before the final one, each from the last result; the last of them is colour matched."""

    def redone(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        images, which = list(inits), started_from_pictures(inits, moments)
        for turn in range(times if which else 0):
            again = diffuse([images[i] for i in which], [with_seeds_of(moments[i], f"redo {turn}") for i in which])
            for i, image in zip(which, again, strict=True):
                images[i] = hold_colors(image, moments[i]) if turn == times - 1 else image
        return diffuse(images, moments)

    return redone


def redo_by_flow(diffuse: Diffuse, trial: Diffuse, model: FlowModel) -> Diffuse:
    """Diffuse a trial, move the init by the optical flow to its result, and diffuse from the moved init.

    `trial` diffuses once. The flow from its init to its result is scaled by the frame's redo_flow_factor.
    """

    def redone(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        images, which = list(inits), started_from_pictures(inits, moments)
        which = [i for i in which if moments[i].frame.params.redo_flow_factor != 0]
        seeds = [with_seeds_of(moments[i], "flow redo") for i in which]
        tried = trial([inits[i] for i in which], seeds) if which else []
        for i, result in zip(which, tried, strict=True):
            init = inits[i]
            if init is not None:
                flow = model(init, hold_colors(result, moments[i]))
                images[i] = FlowWarp.of(flow, factor=moments[i].frame.params.redo_flow_factor)(init)
        return diffuse(images, moments)

    return redone


def started_from_pictures(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[int]:
    """List the indices of diffusions that start from a picture at a strength above 0."""
    pairs = enumerate(zip(inits, moments, strict=True))
    return [i for i, (init, moment) in pairs if init is not None and moment.frame.params.strength > 0]


def with_seeds_of(moment: Moment, purpose: str) -> Moment:
    """Replace the seeds of a frame by seeds derived from them."""
    frame = moment.frame
    seed, subseed = (derive_seed(each, frame.index, purpose) for each in (frame.seed, frame.subseed))
    return replace(moment, frame=replace(frame, seed=seed, subseed=subseed))
