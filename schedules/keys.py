"""Keyframe positions: a frame number, a time in seconds, or an expression such as max_f-2."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from schedules.errors import ScheduleError
from schedules.expression import Expression, expression_at, unquote
from schedules.quoting import shown
from schedules.variables import CHANGING, LARGEST_INT, Variables

# Deforum's pattern of a number. Everything else is an expression, including 1. and 1e-2.
PLAIN = re.compile(r"[+-]?\d*(?:\.\d+)?", re.ASCII)
LATEST_SECOND = 1e9
_SECONDS = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*s", re.ASCII)


@dataclass(frozen=True)
class Seconds:
    """A time in seconds, at frame `value` * fps."""

    value: float


@dataclass(frozen=True)
class Key:
    """The position of a keyframe; its frame may depend on the run's number of frames, fps and seed."""

    at: int | Seconds | Expression

    @property
    def text(self) -> str:
        """Canonical text: 30, 1.5s or "max_f - 2"."""
        if isinstance(self.at, int):
            return str(self.at)
        if isinstance(self.at, Seconds):
            return f"{decimal(self.at.value)}s"
        return f'"{self.at.text}"'

    def frame(self, variables: Variables, num_frames: int) -> int:
        """Return the frame: expressions are truncated towards zero, as in Deforum; seconds go to the nearest frame.

        It may lie outside the timeline. Raises ScheduleError where an expression has no finite value.
        """
        if isinstance(self.at, int):
            return self.at
        if isinstance(self.at, Seconds):
            return math.floor(self.at.value * variables.fps + 0.5)
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
    """Parse the position of a keyframe: a frame number, seconds such as "1.5s", or an expression such as "max_f-2".

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
    seconds = _SECONDS.fullmatch(inner)
    if seconds and abs(float(seconds.group(1))) <= LATEST_SECOND:
        return Key(Seconds(float(seconds.group(1))))
    expression = expression_at(inner, source, column, name)
    if expression.uses(*CHANGING):
        hint = "write max_f for the last frame, s for the seed, 1.5s for a time"
        raise expression.fault("a keyframe's position cannot change over time; expected one without t and sec", hint)
    constant = expression.program.constant
    return Key(expression) if constant is None or abs(constant) > LARGEST_INT else Key(math.trunc(constant))
