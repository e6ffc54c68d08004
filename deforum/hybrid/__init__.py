"""Hybrid video: an animation that takes over the motion of a clip, and has the clip's pictures mixed into its own.

Convention: frame t of the animation belongs to frame t of the clip, and takes over its motion from frame t - 1 to t.
What is here is asked before anything is loaded; the parts are in `deforum.hybrid.stages` and the modules it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deforum.clips import ClipSource
    from deforum.flow import FlowSource
    from deforum.settings import Settings

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
    mixes = is_on(settings) and settings.hybrid_composite != "None"
    return mixes and settings.hybrid_comp_mask_type in DEPTH_MASKS


def find_clip(settings: Settings) -> ClipSource | None:
    """Look at the clip; None where hybrid video is off. Raises UserError."""
    from deforum.clips import resolve_clip, video_init

    if not is_on(settings):
        return None
    if settings.hybrid_use_init_image:
        return resolve_clip(settings.init_image or "", name="init_image", end="hold")
    return video_init(settings)


def find_flow(settings: Settings) -> FlowSource | None:
    """Find the optical flow that the clip's motion needs; None where it needs none. Raises UserError."""
    from deforum.flow import resolve_flow

    wanted = is_on(settings) and settings.hybrid_motion == "Optical Flow"
    return resolve_flow(settings.hybrid_flow_method, "hybrid_flow_method") if wanted else None
