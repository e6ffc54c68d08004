"""The setting `post`: steps from the nodes of a file, checked against their declarations."""

from __future__ import annotations

import collections.abc

from deforum.errors import Problem
from deforum.settings.document import Mapping, Node, Place, Scalar, Sequence
from deforum.settings.faults import Wrong, unique
from deforum.settings.steps import OLD_UPSCALERS, STEPS, Chain, Step, StepKind
from deforum.settings.values import read_value
from schedules import nearest
from schedules.quoting import LONGEST_NAME, quote

MOST_STEPS = 50

_EXPECTED = "expected a list of steps, such as [{upscale: 2}, {grain: 0.02}]"


def read_chain(node: Node, name: str) -> Chain:
    """Read a list of steps, or a mapping in the order of the file; null is none. Raises Wrong."""
    match node:
        case Scalar() if node.is_null or (node.plain and node.text.strip().casefold() in ("none", "[]")):
            return Chain()
        case Scalar():
            items: tuple[Node, ...] = (node,)
        case Sequence():
            items = node.items
        case Mapping():
            items = tuple(Mapping((entry,), entry[0].place) for entry in unique(node, name))
    if len(items) > MOST_STEPS:
        raise Wrong(Problem(f"{name} has {len(items)} steps; expected at most {MOST_STEPS}", str(node.place)))
    return Chain(tuple(_read_step(item, name) for item in items))


def _read_step(node: Node, name: str) -> Step:
    match node:
        case Scalar() if node.text.strip() and not node.is_null:
            return _build(_kind(node, name), {}, node, name)
        case Mapping(entries=((key, value),)):
            kind = _kind(key, name)
            if isinstance(value, Mapping):
                return _build(kind, {option.text: inner for option, inner in unique(value, f"{name}, {kind.name}")},
                              value, name)  # fmt: skip
            if isinstance(value, Scalar) and value.is_null:
                return _build(kind, {}, key, name)
            if not kind.main:
                what = f"{kind.name} takes options by name: {', '.join(kind.declared)}"
                raise Wrong(Problem(f"{name}: {what}", str(value.place)))
            return _build(kind, {kind.main: value}, value, name)
        case Mapping():
            raise Wrong(Problem(f"{name}: a step has one name; put each into {{ }} of its own: {_EXPECTED}",
                                str(node.place)))  # fmt: skip
    raise Wrong(Problem(f"{name}: {_EXPECTED}", str(node.place)))


def _kind(key: Scalar, name: str) -> StepKind:
    kind = STEPS.get(key.text.strip())
    if kind is None:
        meant = nearest(key.text, STEPS)
        hint = f"; did you mean {meant}?" if meant else f"; expected one of {', '.join(STEPS)}"
        raise Wrong(Problem(f"{name}: unknown step {quote(key.text, LONGEST_NAME)}{hint}", str(key.place)))
    return kind


def build_step(kind: StepKind, given: collections.abc.Mapping[str, Node], place: Place) -> Step:
    """Build a step from its options; `place` is where they stand as a whole. Raises Wrong."""
    return _build(kind, dict(given), Scalar("", place), "")


def _build(kind: StepKind, given: dict[str, Node], node: Node, name: str) -> Step:
    before = f"{name}, {kind.name}" if name else kind.name
    values = {}
    for option, value in given.items():
        if option not in kind.declared:
            meant = nearest(option, kind.declared)
            hint = f"; did you mean {meant}?" if meant else f"; it has {', '.join(kind.declared)}"
            what = f"{before} has no option {quote(option, LONGEST_NAME)}{hint}"
            raise Wrong(Problem(what, str(value.place)))
        values[option] = read_value(kind.declared[option], value, f"{before}: {option}")
    if "upscaler" in values:
        values["upscaler"] = OLD_UPSCALERS.get(str(values["upscaler"]), values["upscaler"])
    step: Step = kind.options(**values)
    wrong = kind.check(step)
    if wrong:
        raise Wrong(Problem(f"{before}: {wrong}", str(node.place)))
    return step
