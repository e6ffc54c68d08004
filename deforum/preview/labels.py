"""The labels over the frames of a preview: frame, time, seed, strength, painted or in-between, and the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.timeline.frame import Frame
from deforum.timeline.prompts import positives
from deforum.timeline.timeline import Timeline
from schedules.quoting import printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB levels."""

SMALLEST = 11
"""px; height of a line's letters at least."""
PROMPT_LINES = 2
SHADE = 0.35
"""Brightness of the picture behind a text."""


def size_of_text(width: int, height: int) -> int:
    """Return the size of letters in px: readable in small frames, and not large in large ones."""
    return max(round(6 + min(width, height) / 40), SMALLEST)


@dataclass(frozen=True)
class Labels:
    """Writes what is known of each frame over it."""

    timeline: Timeline
    width: int
    height: int
    film: range
    """The numbers of the film's frames."""
    shot: str = ""
    """The name of the shot that the timeline is of; empty: the film is one chain."""

    def lines(self, frame: Frame, index: int) -> tuple[str, ...]:
        """Return what stands above: frame and time; shot; seed; strength; painted or in-between.

        `frame` is that of the timeline, and `index` its number in the film.
        """
        seconds = index / self.timeline.fps
        painted = frame.index in self._keys
        says = [
            f"frame {index} / {self.film.stop - 1}",
            f"{int(seconds // 60)}:{seconds % 60:05.2f}",
            printable(self.shot),
            f"seed {frame.seed}",
            f"strength {frame.params.strength:.3g}" if painted else "",
            "painted" if painted else "in-between",
        ]
        return tuple(filter(None, says))

    def prompt(self, frame: Frame) -> str:
        """Return the prompts of a frame, with their shares where several are blended."""
        weights: dict[str, float] = {}
        for text, weight in positives(frame.prompts):
            weights[text] = weights.get(text, 0.0) + weight
        texts = sorted(weights.items(), key=lambda each: -each[1])
        total = sum(weights.values())
        if len(texts) == 1 or not total:
            return printable(texts[0][0])
        return "  |  ".join(f"{100 * weight / total:.0f} % {printable(text)}" for text, weight in texts)

    def draw(self, pixels: Pixels, frame: Frame, index: int) -> Pixels:
        """Return a copy of a frame's picture with its labels; `index` as for `lines`."""
        labelled = pixels.copy()
        size = size_of_text(self.width, self.height)
        _lay(
            labelled,
            _letters(_wrapped(self.lines(frame, index), self.width, size, "   "), self.width, size),
            at_top=True,
        )
        words = tuple(self.prompt(frame).split())
        if words:
            lines = _wrapped(words, self.width, size, " ", PROMPT_LINES)
            _lay(labelled, _prompt_letters(lines, self.width, size), at_top=False)
        return labelled

    @cached_property
    def _keys(self) -> frozenset[int]:
        return frozenset(self.timeline.keys)


@lru_cache(maxsize=4)
def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@lru_cache(maxsize=4096)
def _length(word: str, size: int) -> float:
    return _font(size).getlength(word)


@lru_cache(maxsize=64)
def _wrapped(words: tuple[str, ...], width: int, size: int, gap: str, most: int = 0) -> tuple[str, ...]:
    """Put words into lines of at most `width` px; of more than `most` lines the rest is cut off. 0: no limit."""
    room, between = width - size, _length(gap, size)
    lines: list[str] = []
    line, long = "", 0.0
    for word in words:
        added = _length(word, size)
        if line and long + between + added > room:
            lines.append(line)
            line, long = "", 0.0
        line, long = (f"{line}{gap}{word}", long + between + added) if line else (word, added)
    lines.append(line)
    if most and len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} ..."]
    return tuple(_cut(each, room, size) for each in lines)


def _cut(line: str, room: float, size: int) -> str:
    if _font(size).getlength(line) <= room:
        return line
    line = line.removesuffix(" ...")
    while line and _font(size).getlength(f"{line}...") > room:
        line = line[:-1]
    return f"{line}..."


def _letters(lines: Sequence[str], width: int, size: int) -> NDArray[np.uint8]:
    """Draw lines of text: (h, W), 255 where letters cover."""
    from PIL import Image as Drawing
    from PIL import ImageDraw

    step = round(1.35 * size)
    picture = Drawing.new("L", (width, step * len(lines) + size // 2))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((size // 2, size // 4 + number * step), line, fill=255, font=_font(size))
    return np.asarray(picture)


@lru_cache(maxsize=32)
def _prompt_letters(lines: tuple[str, ...], width: int, size: int) -> NDArray[np.uint8]:
    return _letters(lines, width, size)


def _lay(pixels: Pixels, letters: NDArray[np.uint8], *, at_top: bool) -> None:
    """Darken a band at the top or the bottom of a picture, and lay letters over it."""
    import cv2

    high = min(len(letters), len(pixels))
    band = pixels[:high] if at_top else pixels[len(pixels) - high :]
    dark = cv2.convertScaleAbs(band, alpha=SHADE)
    band[:] = cv2.max(dark, cv2.cvtColor(letters[:high], cv2.COLOR_GRAY2RGB))
