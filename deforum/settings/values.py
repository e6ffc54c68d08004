"""Values of settings from the nodes of a file, checked against the settings' declarations."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from deforum.errors import Problem
from deforum.settings.declare import Declaration, KeyedTexts, Regions
from deforum.settings.document import Mapping, Node, Scalar, Sequence
from deforum.settings.faults import Wrong, inside, readable, unique
from deforum.settings.keyed_texts import read_keyed_texts
from deforum.settings.regions import read_regions
from deforum.settings.shots import Shots, read_shots
from deforum.settings.units import kind_of, read_units
from schedules import NumberSchedule, ScheduleError, TextSchedule, nearest, parse_key, parse_number, parse_text
from schedules.quoting import cut, quote
from schedules.variables import LARGEST_INT

S = TypeVar("S")

TRUE = ("true", "yes", "on")
FALSE = ("false", "no", "off")


class UnknownChoice(Wrong):
    """A text that is not among the choices of a setting."""

    def __init__(self, problem: Problem, written: str) -> None:
        super().__init__(problem)
        self.written = written


def read_value(declaration: Declaration, node: Node, name: str, own: Collection[str] = ()) -> object:
    """Read the value of a setting; `name` is what the file calls it. Raises Wrong.

    `own` are the names of variables that schedules may use beside those of the language.
    """
    if declaration.type is NumberSchedule:
        return _schedule(partial(parse_number, own=own), node, name)
    if declaration.type is TextSchedule:
        is_nothing = isinstance(node, Scalar) and (node.is_null or not node.text.strip())
        if is_nothing and [each.value for each in declaration.default.keyframes] == [""]:
            return declaration.default
        return _schedule(parse_text, node, name)
    if declaration.type == KeyedTexts:
        return read_keyed_texts(node, name)
    if declaration.type == Regions:
        return read_regions(node, name)
    if declaration.type == Shots:
        return read_shots(node, name)
    unit = kind_of(declaration.type)
    if unit is not None:
        return read_units(unit, node, name, partial(read_value, own=own))
    if (
        declaration.optional
        and isinstance(node, Scalar)
        and (node.is_null or node.text.strip().casefold() in ("", "none"))
    ):
        return None
    if not isinstance(node, Scalar):
        kind = "a mapping" if isinstance(node, Mapping) else "a list"
        quotes = ", in quotes where it begins with { or [" if declaration.type is str else ""
        raise Wrong(Problem(f"{name}: {kind} cannot be read here; {declaration.expected}{quotes}", str(node.place)))
    if declaration.choices:
        return _choice(declaration, node, name)
    if declaration.type is bool:
        return _flag(declaration, node, name)
    if declaration.type in (int, float):
        return _number(declaration, node, name)
    return "" if node.is_null else readable(node, name)


def _number(declaration: Declaration, node: Scalar, name: str) -> int | float:
    value = _parse_int(node.text) if declaration.type is int else _parse_float(node.text)
    if value is None:
        raise Wrong(Problem(f"{name}: {quote(node.text)} is not a {'whole ' * (declaration.type is int)}number; "
                            f"{declaration.expected}", str(node.place)))  # fmt: skip
    low, high = declaration.low, declaration.high
    if (low is not None and value < low) or (high is not None and value > high):
        raise Wrong(Problem(f"{name}: {cut(node.text, 40)} is out of range; {declaration.expected}", str(node.place)))
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        what = f"has too many digits; expected a whole number of at most {LARGEST_INT:,}"
        raise Wrong(Problem(f"{name}: {cut(node.text, 40)} {what}", str(node.place)))
    if declaration.multiple > 1 and value % declaration.multiple:
        fitting = max(declaration.multiple, round(value / declaration.multiple) * declaration.multiple)
        what = f"is not a multiple of {declaration.multiple}; the nearest one is {fitting}"
        raise Wrong(Problem(f"{name}: {cut(node.text, 40)} {what}", str(node.place)))
    return value


def _parse_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        value = _parse_float(text)  # 10.0 and 1e3 are whole too
        return int(value) if value is not None and value.is_integer() else None


def _parse_float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _flag(declaration: Declaration, node: Scalar, name: str) -> bool:
    word = node.text.strip().casefold()
    number = _parse_float(word)
    if number in (0, 1):  # 1.0 too
        return number == 1
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise Wrong(Problem(f"{name}: {quote(node.text)} is neither true nor false", str(node.place)))


def _choice(declaration: Declaration, node: Scalar, name: str) -> str:
    by_folded = {choice.casefold(): choice for choice in declaration.choices}
    text = " ".join(node.text.split()).casefold()
    if text in by_folded:
        return by_folded[text]
    if declaration.is_switch and (text in TRUE or _parse_float(text) == 1):
        return by_folded["both"]
    for none in ("none", "off"):
        if declaration.is_switch and _parse_float(text) == 0:
            return by_folded[none]
        if none in by_folded and (node.is_null or text in ("", "false", "no", "off", "none")):
            return by_folded[none]
    meant = nearest(node.text, declaration.choices)
    hint = f" (did you mean {meant}?)" if meant else ""
    problem = Problem(f"{name}: {quote(node.text)} is not a choice{hint}; {declaration.expected}", str(node.place))
    raise UnknownChoice(problem, node.text)


def _schedule(parse: Callable[..., S], node: Node, name: str) -> S:
    source: object
    match node:
        case Scalar():
            source = _number_or_text(node)
            texts: dict[str | None, Scalar] = {None: node}
        case Mapping():
            written = {key.text: value for key, value in unique(node, name) if isinstance(value, Scalar)}
            stray = next((value for _, value in node.entries if not isinstance(value, Scalar) or value.is_null), None)
            if stray is not None:
                what = "a keyframe needs one value, a number or an expression in quotes, with a space behind the colon"
                comma = "; outside of quotes, a comma ends a value in { }" if stray is not node.entries[0][1] else ""
                raise Wrong(Problem(f"{name}: {what}{comma}", str(stray.place)))
            source = {key: _number_or_text(value) for key, value in written.items()}
            texts = {_canonical(key): value for key, value in written.items()}
        case Sequence():
            what = "expected a number, a schedule such as '0: (1), 30: (2)', or a mapping such as {0: 1, 30: 2}"
            raise Wrong(Problem(f"{name}: a list cannot be read here; {what}", str(node.place)))
    try:
        return parse(source, name=name)
    except ScheduleError as error:
        where = next((text for key, text in texts.items() if key == error.key), node)
        raise Wrong(Problem(str(error), str(inside(where, error.column)))) from None


def _number_or_text(node: Scalar) -> object:
    """Return an unquoted number, in any spelling, as a number; else the text, which is then read as in Deforum."""
    if not node.plain:
        return node.text
    return next((value for value in (_parse_int(node.text), _parse_float(node.text)) if value is not None), node.text)


def _canonical(key: str) -> str:
    """Return the position of a keyframe as ScheduleError.key spells it."""
    try:
        return parse_key(key).text
    except ScheduleError:
        return key
