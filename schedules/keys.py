"""Keyframe positions: a frame number, a time in seconds, a place in music, or an expression such as max_f-2."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from schedules.errors import ScheduleError
from schedules.expression import Expression, expression_at, unquote
from schedules.quoting import quote, shown
from schedules.variables import LARGEST_INT, Unheard, Variables

# Deforum's pattern of a number. Everything else is an expression, including 1. and 1e-2.
PLAIN = re.compile(r"[+-]?\d*(?:\.\d+)?", re.ASCII)
LATEST_SECOND = 1e9
_SECONDS = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*s", re.ASCII)


PLACES = ("beat", "bar", "section")
"""What places in music are counted in."""
_MUSICAL = re.compile(
    rf"({'|'.join(PLACES)})\s*\(\s*([+-]?\d{{1,9}}(?:\.\d{{0,9}})?)\s*\)\s*(?:([+-])\s*(\d{{1,9}}))?", re.ASCII
)

_MUSICAL_BEGINS = re.compile(rf"({'|'.join(PLACES)})\s*\(")


@dataclass(frozen=True)
class Musical:
    """A place in music: a number of beats, bars or sections from the first one, and a number of frames behind it."""

    unit: str
    number: float
    offset: int = 0
    name: str = field(default="keyframe", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)
    column: int = field(default=0, compare=False, repr=False)

    @property
    def text(self) -> str:
        offset = f"{self.offset:+d}" if self.offset else ""
        return f"{self.unit}({decimal(self.number)}){offset}"

    def frame(self, variables: Variables) -> int:
        """Return the nearest frame. Raises ScheduleError where there is no sound or tempo."""
        try:
            place = variables.heard().place(self.unit, self.number)
        except Unheard as missing:
            raise ScheduleError(
                missing.message, text=self.source, column=self.column, name=self.name, hint=missing.hint,
                said_elsewhere=missing.said_elsewhere,
            ) from None  # fmt: skip
        return math.floor(place + 0.5) + self.offset


@dataclass(frozen=True)
class Seconds:
    """A time in seconds, at frame `value` * fps."""

    value: float


@dataclass(frozen=True)
class Key:
    """The position of a keyframe; its frame may depend on the run's number of frames, fps and seed."""

    at: int | Seconds | Musical | Expression

    @property
    def text(self) -> str:
        """Canonical text: 30, 1.5s, "beat(16)" or "max_f - 2"."""
        if isinstance(self.at, int):
            return str(self.at)
        if isinstance(self.at, Seconds):
            return f"{decimal(self.at.value)}s"
        return f'"{self.at.text}"'

    def frame(self, variables: Variables, num_frames: int) -> int:
        """Return the frame: expressions are truncated towards zero, as in Deforum; seconds go to the nearest frame.

        It may lie outside the timeline. Raises ScheduleError where an expression has no finite value, and for places in
        music where there is no sound or tempo.
        """
        if isinstance(self.at, int):
            return self.at
        if isinstance(self.at, Seconds):
            return math.floor(self.at.value * variables.fps + 0.5)
        if isinstance(self.at, Musical):
            return self.at.frame(variables)
        value = float(self.at.evaluate(0, variables, num_frames))
        if not math.isfinite(value):
            raise self.at.fault(f"the keyframe's position is {value}; expected a frame number")
        return math.trunc(value)


def decimal(number: float) -> str:
    """Format a number without an exponent, with the fewest digits that parse to the same float."""
    from decimal import Decimal

    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_key(text: str | int | float, *, name: str = "keyframe") -> Key:
    """Parse the position of a keyframe: a frame number, "1.5s", "beat(16)", or an expression such as "max_f-2".

    Raises ScheduleError for fractions of a frame, for expressions that change over time, and for anything else.
    """
    if isinstance(text, str):
        return key_at(text, text, 0, name)
    if isinstance(text, bool) or not isinstance(text, int | float) or abs(text) > LARGEST_INT or text != text // 1:
        raise ScheduleError("expected a whole frame number, seconds such as 1.5s or an expression such as max_f-2",
                            text=shown(text), name=name)  # fmt: skip
    return Key(int(text))


def key_at(part: str, source: str, column: int, name: str) -> Key:
    """Parse a position `part` that begins at `column` of the text `source`."""
    plain = part.strip()
    if plain.isascii() and plain.isdigit() and len(plain) < 19:  # fast path for nearly all keys
        return Key(int(plain))
    inner, inside = unquote(part)
    column += inside + len(inner) - len(inner.lstrip())
    inner = inner.strip()
    if not inner:
        raise ScheduleError("expected a frame number before the ':'", text=source, column=column, name=name)
    if PLAIN.fullmatch(inner) and inner[-1].isdigit() and len(inner) < 100:
        number = float(inner)
        if not number.is_integer():
            raise ScheduleError(
                f"{inner} is no frame; expected a whole number", text=source, column=column, name=name,
                hint=f"for a time in seconds write {inner}s",
            )  # fmt: skip
        return Key(int(number))
    musical = _MUSICAL.fullmatch(inner)
    if musical:
        unit, count, sign, frames = musical.groups()
        return Key(Musical(unit, float(count), int(f"{sign}{frames}") if frames else 0, name, source, column))
    seconds = _SECONDS.fullmatch(inner)
    if seconds and abs(float(seconds.group(1))) <= LATEST_SECOND:
        return Key(Seconds(float(seconds.group(1))))
    if _MUSICAL_BEGINS.match(inner):
        message = (
            f"{quote(inner, 40)} is no place in music; expected such as beat(16), bar(8.5), section(2) or beat(16)-2"
        )
        raise ScheduleError(message, text=source, column=column, name=name)
    expression = expression_at(inner, source, column, name)
    if expression.changes:
        hint = "write max_f for the last frame, s for the seed, 1.5s for a time, beat(16) for a place in music"
        raise expression.fault("a keyframe's position cannot change over time; expected one without t and sec", hint)
    constant = expression.program.constant
    return Key(expression) if constant is None or abs(constant) > LARGEST_INT else Key(math.trunc(constant))
