"""A settings file as a tree of texts with their places; the type of a setting decides how its text is read.

YAML's own types (`on` is true, 12:30 is 750, 1e-3 is a word) are not used: a setting of type text gets the text, a
numeric one parses it as a number.
"""

from __future__ import annotations

import codecs
import collections.abc
import contextlib
import numbers
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import yaml

from deforum.errors import Problem, UserError
from deforum.limits import MANIFEST_TEXT, SETTINGS_FILE, TEXT, VALUES, YAML_DEPTH, Limit
from schedules.quoting import LONGEST_QUOTE, quote, shown

TOO_DEEP = "this is nested too deeply for any setting; expected at most {}"

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser, if PyYAML was built with it


@dataclass(frozen=True)
class Place:
    """The place of a text: a file with line and column (both from 1; 0: unknown), or a part of the command line."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Scalar:
    """A text with its place; `plain` if it is unquoted, so that it may also be a number, true, or null.

    `start` is the column (from 1) of its first character in the line of `place`; 0 if that line does not contain it
    verbatim.
    """

    text: str
    place: Place
    plain: bool = True
    start: int = 0

    @property
    def is_null(self) -> bool:
        return self.plain and self.text.casefold() in ("", "~", "null")


@dataclass(frozen=True)
class Mapping:
    """Keys with values, in the order of the file; keys may repeat."""

    entries: tuple[tuple[Scalar, Node], ...]
    place: Place


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


Node = Scalar | Mapping | Sequence


def parse_yaml(text: str, source: str) -> Mapping:
    """Parse a YAML document whose top level is a mapping; an empty text is an empty mapping.

    Raises UserError with line and column. Tags never construct objects.
    """
    try:
        node = _compose(text, source)
    except _Mistake as mistake:
        line = _line(text, mistake.line)
        quoted = quote_line(line, mistake.column) if line.strip() else ""
        raise UserError(Problem(mistake.meaning + quoted, mistake.where(source))) from None
    if node is None:
        return Mapping((), Place(source, 1, 1))
    if not isinstance(node, Mapping):
        raise UserError(Problem("this is not a settings file; expected lines such as 'width: 512'", str(node.place)))
    return node


def parse_yaml_value(text: str, place: Place) -> Node:
    """Parse one value of the command line: YAML if it begins with a quote or a bracket, else the text itself.

    Raises UserError for invalid YAML.
    """
    if text.strip()[:1] not in tuple("'\"{["):
        return Scalar(text.strip(), place)
    try:
        node = _compose(text, str(place))
    except _Mistake as mistake:
        raise UserError(Problem(f"{quote(text)} cannot be read: {mistake.meaning}", str(place))) from None
    assert node is not None  # the text is not empty
    return relocate(node, place)


def refused_characters(text: str) -> str:
    """Return what is wrong with the characters of a text, as a message; "" if nothing is.

    No file name, model or picture can hold them: NUL ends a text in the operating system, and half of a surrogate pair
    is no character.
    """
    if "\0" in text:
        return "character 0 (NUL) is not allowed in a text"
    half = _HALF_PAIR.search(text)
    if half:
        code = f"\\u{ord(half[0]):04x}"
        return f"{code} is half of a surrogate pair, no character; write the whole character, as an emoji, or remove it"
    return ""


LONG_TEXTS: collections.abc.Mapping[str, Limit] = {"parseq_manifest": MANIFEST_TEXT}
"""Settings whose texts may be longer than those of others."""


def check_text(text: str, place: Place, name: str = "") -> None:
    """Raise UserError for a text that no setting can hold: too long, or with characters that are refused.

    `name` is that of its setting, where it is known.
    """
    limit = LONG_TEXTS.get(name, TEXT)
    wrong = f"this text {limit.exceeded(len(text))}" if len(text) > limit.most else refused_characters(text)
    if wrong:
        raise UserError(Problem(wrong, str(place)))


_HALF_PAIR = re.compile(r"[\ud800-\udfff]")


def of_values(value: object, place: Place, depth: int = 0, name: str = "") -> Node:
    """Build the tree from plain Python values: mappings, sequences, texts, numbers, paths, booleans, None.

    `name` is that of the setting that has the value, where it is known. Raises UserError for anything else, and for
    what is nested too deeply.
    """
    if depth > YAML_DEPTH.most:
        raise UserError(Problem(TOO_DEEP.format(YAML_DEPTH), str(place)))
    match value:
        case None:
            return Scalar("null", place)
        case bool():
            return Scalar("true" if value else "false", place)
        case numbers.Integral() | numbers.Real():
            return Scalar(shown(value if isinstance(value, int | float) else _plain_number(value)), place)
        case str() | Path():
            check_text(str(value), place, name)
            return Scalar(str(value), place, plain=False)
        case collections.abc.Mapping():
            entries = [(key_of(key, place), of_values(inner, place, depth + 1)) for key, inner in value.items()]
            return Mapping(tuple(entries), place)
        case collections.abc.Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return Sequence(tuple(of_values(item, place, depth + 1) for item in value), place)
    kind = type(value).__name__
    raise UserError(Problem(f"a value of type {kind} cannot be read; expected text, numbers, mappings", str(place)))


def _plain_number(value: numbers.Real) -> int | float:
    """Convert a number of another library, such as NumPy's, to Python's."""
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def key_of(key: object, place: Place) -> Scalar:
    """Return the name of an entry of a mapping. Raises UserError unless it is a text or a number."""
    if not isinstance(key, str | numbers.Real):
        kind = type(key).__name__
        raise UserError(Problem(f"a name of type {kind} cannot be read; expected a text or a number", str(place)))
    text = key if isinstance(key, str) else shown(key)
    check_text(text, place)
    return Scalar(text, place)


def quote_line(line: str, column: int) -> str:
    """Return a line to append to a message, with a caret under `column` (from 0); long lines are cut around it."""
    left = max(0, column - 60)
    return f"\n    {line[left : left + LONGEST_QUOTE].expandtabs(1)}\n    {' ' * (column - left)}^"


def read_text(path: Path, limit: Limit = SETTINGS_FILE) -> str:
    """Read a text file in UTF-8, or in the encoding of its byte order mark, as Windows programs write it.

    `limit` is that of its size, and says what it is. Raises UserError where it is missing, too long, or cannot be
    decoded.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"{path}: this is no regular file; expected {limit.of}")
        with path.open("rb") as file:
            return read_stream(file, str(path), path.stat().st_size, limit)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; expected {limit.of}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path}: this is no path; character 0 (NUL) is not allowed in it") from None


def read_stream(stream: BinaryIO, name: str, size: int = 0, limit: Limit = SETTINGS_FILE) -> str:
    """Read a text as `read_text` does, from a stream; `name` and `size` (bytes) are for messages. Raises UserError."""
    read = stream.read(limit.most + 1)
    if len(read) > limit.most:
        raise UserError(f"{name}: {limit.of} {limit.exceeded(max(size, len(read)))}")
    return _decode(read, name)


BYTE_ORDER_MARKS = (
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
    (b"", "utf-8-sig", "UTF-8"),
)
"""Byte order mark, codec (which removes the mark), and the name of the encoding."""


def _decode(content: bytes, source: str) -> str:
    _, codec, name = next(row for row in BYTE_ORDER_MARKS if content.startswith(row[0]))
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: byte {error.start + 1} is not {name} text; save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _TooDeep(UserError):
    """The text is nested more deeply than any setting."""


@dataclass
class _Mistake(Exception):
    """A YAML error in our own words, as the parser's messages differ between its versions."""

    meaning: str
    line: int = -1
    """From 0, like the column; -1: unknown."""
    column: int = -1

    def where(self, source: str) -> str:
        return source if self.line < 0 else str(Place(source, self.line + 1, self.column + 1))


def _compose(text: str, source: str) -> Node | None:
    """Build the tree of a text; None if it is empty. Raises _Mistake, or UserError for YAML that is not accepted."""
    try:
        return _Composer(text, source).document()
    except yaml.MarkedYAMLError as error:
        # Parsers read ahead, and some have a nesting limit of their own, which they reach before we reach ours. Ours
        # takes precedence: the text up to the error is checked for it.
        mark = error.problem_mark
        if mark is not None:
            with contextlib.suppress(yaml.YAMLError, StopIteration):
                _refuse_depth(_Composer(text[: mark.index], source))
        raise _explain(error, text) from None
    except yaml.reader.ReaderError as error:
        message = f"this character (code {error.character}) is not allowed in YAML; is it a text file in UTF-8?"
        # The parser's own position is in characters or in bytes, depending on the parser.
        before = text.partition(chr(error.character))[0] if isinstance(error.character, int) else text
        if before == text:
            raise _Mistake(message) from None
        raise _Mistake(message, before.count("\n"), len(before) - before.rfind("\n") - 1) from None


def _refuse_depth(composer: _Composer) -> None:
    """Raise _TooDeep if a truncated text is nested too deeply; its other errors may come from the truncation."""
    try:
        composer.document()
    except _TooDeep:
        raise
    except UserError:
        return


class _Composer:
    """Builds a tree from the events of YAML's parser (its own composer crashes the process on very deep nesting)."""

    def __init__(self, text: str, source: str) -> None:
        self.lines, self.source = text.splitlines(), source
        self.events: Iterator[Any] = yaml.parse(text, Loader=Loader)
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        """Nodes by name, each with its height and number of nodes."""
        self.height, self.count = 0, 0
        """Levels below the node that was read last, and the nodes so far; an alias counts as all that it stands for."""

    def document(self) -> Node | None:
        """Return the only document of the text; None if it is empty."""
        next(self.events)  # the stream starts
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        node = self.node(next(self.events), 0)
        next(self.events)  # the document ends
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self.refuse("a second document begins here (---); expected one", self.place(after))
        return None if isinstance(node, Scalar) and node.is_null else node

    def node(self, event: Any, depth: int, name: str = "") -> Node:
        place = self.place(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), place, depth)
        self.check(depth, 1, place)
        before = self.count - 1
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self.scalar(event, place, name)
            self.height = 0
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(tuple(self.inner(yaml.SequenceEndEvent, depth)), place)
        else:
            nodes = list(self.inner(yaml.MappingEndEvent, depth))
            for key in nodes[::2]:
                if not isinstance(key, Scalar):
                    message = "a list or a mapping cannot be a name; is a text with { or [ missing quotes?"
                    self.refuse(message, key.place)
            keys = (key for key in nodes[::2] if isinstance(key, Scalar))
            node = Mapping(tuple(zip(keys, nodes[1::2], strict=True)), place)
        if event.anchor:
            self.anchors[event.anchor] = node, self.height, self.count - before
        return node

    def alias(self, anchor: str, place: Place, depth: int) -> Node:
        """Return the node that a name stands for; it counts like a copy, or a few lines could hold 10**20 values."""
        if anchor not in self.anchors:
            self.refuse("a text that begins with * has to stand in quotes", place)
        node, self.height, count = self.anchors[anchor]
        self.check(depth + self.height, count, place)
        return node

    def check(self, depth: int, more: int, place: Place) -> None:
        self.count += more
        if depth > YAML_DEPTH.most:
            raise _TooDeep(Problem(TOO_DEEP.format(YAML_DEPTH), str(place)))
        if self.count > VALUES.most:
            self.refuse(f"there are too many values; expected at most {VALUES} in {VALUES.of}", place)

    def inner(self, end: type[yaml.Event], depth: int) -> Iterator[Node]:
        height, before = 0, ""
        while not isinstance(event := next(self.events), end):
            node = self.node(event, depth + 1, before)
            before = node.text if isinstance(node, Scalar) and not before else ""  # the name of what comes next
            yield node
            height = max(height, self.height + 1)
        self.height = height

    def scalar(self, event: Any, place: Place, name: str) -> Scalar:
        check_text(event.value, place, name)
        mark, quoted = event.start_mark, event.style in ("'", '"')
        start = mark.column + quoted
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        as_is = line[start:].startswith(event.value)
        return Scalar(event.value, place, event.style in ("", None), start + 1 if as_is else 0)

    def place(self, event: Any) -> Place:
        return Place(self.source, event.start_mark.line + 1, event.start_mark.column + 1)

    def refuse(self, message: str, place: Place) -> NoReturn:
        raise UserError(Problem(message, str(place)))


def relocate(node: Node, place: Place) -> Node:
    """Return the same tree with one place for all nodes."""
    match node:
        case Scalar():
            return Scalar(node.text, place, node.plain)
        case Mapping():
            entries = ((Scalar(key.text, place, key.plain), relocate(value, place)) for key, value in node.entries)
            return Mapping(tuple(entries), place)
        case Sequence():
            return Sequence(tuple(relocate(item, place) for item in node.items), place)


def _line(text: str, number: int) -> str:
    lines = text.splitlines() if number >= 0 else []
    return lines[number] if 0 <= number < len(lines) else ""


def _explain(error: yaml.MarkedYAMLError, text: str) -> _Mistake:
    """Return the likely mistake in a settings file for a YAML error, by the characters where the parser stopped."""
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    if mark is None:
        return _Mistake("this is not YAML")
    here, before = text[mark.index : mark.index + 1], text[mark.index - 1 : mark.index]
    opened = "" if context is None else text[context.index : context.index + 1]
    if opened == '"' and "\\" in (here, before):
        return _Mistake(r"\ begins an escape here that YAML does not know; write \\, or single quotes", *_at(mark))
    if opened == '"' and text[mark.index - 2 : mark.index] in (r"\u", r"\U"):
        return _Mistake("YAML does not know this character by its number; write the character itself", *_at(mark))
    if opened in tuple("'\"[{"):
        # The parser notices unclosed quotes and brackets at the end of the file; report where they were opened.
        return _Mistake(_UNCLOSED[opened], *_at(context))
    for number in range(mark.line if context is None else context.line, mark.line + 1):
        line = _line(text, number)
        indentation = line[: len(line) - len(line.lstrip())]
        if "\t" in indentation:  # also where the parser took it for the space between words, and stopped later
            return _Mistake(_MISPLACED["\t"], number, indentation.index("\t"))
    if here in _MISPLACED:
        return _Mistake(_MISPLACED[here], *_at(mark))
    if context is not None and opened in tuple("|>&!") and mark.line == context.line:
        return _Mistake(f"a text that begins with {opened} has to stand in quotes", *_at(context))
    if context is not None and context.line < mark.line and ":" not in _line(text, context.line) and opened != "-":
        return _Mistake("a line before this one has no colon; expected 'name: value'", *_at(mark))
    return _Mistake(
        "this does not fit here: a text that begins with a quote, [ or { has to stand in quotes as a whole; or else "
        "the indentation is wrong, here or above",
        *_at(mark),
    )


def _at(mark: Any) -> tuple[int, int]:
    return mark.line, mark.column


_UNCLOSED = {
    "'": "this quote is never closed",
    '"': "this quote is never closed",
    "[": "this [ does not begin a valid list; a text that begins with [ has to stand in quotes",
    "{": "this { does not begin a valid mapping; a text that begins with { has to stand in quotes",
}
_NO_VALUE = "a value is missing before this; a text that begins with it has to stand in quotes"
_MISPLACED = {
    ":": "there are two colons, each followed by a space; a text with ': ' in it has to stand in"
    ' quotes, as in zoom: "0: (1), 30: (1.1)"',
    "\t": "a tab; YAML lines are indented with spaces",
    **dict.fromkeys("`@%", "a text cannot begin with this character unless it stands in quotes"),
    **dict.fromkeys("]},", _NO_VALUE),
}
"""The likely mistake, by the character where the parser stopped."""
