"""Hybrid video: an animation that takes over the motion of a clip, and has the clip's pictures mixed into its own.

Convention: frame t of the animation belongs to frame t of the clip, and takes over its motion from frame t - 1 to t.
What is here is asked before anything is loaded; the parts are in `deforum.features.hybrid.attach` and the modules it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError

if TYPE_CHECKING:
    from deforum.flow import FlowSource
    from deforum.settings.options import Settings
    from deforum.video import ClipSource

DEPTH_MASKS = ("Depth", "Video Depth")


def is_on(settings: Settings) -> bool:
    """Whether the animation has anything of a clip."""
    wanted = (settings.hybrid_motion, settings.hybrid_composite) != ("None", "None")
    return wanted and settings.animation_mode in ("2D", "3D")


def starts_from_clip(settings: Settings) -> bool:
    """Whether frame 0 is painted from the clip's first frame."""
    return is_on(settings) and settings.hybrid_use_first_frame_as_init_image


def masks_by_depth(settings: Settings) -> bool:
    """Whether a depth model is needed for the composite's mask."""
    return is_masked(settings) and settings.hybrid_comp_mask_type in DEPTH_MASKS


def is_masked(settings: Settings) -> bool:
    """Whether the clip is mixed in under a mask."""
    mixes = is_on(settings) and settings.hybrid_composite != "None"
    return mixes and settings.hybrid_comp_mask_type != "None"


def needs_clip(settings: Settings) -> bool:
    """Whether video_init_path has to name a clip."""
    return is_on(settings) and not settings.hybrid_use_init_image


def needs_init_image(settings: Settings) -> bool:
    """Whether the init image stands in for the clip."""
    return is_on(settings) and settings.hybrid_use_init_image


def moves_by_flow(settings: Settings) -> bool:
    """Whether the clip's motion is found by optical flow."""
    return is_on(settings) and settings.hybrid_motion == "Optical Flow"


@dataclass(frozen=True)
class HybridSource:
    """What hybrid video is made from; nothing is loaded yet."""

    clip: ClipSource
    flow: FlowSource | None
    """What finds the clip's motion, where that is optical flow."""


def find_hybrid(settings: Settings) -> HybridSource | None:
    """Look at the clip, and find the optical flow; None where hybrid video is off.

    Raises UserError with all that is not there. A file of Deforum's that asks for RAFT without its weights goes on with
    another estimator.
    """
    from deforum.flow import resolve_or_stand_in
    from deforum.video import resolve_clip, video_init

    if not is_on(settings):
        return None
    problems: list[Problem] = []
    clip = flow = None
    try:
        given = settings.hybrid_use_init_image
        clip = resolve_clip(settings.init_image or "", name="init_image") if given else video_init(settings)
    except UserError as error:
        problems += error.problems
    try:
        if moves_by_flow(settings):
            method, stands_in = settings.hybrid_flow_method, settings.profile == "deforum"
            flow = resolve_or_stand_in(method, "hybrid_flow_method", stands_in=stands_in)
    except UserError as error:
        problems += error.problems
    if problems or clip is None:
        raise UserError(problems)
    return HybridSource(clip, flow)
