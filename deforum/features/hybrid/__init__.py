"""Hybrid video: the motion and the pictures of a clip are mixed into the animation.

Convention: frame t of the animation corresponds to frame t of the clip, and takes over its motion from frame t - 1 to
t. This module works before anything is loaded; `deforum.features.hybrid.attach` adds the feature to the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError
from deforum.features.clip_length import sound_notes
from deforum.features.depth import depth_named
from deforum.settings.declare import When, chosen, on, unless, when
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from schedules.quoting import quote

if TYPE_CHECKING:
    from deforum.depth import DepthSource
    from deforum.flow import FlowSource
    from deforum.video import ClipSource

DEPTH_MASKS = ("Depth", "Video Depth")


def is_on(settings: Settings) -> bool:
    """Whether hybrid motion or the hybrid composite is on."""
    wanted = (settings.hybrid_motion, settings.hybrid_composite) != ("None", "None")
    return wanted and settings.mode.goes_on


def starts_from_clip(settings: Settings) -> bool:
    """Whether frame 0 is painted from the clip's first frame."""
    return is_on(settings) and settings.hybrid_use_first_frame_as_init_image


def masks_by_depth(settings: Settings) -> bool:
    """Whether the composite mask needs a depth model."""
    return is_masked(settings) and settings.hybrid_comp_mask_type in DEPTH_MASKS


def is_masked(settings: Settings) -> bool:
    """Whether the clip is mixed in under a mask."""
    mixes = is_on(settings) and settings.hybrid_composite != "None"
    return mixes and settings.hybrid_comp_mask_type != "None"


def needs_clip(settings: Settings) -> bool:
    """Whether video_init_path has to name a clip."""
    return is_on(settings) and not settings.hybrid_use_init_image


def needs_init_image(settings: Settings) -> bool:
    """Whether the init image is used as the clip."""
    return is_on(settings) and settings.hybrid_use_init_image


def moves_by_flow(settings: Settings) -> bool:
    """Whether the clip's motion is found by optical flow."""
    return is_on(settings) and settings.hybrid_motion == "Optical Flow"


@dataclass(frozen=True)
class HybridSource:
    """The clip and models of hybrid video, before anything is loaded."""

    clip: ClipSource
    flow: FlowSource | None
    """The optical flow estimator; None where the motion is not optical flow."""
    depth: DepthSource | None
    """The depth model of the composite mask."""


def find_hybrid(settings: Settings) -> HybridSource | None:
    """Find the clip, the optical flow estimator and the depth model; None where hybrid video is off.

    Raises UserError with everything that is missing. A Deforum file that asks for RAFT without its weights is rendered
    with another estimator.
    """
    from deforum.flow import resolve_or_stand_in
    from deforum.video import resolve_clip, video_init

    if not is_on(settings):
        return None
    problems: list[Problem] = []
    clip = flow = depth = None
    try:
        given = settings.hybrid_use_init_image
        clip = resolve_clip(settings.init_image or "", name="init_image") if given else video_init(settings)
    except UserError as error:
        problems += error.problems
    try:
        if moves_by_flow(settings):
            method = settings.hybrid_flow_method
            flow = resolve_or_stand_in(method, "hybrid_flow_method", stands_in=settings.is_lenient)
    except UserError as error:
        problems += error.problems
    try:
        depth = _find_depth(settings) if masks_by_depth(settings) else None
    except UserError as error:
        problems += error.problems
    if problems or clip is None:
        raise UserError(problems)
    return HybridSource(clip, flow, depth)


def _find_depth(settings: Settings) -> DepthSource:
    found = depth_named(settings)
    if found is None:
        kind = settings.hybrid_comp_mask_type
        raise UserError(f"hybrid_comp_mask_type: {kind} needs a depth model, but depth_algorithm is none")
    return found


def notes(settings: Settings, found: HybridSource) -> list[str]:
    """Note a replaced estimator, sound that drifts, and an unused init image."""
    says = [f"hybrid_flow_method: {found.flow.says}"] if found.flow is not None and found.flow.says else []
    says += [f"video_init_path: {note}" for note in found.clip.notes]
    says += sound_notes(settings) if needs_clip(settings) else []
    if starts_from_clip(settings) and settings.init_image is not None and not settings.hybrid_use_init_image:
        says.append("init_image: not used, as hybrid_use_first_frame_as_init_image starts from the clip")
    return says


def without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Turn hybrid video off where its clip is missing."""
    for name, is_needed in {"video_init_path": needs_clip, "init_image": needs_init_image}.items():
        text = getattr(settings, name)
        if is_needed(settings) and files.find(text or "") is None:
            settings = replace(settings, hybrid_motion="None", hybrid_composite="None")
            return settings, [f"hybrid video: there is no clip {quote(text or name)}; the animation goes without one"]
    return settings, []


_ON = when("hybrid_motion or hybrid_composite is on", lambda settings, sampled: is_on(settings))
_BY_CLIP = when("hybrid video reads a clip", lambda settings, sampled: needs_clip(settings))
_BY_FLOW = chosen("hybrid_motion", "Optical Flow")
_COMPOSED = unless("hybrid_composite", "None")
_MASKED = _COMPOSED & unless("hybrid_comp_mask_type", "None")
_STRETCHED = _MASKED & on("hybrid_comp_mask_auto_contrast")

ACTS: Mapping[str, When] = {
    **dict.fromkeys(
        ("hybrid_use_first_frame_as_init_image", "hybrid_use_init_image", "hybrid_composite", "hybrid_motion"), _ON
    ),
    **dict.fromkeys(
        ("video_init_path", "extract_nth_frame", "extract_from_frame", "extract_to_frame", "clip_fit", "clip_end"),
        _BY_CLIP,
    ),
    "hybrid_motion_use_prev_img": unless("hybrid_motion", "None"),
    **dict.fromkeys(("hybrid_flow_method", "hybrid_flow_factor", "hybrid_flow_consistency"), _BY_FLOW),
    "hybrid_consistency_blur": _BY_FLOW & on("hybrid_flow_consistency"),
    **dict.fromkeys(("hybrid_comp_alpha", "hybrid_comp_mask_type", "hybrid_comp_save_extra_frames"), _COMPOSED),
    **dict.fromkeys(
        (
            "hybrid_comp_mask_inverse",
            "hybrid_comp_mask_equalize",
            "hybrid_comp_mask_contrast",
            "hybrid_comp_mask_auto_contrast",
        ),
        _MASKED,
    ),
    "hybrid_comp_mask_blend_alpha": _COMPOSED & chosen("hybrid_comp_mask_type", "Blend"),
    "hybrid_comp_mask_auto_contrast_cutoff_low": _STRETCHED,
    "hybrid_comp_mask_auto_contrast_cutoff_high": _STRETCHED,
}
"""When the settings of hybrid video act."""

NEEDS: Mapping[str, When] = {"init_image": on("hybrid_use_init_image") & _ON}
"""When the init image has to exist: where it is used as the clip."""
