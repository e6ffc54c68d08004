"""A cut list: clips with prompts and markers with keyframes, in frames of a rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from deforum.errors import UserError
from deforum.limits import CUTS, FRAMES

MARKER = re.compile(r"\s*(\w+)\s*[:=]\s*(\S.*)", re.DOTALL)
"""The text of a marker that gives a keyframe: `zoom: 1.02`."""


@dataclass(frozen=True, order=True)
class Clip:
    """A stretch of the timeline, frames start to end - 1, with its text: a prompt."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, order=True)
class Marker:
    """A text at a frame: `zoom: 1.02` is a keyframe, any other one a prompt or a remark."""

    frame: int
    text: str


@dataclass(frozen=True)
class CutList:
    """One timeline."""

    name: str
    fps: Fraction
    num_frames: int
    clips: tuple[Clip, ...] = ()
    """In order; those of a rendered animation follow each other from frame 0 to its end."""
    markers: tuple[Marker, ...] = ()
    shots: tuple[Clip, ...] = ()
    """The shots of the film, by name; empty: it is one."""
    film: Path | None = None
    """What the timeline shows, where it is rendered."""
    settings: str = ""
    """The settings as YAML, in formats that can carry them."""
    notes: tuple[str, ...] = ()
    """What was left out, one line each."""

    @property
    def marks(self) -> tuple[Marker, ...]:
        """The markers, and one for each shot, for formats that have one track."""
        return tuple(sorted([*self.markers, *(Marker(shot.start, f"shot: {shot.text}") for shot in self.shots)]))


def frame_at(seconds: Fraction | float, fps: Fraction, what: str) -> int:
    """Return the frame nearest to a time. Raises UserError, which names `what`, for a time that no timeline has."""
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise UserError(f"{what}: {seconds} is no time")
    frame = math.floor(Fraction(seconds) * fps + Fraction(1, 2))
    if abs(frame) > FRAMES.most:
        raise UserError(f"{what}: it is at frame {frame:.6g}; expected at most {FRAMES}")
    return frame


def check_count(found: Iterable[object], what: str) -> None:
    """Raise UserError for a list with more clips or markers than are read."""
    CUTS.check(sum(1 for _ in found), what)


def one_line(text: str) -> str:
    """Return a text for formats whose texts are a line each."""
    return " ".join(text.split())
