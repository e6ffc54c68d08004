"""Settings as readable YAML: sections, units and ranges as comments, the shortest form of each value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from deforum.settings.declare import Declaration
from deforum.settings.shots import Shot, Shots
from deforum.settings.steps import Chain, write_step
from deforum.settings.units import Unit, changed_values, kind_of
from deforum.settings.yaml_scalars import PLAIN, quote, write_scalar
from schedules import Expression, NumberKeyframe, NumberSchedule, TextSchedule, parse_number

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
    if isinstance(value, tuple) and (kind_of(declaration.type) or declaration.type == Shots):
        yield f"{indent}{name}:" if value else f"{indent}{name}: []"
        for unit in value:
            yield f"{indent}  - {write_value(unit)}"
        return
    if isinstance(value, tuple):
        yield f"{indent}{name}:" if value else f"{indent}{name}: {{}}"
        for key, text in value:
            yield f"{indent}  {quote(key) if not key.isdecimal() else key}: {quote(text)}"
        return
    if isinstance(value, Chain) and value.steps:
        yield f"{indent}{name}:"
        for step in value.steps:
            yield f"{indent}  - {write_step(step)}"
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
        case NumberSchedule() | TextSchedule():
            return _schedule(value)
        case Chain():
            return value.text
        case Unit():
            return _unit(value)
        case Shot():
            return value.text
        case tuple():
            if all(isinstance(each, tuple) for each in value) and value:
                return "{" + ", ".join(f"{quote(key)}: {quote(text)}" for key, text in value) + "}"
            return "[" + ", ".join(map(write_value, value)) + "]"
        case _:
            return write_scalar(value)


def _unit(unit: Unit) -> str:
    """Return a unit as a YAML mapping on one line; a text with a comma or a brace stands in quotes."""
    values = ((name, write_value(value)) for name, value in changed_values(unit))
    return "{" + ", ".join(f"{name}: {value}" for name, value in values) + "}"


def _schedule(schedule: NumberSchedule | TextSchedule) -> str:
    """Return a schedule as YAML; a constant one as its value alone."""
    first = schedule.keyframes[0]
    if len(schedule.keyframes) == 1 and first.key.text == "0":
        if isinstance(first.value, float) and first.text == f"0: ({first.value:g})":
            return f"{first.value:g}"
        if isinstance(first.value, str) and PLAIN.fullmatch(first.value):
            return quote(first.value)
        if (
            isinstance(first.value, Expression)
            and parse_number(first.value.text, own=first.value.program.names) == schedule
        ):
            return quote(first.value.text)
    return quote(schedule.text)


def _keyframe(keyframe: NumberKeyframe) -> str:
    """Return the value of one keyframe in a mapping."""
    value = keyframe.text.removeprefix(f"{keyframe.key.text}: ")
    number = re.fullmatch(r"\((-?[\d.]+)\)", value)
    return number[1] if number and isinstance(keyframe.value, float) else quote(value)
