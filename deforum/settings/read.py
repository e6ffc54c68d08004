"""Settings from the entries of a file and of the command line, and `dump`, which writes them as YAML.

The settings are declared in `deforum.settings.options` and `deforum.settings.params`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deforum.errors import Problem, UserError
from deforum.settings import document
from deforum.settings.chains import read_chain
from deforum.settings.control_list import CONTROL_LIST, unfold
from deforum.settings.declare import Declaration
from deforum.settings.deforum_files import DISSOLVED, FOREIGN, host_choice
from deforum.settings.document import Node, Place, Scalar, check_text
from deforum.settings.faults import Wrong
from deforum.settings.options import CONTROLS, DECLARATIONS, SECTIONS, ControlUnit, Settings
from deforum.settings.params import PARAMS, Params, default_params
from deforum.settings.steps import Chain
from deforum.settings.values import UnknownChoice, read_value
from deforum.settings.yaml_writer import write_yaml
from schedules import NumberSchedule, TextSchedule, nearest
from schedules.quoting import cut, quote

CANONICAL: Mapping[str, str] = {old: name for name, each in DECLARATIONS.items() for old in each.old}
"""Old name -> name."""

_CONTROL_NAME = re.compile(r"cn_([1-9]\d?)_(\w+)")


@dataclass(frozen=True)
class Origin:
    """The name under which a setting was given, and its value with its place."""

    written: str
    place: Place
    node: Node | None = None
    """The value itself; None for a default."""


@dataclass(frozen=True)
class Given:
    """A setting as given in a file or on the command line: its name there, the place of the name, and the value."""

    written: str
    place: Place
    node: Node


@dataclass(frozen=True)
class Findings:
    """Problems and notes found while reading: problems are raised together at the end, notes become the report."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, message: str, place: Place) -> None:
        self.problems.append(Problem(message, str(place)))


def dump(settings: Settings, *, full: bool = False) -> str:
    """Return settings as YAML that loads to equal settings: values that differ from defaults, or all with `full`."""
    entries = ((name, each, value) for name, each, value, default in list_values(settings) if full or value != default)
    return write_yaml(entries, SECTIONS)


def list_values(settings: Settings) -> Iterator[tuple[str, Declaration, object, object]]:
    """Yield (name, declaration, value, default) of every setting, but those that a Parseq manifest gives."""
    plain, params = Settings(), default_params()
    managed = settings.parseq.settings if settings.parseq is not None else ()
    for name, each in DECLARATIONS.items():
        if name in managed:
            continue
        holder, defaults = (settings.params, params) if name in PARAMS else (settings, plain)
        yield name, each, getattr(holder, name), getattr(defaults, name)
    for number, unit in enumerate(settings.control_units, 1):
        for name, each in CONTROLS.items():
            if f"cn_{number}_{name}" in managed:
                continue
            yield f"cn_{number}_{name}", each, getattr(unit, name), each.default


def is_json(path: Path, text: str) -> bool:
    if path.suffix.lower() in (".yaml", ".yml"):
        return False
    return path.suffix.lower() == ".json" or text.lstrip().startswith("{")


def flatten(root: document.Mapping, found: Findings) -> Iterator[Given]:
    """Yield the settings of a YAML file, inside and outside of sections."""
    for key, node in root.entries:
        if key.text == CONTROL_LIST:
            yield from _units(key, node, found)
            continue
        is_section = key.text in SECTIONS and key.text
        if not is_section and not _looks_like_a_section(key.text, node):
            yield Given(key.text, key.place, node)
            continue
        if not is_section:
            found.refuse(f"unknown section {key.text!r}{_meant(key.text, filter(None, SECTIONS))}", key.place)
        if isinstance(node, document.Mapping):
            yield from _inside(key.text, node, found)
        elif is_section and isinstance(node, Scalar) and not node.is_null and (short := _short(key.text, "file")):
            yield Given(short, key.place, node)
        elif not (isinstance(node, Scalar) and node.is_null):
            what = "expected settings below it, each on an indented line of its own"
            found.refuse(f"{key.text}: this is a section; {what}", node.place)


def _inside(section: str, node: document.Mapping, found: Findings) -> Iterator[Given]:
    for key, value in node.entries:
        if key.text == CONTROL_LIST:
            yield from _units(key, value, found)
        elif key.text in SECTIONS and key.text:
            what = "sections stand side by side, each on a line without indentation"
            found.refuse(f"{key.text}: this section is inside the section {section}; {what}", key.place)
        else:
            yield Given(_short(section, key.text) or key.text, key.place, value)


def _short(section: str, name: str) -> str | None:
    """Return the setting that a section has by a shorter name: camera: {file: ...} is camera_file; None if none.

    Deforum's old names give way: scale is that of the camera there.
    """
    full = f"{section}_{name}"
    return full if name not in DECLARATIONS and full in DECLARATIONS else None


def _units(key: Scalar, node: Node, found: Findings) -> Iterator[Given]:
    """Yield the settings of a list of control units."""
    try:
        for name, place, value in unfold(node, key.place):
            yield Given(name, place, value)
    except Wrong as wrong:
        found.problems.append(wrong.problem)


def _looks_like_a_section(name: str, node: Node) -> bool:
    """Whether an unknown name holds settings."""
    if not isinstance(node, document.Mapping) or _canonical(name) or name in DISSOLVED or name in FOREIGN:
        return False
    return any(_canonical(key.text) is not None for key, _ in node.entries)


def _meant(written: str, names: Iterable[str]) -> str:
    """Return the hint for an unknown name: the nearest of those that are known, or nothing."""
    meant = nearest(written, names)
    return f"; did you mean {meant}?" if meant else ""


def read_overrides(overrides: Iterable[str], found: Findings) -> Iterator[Given]:
    """Yield the settings of overrides: 'name=value' or 'section.name=value'."""
    for override in overrides:
        name, equals, value = override.partition("=")
        place = Place(f"command line: {cut(override)}")
        section, dot, inner = name.strip().partition(".")
        if not equals or not name.strip():
            found.refuse("expected name=value", place)
            continue
        if dot and section in SECTIONS:
            inner = _short(section, inner) or inner
        known = DECLARATIONS.get(_canonical(inner or section) or "")
        try:
            check_text(override, place)
            if known is not None and known.type is str and value.strip()[:1] in ("{", "["):
                node: Node = Scalar(value.strip(), place)  # a text such as {seed}_{date}
            else:
                node = document.parse_yaml_value(value, place)
        except UserError as error:
            found.problems.extend(error.problems)
            continue
        written = inner if dot and section in SECTIONS else name.strip()
        if written == CONTROL_LIST:
            yield from _units(Scalar(written, place), node, found)
        elif written in SECTIONS and isinstance(node, document.Mapping):
            yield from _inside(written, node, found)
        elif written in SECTIONS and isinstance(node, Scalar) and (short := _short(written, "file")):
            yield Given(short, place, node)
        else:
            yield Given(written, place, node)


def _canonical(name: str) -> str | None:
    """Return the setting that a file calls `name`; None if there is none."""
    name = CANONICAL.get(name, name)
    control = _CONTROL_NAME.fullmatch(name)
    return name if name in DECLARATIONS or (control and control[2] in CONTROLS) else None


def collect(entries: Iterable[Given], found: Findings) -> dict[str, Given]:
    """Return the entries by setting; unknown settings and those given twice are problems."""
    given: dict[str, Given] = {}
    for entry in entries:
        name, written = _canonical(entry.written), entry.written
        if written in DISSOLVED:
            found.refuse(f"{written}: this renderer does not have this switch; {DISSOLVED[written]}", entry.place)
        elif written in FOREIGN:
            found.notes.append(f"{written}: {FOREIGN[written]}; it has no effect here")
        elif name is None:
            found.refuse(_unknown(written), entry.place)
        elif name in given:
            first = given[name]
            also = "" if first.written == written == name else f" (as {first.written} and {written})"
            found.refuse(f"{name} is given twice{also}; first at {first.place}", entry.place)
        else:
            given[name] = entry
            if name != written and entry.place.line:
                found.notes.append(f"{written} is called {name} here")
    return given


def _unknown(written: str) -> str:
    """Return the message for a name that is no setting's."""
    section, _, setting = written.rpartition(".")
    if written in SECTIONS:
        return f"{written}: this is a section, not a setting; its settings are listed by: params {written}"
    if section and section not in SECTIONS and _canonical(setting) is not None:
        meant = nearest(section, filter(None, SECTIONS))
        right = f"{meant}.{setting} or {setting}" if meant else setting
        return f"unknown section {quote(section)}; did you mean {right}?"
    return f"unknown setting {quote(written)}{_meant(setting or written, [*DECLARATIONS, *CANONICAL, *SECTIONS])}"


def name_of_setting(word: str) -> str | None:
    """Return the name of a setting by that or an old one, also of a control unit (cn_1_weight); None for no setting."""
    return _canonical(word)


def find_setting(word: str) -> Declaration | None:
    """Return the declaration of a setting by its name or an old one, also as section.name; None if there is none."""
    section, dot, inner = word.rpartition(".")
    name = _canonical(_short(section, inner) or inner) if not dot or section in SECTIONS else None
    return None if name is None else find_declaration(name)


def setting_names() -> tuple[str, ...]:
    """List all names of settings, old ones too; those of ControlNet units with the number 1."""
    return (*DECLARATIONS, *CANONICAL, *(f"cn_1_{name}" for name in CONTROLS))


def find_declaration(name: str) -> Declaration:
    control = _CONTROL_NAME.fullmatch(name)
    return CONTROLS[control[2]] if control else DECLARATIONS[name]


def settle(given: Mapping[str, Given], found: Findings, old_file: bool) -> tuple[Settings, dict[str, Origin]]:
    """Build settings from the given values and defaults; also return the origins of the values that could be read.

    With profile: deforum, an unknown choice in a file is replaced by what Deforum takes for it, with a note.
    """
    values: dict[str, Any] = {}
    profile = given["profile"].node if "profile" in given else None
    lenient = isinstance(profile, Scalar) and profile.text.strip().casefold() == "deforum"
    own = names_of_variables(given["variables"].node) if "variables" in given else frozenset()
    for name, each in given.items():
        try:
            reads = partial(read_value, find_declaration(name), own=own)
            read = read_chain if find_declaration(name).type is Chain else reads
            values[name] = value = read(each.node, each.written)
            if isinstance(value, NumberSchedule | TextSchedule):
                found.notes.extend(f"{each.written}: {note}" for note in value.notes)
        except Wrong as wrong:
            if old_file and find_declaration(name).pending:
                found.notes.append(f"{wrong.problem.message}; left out, as it has no effect yet")
            elif lenient and each.node.place.line and isinstance(wrong, UnknownChoice):
                values[name], note = host_choice(find_declaration(name), wrong.written)
                found.notes.extend([f"{each.written}: {note}"] if note else [])
            else:
                found.problems.append(wrong.problem)
    origins = {name: Origin(given[name].written, given[name].node.place, given[name].node) for name in values}
    params = Params(**{name: values.pop(name, default) for name, default in default_params().items()})
    controls: dict[int, dict[str, Any]] = {}
    for name in [name for name in values if _CONTROL_NAME.fullmatch(name)]:
        number, setting = name[3:].split("_", 1)
        controls.setdefault(int(number), {})[setting] = values.pop(name)
    if old_file and not lenient:
        controls = {number: _without_slider_positions(unit) for number, unit in controls.items()}
    units = [ControlUnit(**controls.get(number, {})) for number in range(1, max(controls, default=0) + 1)]
    while units and units[-1] == ControlUnit():
        units.pop()
    return Settings(params=params, control_units=tuple(units), **values), origins


def names_of_variables(node: Node) -> frozenset[str]:
    """Return the names that the setting `variables` gives, as far as they can be read."""
    match node:
        case document.Mapping() if any(key.text == "name" for key, _ in node.entries):
            names = [value for key, value in node.entries if key.text == "name"]
        case document.Mapping():
            names = [key for key, _ in node.entries]
        case document.Sequence():
            return frozenset().union(*map(names_of_variables, node.items))
        case _:
            names = []
    return frozenset(each.text.strip() for each in names if isinstance(each, Scalar))


def _without_slider_positions(unit: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the values of a Deforum file that its sliders have before a preprocessor is chosen: 64."""
    sliders = ("processor_res", "threshold_a", "threshold_b")
    return {name: value for name, value in unit.items() if not (name in sliders and value == 64)}
