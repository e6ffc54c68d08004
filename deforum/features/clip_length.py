"""The length of a run that follows a clip, and whether picture and sound stay in sync."""

from __future__ import annotations

from dataclasses import replace

from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES


def as_long_as_the_clip(settings: Settings) -> Settings:
    """Set max_frames for a run that follows a clip. Raises UserError where the clip is missing.

    With clip_end stop, max_frames is limited to the clip's length. Deforum always takes the clip's length.
    """
    from deforum.video import video_init

    if PROFILES[settings.profile].clip_keeps_max_frames and settings.clip_end != "stop":
        return settings
    count = len(video_init(settings))
    if PROFILES[settings.profile].clip_keeps_max_frames:
        count = min(count, settings.max_frames)
    return replace(settings, max_frames=count)


def sound_notes(settings: Settings) -> list[str]:
    """Note where the clip's sound drifts away from the pictures."""
    from deforum.video import ClipError, video_init

    if settings.sound_setting != "video_init_path":
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
