"""Settings files: `load` reads and checks one, `dump` writes one.

What settings there are is declared in `deforum.options` and `deforum.params`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deforum import document
from deforum.check import AVAILABLE_MODES, Origin, check_curves, check_mode, check_samplers, drop_urls, find_files
from deforum.declare import Declaration
from deforum.document import Node, Place, Scalar
from deforum.errors import Problem, UserError
from deforum.json_file import parse_json
from deforum.legacy import DISSOLVED, FOREIGN, translate
from deforum.options import CONTROLS, DECLARATIONS, PENDING_CHOICES, SECTIONS, SWITCHES, ControlUnit, Settings
from deforum.params import PARAMS, Params, default_params
from deforum.values import Wrong, read_value
from deforum.write import write_yaml
from schedules import nearest

__all__ = ["AVAILABLE_MODES", "Loaded", "Settings", "dump", "load"]

CANONICAL: Mapping[str, str] = {old: name for name, each in DECLARATIONS.items() for old in each.old}
"""Old name -> name."""

_CONTROL_NAME = re.compile(r"cn_([1-9]\d?)_(\w+)")


@dataclass(frozen=True)
class Loaded:
    """Settings as read, and what a person should know of the reading, one line each."""

    settings: Settings
    report: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """A setting as a file or the command line has it: what it is called there, where that stands, and the value."""

    written: str
    place: Place
    node: Node

    @property
    def origin(self) -> Origin:
        return Origin(self.written, self.node.place)


def load(path: Path, overrides: Sequence[str] = (), *, to_render: bool = True) -> Loaded:
    """Read a settings file (YAML, or Deforum's JSON in .txt and .json), then overrides such as 'width=256'.

    With `to_render`, what only a render needs is checked too (that the animation mode is available and files exist),
    and paths are made absolute. Relative paths start from the settings file's folder, or else from the current one.
    Raises UserError with all problems found.
    """
    text = document.read_text(path)
    problems: list[Problem] = []
    notes: list[str] = []
    old_file = _is_json(path, text)
    if old_file:
        translation = translate(parse_json(text, str(path)))
        notes += translation.notes
        given = {name: Given(written, node.place, node) for name, (written, node) in translation.given.items()}
    else:
        given = _collect(_flatten(document.parse_yaml(text, str(path)), problems), problems, notes)
    given |= _collect(_read_overrides(overrides, problems), problems, [])
    if old_file and translation.made_with and "model" not in given:
        notes.append(f"made with the checkpoint {translation.made_with}; give model=PATH to render with it")

    settings, unread = _settle(given)
    for name, problem in unread.items():
        if old_file and _find(name).pending:
            notes.append(f"{problem.message}; left out, as it has no effect yet")
        else:
            problems.append(problem)
    origins = {name: each.origin for name, each in given.items() if name not in unread}
    lenient = settings.profile == "deforum"  # Deforum renders on where values are out of range or files are missing
    if not unread.keys() & {"max_frames", "fps", "seed"}:
        strange = check_curves(settings, origins)
        if lenient:
            notes += [f"{problem.message}; it is kept within that" for problem in strange]
        else:
            problems += strange
    if "sampler" in origins:
        problems += check_samplers(settings, origins)
    if to_render:
        if lenient:
            settings, missing = drop_urls(settings)
            notes += missing
        settings, lost = find_files(settings, origins, path.parent)
        problems += [*lost, *check_mode(settings, origins)]
    if problems:
        raise UserError(problems)
    return Loaded(settings, (*notes, *_explain_idle(settings, given, old_file)))


def dump(settings: Settings, *, full: bool = False) -> str:
    """Write settings as YAML that loads to equal settings: what differs from the defaults, or all with `full`."""
    changed = ((name, each, value) for name, each, value, default in _values(settings) if full or value != default)
    return write_yaml(changed, SECTIONS)


def _values(settings: Settings) -> Iterator[tuple[str, Declaration, object, object]]:
    """Give (name, declaration, value, default) of every setting."""
    plain, params = Settings(), default_params()
    for name, each in DECLARATIONS.items():
        holder, defaults = (settings.params, params) if name in PARAMS else (settings, plain)
        yield name, each, getattr(holder, name), getattr(defaults, name)
    for number, unit in enumerate(settings.control_units, 1):
        for name, each in CONTROLS.items():
            yield f"cn_{number}_{name}", each, getattr(unit, name), each.default


def _is_json(path: Path, text: str) -> bool:
    if path.suffix.lower() in (".yaml", ".yml"):
        return False
    return path.suffix.lower() == ".json" or text.lstrip().startswith("{")


def _find(name: str) -> Declaration:
    control = _CONTROL_NAME.fullmatch(name)
    return CONTROLS[control[2]] if control else DECLARATIONS[name]


def _canonical(name: str) -> str | None:
    """Give the name of the setting that a file calls `name`, if there is one."""
    name = CANONICAL.get(name, name)
    control = _CONTROL_NAME.fullmatch(name)
    return name if name in DECLARATIONS or (control and control[2] in CONTROLS) else None


def _flatten(root: document.Mapping, problems: list[Problem]) -> Iterator[Given]:
    """Give the settings of a YAML file, in sections or not."""
    for key, node in root.entries:
        if key.text not in SECTIONS or not key.text:
            yield Given(key.text, key.place, node)
            continue
        if isinstance(node, document.Mapping):
            yield from (Given(inner.text, inner.place, value) for inner, value in node.entries)
        elif not (isinstance(node, Scalar) and node.is_null):
            message = f"{key.text}: this is a section; expected settings below it, each on an indented line of its own"
            problems.append(Problem(message, str(node.place)))


def _read_overrides(overrides: Iterable[str], problems: list[Problem]) -> Iterator[Given]:
    """Read 'name=value' and 'section.name=value'."""
    for override in overrides:
        name, equals, value = override.partition("=")
        place = Place(f"command line: {override}")
        section, dot, inner = name.strip().partition(".")
        if not equals or not name.strip():
            problems.append(Problem("expected name=value", str(place)))
            continue
        try:
            node = document.parse_yaml_value(value, place)
        except UserError as error:
            problems += error.problems
            continue
        yield Given(inner if dot and section in SECTIONS else name.strip(), place, node)


def _collect(entries: Iterable[Given], problems: list[Problem], notes: list[str]) -> dict[str, Given]:
    """Sort entries by the settings they are of; a setting that is given twice is a problem."""
    given: dict[str, Given] = {}
    for entry in entries:
        name = _canonical(entry.written)
        place = str(entry.place)
        if entry.written in DISSOLVED:
            message = f"{entry.written}: there is no such switch here; {DISSOLVED[entry.written]}"
            problems.append(Problem(message, place))
        elif entry.written in FOREIGN:
            notes.append(f"{entry.written}: {FOREIGN[entry.written]}; it has no effect here")
        elif name is None:
            meant = nearest(entry.written, [*DECLARATIONS, *CANONICAL, *SECTIONS])
            hint = f"; did you mean {meant}?" if meant else ""
            problems.append(Problem(f"unknown setting {entry.written!r}{hint}", place))
        elif name in given:
            first = given[name]
            also = "" if first.written == entry.written == name else f" (as {first.written} and {entry.written})"
            problems.append(Problem(f"{name} is given twice{also}; first at {first.place}", place))
        else:
            given[name] = entry
            if name != entry.written:
                notes.append(f"{entry.written} is called {name} here")
    return given


def _settle(given: Mapping[str, Given]) -> tuple[Settings, dict[str, Problem]]:
    """Make settings of what is given, defaults of the rest; list what could not be read, by name."""
    unread: dict[str, Problem] = {}
    values: dict[str, Any] = {}
    for name, each in given.items():
        try:
            values[name] = read_value(_find(name), each.node, each.written)
        except Wrong as wrong:
            unread[name] = wrong.problem
    params = Params(**{name: values.pop(name, default) for name, default in default_params().items()})
    controls: dict[int, dict[str, Any]] = {}
    for name in [name for name in values if _CONTROL_NAME.fullmatch(name)]:
        number, field = name[3:].split("_", 1)
        controls.setdefault(int(number), {})[field] = values.pop(name)
    units = [ControlUnit(**controls.get(number, {})) for number in range(1, max(controls, default=0) + 1)]
    while units and units[-1] == ControlUnit():
        units.pop()
    return Settings(params=params, control_units=tuple(units), **values), unread


def _explain_idle(settings: Settings, given: Mapping[str, Given], old_file: bool) -> Iterator[str]:
    """Say, once for each reason, which of the given settings have no effect."""
    values = {name: (each, value, default) for name, each, value, default in _values(settings)}
    waiting: dict[str, list[str]] = {}
    other_mode: dict[str, list[str]] = {}
    for name in given:
        each, value, default = values.get(name, (_find(name), None, None))
        if value == default:
            continue
        switches = SWITCHES.get(each.pending, ())
        off = all(values[switch][1] == values[switch][2] for switch in switches)
        if each.modes and settings.animation_mode not in each.modes:
            other_mode.setdefault(" or ".join(each.modes), []).append(name)
        elif each.pending and not (switches and off and name not in switches):
            waiting.setdefault(each.pending, []).append(name)
        elif (name, value) in PENDING_CHOICES:
            waiting.setdefault(PENDING_CHOICES[name, str(value)], []).append(f"{name}: {value}")
    for feature, names in waiting.items():
        yield f"without effect, as {feature} is not there yet: {', '.join(names)}"
    if not old_file:  # Deforum's files carry the settings of every mode
        for modes, names in other_mode.items():
            yield f"without effect in {settings.animation_mode} mode, only in {modes}: {', '.join(names)}"
