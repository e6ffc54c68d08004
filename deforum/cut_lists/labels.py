"""Audacity's labels: a line each with begin and end in seconds, and a text, separated by tabs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from deforum.cut_lists.cut_list import Clip, CutList, Marker, check_count, frame_at, one_line
from deforum.errors import Problem, UserError
from schedules.quoting import quote

LINE = re.compile(r"\s*(-?\d+(?:[.,]\d+)?)\t\s*(-?\d+(?:[.,]\d+)?)(?:\t(.*))?")


def write_labels(cuts: CutList) -> str:
    """Return the prompts as regions and the keyframes as points, in order of time."""
    rows = [(clip.start, clip.end, clip.text) for clip in cuts.clips]
    rows += [(marker.frame, marker.frame, marker.text) for marker in cuts.marks]
    rows.sort(key=lambda row: row[0])
    return "".join(f"{_time(begin, cuts.fps)}\t{_time(end, cuts.fps)}\t{one_line(text)}\n" for begin, end, text in rows)


def _time(frame: int, fps: Fraction) -> str:
    return f"{float(frame / fps):.6f}"


def read_labels(text: str, source: str, fps: Fraction) -> CutList:
    """Read labels: regions are clips, points are markers. Raises UserError."""
    clips, markers, last = list[Clip](), list[Marker](), 1
    for begin, end, words, where in _rows(text, source):
        start, stop = (frame_at(each, fps, where) for each in (begin, end))
        last = max(last, stop)
        if stop > start:
            clips.append(Clip(start, stop, words))
        else:
            markers.append(Marker(start, words))
    check_count((*clips, *markers), source)
    return CutList(source, fps, last, tuple(sorted(clips)), tuple(sorted(markers)))


def _rows(text: str, source: str) -> Iterator[tuple[Fraction, Fraction, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{source}:{number}"
        found = LINE.fullmatch(line)
        if found:
            begin, end = (Fraction(found[place].replace(",", ".")) for place in (1, 2))
            yield max(begin, Fraction(0)), max(end, Fraction(0)), (found[3] or "").strip(), where
        elif line.strip() and not line.startswith("\\"):  # Audacity's lines of frequencies
            raise UserError(
                Problem(f"{quote(line)} is no label; expected begin, end and text with tabs between", where)
            )
