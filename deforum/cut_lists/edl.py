"""EDL (CMX 3600): an event for each prompt, whose text is the name of its clip, and locators for the keyframes."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from fractions import Fraction
from typing import Any

from deforum.cut_lists.cut_list import Clip, CutList, Marker, check_count, one_line
from deforum.cut_lists.timecode import DROPPED, rate_of, read_timecode, start_of_hour, write_timecode
from deforum.errors import Problem, UserError
from schedules.quoting import cut

MOST_EDITS = 50
"""Edits of one event that are read."""
_OWN = re.compile(r"^\* DEFORUM FPS (\d+(?:/\d+)?) LENGTH (\d+)\s*$", re.MULTILINE)
_LOCATOR = re.compile(r"LOC:\s*(\d\d[:;.]\d\d[:;.]\d\d[:;.]\d\d)\s+(?:[A-Z]+(?=\s|$))?\s*(.*)", re.DOTALL)
_EVENT = re.compile(r"\s*\d+\s.*(?:\s+\d\d[:;.]\d\d[:;.]\d\d[:;.]\d\d){4}\s*$")
_NAME = re.compile(r"[^\x20-\x7e]")


def write_edl(cuts: CutList) -> str:
    """Return a cut list as an EDL, whose record times begin at 1 hour. Raises UserError above 60 frames a second."""
    fps, rate = cuts.fps, rate_of(cuts.fps)
    whole = f"{fps.numerator}" if fps.denominator == 1 else f"{fps.numerator}/{fps.denominator}"
    lines = [
        f"TITLE: {_NAME.sub('?', one_line(cuts.name))[:70]}",
        f"FCM: {'DROP FRAME' if rate in DROPPED else 'NON-DROP FRAME'}",
        f"* DEFORUM FPS {whole} LENGTH {cuts.num_frames}",
        "",
    ]
    starts = [clip.start for clip in cuts.clips]
    within = [max(bisect_right(starts, marker.frame) - 1, 0) for marker in cuts.marks]
    for number, clip in enumerate(cuts.clips):
        source = [write_timecode(frame, fps, rate, hour=0) for frame in (clip.start, clip.end)]
        record = [write_timecode(frame, fps, rate) for frame in (clip.start, clip.end)]
        lines.append(f"{number + 1:03}  AX       V     C        {' '.join((*source, *record))}")
        lines.append(f"* FROM CLIP NAME: {one_line(clip.text)}")
        if cuts.film is not None:
            lines.append(f"* SOURCE FILE: {one_line(cuts.film.name)}")
        for marker, place in zip(cuts.marks, within, strict=True):
            if place == number:
                lines.append(f"* LOC: {write_timecode(marker.frame, fps, rate)} RED     {one_line(marker.text)}")
    return "\n".join(lines) + "\n"


def read_edl(text: str, source: str, fps: Fraction | None) -> CutList:
    """Read an EDL of `fps`; None: what it says itself, else 29.97 with drop frame, and 24 or 30 without.

    Events begin prompts, named by their clips; locators are markers. Raises UserError.
    """
    notes: list[str] = []
    own = _OWN.search(text)
    events = _events(text, source)
    drops = any(type(each).__name__ == "StmtFCM" and each.drop for event in events for each in event.statements)
    drops = drops or bool(re.search(r"^FCM:\s*DROP", text, re.MULTILINE))
    if fps is None and own:
        fps = Fraction(own[1])
    elif fps is None:
        numbers = [int(each) for each in re.findall(r"\b\d\d[:;.]\d\d[:;.]\d\d[:;.](\d\d)\b", text)]
        fps = Fraction(30000, 1001) if drops else Fraction(30 if max(numbers, default=0) > 24 else 24)
        notes.append(f"an EDL does not say its frame rate: {float(fps):.5g} is taken; give another one with fps=25")
    rate = rate_of(fps)
    read: list[tuple[int, int, str]] = []
    locators: list[tuple[int, str]] = []
    for event in events:
        for edit in event.edits:
            begin, end = (read_timecode(_as_dropped(each, rate), rate) for each in (edit.record_in, edit.record_out))
            name = edit.clip_name or edit.source_file or ""
            if end > begin and not (edit.black and not name):
                read.append((begin, end, str(name).strip()))
        for statement in event.statements:
            found = _LOCATOR.fullmatch(str(getattr(statement, "text", "")).strip())
            if found:
                locators.append((read_timecode(_as_dropped(found[1], rate), rate), found[2].strip()))
    check_count((*read, *locators), source)
    first = min((begin for begin, *_ in read), default=min((begin for begin, _ in locators), default=0))
    zero = start_of_hour(first, rate)

    def frame(count: int) -> int:
        return int((count - zero) * fps / rate + Fraction(1, 2))

    clips = sorted(Clip(frame(begin), max(frame(end), frame(begin) + 1), name) for begin, end, name in read if name)
    length = max((clip.end for clip in clips), default=1)
    whole = int(own[2]) if own and length < int(own[2]) < 2 * length else length
    markers = sorted(Marker(frame(count), words) for count, words in locators if count >= zero and words)
    return CutList(source, fps, whole, tuple(clips), tuple(markers), notes=tuple(notes))


def _events(text: str, source: str) -> list[Any]:
    try:
        import pycmx
    except ImportError:
        what = "reading an EDL needs pycmx, which is not installed"
        raise UserError(f"{what}: pip install 'deforum-renderer[otio]'") from None
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _EVENT.match(line)]
    check_count(lines, source)
    title = "" if text.startswith("TITLE") else "TITLE:\n"  # pycmx takes the first line for it, whatever it is
    try:
        events = list(pycmx.parse_cmx3600(io.StringIO(title + text)).events)
    except Exception as error:
        reason = cut(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
        raise UserError(f"{source}: this is no EDL of the form CMX 3600 ({reason})") from None
    for event in events:
        # Two make a dissolve; the library's time grows with the square of their number.
        if sum(hasattr(each, "record_in") for each in event.statements) > MOST_EDITS:
            raise UserError(
                f"{source}: more than {MOST_EDITS} events in a row have one number; expected numbers that rise"
            )
    before = title.count("\n") - 1
    read = {each.line_number - before for event in events for each in event.statements if hasattr(each, "record_in")}
    if not lines:
        raise UserError(f"{source}: there are no events in it; expected an EDL of the form CMX 3600")
    lost = sorted(set(lines) - read)
    if lost:
        what = "this event is not in the columns of CMX 3600, number, reel, channels, transition and four timecodes"
        raise UserError(Problem(what, f"{source}:{lost[0]}"))
    return events


def _as_dropped(timecode: str, rate: Fraction) -> str:
    """Return a timecode with the mark of the way it counts: many programs write : for drop frame too."""
    plain = re.sub(r"[;.]", ":", timecode)
    return f"{plain[:-3]};{plain[-2:]}" if rate in DROPPED else plain
