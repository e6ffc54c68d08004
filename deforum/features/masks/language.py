r"""The language of masks: `{video_mask} & !<sky>` says where a picture is painted.

Operands are `{video_mask}` and the other names of `NAMES`, `[file.png]` and `<words>`; operators, from the closest to
the loosest, `!` not, `&` and, `|` or, `^` exclusive or, `\` without; parentheses group. An empty text is the whole
frame. This module does not import torch.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from deforum.limits import MASK, MASK_DEPTH
from schedules import ScheduleError, TextKeyframe, TextSchedule, nearest
from schedules.quoting import cut, quote

NAMES: Mapping[str, str] = {
    "everywhere": "the whole frame",
    "video_mask": "the mask of the run: the mask video's frame, the init image's alpha, or mask_file",
    "init_mask": "the init image's alpha, or mask_file",
    "depth": "what is near: 1 in front, 0 at the back",
    "disocclusion": "what the camera did not see before",
}
"""Names in braces, with their meaning."""

UNAVAILABLE: Mapping[str, str] = {"human_mask": "people are not told from the rest here; describe them: <person>"}
"""Names known to other programs, with what to write instead."""

Operator = Literal["&", "|", "^", "\\"]
OPERATORS: tuple[Operator, ...] = ("\\", "^", "|", "&")
"""From the one that binds loosest to the one that binds closest; `!` binds closer than all."""

BRACKETS: Mapping[str, tuple[str, Kind]] = {"{": ("}", "name"), "[": ("]", "file"), "<": (">", "words")}
Kind = Literal["name", "file", "words"]


@dataclass(frozen=True)
class Operand:
    """One mask: a name, a file, or words that describe something in the picture."""

    kind: Kind
    text: str
    column: int = dataclasses.field(default=0, compare=False)


@dataclass(frozen=True)
class Not:
    of: MaskExpression


@dataclass(frozen=True)
class Joined:
    operator: Operator
    left: MaskExpression
    right: MaskExpression


MaskExpression = Operand | Not | Joined

EVERYWHERE = Operand("name", "everywhere")


def operands(expression: MaskExpression) -> Iterator[Operand]:
    """Iterate over the operands from left to right."""
    match expression:
        case Operand():
            yield expression
        case Not(of):
            yield from operands(of)
        case Joined(_, left, right):
            yield from operands(left)
            yield from operands(right)


def parse_mask(text: str, *, name: str = "mask") -> MaskExpression:
    """Parse a mask expression. Raises ScheduleError, which points at the first mistake."""
    return _Reader(text, name).whole()


def parse_masks(schedule: TextSchedule) -> dict[str, MaskExpression]:
    """Parse the mask of every keyframe: expression by text. Raises ScheduleError, which points into the schedule."""
    return {text: _in_schedule(schedule, keyframe, text) for keyframe, text in _texts(schedule)}


def name_files(schedule: TextSchedule, find: Callable[[str], str | None]) -> TextSchedule:
    """Replace each file name by `find(name)`; raises ScheduleError where that is None.

    Texts that cannot be parsed as a mask stay unchanged.
    """

    def named(keyframe: TextKeyframe) -> TextKeyframe:
        text = keyframe.value or ""
        try:
            files = [each for each in operands(_in_schedule(schedule, keyframe, text)) if each.kind == "file"]
        except ScheduleError:
            return keyframe
        for file in reversed(files):
            place = find(file.text)
            if place is None:
                raise _fault(schedule, keyframe, text, file.column, f"there is no file {quote(file.text)}")
            text = text[: file.column] + "[" + place + "]" + text[text.index("]", file.column) + 1 :]
        quoted = text.replace('"', '""')
        return keyframe if not files else dataclasses.replace(keyframe, value=text, written=f'("{quoted}")')

    return dataclasses.replace(schedule, keyframes=tuple(named(keyframe) for keyframe in schedule.keyframes))


def _texts(schedule: TextSchedule) -> Iterator[tuple[TextKeyframe, str]]:
    return ((keyframe, keyframe.value) for keyframe in schedule.keyframes if keyframe.value is not None)


def _in_schedule(schedule: TextSchedule, keyframe: TextKeyframe, text: str) -> MaskExpression:
    try:
        return parse_mask(text, name=schedule.name)
    except ScheduleError as error:
        raise _fault(schedule, keyframe, text, error.column, error.message, error.hint) from None


def _fault(
    schedule: TextSchedule, keyframe: TextKeyframe, text: str, column: int, message: str, hint: str | None = None
) -> ScheduleError:
    """Make an error that points at a column of a keyframe's text, within the schedule where the text is found in it."""
    error = ScheduleError(message, text=text, column=column, name=schedule.name, hint=hint)
    offset = schedule.source.find(text, keyframe.column)
    if offset < 0:
        return error.within(text, 0, schedule.name, keyframe.key.text)
    return error.within(schedule.source, offset, schedule.name)


_TOKEN = re.compile(r"\s*(?:([!&|^\\()])|([{\[<])|(\w+)|(\S)|$)")


@dataclass
class _Reader:
    """A recursive-descent parser of mask expressions."""

    text: str
    name: str
    at: int = 0
    parts: int = 0
    """Operands and operators so far."""

    def whole(self) -> MaskExpression:
        if not self.text.strip():
            return EVERYWHERE
        expression = self.pair(0, 0)
        mark, column = self.peek()
        if mark == ")":
            raise self.fault("unmatched )", column)
        if mark:
            raise self.fault("expected an operator here", column, _OPERATOR_HINT)
        return expression

    def pair(self, level: int, depth: int) -> MaskExpression:
        """Parse operands joined by the operator of a level or of tighter levels; `depth` counts parentheses and !."""
        if level == len(OPERATORS):
            return self.single(depth)
        left = self.pair(level + 1, depth)
        while self.peek()[0] == OPERATORS[level]:
            self.take()
            left = Joined(OPERATORS[level], left, self.pair(level + 1, depth))
        return left

    def single(self, depth: int) -> MaskExpression:
        mark, column = self.take()
        if depth > MASK_DEPTH.most:
            raise self.fault(f"the mask is nested too deeply; expected at most {MASK_DEPTH}", column)
        if mark == "!":
            return Not(self.single(depth + 1))
        if mark == "(":
            inner = self.pair(0, depth + 1)
            closing, _ = self.take()
            if closing != ")":
                raise self.fault("unmatched (", column)
            return inner
        if mark in BRACKETS:
            return self.operand(mark, column)
        if not mark:
            raise self.fault("expected a mask at the end", column, _OPERAND_HINT)
        if mark in "&|^\\)":
            raise self.fault(f"expected a mask before {mark}", column, _OPERAND_HINT)
        close = nearest(mark, NAMES)
        hint = f"did you mean {{{close}}}?" if close else _OPERAND_HINT
        raise self.fault(f"{quote(mark)} is not a mask", column, hint)

    def operand(self, bracket: str, column: int) -> Operand:
        closing, kind = BRACKETS[bracket]
        end = self.text.find(closing, self.at)
        if end < 0:
            raise self.fault(f"unmatched {bracket}", column, f"close it with {closing}")
        inner = self.text[self.at : end].strip()
        self.at = end + 1
        if not inner:
            raise self.fault(f"{bracket}{closing} is empty", column, _OPERAND_HINT)
        if kind == "name":
            self.check_name(inner, column)
        return Operand(kind, inner, column)

    def check_name(self, name: str, column: int) -> None:
        if name in UNAVAILABLE:
            raise self.fault(f"{{{name}}} is not available", column, UNAVAILABLE[name])
        if name not in NAMES:
            close = nearest(name, NAMES)
            names = ", ".join(f"{{{each}}}" for each in NAMES)
            hint = f"did you mean {{{close}}}?" if close else f"there are {names}"
            raise self.fault(f"unknown mask {{{cut(name)}}}", column, hint)

    def peek(self) -> tuple[str, int]:
        """Return the next mark or word ('' at the end) and its column."""
        match = _TOKEN.match(self.text, self.at)
        assert match is not None
        mark = next((group for group in match.groups() if group), "")
        return mark, match.end() - len(mark)

    def take(self) -> tuple[str, int]:
        mark, column = self.peek()
        self.at = column + len(mark)
        self.parts += 1
        if self.parts > MASK.most:
            raise self.fault(f"the mask is too long; expected at most {MASK}", column)
        return mark, column

    def fault(self, message: str, column: int, hint: str | None = None) -> ScheduleError:
        return ScheduleError(message, text=self.text, column=column, name=self.name, hint=hint)


_OPERATOR_HINT = "masks are joined by & (and), | (or), ^ (one of the two), \\ (without)"
_OPERAND_HINT = "expected {video_mask}, {everywhere}, [file.png], <words>, or one of these in parentheses"
