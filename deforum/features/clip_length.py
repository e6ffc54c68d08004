"""What follows from frames that are made from a clip: how many there are, and whether sound stays with them."""

from __future__ import annotations

from dataclasses import replace

from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES


def as_long_as_the_clip(settings: Settings) -> Settings:
    """Settle how many frames there are, where they come from a clip. Raises UserError where there is none.

    It is max_frames, or less where the clip ends before that and clip_end is stop. Deforum takes the clip's length
    whatever max_frames is.
    """
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

    if settings.add_soundtrack != "Init Video":
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
