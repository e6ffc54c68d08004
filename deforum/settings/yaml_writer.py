"""Settings as readable YAML: sections, units and ranges as comments, the shortest form of each value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from deforum.settings.declare import Declaration
from schedules import Expression, NumberKeyframe, NumberSchedule, TextSchedule, parse_number

PLAIN = re.compile(r"[A-Za-z_./][\w./+-]*( [\w./+-]+)*")
NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
COMMENT_COLUMN = 44
LONGEST_LINE = 100


def write_yaml(entries: Iterable[tuple[str, Declaration, object]], sections: Mapping[str, str]) -> str:
    """Return (name, declaration, value) entries as YAML, each in its section, in the order of `sections`."""
    by_section: dict[str, list[str]] = {section: [] for section in sections}
    for name, declaration, value in entries:
        indent = "  " if declaration.section else ""
        by_section[declaration.section] += _entry(name, declaration, value, indent)
    blocks = []
    for section, lines in by_section.items():
        if lines:
            blocks.append("\n".join([f"{section}:", *lines] if section else lines))
    return "\n\n".join(blocks) + "\n"


def _entry(name: str, declaration: Declaration, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, tuple):
        yield f"{indent}{name}:" if value else f"{indent}{name}: {{}}"
        for key, text in value:
            yield f"{indent}  {quote(key) if not key.isdecimal() else key}: {quote(text)}"
        return
    line = f"{indent}{name}: {write_value(value)}"
    comment = ", ".join(filter(None, (declaration.unit, declaration.range)))
    keyframes = value.keyframes if isinstance(value, NumberSchedule | TextSchedule) else ()
    if len(line) > LONGEST_LINE and len(keyframes) > 1 and isinstance(value, NumberSchedule):
        yield f"{indent}{name}:".ljust(COMMENT_COLUMN) + f" # {comment}" * bool(comment)
        for keyframe in value.keyframes:
            yield f"{indent}  {keyframe.key.text}: {_keyframe(keyframe)}"
    elif len(line) > COMMENT_COLUMN:
        yield from [f"{indent}# {comment}"] * bool(comment)
        yield line
    else:
        yield f"{line.ljust(COMMENT_COLUMN)} # {comment}" if comment else line


def write_value(value: object) -> str:
    """Return the value of one setting as YAML on one line."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case NumberSchedule() | TextSchedule():
            return _schedule(value)
        case _:
            return quote(str(value))


def _schedule(schedule: NumberSchedule | TextSchedule) -> str:
    """Return a schedule as YAML; a constant one as its value alone."""
    first = schedule.keyframes[0]
    if len(schedule.keyframes) == 1 and first.key.text == "0":
        if isinstance(first.value, float) and first.text == f"0: ({first.value:g})":
            return f"{first.value:g}"
        if isinstance(first.value, str) and PLAIN.fullmatch(first.value):
            return quote(first.value)
        if isinstance(first.value, Expression) and parse_number(first.value.text) == schedule:
            return quote(first.value.text)
    return quote(schedule.text)


def _keyframe(keyframe: NumberKeyframe) -> str:
    """Return the value of one keyframe in a mapping."""
    value = keyframe.text.removeprefix(f"{keyframe.key.text}: ")
    number = re.fullmatch(r"\((-?[\d.]+)\)", value)
    return number[1] if number and isinstance(keyframe.value, float) else quote(value)


def quote(text: str) -> str:
    """Return a text as a YAML scalar, in quotes if it needs them."""
    if PLAIN.fullmatch(text) and text.casefold() not in NOT_TEXT:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    # YAML forbids some invisible characters that JSON allows.
    return re.sub("[^ -~\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]", _escape, quoted)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
