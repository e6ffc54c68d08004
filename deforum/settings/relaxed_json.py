"""A parser for hand-edited JSON: unambiguous deviations are accepted, all others are errors with their place.

Accepted beyond JSON: commas before a closing bracket, typographic quotes around texts, line breaks in texts,
comments (// and #), and Python's True, False and None.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NoReturn

from deforum.errors import Problem, UserError
from deforum.limits import JSON_DEPTH, VALUES
from deforum.settings.document import TOO_DEEP, Mapping, Node, Place, Scalar, Sequence, check_text, quote_line
from schedules.quoting import quote

_SKIPPED = re.compile(r"(?:\s|//[^\n]*|#[^\n]*|\ufeff)*")
_WORD = re.compile(r"[-+.\w]+")
_CLOSING = {'"': '"', "“": '”“„‟"', "”": '”“"', "„": '”“"', "‟": '”“"', "'": "'"}
_UNREMARKABLE = re.compile(r"[^\\\"'“”„‟]+")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": "true", "True": "true", "false": "false", "False": "false", "null": "null", "None": "null"}
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$")


def parse_json(text: str, source: str) -> Mapping:
    """Parse a JSON object. Raises UserError with line, column and a caret."""
    reader = _Reader(text, source)
    node = reader.value()
    reader.skip()
    if reader.at < len(text):
        reader.fail("the file should end here")
    if not isinstance(node, Mapping):
        reader.at = 0
        reader.fail("this is not a settings file; expected { and then names with values")
    return node


class _Reader:
    """A cursor in a text, moving forward."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source, self.at = text, source, 0
        self.count = 0
        """Values so far."""
        self._starts = [0, *(end.end() for end in re.finditer("\n", text))]

    def fail(self, message: str) -> NoReturn:
        place = self.place()
        start = self._starts[place.line - 1]
        # Only the part around the place: the whole text may be one line.
        left = max(start, self.at - 200)
        line = self.text[left : self.at + 200].split("\n", 1)[0]
        raise UserError(Problem(message + quote_line(line, self.at - left), str(place)))

    def place(self) -> Place:
        line = bisect_right(self._starts, self.at)
        return Place(self.source, line, self.at - self._starts[line - 1] + 1)

    def skip(self) -> None:
        match = _SKIPPED.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def value(self, depth: int = 0, name: str = "") -> Node:
        """Read a value; `name` is that of its setting."""
        first = self.peek()
        self.count += 1
        if depth > JSON_DEPTH.most:
            self.fail(TOO_DEEP.format(JSON_DEPTH))
        if self.count > VALUES.most:
            self.fail(f"there are too many values; expected at most {VALUES} in {VALUES.of}")
        if first == "{":
            return self.mapping(depth)
        if first == "[":
            return self.sequence(depth)
        if first and first in _CLOSING:
            return self.string(name)
        word = _WORD.match(self.text, self.at)
        if word and (word[0] in _WORDS or _NUMBER.match(word[0])):
            place = self.place()
            check_text(word[0], place)
            self.at = word.end()
            return Scalar(_WORDS.get(word[0], word[0]), place, plain=True, start=place.column)
        self.fail("expected a value: a text in quotes, a number, true, false or null")

    def string(self, name: str) -> Scalar:
        place, opened = self.place(), self.at
        closing = _CLOSING[self.text[opened]]
        letters: list[str] = []
        self.at += 1
        while True:
            letter = self.text[self.at : self.at + 1]
            if not letter:
                self.at = opened
                self.fail("this quote is never closed")
            self.at += 1
            if letter in closing:
                break
            letters.append(self.escape() if letter == "\\" else letter)
            plain = _UNREMARKABLE.match(self.text, self.at)
            if plain:  # most of a text, in one step
                letters.append(plain[0])
                self.at = plain.end()
        text = "".join(letters)
        check_text(text, place, name)
        as_is = self.text.startswith(text, opened + 1) and "\n" not in text
        return Scalar(text, place, plain=False, start=place.column + 1 if as_is else 0)

    def escape(self) -> str:
        letter = self.text[self.at : self.at + 1]
        if letter == "u":
            code = self.text[self.at + 1 : self.at + 5]
            if not re.fullmatch(r"[0-9a-fA-F]{4}", code):
                self.fail(r"expected four hexadecimal digits behind \u")
            self.at += 5
            pair = re.match(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})", self.text[self.at : self.at + 6])
            if 0xD800 <= int(code, 16) < 0xDC00 and pair:
                self.at += 6
                return chr(0x10000 + (int(code, 16) - 0xD800) * 0x400 + int(pair[1], 16) - 0xDC00)
            return chr(int(code, 16))
        self.at += 1
        # An unknown escape is most likely from a Windows path with single backslashes: keep the backslash.
        return _ESCAPES.get(letter) or (letter if letter and letter in "\"\\/'“”" else "\\" + letter)

    def mapping(self, depth: int) -> Mapping:
        place = self.place()
        self.at += 1
        entries: list[tuple[Scalar, Node]] = []
        while self.peek() != "}":
            first = self.peek()
            key = self.value(depth + 1) if first not in "{[" else None
            if not isinstance(key, Scalar):
                self.fail("expected a name in quotes")
            if self.peek() != ":":
                self.fail(f"expected a colon behind {quote(key.text)}")
            self.at += 1
            entries.append((key, self.value(depth + 1, key.text)))
            self.comma("}", place)
        self.at += 1
        return Mapping(tuple(entries), place)

    def sequence(self, depth: int) -> Sequence:
        place = self.place()
        self.at += 1
        items: list[Node] = []
        while self.peek() != "]":
            items.append(self.value(depth + 1))
            self.comma("]", place)
        self.at += 1
        return Sequence(tuple(items), place)

    def comma(self, closing: str, opened: Place) -> None:
        found = self.peek()
        if found == ",":
            self.at += 1
        elif found != closing:
            self.fail(f"expected a comma, or the {closing} that ends what begins at {opened.line}:{opened.column}")
