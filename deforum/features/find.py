"""What settings name, found before anything is loaded: models, clips, masks, guides. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from deforum.errors import Problem, UserError
from deforum.features import hybrid, video_input
from deforum.features.guided_images import Guides, find_guides
from deforum.features.masks import MaskSource, find_masks, masks_by_depth
from deforum.settings.options import OPTIONS
from schedules import ScheduleError, Variables

if TYPE_CHECKING:
    from deforum.depth import DepthSource
    from deforum.diffusion import ModelSource
    from deforum.flow import FlowSource
    from deforum.settings.options import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """All that settings name; None for what they do not need."""

    model: ModelSource
    depth: DepthSource | None
    """Of the 3D camera."""
    mask_depth: DepthSource | None
    masks: MaskSource | None
    guides: Guides | None
    hybrid: hybrid.HybridSource | None
    video: video_input.VideoSource | None
    cadence_flow: FlowSource | None
    redo_flow: FlowSource | None


def find(settings: Settings) -> Found:
    """Find all that settings name. Raises UserError with everything that is missing."""
    from deforum.diffusion import resolve_model

    problems: list[Problem] = []

    def look(finder: Callable[[Settings], T]) -> T | None:
        try:
            return finder(settings)
        except UserError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
            return None

    model = look(lambda settings: resolve_model(settings.model))
    depth, mask_depth, masks = look(find_depth), look(find_mask_depth), look(find_masks)
    guides, clip, video = look(find_guides), look(hybrid.find_hybrid), look(video_input.find_video)
    cadence_flow, redo_flow = (look(partial(find_flow, name=name)) for name in FLOWS)
    if problems or model is None:
        raise UserError(problems)
    return Found(model, depth, mask_depth, masks, guides, clip, video, cadence_flow, redo_flow)


FLOWS = ("optical_flow_cadence", "optical_flow_redo_generation")
"""Settings that name an estimator of optical flow, besides hybrid video's."""


def find_flow(settings: Settings, name: str) -> FlowSource | None:
    """Find the optical flow that a setting of `FLOWS` names; None where it is off. Raises UserError if it is missing.

    A file of Deforum's that asks for RAFT without its weights is rendered with another.
    """
    from deforum.flow import resolve_or_stand_in

    method = getattr(settings, name) if settings.animation_mode in OPTIONS[name].modes else "None"
    return resolve_or_stand_in(method, name, stands_in=settings.profile == "deforum")


def find_depth(settings: Settings) -> DepthSource | None:
    """Find the depth model that the settings need; None where the scene is flat. Raises UserError if it is missing.

    A file of Deforum's whose model is missing is rendered with the embedded one.
    """
    return _depth_named(settings) if settings.animation_mode == "3D" and settings.use_depth_warping else None


def find_mask_depth(settings: Settings) -> DepthSource | None:
    """Find the depth model that masks ask; None where they ask none. Raises UserError as `find_depth` does."""
    needed = masks_by_depth(settings) or hybrid.masks_by_depth(settings)
    found = _depth_named(settings) if needed else None
    if found is None and hybrid.masks_by_depth(settings):
        kind = settings.hybrid_comp_mask_type
        raise UserError(f"hybrid_comp_mask_type: {kind} needs a depth model, but depth_algorithm is none")
    return found


def _depth_named(settings: Settings) -> DepthSource | None:
    from deforum.depth import resolve_depth

    try:
        found = resolve_depth(settings.depth_algorithm)
        return found if found is None or found.midas is None else replace(found, midas_share=settings.midas_weight)
    except UserError:
        embedded = resolve_depth("embedded")
        if settings.profile != "deforum" or embedded is None:
            raise
        return replace(embedded, says=f"{settings.depth_algorithm} is not here: the embedded depth model stands in")


def notes(settings: Settings) -> tuple[str, ...]:
    """Say what is not as it was asked for, in a line each; mistakes are left for `check` to find."""
    from deforum.diffusion import prompt_notes, sampler_note

    texts = [settings.positive_prompt, *(text for _, text in settings.prompts), settings.negative_prompt]
    says = [note for text in texts for note in prompt_notes(text)]
    with suppress(UserError, ScheduleError):
        names = settings.sampler.sample(settings.max_frames, Variables(seed=settings.seed, fps=settings.fps))
        says += [sampler_note(name) for name in dict.fromkeys(names)]
    with suppress(UserError):
        depth = find_depth(settings)
        says += [f"depth_algorithm: {depth.says}"] if depth is not None and depth.says else []
    for name in FLOWS:
        with suppress(UserError):
            flow = find_flow(settings, name)
            says += [f"{name}: {flow.says}"] if flow is not None and flow.says else []
    with suppress(UserError):
        clip = hybrid.find_hybrid(settings)
        says += [f"hybrid_flow_method: {clip.flow.says}"] if clip is not None and clip.flow and clip.flow.says else []
    says += video_input.sound_notes(settings)
    if hybrid.starts_from_clip(settings) and settings.init_image is not None and not settings.hybrid_use_init_image:
        says.append("init_image: not used, as hybrid_use_first_frame_as_init_image starts from the clip")
    return tuple(dict.fromkeys(filter(None, says)))
