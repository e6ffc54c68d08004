"""Texts over time, kept small: each is stored as what differs from the text before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Change:
    """The next text: `kept` letters of the start of the last text, `middle`, `tail` letters of its end.

    Letters are counted in UTF-16, as browsers do.
    """

    kept: int
    middle: str
    tail: int


@dataclass(frozen=True)
class Texts:
    """A text for every frame: `starts` are the frames at which it changes, from 0, `changes` what it becomes."""

    starts: tuple[int, ...]
    changes: tuple[Change, ...]

    @staticmethod
    def of(texts: Iterable[tuple[int, str]]) -> Texts:
        """Make texts from (frame, text) in ascending order; each text is held until the next one."""
        recorder = Recorder()
        for frame, text in texts:
            recorder.add(frame, text)
        return recorder.texts()

    def runs(self) -> Iterator[tuple[int, str]]:
        """Yield each text with its first frame."""
        units = b""
        for start, change in zip(self.starts, self.changes, strict=True):
            end = units[len(units) - 2 * change.tail :]
            units = units[: 2 * change.kept] + _units(change.middle) + end
            yield start, _text(units)

    def at(self, frame: int) -> str:
        """Return the text of a frame."""
        found = ""
        for start, text in self.runs():
            if start > frame:
                break
            found = text
        return found


class Recorder:
    """Makes `Texts`, one text after the other."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._changes: list[Change] = []
        self._before: str | None = None

    def add(self, frame: int, text: str) -> None:
        """Add the text that is held from a frame on."""
        if text != self._before:
            self._starts.append(frame)
            self._changes.append(_change(_units(self._before or ""), _units(text)))
            self._before = text

    def texts(self) -> Texts:
        return Texts(tuple(self._starts), tuple(self._changes))


def _units(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _text(units: bytes) -> str:
    return units.decode("utf-16-le", "surrogatepass")


def _change(before: bytes, now: bytes) -> Change:
    one, other = np.frombuffer(before, "<u2"), np.frombuffer(now, "<u2")
    kept = _common(one, other)
    tail = _common(one[kept:][::-1], other[kept:][::-1])
    return Change(kept, _text(now[2 * kept : len(now) - 2 * tail]), tail)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many elements two arrays have in common at their start."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length
