"""Timecode: frames of any rate as hours, minutes, seconds and frames, at a rate that timecode knows."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from deforum.cut_lists.otio import the_library
from deforum.errors import UserError
from schedules.quoting import quote

RATES = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(48), Fraction(50),
    Fraction(60000, 1001), Fraction(60),
)  # fmt: skip
"""The rates that timecode counts in."""
DROPPED = (Fraction(30000, 1001), Fraction(60000, 1001))
"""Those that leave numbers out, so that the timecode tells the time."""


def rate_of(fps: Fraction) -> Fraction:
    """Return the rate of timecode for a frame rate: itself, or the next whole one, in which each frame has a number.

    Raises UserError above 60.
    """
    if fps in RATES:
        return fps
    found = next((rate for rate in RATES if rate.denominator == 1 and rate >= fps), None)
    if found is None:
        what = f"timecode counts at most {RATES[-1]} frames a second, and these are {float(fps):g}"
        raise UserError(f"fps: {what}; choose another format, or a lower fps")
    return found


def write_timecode(frame: int, fps: Fraction, rate: Fraction, *, hour: int = 1) -> str:
    """Return the timecode of a frame of a timeline that begins at an hour."""
    opentime = the_library().opentime
    start = opentime.from_timecode(_begin(hour, rate), float(rate))
    count = math.floor(frame * rate / fps + Fraction(1, 2))
    time = opentime.RationalTime(start.value + count, float(rate))
    return str(time.to_timecode(float(rate), rate in DROPPED))


def read_timecode(text: str, rate: Fraction) -> int:
    """Return the number of frames in a timecode. Raises UserError."""
    opentime = the_library().opentime
    parts = [int(part) for part in re.findall(r"\d+", text)]
    try:
        if len(parts) != 4 or any(part >= most for part, most in zip(parts, (24, 60, 60, round(rate)), strict=True)):
            raise ValueError
        return int(opentime.from_timecode(text, float(rate)).value)
    except (ValueError, OverflowError):
        raise UserError(f"{quote(text, 40)} is no timecode of {float(rate):g} frames a second") from None


def start_of_hour(frames: int, rate: Fraction) -> int:
    """Return the frames of the last whole hour in a number of frames, where timelines usually begin."""
    opentime = the_library().opentime
    seconds = round(rate)
    hour = frames // (seconds * 3600 - (108 * (seconds // 30) if rate in DROPPED else 0))
    return int(opentime.from_timecode(_begin(hour, rate), float(rate)).value) if 0 < hour < 24 else 0


def _begin(hour: int, rate: Fraction) -> str:
    return f"{hour:02}:00:00{';' if rate in DROPPED else ':'}00"
