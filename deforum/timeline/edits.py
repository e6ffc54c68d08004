"""Prompt editing: parts of a prompt that act in some steps of a frame only, as in the A1111 web UI.

[from:to:when]   `from` in the first steps, then `to`; `[to:when]` adds, `[from::when]` removes
[a|b|c]          one of them in each step, in turn; they may be empty

`when` is the number of steps after which the text changes. Below 1, and as 1.0, it is a share of all steps. Edits may
stand within each other and within attention brackets. Brackets that are no edit, escaped ones and those within
<name:tags> are text. Steps are counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from math import floor, inf

DEEPEST = 50
"""The most square brackets within each other that are read."""

_WHEN = re.compile(r"\s*(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
_MARK = re.compile(r"\\.|<\w+:[^<>]*>|[\[\]():|]", re.DOTALL)

Moment = int | float
"""A number of steps (int), or a share of all steps (float)."""


@dataclass(frozen=True)
class When:
    """Some of a frame's steps: those for which all conditions hold."""

    after: Moment = 0
    """The steps that come before them."""
    until: Moment | None = None
    """The steps up to the last of them; None: up to the end."""
    turn: int = 0
    turns: int = 1
    """Of the steps so chosen, every `turns`-th, counted from step `turn` + 1."""

    def holds(self, step: int, steps: int) -> bool:
        """Return whether step `step` of `steps`, counted from 1, is one of them."""
        last = inf if self.until is None else _count(self.until, steps)
        return _count(self.after, steps) < step <= last and (step - 1) % self.turns == self.turn

    def around(self, text: str) -> str:
        """Write the edit that shows `text` in these steps only."""
        if self.turns > 1:
            options = [""] * self.turns
            options[self.turn] = text
            text = f"[{'|'.join(options)}]"
        if self.until is not None:
            text = f"[{text}::{self.until}]"
        return f"[{text}:{self.after}]" if self.after else text


def _count(moment: Moment, steps: int) -> int:
    """Return a moment as a number of steps, rounded down; with a tolerance, as 0.29 * 100 is below 29."""
    return moment if isinstance(moment, int) else floor(moment * steps + 1e-6)


@dataclass(frozen=True)
class Edit:
    """A part of a prompt that changes: its versions and when each stands there, exactly one in each step."""

    versions: tuple[tuple[When, EditedText], ...]


EditedText = tuple[str | Edit, ...]
"""A prompt, as texts and edits in order."""


@lru_cache(maxsize=512)
def parse_edits(text: str) -> EditedText:
    """Split a prompt into texts and edits. Raises nothing; takes time in proportion to the length.

    Brackets more than `DEEPEST` deep within each other stay text, as do those that are not closed.
    """
    parser = _Parser()
    end = 0
    for match in _MARK.finditer(text):
        parser.add(text[end : match.start()])
        parser.mark(match[0])
        end = match.end()
    parser.add(text[end:])
    return _joined(parser.parts)


def is_edited(text: str) -> bool:
    """Return whether a prompt changes during the steps of a frame."""
    return any(isinstance(part, Edit) for part in parse_edits(text))


def text_at(text: str, step: int, steps: int) -> str:
    """Return a prompt as it stands in step `step` of `steps`, counted from 1."""
    return _text_at(parse_edits(text), step, steps)


def _text_at(parts: EditedText, step: int, steps: int) -> str:
    def shown(part: str | Edit) -> str:
        if isinstance(part, str):
            return part
        return next((_text_at(version, step, steps) for when, version in part.versions if when.holds(step, steps)), "")

    return "".join(map(shown, parts))


def walk_texts(parts: EditedText, within: tuple[When, ...] = ()) -> Iterator[tuple[str, tuple[When, ...]]]:
    """Yield each text of a prompt, in order, with the conditions that hold in the steps in which it stands there."""
    for part in parts:
        if isinstance(part, str):
            yield part, within
        else:
            for when, version in part.versions:
                yield from walk_texts(version, (*within, when))


@dataclass
class _Bracket:
    """An open bracket: where it stands among the parts, and the marks `:` and `|` directly within it."""

    mark: str
    place: int
    splits: list[tuple[str, int]] = field(default_factory=list)


class _Parser:
    """Collects the parts of a prompt. Marks are kept as texts until the bracket that closes makes an edit of them."""

    def __init__(self) -> None:
        self.parts: list[str | Edit] = []
        self._open: list[_Bracket] = []
        self._squares = 0
        """Open square brackets, those that stay text too."""

    def add(self, text: str) -> None:
        if text:
            self.parts.append(text)

    def mark(self, mark: str) -> None:
        if mark == "[":
            self._squares += 1
        elif mark == "]" and self._squares:
            self._squares -= 1
            if self._squares < DEEPEST:
                self._close()
                return
        if self._squares > DEEPEST:
            pass  # text
        elif mark in ("[", "("):
            self._open.append(_Bracket(mark, len(self.parts)))
        elif mark == ")" and self._open and self._open[-1].mark == "(":
            self._open.pop()
        elif mark in (":", "|") and self._open and self._open[-1].mark == "[":
            self._open[-1].splits.append((mark, len(self.parts)))
        self.parts.append(mark)

    def _close(self) -> None:
        """Close the innermost square bracket; round ones in it that are not closed are text."""
        bracket = self._open.pop()
        while bracket.mark == "(":
            bracket = self._open.pop()
        versions = self._in_turn(bracket) or self._changing(bracket)
        if versions:
            self.parts[bracket.place :] = [Edit(versions)]
        else:
            self.parts.append("]")

    def _in_turn(self, bracket: _Bracket) -> tuple[tuple[When, EditedText], ...]:
        """Return the versions of [a|b], () for another bracket."""
        bars = [place for mark, place in bracket.splits if mark == "|"]
        if not bars:
            return ()
        bounds = pairwise((bracket.place, *bars, len(self.parts)))
        options = [_joined(self.parts[first + 1 : last]) for first, last in bounds]
        return tuple((When(turn=i, turns=len(options)), option) for i, option in enumerate(options))

    def _changing(self, bracket: _Bracket) -> tuple[tuple[When, EditedText], ...]:
        """Return the versions of [from:to:when], () for another bracket. A colon more is one of `from`'s."""
        if not bracket.splits:
            return ()
        last = bracket.splits[-1][1]
        when = self.parts[-1]
        if last != len(self.parts) - 2 or not isinstance(when, str) or not _WHEN.fullmatch(when):
            return ()
        middle = bracket.splits[-2][1] if len(bracket.splits) > 1 else bracket.place
        before, after = self.parts[bracket.place + 1 : middle], self.parts[middle + 1 : last]
        moment = read_moment(when)
        return (When(until=moment), _joined(before)), (When(after=moment), _joined(after))


def read_moment(text: str) -> Moment:
    """Read a number as `when` is read; one above 1 with a fraction is rounded down to whole steps."""
    value = float(text)
    is_share = value < 1 or (value == 1 and not text.strip().isdigit())
    return value if is_share and value else int(min(value, 1e9))


def _joined(parts: Sequence[str | Edit]) -> EditedText:
    """Join neighbouring texts."""
    joined: list[str | Edit] = []
    texts: list[str] = []
    for part in (*parts, None):
        if isinstance(part, str):
            texts.append(part)
            continue
        if texts:
            joined.append("".join(texts))
            texts = []
        if part is not None:
            joined.append(part)
    return tuple(joined)
