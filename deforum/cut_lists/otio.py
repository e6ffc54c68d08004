"""OpenTimelineIO: the film on one track with keyframes as its markers, the prompts as clips of another."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from deforum.cut_lists.cut_list import Clip, CutList, Marker, check_count, frame_at
from deforum.errors import UserError
from deforum.video.formats import exact_fps
from schedules.quoting import cut, quote

OWN = "deforum"
"""Name of our own metadata."""
PROMPT_TRACK = "prompts"
DEEPEST = 100
"""Brackets within each other that are read: the library recurses, and deeper ones end the process."""
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_COLORS = ("RED", "ORANGE", "YELLOW", "GREEN", "CYAN", "BLUE", "PURPLE", "MAGENTA", "PINK")


def the_library() -> Any:
    """Return opentimelineio. Raises UserError where it is not installed."""
    try:
        import opentimelineio
    except ImportError:
        what = "OTIO and EDL need opentimelineio, which is not installed"
        raise UserError(f"{what}: pip install 'deforum-renderer[otio]'") from None
    return opentimelineio


def write_otio(cuts: CutList) -> str:
    """Return a cut list as OTIO's JSON. Raises UserError without the library."""
    otio = the_library()
    rate = float(cuts.fps)

    def stretch(start: int, end: int) -> Any:
        time = otio.opentime.RationalTime
        return otio.opentime.TimeRange(time(start, rate), time(end - start, rate))

    whole = stretch(0, cuts.num_frames)

    def media() -> Any:
        if cuts.film is None:
            return otio.schema.MissingReference(available_range=whole)
        return otio.schema.ExternalReference(cuts.film.resolve().as_uri(), whole)

    shots = cuts.shots or (Clip(0, cuts.num_frames, cuts.name),)
    film = [otio.schema.Clip(shot.text, media(), stretch(shot.start, shot.end)) for shot in shots]
    starts = [shot.start for shot in shots]
    names = dict.fromkeys(marker.text.partition(":")[0] for marker in cuts.markers)
    colors = {name: _COLORS[number % len(_COLORS)] for number, name in enumerate(names)}
    for marker in cuts.markers:
        color = colors[marker.text.partition(":")[0]]
        film[max(bisect_right(starts, marker.frame) - 1, 0)].markers.append(
            otio.schema.Marker(marker.text, stretch(marker.frame, marker.frame + 1), color)
        )
    video = otio.schema.TrackKind.Video
    tracks = [otio.schema.Track("film", film, kind=video), otio.schema.Track(PROMPT_TRACK, kind=video)]
    for clip in cuts.clips:
        own = {OWN: {"prompt": clip.text}}
        tracks[1].append(otio.schema.Clip(clip.text, None, stretch(clip.start, clip.end), metadata=own))
    timeline = otio.schema.Timeline(cuts.name, global_start_time=otio.opentime.RationalTime(0, rate))
    timeline.tracks.extend(tracks)
    timeline.metadata[OWN] = {"settings": cuts.settings}
    return str(timeline.to_json_string(indent=2)) + "\n"


def read_otio(text: str, source: str) -> CutList:
    """Read a timeline of OTIO's: prompts from the clips of its track "prompts", or of its first video track.

    Markers of clips, tracks and the timeline are at their place in it. Raises UserError, also without the library.
    """
    otio = the_library()
    refuse_depth(text, source)
    try:
        found = otio.adapters.read_from_string(text, "otio_json")
    except Exception as error:  # of many classes, by what is wrong
        reason = cut(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
        raise UserError(f"{source}: this is no timeline of OpenTimelineIO ({reason})") from None
    notes: list[str] = []
    if isinstance(found, otio.schema.SerializableCollection):
        timelines = [each for each in found if isinstance(each, otio.schema.Timeline)]
        if len(timelines) > 1:
            notes.append(f"there are {len(timelines)} timelines in it; the first one is read")
        found = timelines[0] if timelines else found
    if not isinstance(found, otio.schema.Timeline):
        raise UserError(f"{source}: expected a timeline; this is {cut(type(found).__name__, 40)}")
    try:
        return _Reading(otio, found, source, notes).cuts()
    except otio.exceptions.OTIOError as error:
        reason = cut(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
        raise UserError(f"{source}: its clips have no place on the timeline ({reason})") from None


def refuse_depth(text: str, source: str) -> None:
    """Raise UserError for JSON that is nested too deeply for the library."""
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > DEEPEST:
            raise UserError(f"{source}: this is nested too deeply; expected at most {DEEPEST} levels")


@dataclass
class _Reading:
    otio: Any
    timeline: Any
    source: str
    notes: list[str] = field(default_factory=list)

    def cuts(self) -> CutList:
        video = [
            track for track in self.timeline.tracks if getattr(track, "kind", "") == self.otio.schema.TrackKind.Video
        ]
        fps = self.rate(video)
        named = [track for track in video if str(track.name).strip().casefold() == PROMPT_TRACK]
        prompts = [clip for track in (named or video)[:1] for clip in track.find_clips()]
        check_count(self.timeline.find_clips(), self.source)
        clips = [each for each in (self.clip(clip, fps) for clip in prompts) if each is not None]
        markers = sorted(self.markers(fps))
        length = self.frame(self.timeline.duration(), fps) if len(self.timeline.tracks) else 0
        own = _mapping(self.timeline.metadata.get(OWN))
        settings = own.get("settings", "")
        return CutList(
            str(self.timeline.name) or self.source, fps, max(length, *(clip.end for clip in clips), 1, 1),
            tuple(sorted(clips)), tuple(markers), settings=settings if isinstance(settings, str) else "",
            notes=tuple(self.notes),
        )  # fmt: skip

    def rate(self, tracks: list[Any]) -> Fraction:
        start = self.timeline.global_start_time
        rates = [] if start is None else [start.rate]
        rates += [clip.trimmed_range().start_time.rate for track in tracks for clip in track.find_clips()[:1]]
        rate = next((float(each) for each in rates if each >= 1), 0.0)
        if not 0 < rate <= 1000:
            raise UserError(
                f"{self.source}: it has no frame rate; expected clips, or a start of the timeline with a rate"
            )
        return exact_fps(rate)

    def frame(self, time: Any, fps: Fraction) -> int:
        rate, value = float(time.rate), float(time.value)
        if not rate > 0:
            raise UserError(f"{self.source}: a time has the rate {rate:g}; expected more than 0")
        if not math.isfinite(value):
            raise UserError(f"{self.source}: a time is {value}; expected a number of frames")
        same = abs(rate - float(fps)) < 0.01  # 23.98, as some programs write 24000/1001
        return frame_at(Fraction(value) / (fps if same else exact_fps(rate)), fps, self.source)

    def clip(self, clip: Any, fps: Fraction) -> Clip | None:
        own = _mapping(clip.metadata.get(OWN)).get("prompt")
        text = own if isinstance(own, str) and (own.startswith(clip.name[:40]) or not clip.name) else str(clip.name)
        if not text.strip():
            return None
        place = clip.transformed_time_range(clip.trimmed_range(), self.timeline.tracks)
        start, end = self.frame(place.start_time, fps), self.frame(place.end_time_exclusive(), fps)
        return Clip(max(start, 0), max(end, start + 1, 1), text.strip())

    def markers(self, fps: Fraction) -> Iterator[Marker]:
        stack = self.timeline.tracks
        items = [stack, *stack.find_children()]
        check_count((marker for item in items for marker in getattr(item, "markers", ())), self.source)
        for item in items:
            for marker in getattr(item, "markers", ()):
                time = marker.marked_range.start_time
                place = time if item is stack else item.transformed_time(time, stack)
                comment = str(getattr(marker, "comment", "") or "")
                text = str(marker.name) if ":" in str(marker.name) or not comment.strip() else comment
                frame = self.frame(place, fps)
                if text.strip() and frame >= 0:
                    yield Marker(frame, text.strip())
                elif text.strip():
                    self.notes.append(f"the marker {quote(text, 40)} is before the timeline; left out")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if hasattr(value, "get") and hasattr(value, "keys") else {}  # type: ignore[return-value]
