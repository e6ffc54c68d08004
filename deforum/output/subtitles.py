"""Subtitles with the seed, prompt and parameters of each frame, as an SRT file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deforum.atomic import UNFINISHED
from deforum.output.labels import prompts_of

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame

FRAME_FIELDS: dict[str, Callable[[Frame], str]] = {
    "frame": lambda frame: str(frame.index),
    "seed": lambda frame: str(frame.seed),
    "subseed": lambda frame: str(frame.subseed),
    "sampler": lambda frame: frame.sampler,
    "checkpoint": lambda frame: frame.checkpoint,
    "prompt": lambda frame: prompts_of(frame)[0],
    "negative_prompt": lambda frame: prompts_of(frame)[1],
}


def subtitle_fields() -> set[str]:
    from deforum.settings.params import PARAMS

    return {*FRAME_FIELDS, *PARAMS}


class Subtitles:
    """Write an SRT file with one line of text per frame; consecutive frames with equal text share an entry."""

    def __init__(self, path: Path, fields: tuple[str, ...], fps: Fraction) -> None:
        self._path, self._unfinished = path, path.with_name(path.name + UNFINISHED)
        self._file: IO[str] = self._unfinished.open("w", encoding="utf-8", newline="\n")
        self._fields, self._fps = fields, fps
        self._entry, self._begin, self._end, self._words = 0, 0, 0, ""

    def write(self, frame: Frame) -> None:
        words = "; ".join(f"{field}: {self._value(field, frame)}" for field in self._fields)
        if words != self._words:
            self._flush()
            self._begin, self._words = self._end, words
        self._end += 1

    def _value(self, field: str, frame: Frame) -> str:
        word = FRAME_FIELDS.get(field)
        # A blank line would end the entry, and "-->" would be parsed as a time.
        text = word(frame) if word else f"{getattr(frame.params, field):.6g}"
        return " ".join(text.replace("-->", "->").split())

    def _flush(self) -> None:
        if self._end > self._begin:
            self._entry += 1
            self._file.write(f"{self._entry}\n{self._time(self._begin)} --> {self._time(self._end)}\n{self._words}\n\n")
            self._file.flush()

    def _time(self, frame: int) -> str:
        milliseconds = round(frame / self._fps * 1000)
        seconds, milliseconds = divmod(milliseconds, 1000)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{milliseconds:03}"

    def close(self) -> None:
        """Complete the file, under its name. Raises OSError; then nothing is left of it."""
        try:
            self._flush()
            self._file.close()
            self._unfinished.replace(self._path)
        except OSError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leave nothing of the file."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._unfinished.unlink(missing_ok=True)
