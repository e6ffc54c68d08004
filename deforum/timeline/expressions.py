"""Checks of prompts: back-quoted expressions, at every frame at which they act, and the tags of LoRAs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deforum.timeline.lora_words import lora_faults
from deforum.timeline.prompts import EXPRESSION, PromptTrack, merge_fields
from schedules import ScheduleError, Variables, parse_expression, parse_key
from schedules.quoting import LONGEST_NAME, cut

_ONE = "1 is used there"
Field = Literal["prompts", "positive_prompt", "negative_prompt"]


@dataclass(frozen=True)
class Source:
    """The setting that a part of a merged prompt comes from; `index` is that of the prompt in `prompts`."""

    setting: Field
    index: int = 0


@dataclass(frozen=True)
class Fault:
    """A part of a prompt that cannot be used: its place, and the error with its text and column."""

    source: Source
    error: ScheduleError
    instead: str = ""
    """What a lenient profile does in its place; "": it cannot go on either."""


@dataclass(frozen=True)
class PromptTexts:
    """The settings that prompts are merged from."""

    prompts: Sequence[tuple[str, str]]
    """(keyframe, text)"""
    positive: str
    negative: str

    def sources(self) -> Iterator[Source]:
        yield Source("positive_prompt")
        yield from (Source("prompts", index) for index in range(len(self.prompts)))
        yield Source("negative_prompt")

    def name(self, source: Source) -> str:
        if source.setting != "prompts":
            return source.setting
        return f"prompts, keyframe {cut(self.prompts[source.index][0], LONGEST_NAME)}"

    def text(self, source: Source) -> str:
        texts = {"positive_prompt": self.positive, "negative_prompt": self.negative}
        return texts[source.setting] if source.setting != "prompts" else self.prompts[source.index][1]

    def locate(self, index: int, match: re.Match[str]) -> tuple[Source, int]:
        """Return the setting and the column of a match in the merged text of prompt `index`."""
        column = match.start()
        if column < len(self.positive):
            return Source("positive_prompt"), column
        column -= len(self.positive) + 1
        text = self.prompts[index][1]
        if column < len(text):
            return Source("prompts", index), column
        return Source("negative_prompt"), max(self.negative.find(match[0]), 0)


def find_faults(
    texts: PromptTexts, track: PromptTrack, frames: Sequence[int], num_frames: int, variables: Variables, *, blend: bool
) -> Iterator[Fault]:
    """Yield the faults of all expressions and tags, each once; `frames` are the diffused frames, ascending.

    Expressions of prompts that never act, such as those after the last frame, are parsed only.
    """
    for source in texts.sources():
        for wrong in lora_faults(texts.text(source)):
            error = ScheduleError(wrong.message, text=texts.text(source), column=wrong.column, name=texts.name(source))
            yield Fault(source, error, _ONE)
    diffused = np.asarray(frames)
    said: set[tuple[Source, int, str]] = set()
    for index, (key, text) in enumerate(texts.prompts):
        merged = merge_fields(text, texts.positive, texts.negative)
        if "`" not in merged:
            continue
        frame = parse_key(key).frame(variables, num_frames)
        acting = diffused[:0]
        position = int(np.searchsorted(track.keys, frame))
        if track.keys[position : position + 1] == (frame,) and track.texts[position] == merged:
            acting = diffused[slice(*np.searchsorted(diffused, track.acts(position, blend=blend)))]
        for match in EXPRESSION.finditer(merged):
            found = _evaluate(match[1], acting, num_frames, variables)
            if found is None:
                continue
            source, column = texts.locate(index, match)
            error = found.error.within(texts.text(source), column + 1, texts.name(source))
            identity = source, error.column, error.message
            if identity not in said:
                said.add(identity)
                yield replace(found, source=source, error=error)


def fault_of(text: str, frames: Sequence[int], num_frames: int, variables: Variables) -> Fault | None:
    """Return the fault of one expression at some frames, with columns in its own text; None if it has none."""
    return _evaluate(text, np.asarray(frames), num_frames, variables)


def _evaluate(text: str, frames: NDArray[np.int64], num_frames: int, variables: Variables) -> Fault | None:
    """Return the fault of one expression, with columns in its own text; None if it has none."""
    if not text.strip():
        return None  # empty back-quotes are the weight 1
    try:
        expression = parse_expression(text, own=variables.own)
        values = expression.evaluate(frames, variables, num_frames) if len(frames) else np.zeros(0)
    except ScheduleError as error:
        return Fault(Source("prompts"), error)
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return None
    first = int(np.argmax(wrong))
    message = f"the value is {values[first]} at frame {frames[first]}; expected a finite number"
    return Fault(Source("prompts"), ScheduleError(message, text=text), _ONE)
