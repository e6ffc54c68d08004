"""Chapters of a film: one where each prompt begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load, load_text
from deforum.settings.options import Settings
from deforum.shots import PlacedShot, has_shots, place_shots
from deforum.timeline.prompts import NO_PROMPTS, split_negative
from deforum.timeline.variables import variables_of
from deforum.video.tags import Chapter
from schedules import ScheduleError, parse_key

LONGEST_TITLE = 100
MOST_CHAPTERS = 1_000
"""A film whose prompt changes all the time has no chapters."""
_WEIGHT = re.compile(r"\s*:\s*-?[\d.]+(?:e-?\d+)?\s*(?=\bAND\b|$)")


@dataclass(frozen=True)
class PromptClip:
    """The frames of a film, start to end - 1, in which one prompt acts."""

    start: int
    end: int
    text: str


def prompt_clips(settings: Settings, frames: range, at: int = 0) -> Iterator[PromptClip]:
    """Yield the prompts of some frames of settings, which the film shows from its frame `at` on, in order.

    Raises ScheduleError for a keyframe without a value.
    """
    variables = variables_of(settings)
    placed = {
        parse_key(key).frame(variables, settings.max_frames): text for key, text in settings.prompts or NO_PROMPTS
    }
    keys = sorted(frame for frame in placed if frame >= 0) or sorted(placed)
    before = [key for key in keys if key <= frames.start]
    first = before[-1] if before else keys[0]  # the first one acts before it too
    starts = [frames.start, *(key for key in keys if key > max(first, frames.start) and key in frames)]
    texts = [placed[first], *(placed[key] for key in starts[1:])]
    for start, end, text in zip(starts, [*starts[1:], frames.stop], texts, strict=True):
        yield PromptClip(at + start - frames.start, at + end - frames.start, text)


def film_chapters(settings: Settings, shots: Sequence[PlacedShot] = (), *, first: int = 0) -> tuple[Chapter, ...]:
    """Return the chapters of a film that begins at frame `first`, of settings or of shots; () where they are off.

    Also () where there would be more than MOST_CHAPTERS.

    Prompts that differ only in the weights of their parts, as in a long cross-fade, are one chapter.
    """
    if not settings.chapters or not settings.save_metadata:
        return ()
    parts = shots or (PlacedShot("", settings, range(settings.max_frames), 0),)
    found: dict[int, str] = {}
    for part in parts:
        for clip in prompt_clips(part.settings, part.frames, part.at):
            title = _title(clip.text, part.name)
            if clip.end > first and title != next(reversed(found.values()), None):
                found[max(clip.start - first, 0)] = title
    if len(found) > MOST_CHAPTERS:
        return ()
    return tuple(Chapter(frame, title) for frame, title in found.items())


def saved_chapters(settings: Settings, first: int) -> tuple[Chapter, ...]:
    """Return the chapters of a film that begins at frame `first` of a run that is there; () where its shots are not."""
    with suppress(UserError, ScheduleError):
        return film_chapters(settings, shots_of(settings), first=first)
    return ()


def shots_of(settings: Settings) -> tuple[PlacedShot, ...]:
    """Return the shots of settings, without looking for the files that a render needs. Raises UserError."""
    if not has_shots(settings):
        return ()
    timeline = timeline_of(replace(settings, seed=0) if settings.seed < 0 else settings)
    return place_shots(settings, timeline, partial(load, to_render=False), partial(load_text, to_render=False))


def _title(text: str, shot: str) -> str:
    positive = split_negative(text)[0]
    if " AND " in positive:
        positive = _WEIGHT.sub(" ", positive)
    line = " ".join(positive.split()) or "(no prompt)"
    line = f"{shot}: {line}" if shot else line
    return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1]}…"
