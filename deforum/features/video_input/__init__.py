"""Video Input: each frame of a clip is painted over, by itself or with feedback of the frame before.

What is here is asked before anything is loaded; the parts are in `deforum.features.video_input.attach`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError
from deforum.features import hybrid
from deforum.settings.profiles import PROFILES

if TYPE_CHECKING:
    from deforum.flow import FlowSource
    from deforum.settings.options import Settings
    from deforum.video import ClipSource

MODE = "Video Input"
HOLD_TO = "Video Input"
"""The choice of color_coherence that takes colours from the clip."""


def feeds_back(settings: Settings) -> bool:
    """Whether the frame before has a share in any frame. Raises ScheduleError."""
    if settings.animation_mode != MODE:
        return False
    from deforum.timeline.curves import sample_curve

    shares = (settings.params.clip_feedback, settings.params.clip_feedback_init)
    return any(sample_curve("clip_feedback", share, settings).any() for share in shares)


def holds_colors(settings: Settings) -> bool:
    """Whether colours are held to the clip's. Deforum does so in hybrid video only."""
    if settings.color_coherence != HOLD_TO or settings.animation_mode == "Interpolation":
        return False
    return settings.profile != "deforum" or hybrid.is_on(settings)


def needs_clip(settings: Settings) -> bool:
    """Whether video_init_path has to name a clip."""
    return settings.animation_mode == MODE or (holds_colors(settings) and not hybrid.needs_init_image(settings))


def as_long_as_the_clip(settings: Settings) -> Settings:
    """Settle how many frames there are, where they come from a clip. Raises UserError where there is none.

    It is max_frames, or less where the clip ends before that and clip_end is stop. Deforum takes the clip's length
    whatever max_frames is.
    """
    if settings.animation_mode != MODE and not hybrid.needs_clip(settings):
        return settings
    from deforum.video import video_init

    if PROFILES[settings.profile].clip_keeps_max_frames and settings.clip_end != "stop":
        return settings
    count = len(video_init(settings))
    if PROFILES[settings.profile].clip_keeps_max_frames:
        count = min(count, settings.max_frames)
    return replace(settings, max_frames=count)


def sound_notes(settings: Settings) -> list[str]:
    """Say where the clip's sound and the pictures made from it do not keep together."""
    from deforum.video import ClipError, video_init

    if settings.add_soundtrack != "Init Video" or not (settings.animation_mode == MODE or hybrid.needs_clip(settings)):
        return []
    try:
        rate = video_init(settings).rate
    except ClipError:
        return []
    if rate is None or abs(float(rate) / settings.fps - 1) < 0.002:
        return []
    return [
        f"add_soundtrack: the clip's frames, as they are used, belong {float(rate):.6g} to a second, and fps is "
        f"{settings.fps:.6g}: picture and sound drift apart (fps: {float(rate):.6g} keeps them together)"
    ]


@dataclass(frozen=True)
class VideoSource:
    """The clip that frames or their colours are made from; nothing is loaded yet."""

    clip: ClipSource
    flow: FlowSource | None
    """What finds the motion that feedback follows; None without feedback."""


def find_video(settings: Settings) -> VideoSource | None:
    """Look at the clip, and find the optical flow; None where neither frames nor colours come from a clip.

    Raises UserError with all that is not there.
    """
    from deforum.flow import resolve_flow
    from deforum.video import resolve_clip, video_init

    if settings.animation_mode != MODE and not holds_colors(settings):
        return None
    problems: list[Problem] = []
    clip = flow = None
    try:
        as_image = hybrid.needs_init_image(settings)
        clip = resolve_clip(settings.init_image or "", name="init_image") if as_image else video_init(settings)
    except UserError as error:
        problems += error.problems
    try:
        flow = resolve_flow(settings.clip_feedback_flow, "clip_feedback_flow") if feeds_back(settings) else None
    except UserError as error:
        problems += error.problems
    if problems or clip is None:
        raise UserError(problems)
    return VideoSource(clip, flow)
