"""Texts by keyframe, such as prompts: a mapping, a list, or one text that has the keyframes in it.

People write prompts as they write schedules, as JSON inside a text, or as rows. A text that begins with a keyframe is
read as keyframes, or it is an error; it never becomes a prompt. "16:9" is no keyframe: a digit follows the colon.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from deforum.errors import Problem, UserError
from deforum.limits import KEYFRAMES
from deforum.settings import document
from deforum.settings.declare import KeyedTexts
from deforum.settings.document import Mapping, Node, Place, Scalar, Sequence, quote_line
from deforum.settings.faults import Wrong, inside, readable, unique
from deforum.settings.relaxed_json import parse_json
from schedules import ScheduleError, parse_key
from schedules.quoting import LONGEST_NAME, cut, quote

_NUMBER = r"\d+(?:\.\d+)?(?:\s*s)?"
_MUSICAL = r"(?:beat|bar|section)\([-+\d.\s]{1,20}\)(?:\s*[-+]\s*\d+)?"
_KEY = rf"""(?:"[^"\n]{{1,40}}"|'[^'\n]{{1,40}}'|“[^”\n]{{1,40}}”|{_NUMBER}|max_f(?:\s*[-+*/]\s*[\d.]+)?|{_MUSICAL})"""
_ENTRY = re.compile(rf"(?<![\w.])(?P<key>{_KEY})\s*:")
_BRACES = re.compile(rf"\{{\s*(?:\}}|[\"“]|{_KEY}\s*:)")
_RATIO = re.compile(r"\d+(?!\w)")
_LIST = re.compile(r"\[\s*(?:\]|[\"“{])")
_QUOTED = {
    '"': re.compile(r'"(?:[^\\"]|\\.)*"', re.DOTALL),
    "“": re.compile(r"“[^”]*”"),
    "'": re.compile(r"'(?:[^\\']|\\.)*'(?=\s*(?:[,|;]|\Z)|[ \t]*\n)", re.DOTALL),  # not the one of 'tis the season
}
_SEPARATORS = ",|;"
_BLANKS = re.compile(r"[ \t]*")
_WEIGHT_END = re.compile(r":\s*[-+.\d`][^:()]*\)$")

_FRAME_NAMES, _TEXT_NAMES = ("frame", "keyframe", "key"), ("prompt", "text", "value")
_STILLS = (
    "a list of texts is for still images in the notebook, which are not made here; give each text its first frame, "
    "such as {0: a forest, 30: a lake}"
)
_COMMA = (
    "outside of quotes, a comma ends a text in { }; put each text with a comma in quotes, "
    'such as {0: "green hills, at noon"}'
)


def read_keyed_texts(node: Node, name: str) -> KeyedTexts:
    """Read texts by keyframe; one text is for the whole run. Empty where there is none. Raises Wrong."""
    node = by_keyframe(node, name)
    if isinstance(node, Scalar):
        return (("0", "" if node.is_null else readable(node, name)),)
    if len(node.entries) > KEYFRAMES.most:
        raise Wrong(Problem(f"{name} {KEYFRAMES.exceeded(len(node.entries))}", str(node.place)))
    texts: list[tuple[str, str]] = []
    before: Scalar | None = None
    for key, text in unique(node, name):
        if not isinstance(text, Scalar):
            what = "a text was expected here; one that begins with { or [ has to stand in quotes"
            raise Wrong(Problem(f"{name}, keyframe {cut(key.text, LONGEST_NAME)}: {what}", str(text.place)))
        in_line = before is not None and before.place.line == key.place.line
        if in_line and text.plain and not text.text:
            raise Wrong(Problem(f"{name}: {quote(key.text, LONGEST_NAME)} has no text; {_COMMA}", str(key.place)))
        try:
            parse_key(key.text, name=f"{name}, keyframe")
        except ScheduleError as error:
            if in_line and key.plain and not re.match(r"[-\d]|max_f", key.text):
                message = f"{name}: {quote(key.text, LONGEST_NAME)} is not a frame; {_COMMA}"
                raise Wrong(Problem(message, str(key.place))) from None
            raise Wrong(Problem(str(error), str(inside(key, error.column)))) from None
        where = f"{name}, keyframe {cut(key.text, LONGEST_NAME)}"
        texts.append((key.text, "" if text.is_null else readable(text, where)))
        before = key
    return tuple(texts)


def by_keyframe(node: Node, name: str) -> Scalar | Mapping:
    """Convert a list, or a text with keyframes in it, to a mapping; return a mapping or a plain text as it is.

    A list has mappings, [frame, text] pairs, or texts such as "0: a sea". Raises Wrong.
    """
    match node:
        case Mapping():
            return node
        case Sequence():
            return _of_list(node, name)
    text = node.text.strip()
    if node.is_null:
        return node
    braces = _BRACES.match(text)
    if braces:
        return _of_braces(text, node, name)
    if _LIST.match(text) and text.endswith("]"):
        listed = _listed(text, node.place)
        return node if listed is None else _of_list(listed, name)
    entries = tuple(_rows(text, node, name))
    return Mapping(entries, node.place) if entries else node


def _of_braces(text: str, node: Scalar, name: str) -> Mapping:
    """Parse a JSON object in a text, or one whose texts are not in quotes."""
    try:
        found = parse_json(text, "")
    except UserError as error:
        with contextlib.suppress(Wrong):
            rows = tuple(_rows(text[1:-1].strip(), node, name)) if text.endswith("}") else ()
            if rows and not any(isinstance(value, Scalar) and value.text[:1] in ('"', "“") for _, value in rows):
                return Mapping(rows, node.place)
        problem = error.problems[0]
        line = problem.where.lstrip(":").split(":")[0]
        which = f" in line {line} of the text" if "\n" in text else ""
        raise Wrong(Problem(f"{name}{which}: {problem.message}", str(node.place))) from None
    moved = document.relocate(found, node.place)
    assert isinstance(moved, Mapping)  # as before the move
    return moved


def _listed(text: str, place: Place) -> Sequence | None:
    """Parse a JSON list inside a text; None where it is no list, as "[" also lowers the attention of words."""
    try:
        node = parse_json(f'{{"": {text}}}', "").entries[0][1]
    except UserError:
        return None
    moved = document.relocate(node, place)
    return moved if isinstance(moved, Sequence) else None


def _of_list(node: Sequence, name: str) -> Scalar | Mapping:
    if len(node.items) == 1 and isinstance(node.items[0], Scalar):
        return by_keyframe(node.items[0], name)
    entries: list[tuple[Scalar, Node]] = []
    for item in node.items:
        match item:
            case Sequence(items=(Scalar() as key, value)):
                entries.append((key, value))
                continue
            case Mapping() if (named := _named_pair(item)) is not None:
                entries.append(named)
                continue
            case Sequence():
                raise Wrong(Problem(f"{name}: expected a pair of frame and text, such as [0, a sea]", str(item.place)))
        found = by_keyframe(item, name)
        if isinstance(found, Scalar):
            raise Wrong(Problem(f"{name}: {_STILLS}", str(node.place)))
        entries += found.entries
    return Mapping(tuple(entries), node.place)


def _named_pair(node: Mapping) -> tuple[Scalar, Node] | None:
    """Return the keyframe and text of {frame: 0, prompt: a sea}; None for other mappings."""
    values = {key.text.strip().casefold(): value for key, value in node.entries}
    frames = [value for name, value in values.items() if name in _FRAME_NAMES]
    texts = [value for name, value in values.items() if name in _TEXT_NAMES]
    match frames, texts:
        case [Scalar() as frame], [text] if len(node.entries) == 2:
            return frame, text
    return None


def _rows(text: str, node: Scalar, name: str) -> Iterator[tuple[Scalar, Node]]:
    """Yield the entries of a text such as '0: a sea, 20: a hill'; none where it does not begin with a keyframe.

    Keyframes are separated by a comma, a semicolon, | or a line break; values may stand in quotes or parentheses.
    """
    candidates = [match for match in _ENTRY.finditer(text) if _is_key(match, text)]
    if not candidates or candidates[0].start() > 0:
        return
    pairs = _pairs(text)
    upcoming = iter(candidates)
    entry: re.Match[str] | None = next(upcoming)
    while entry is not None:
        begin = _behind_blanks(text, entry.end())
        closed = _end_of_closed(text, begin, pairs)
        if closed == 0 and text[begin : begin + 1] in ('"', "“"):
            raise Wrong(_problem(name, "this quote is never closed", text, begin, node.place))
        following = next((other for other in upcoming if other.start() >= max(closed, begin)), None)
        if closed and following is not None and closed <= following.start() == _behind_blanks(text, closed):
            what = "expected a comma before this keyframe"
            raise Wrong(_problem(name, what, text, following.start(), node.place))
        while following is not None and not _separated(text, begin, following.start()):
            following = next(upcoming, None)
        end = len(text) if following is None else following.start()
        key = entry["key"].strip("\"'“”").strip()
        yield Scalar(key, node.place), Scalar(_value(text[begin:end], is_last=following is None), node.place, False)
        entry = following


def _is_key(match: re.Match[str], text: str) -> bool:
    """Whether a candidate is a keyframe: not the first half of 16:9, nor a title in quotes."""
    key = match["key"]
    if key[0] not in _QUOTED:
        return key == "0" or not _RATIO.match(text, match.end())
    begin = _behind_blanks(text, match.end())
    return text[begin : begin + 1] in _QUOTED or (re.search(r"\d|max_f", key) is not None and _is_position(key[1:-1]))


def _is_position(text: str) -> bool:
    try:
        parse_key(text.strip())
    except ScheduleError:
        return False
    return True


def _behind_blanks(text: str, begin: int) -> int:
    blanks = _BLANKS.match(text, begin)
    return blanks.end() if blanks else begin


def _pairs(text: str) -> dict[int, int]:
    """Return the end of each pair of parentheses, by its beginning."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for mark in re.finditer(r"\\.|[()]", text, re.DOTALL):
        if mark[0] == "(":
            opened.append(mark.start())
        elif mark[0] == ")" and opened:
            ends[opened.pop()] = mark.end()
    return ends


def _end_of_closed(text: str, begin: int, pairs: dict[int, int]) -> int:
    """Return the end of a value that begins with a quote or a parenthesis; 0 for others and for unclosed ones."""
    quoted = _QUOTED.get(text[begin : begin + 1])
    if quoted is None:
        return pairs.get(begin, 0)
    found = quoted.match(text, begin)
    return found.end() if found else 0


def _separated(text: str, begin: int, position: int) -> bool:
    """Whether a separator or a line break stands before a position, behind `begin`."""
    while position > begin and text[position - 1].isspace():
        position -= 1
        if text[position] == "\n":
            return True
    return position > begin and text[position - 1] in _SEPARATORS


def _value(text: str, *, is_last: bool) -> str:
    """Return the text of an entry without the separator behind it, nor quotes or parentheses around it."""
    text = text.strip()
    if text[-1:] in tuple(_SEPARATORS) and (not is_last or text[:1] in ("(", *_QUOTED)):
        text = text[:-1].rstrip()
    if text[:1] == "(" and _pairs(text).get(0) == len(text) and not _WEIGHT_END.search(text):
        text = text[1:-1].strip()
    if text[:1] in _QUOTED and _end_of_closed(text, 0, {}) == len(text):
        text = re.sub(r"\\([\"'])", r"\1", text[1:-1])
    return text


def _problem(name: str, message: str, text: str, column: int, place: Place) -> Problem:
    start = text.rfind("\n", 0, column) + 1
    line = text[start:].split("\n", 1)[0]
    return Problem(f"{name}: {message}{quote_line(line, column - start)}", str(place))
