"""The table of cut-list formats, and which of them a file has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from deforum.cut_lists.cut_list import CutList
from deforum.cut_lists.edl import read_edl, write_edl
from deforum.cut_lists.labels import LINE, read_labels, write_labels
from deforum.cut_lists.otio import read_otio, write_otio


@dataclass(frozen=True)
class Format:
    """A row of FORMATS."""

    title: str
    suffix: str
    write: Callable[[CutList], str]
    read: Callable[[str, str, Fraction | None], CutList]
    """Function of the text, its name in messages, and the frame rate, if it is known."""
    has_rate: bool
    """Whether its files say their frame rate."""
    begins: re.Pattern[str]
    """What a file of it begins with."""


USUAL_FPS = Fraction(15)
"""The rate of labels where nothing else is known: that of the settings."""

FORMATS: Mapping[str, Format] = {
    "otio": Format(
        "OpenTimelineIO", ".otio", write_otio, lambda text, source, fps: read_otio(text, source), True,
        re.compile(r'\s*\{[^{}]{0,400}"OTIO_SCHEMA"'),
    ),
    "edl": Format(
        "EDL, CMX 3600", ".edl", write_edl, read_edl, False,
        re.compile(r"\s*(?:TITLE:|FCM:|\d{3,6}\s+\S+\s+\S+\s+[CDWK]\S*\s)"),
    ),
    "labels": Format(
        "labels of Audacity", ".txt", write_labels,
        lambda text, source, fps: read_labels(text, source, USUAL_FPS if fps is None else fps), False,
        re.compile(rf"(?:\\[^\n]*\n)?{LINE.pattern}"),
    ),
}  # fmt: skip


def format_of(text: str) -> str | None:
    """Return the format of a file by its text; None where it is no cut list."""
    return next((name for name, row in FORMATS.items() if row.begins.match(text)), None)


def format_by_name(suffix: str) -> str | None:
    """Return the format by the ending of a file's name; None where none has it."""
    return next((name for name, row in FORMATS.items() if row.suffix == suffix.lower()), None)
