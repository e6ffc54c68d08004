"""Video Input: each frame of a clip is painted over, independently or with feedback of the previous frame.

This module works before anything is loaded; `deforum.features.video_input.attach` adds the feature to the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError
from deforum.features import clip_length, hybrid
from deforum.settings.options import Settings
from deforum.timeline.curves import sample_curve

if TYPE_CHECKING:
    from deforum.flow import FlowSource
    from deforum.video import ClipSource

HOLD_TO = "Video Input"
"""The choice of color_coherence that takes colours from the clip."""


def feeds_back(settings: Settings) -> bool:
    """Whether feedback of the previous frame is on in any frame. Raises ScheduleError."""
    if not settings.mode.reads_clip:
        return False
    shares = (settings.params.clip_feedback, settings.params.clip_feedback_init)
    return any(sample_curve("clip_feedback", share, settings).any() for share in shares)


def holds_colors(settings: Settings) -> bool:
    """Whether colours are matched to the clip's. Deforum does so only in hybrid video."""
    if settings.color_coherence != HOLD_TO or not settings.mode.holds(HOLD_TO):
        return False
    return settings.profile != "deforum" or hybrid.is_on(settings)


def needs_clip(settings: Settings) -> bool:
    """Whether video_init_path has to name a clip."""
    return settings.mode.reads_clip or (holds_colors(settings) and not hybrid.needs_init_image(settings))


@dataclass(frozen=True)
class VideoSource:
    """The clip of frames or colours, before anything is loaded."""

    clip: ClipSource
    flow: FlowSource | None
    """The optical flow estimator for feedback; None without feedback."""


def notes(settings: Settings, found: VideoSource) -> list[str]:
    """Note a clip that is cut off, and sound that drifts."""
    return [
        *(f"video_init_path: {note}" for note in found.clip.notes),
        *(clip_length.sound_notes(settings) if settings.mode.reads_clip else []),
    ]


def find_video(settings: Settings) -> VideoSource | None:
    """Find the clip and the optical flow estimator; None where neither frames nor colours come from a clip.

    Raises UserError with everything that is missing.
    """
    from deforum.flow import resolve_flow
    from deforum.video import resolve_clip, video_init

    if not settings.mode.reads_clip and not holds_colors(settings):
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
