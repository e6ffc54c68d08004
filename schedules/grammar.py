"""Parser of schedules: a setting's text, number or mapping to keyframes.

Deforum splits a text at every comma and each part at its colons, and drops what follows the second colon. That reading
is used where every part has a colon, so that existing files keep their values. Where a part has none, such as after a
comma inside a function, Deforum fails; such a text is split outside of parentheses and quotes instead.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from schedules.errors import ScheduleError, did_you_mean
from schedules.expression import Expression, expression_at, unquote
from schedules.keys import PLAIN, Key, decimal, key_at, parse_key
from schedules.quoting import quote, shown
from schedules.schedule import (
    EASINGS,
    STRIPPED,
    Easing,
    NumberKeyframe,
    NumberSchedule,
    TextKeyframe,
    TextSchedule,
    default_easing,
)

# Gaps between the value of a keyframe and the next keyframe: behind any number or parenthesis, or only where both
# values are in parentheses.
_KEY = r"(?P<key>\d{1,12}|\"[^\"]{1,40}\"|'[^']{1,40}')\s*:"
_NO_COMMA = re.compile(rf"(?<=[)\d])[\s;]+(?={_KEY})")
_NO_COMMA_IN_TEXTS = re.compile(rf"(?<=\))[\s;]+(?={_KEY}\s*\()")
K = TypeVar("K", NumberKeyframe, TextKeyframe)

MOST_KEYFRAMES = 20_000

_MARK = re.compile(r"[(),:\"']")
_EXPECTED = "expected a schedule such as 0:(1), 30:(sin(t/10))"


class _Part(NamedTuple):
    """The text of one keyframe, with 0-based columns; `key` is None in a part without a colon."""

    key: str | None
    key_column: int
    value: str
    column: int


def parse_number(
    text: str | int | float | Mapping[object, object], *, name: str = "schedule", own: Collection[str] = ()
) -> NumberSchedule:
    """Parse a number schedule: Deforum's text, a single number or expression, or a mapping {0: 1, 30: "sin(t)"}.

    `own` are names of variables beside those of the language. Raises ScheduleError, which points at the first error.
    """
    if isinstance(text, str):
        try:
            return NumberSchedule(_limited(_NumberReader(text, name, own).keyframes(), text, name), name, text)
        except ScheduleError:
            # Deforum fails too.
            mended, notes = _add_commas(text, _NO_COMMA)
            if not notes:
                raise
        try:
            keyframes = _limited(_NumberReader(mended, name, own).keyframes(), mended, name)
            return NumberSchedule(keyframes, name, text, notes)
        except ScheduleError as error:
            raise error.within(text, 0, name) from None
    if isinstance(text, Mapping):
        pairs = _pairs(text, name)
        return NumberSchedule(tuple(_mapped_number(key, value, name, own) for key, value in pairs), name)
    number = _number(text, name)
    return NumberSchedule((NumberKeyframe(Key(0), number, "linear", source=shown(text)),), name)


def parse_text(text: str | Mapping[object, object], *, name: str = "schedule") -> TextSchedule:
    """Parse a text schedule: Deforum's text, a single text, or a mapping {0: "Euler a", 30: "DDIM"}.

    In a schedule's text, one outer pair of parentheses and one of quotes are removed from each value; a doubled quote
    inside of quotes stands for one. Raises ScheduleError, which points at the first error.
    """
    if isinstance(text, str):
        mended, notes = _add_commas(text, _NO_COMMA_IN_TEXTS)
        return TextSchedule(_limited(_text_keyframes(mended, name), mended, name), name, text, notes)
    if isinstance(text, Mapping):
        keyframes = tuple(_mapped_text(key, value, name) for key, value in _pairs(text, name))
        return TextSchedule(keyframes, name, ", ".join(keyframe.text for keyframe in keyframes))
    raise ScheduleError(f'{shown(text)} is no text; expected one such as 0:("Euler a")', text=shown(text), name=name)


def _limited(keyframes: Iterator[K], text: str, name: str) -> tuple[K, ...]:
    """Collect keyframes. Raises ScheduleError for too many."""
    found = tuple(islice(keyframes, MOST_KEYFRAMES + 1))
    if len(found) > MOST_KEYFRAMES:
        message = f"there are too many keyframes; expected at most {MOST_KEYFRAMES:,}"
        raise ScheduleError(message, text=text, column=found[-1].column, name=name)
    return found


# -- splitting


def _add_commas(text: str, gaps: re.Pattern[str]) -> tuple[str, tuple[str, ...]]:
    """Add the commas that are missing between keyframes, as in "0:(1) 30:(2)"; also return a note on each.

    A comma takes the place of a blank, so that columns stay the same.
    """
    found = list(gaps.finditer(text))
    if not found:
        return text, ()
    try:
        marks = [(-1, 0), *((at, depth) for at, _, depth in _marks(text))]
    except _Unpaired:
        return text, ()
    places = [at for at, _ in marks]
    found = [match for match in found if marks[bisect_left(places, match.start()) - 1][1] == 0]
    letters = list(text)
    for match in found:
        letters[match.start() : match.end()] = "," + text[match.start() + 1 : match.end()].replace(";", " ")
    says = (f"a comma is missing before the keyframe {match['key']}; it is read with one" for match in found)
    return "".join(letters), tuple(says)


def _cut_as_deforum(text: str) -> list[_Part] | None:
    """Split at every comma and at colons, as Deforum does; None if a part has no colon. Empty parts are skipped."""
    parts: list[_Part] = []
    column = 0
    for piece in text.split(","):
        key, colon, rest = piece.partition(":")
        if colon:
            parts.append(_Part(key, column, rest.partition(":")[0], column + len(key) + 1))
        elif key.strip():
            return None
        column += len(piece) + 1
    return parts


class _Unpaired(Exception):
    """An unmatched parenthesis or quote; its argument is the column."""


def _marks(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield (column, character, nesting depth after it) of all parentheses, commas and colons outside of quotes.

    A quote opens only at the beginning of a key or value; an apostrophe inside a word is text. Raises _Unpaired.
    """
    opened: list[int] = []
    position = 0
    fresh = True  # only blanks and parentheses since the beginning of the key or value
    while match := _MARK.search(text, position):
        at, mark = match.start(), match.group()
        fresh = fresh and (at == position or text[position:at].isspace())
        position = at + 1
        if mark in "\"'":
            if fresh:
                position = _end_of_quote(text, at) + 1
            fresh = False
            continue
        if mark == "(":
            opened.append(at)
        elif mark == ")":
            if not opened:
                raise _Unpaired(at)
            opened.pop()
            fresh = False
        else:
            fresh = not opened
        yield at, mark, len(opened)
    if opened:
        raise _Unpaired(opened[-1])


def _cut(text: str) -> Iterator[_Part]:
    """Split at commas, and each part at its first colon, outside of parentheses and quotes. Raises _Unpaired."""
    start, colon = 0, -1

    def part(end: int) -> _Part:
        if colon < 0:
            return _Part(None, start, text[start:end], start)
        return _Part(text[start:colon], start, text[colon + 1 : end], colon + 1)

    for at, mark, depth in _marks(text):
        if depth == 0 and mark == ":" and colon < 0:
            colon = at
        elif depth == 0 and mark == ",":
            yield part(at)
            start, colon = at + 1, -1
    yield part(len(text))


def _end_of_quote(text: str, start: int) -> int:
    """Return the column of the closing quote for the one at `start`, skipping doubled quotes. Raises _Unpaired."""
    quote = text[start]
    end = text.find(quote, start + 1)
    while end >= 0 and text[end + 1 : end + 2] == quote:
        end = text.find(quote, end + 2)
    if end < 0:
        raise _Unpaired(start)
    return end


def _is_blank(part: _Part) -> bool:
    return part.key is None and not part.value.strip()


# -- numbers


@dataclass(frozen=True)
class _NumberReader:
    """Parser of the number schedule in one text."""

    text: str
    name: str
    own: Collection[str] = ()

    def fail(self, message: str, column: int, hint: str | None = None) -> ScheduleError:
        return ScheduleError(message, text=self.text, column=column, name=self.name, hint=hint)

    def keyframes(self) -> Iterator[NumberKeyframe]:
        parts = _cut_as_deforum(self.text)
        if parts is not None:
            glued = True
        else:
            parts, glued = self.cut(), False
        if not parts:
            raise self.fail(f"there is nothing here; {_EXPECTED}", 0)
        if len(parts) == 1 and parts[0].key is None:
            yield self.keyframe(Key(0), parts[0].value, parts[0].column, glued=False)
            return
        for part in parts:
            if part.key is None:
                blank = len(part.value) - len(part.value.lstrip())
                raise self.fail(f"expected frame:(value), but there is no ':'; {_EXPECTED}", part.column + blank)
            key = key_at(part.key, self.text, part.key_column, self.name)
            yield self.keyframe(key, part.value, part.column, glued=glued)

    def cut(self) -> list[_Part]:
        try:
            parts = [part for part in _cut(self.text) if not _is_blank(part)]
        except _Unpaired as unpaired:
            (column,) = unpaired.args
            raise self.fail(f"unmatched {self.text[column]}", column) from None
        for part in parts:
            second = part.value.find(":")
            if second >= 0:
                hint = "write a comma between keyframes"
                raise self.fail("a second ':' is not expected here", part.column + second, hint)
        return parts

    def keyframe(self, key: Key, written: str, column: int, *, glued: bool, source: str = "") -> NumberKeyframe:
        value, easing = self.value(written, column, glued)
        column += len(written) - len(written.lstrip())
        return NumberKeyframe(key, value, easing or default_easing(value), column, source)

    def value(self, written: str, column: int, glued: bool) -> tuple[float | Expression, Easing | None]:
        """Parse a number or an expression and the optional easing after it."""
        head, word, word_column = _last_word(written)
        if head:
            for easing in EASINGS:
                if word.lower() == easing:
                    return self.bare_value(head, column, glued), easing
        try:
            return self.bare_value(written, column, glued), None
        except ScheduleError:
            if not head or not self.reads(head, glued):
                raise
            message = f"unknown easing {quote(word, 40)} behind the value; expected one of {', '.join(EASINGS)}"
            raise self.fail(message, column + word_column, did_you_mean(word, EASINGS)) from None

    def bare_value(self, written: str, column: int, glued: bool) -> float | Expression:
        """Parse a number or an expression; with `glued` a number may contain ( ) ' ", as in Deforum: (1).5 is 1.5."""
        bare = written.strip()
        column += len(written) - len(written.lstrip())
        plain = bare.translate(STRIPPED) if glued else _without_parentheses(bare)
        if not PLAIN.fullmatch(plain):
            inner, inside = unquote(bare)
            return expression_at(inner, self.text, column + inside, self.name, self.own)
        if not plain[-1:].isdigit():  # empty, or only a sign
            raise self.fail("expected a number or an expression such as sin(t/10)", column)
        number = float(plain)
        if math.isinf(number):
            raise self.fail("the number is too large", column)
        return number

    def reads(self, written: str, glued: bool) -> bool:
        """Whether a text parses as a value without an easing."""
        try:
            self.bare_value(written, 0, glued)
        except ScheduleError:
            return False
        return True


def _last_word(text: str) -> tuple[str, str, int]:
    """Split off a last word such as ease-in after a blank, a parenthesis or a quote: (rest, word, column)."""
    text = text.rstrip()
    start = len(text)
    while start > 0 and (text[start - 1].isalpha() or text[start - 1] in "-_"):
        start -= 1
    head = text[:start]
    apart = head[-1:].isspace() or head[-1:] in (")", '"', "'")
    return (head.rstrip(), text[start:], start) if apart and text[start:] else ("", "", start)


def _without_parentheses(text: str) -> str:
    """Remove all outer parentheses from a text if as many close at its end as open at its beginning."""
    inner = text.lstrip("(")
    opened = len(text) - len(inner)
    value = inner.rstrip(")")
    return value if len(inner) - len(value) == opened else text


def _number(value: object, name: str, key: object = None) -> float:
    """Convert a number from YAML or Python to float; raises ScheduleError unless it is finite."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    told = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else shown(value)[:40]
    message = f"{told} is no finite number; expected a number or an expression"
    raise ScheduleError(message, text=shown(value)[:40], name=name, key=key)


def _mapped_number(key: Key, value: object, name: str, own: Collection[str]) -> NumberKeyframe:
    if not isinstance(value, str):
        return NumberKeyframe(key, _number(value, name, key.text), "linear", source=shown(value))
    try:
        return _NumberReader(value, name, own).keyframe(key, value, 0, glued=False, source=value)
    except ScheduleError as error:
        raise error.within(value, 0, name, key.text) from None


def _pairs(mapping: Mapping[object, object], name: str) -> list[tuple[Key, object]]:
    if not mapping:
        raise ScheduleError("there is no keyframe; expected one such as 0: 1", text="{}", name=name)
    if len(mapping) > MOST_KEYFRAMES:
        message = f"there are {len(mapping):,} keyframes; expected at most {MOST_KEYFRAMES:,}"
        raise ScheduleError(message, text="", name=name)
    return [(parse_key(key, name=name), value) for key, value in mapping.items()]  # type: ignore[arg-type]


# -- texts


def _text_keyframes(text: str, name: str) -> Iterator[TextKeyframe]:
    if not text.strip():
        raise ScheduleError('there is nothing here; expected a schedule such as 0:("Euler a")', text=text, name=name)
    try:
        parts = list(_cut(text))
    except _Unpaired as unpaired:
        yield from _unpaired_texts(text, name, *unpaired.args)
        return
    if all(part.key is None for part in parts):
        value = _text_value(text.strip())
        written = text.strip() if value is None else _quoted(value)
        yield TextKeyframe(Key(0), value, written, len(text) - len(text.lstrip()))
        return
    for part in parts:
        if _is_blank(part):
            continue
        column = part.column + len(part.value) - len(part.value.lstrip())
        if part.key is None:
            message, hint = "expected frame:(\"text\"), but there is no ':'", "put quotes around a text with commas"
            raise ScheduleError(message, text=text, column=column, name=name, hint=hint)
        written = part.value.strip()
        yield TextKeyframe(key_at(part.key, text, part.key_column, name), _text_value(written), written, column)


def _unpaired_texts(text: str, name: str, column: int) -> Iterator[TextKeyframe]:
    """Parse a text with unmatched parentheses or quotes as Deforum does, if every part has a colon."""
    parts = _cut_as_deforum(text)
    if parts is None:
        raise ScheduleError(f"unmatched {text[column]}", text=text, column=column, name=name)
    for part in parts:
        key = key_at(part.key or "", text, part.key_column, name)
        value = TextKeyframe(key, None, part.value.strip()).deforum_value
        yield TextKeyframe(key, value, "()" if value is None else _quoted(value), part.column)


def _text_value(written: str) -> str | None:
    """Remove one outer pair of parentheses and one of quotes; None for a plain number or an empty value."""
    inner = written
    if _closes_at_end(inner):
        inner = inner[1:-1].strip()
    if len(inner) >= 2 and inner[0] in "\"'":
        try:
            end = _end_of_quote(inner, 0)
        except _Unpaired:
            end = 0
        if end == len(inner) - 1:
            return inner[1:-1].replace(inner[0] * 2, inner[0])
    return None if PLAIN.fullmatch(inner.translate(STRIPPED)) else inner


def _closes_at_end(text: str) -> bool:
    """Whether the parenthesis at the start of the text closes at its end."""
    if not text.startswith("("):
        return False
    return next((at for at, _, depth in _marks(text) if depth == 0), None) == len(text) - 1


def _quoted(text: str) -> str:
    return '("' + text.replace('"', '""') + '")'


def _mapped_text(key: Key, value: object, name: str) -> TextKeyframe:
    if isinstance(value, str):
        return TextKeyframe(key, value, _quoted(value))
    return TextKeyframe(key, None, f"({decimal(_number(value, name, key.text))})")
