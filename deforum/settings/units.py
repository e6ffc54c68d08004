"""Settings that are lists of units, such as LoRAs: each unit is a mapping with settings of its own.

loras:
  - {lora: ink, weight: "0: (0), 40: (1)"}
  - a_style                                  # its name alone; or all as {ink: 0.5, a_style: {start: 0.2}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, get_args

from deforum.errors import Problem
from deforum.settings import document
from deforum.settings.declare import Declaration, declarations
from deforum.settings.document import Node, Scalar, Sequence
from deforum.settings.faults import Wrong, unique
from schedules import nearest
from schedules.quoting import quote

MOST = 64
"""Units in a list."""


@dataclass(frozen=True)
class Unit:
    """Base of units. The first field names the unit, the second is what is written behind the name in a mapping."""


U = TypeVar("U", bound=Unit)
ReadValue = Callable[[Declaration, Node, str], object]


def kind_of(value_type: Any) -> type[Unit] | None:
    """Return the kind of unit that a setting of a type, tuple[KIND, ...], is a list of; None for other settings."""
    inner = get_args(value_type)
    kind = inner[0] if inner and isinstance(inner[0], type) else None
    return kind if kind is not None and issubclass(kind, Unit) else None


_DECLARED: dict[type[Unit], Mapping[str, Declaration]] = {}


def declared(kind: type[Unit]) -> Mapping[str, Declaration]:
    """Return the declarations of a unit's settings, by name."""
    if kind not in _DECLARED:
        _DECLARED[kind] = declarations(kind)
    return _DECLARED[kind]


def read_units(kind: type[U], node: Node, name: str, read_value: ReadValue) -> tuple[U, ...]:
    """Read a list of units. Raises Wrong."""
    first, second = list(declared(kind))[:2]
    match node:
        case Scalar():
            if node.is_null or not node.text.strip():
                return ()
            entries: list[dict[str, tuple[Scalar, Node]]] = [{first: (node, node)}]
        case document.Mapping() if not _is_unit(kind, node):
            entries = [
                {first: (key, key), **_entry(kind, value, f"{name} {number}")}
                if _has_settings_of(kind, value)
                else {first: (key, key), second: (key, value)}
                for number, (key, value) in enumerate(unique(node, name), 1)
            ]
        case document.Mapping():
            entries = [_entry(kind, node, name)]
        case Sequence():
            entries = [
                {first: (item, item)} if isinstance(item, Scalar) else _entry(kind, item, f"{name} {number}")
                for number, item in enumerate(node.items, 1)
            ]
    if len(entries) > MOST:
        raise Wrong(Problem(f"{name}: {len(entries)} are too many; expected at most {MOST}", str(node.place)))
    return tuple(_read(kind, entry, f"{name} {number}", node, read_value) for number, entry in enumerate(entries, 1))


def _has_settings_of(kind: type[Unit], node: Node) -> bool:
    """Whether the value behind a unit's name is a mapping of its settings; that of a schedule has numbers as keys."""
    return isinstance(node, document.Mapping) and any(key.text in declared(kind) for key, _ in node.entries)


def _is_unit(kind: type[Unit], node: document.Mapping) -> bool:
    return any(key.text == next(iter(declared(kind))) for key, _ in node.entries)


def _entry(kind: type[Unit], node: Node, name: str) -> dict[str, tuple[Scalar, Node]]:
    known = declared(kind)
    if not isinstance(node, document.Mapping):
        what = f"expected a mapping such as {{{next(iter(known))}: ...}}"
        raise Wrong(Problem(f"{name}: a list cannot be read here; {what}", str(node.place)))
    for key, _ in unique(node, name):
        if key.text not in known:
            meant = nearest(key.text, known)
            hint = f"; did you mean {meant}?" if meant else f"; it has {', '.join(known)}"
            raise Wrong(Problem(f"{name}: unknown {quote(key.text)}{hint}", str(key.place)))
    return {key.text: (key, value) for key, value in node.entries}


def _read(kind: type[U], entry: Mapping[str, tuple[Scalar, Node]], name: str, node: Node, read_value: ReadValue) -> U:
    known = declared(kind)
    values: dict[str, Any] = {}
    for key, (_, value) in entry.items():
        is_null = isinstance(value, Scalar) and value.is_null
        values[key] = None if known[key].optional and is_null else read_value(known[key], value, f"{name}, {key}")
    lacking = [each.name for each in fields(kind) if each.default is MISSING and each.name not in values]
    first = next(iter(known))
    if lacking or not str(values.get(first, "")).strip():
        place = next((value.place for _, value in entry.values()), node.place)
        raise Wrong(Problem(f"{name}: {first} is missing; expected {{{first}: ...}}", str(place)))
    return kind(**values)


def changed_values(unit: Unit) -> Iterator[tuple[str, object]]:
    """Yield the settings of a unit that differ from their defaults, the first one in any case."""
    for number, field in enumerate(fields(unit)):
        value = getattr(unit, field.name)
        if number == 0 or value != field.default:
            yield field.name, value
