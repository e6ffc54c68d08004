"""Settings files: `load` reads and checks one, `dump` writes one.

What settings there are is declared in `deforum.options` and `deforum.params`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deforum import document
from deforum.check import (
    Origin,
    check_curves,
    check_masks,
    check_samplers,
    drop_hybrid,
    drop_urls,
    find_files,
)
from deforum.declare import Declaration
from deforum.document import LONGEST_QUOTE, Node, Place, Scalar
from deforum.errors import Problem, UserError
from deforum.json_file import parse_json
from deforum.legacy import DISSOLVED, FOREIGN, translate
from deforum.options import CONTROLS, DECLARATIONS, PENDING_CHOICES, SECTIONS, SWITCHES, ControlUnit, Settings
from deforum.params import PARAMS, Params, default_params
from deforum.values import Wrong, read_value
from deforum.video_input import as_long_as_the_clip
from deforum.write import write_yaml
from schedules import Variables, nearest, parse_key

__all__ = ["Loaded", "Settings", "dump", "load"]

CANONICAL: Mapping[str, str] = {old: name for name, each in DECLARATIONS.items() for old in each.old}
"""Old name -> name."""

_CONTROL_NAME = re.compile(r"cn_([1-9]\d?)_(\w+)")


@dataclass(frozen=True)
class Loaded:
    """Settings as read, and what a person should know of the reading, one line each."""

    settings: Settings
    report: tuple[str, ...]


@dataclass(frozen=True)
class _Given:
    """A setting as a file or the command line has it: what it is called there, where that stands, and the value."""

    written: str
    place: Place
    node: Node


@dataclass(frozen=True)
class _Findings:
    """What comes to light while reading: problems stop the reading in the end, notes become the report."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, message: str, place: Place) -> None:
        self.problems.append(Problem(message, str(place)))


def load(path: str | Path, overrides: Sequence[str] = (), *, to_render: bool = True) -> Loaded:
    """Read a settings file (YAML, or Deforum's JSON in .txt and .json), then overrides such as 'width=256'.

    With `to_render`, what only a render needs is checked too (that the animation mode is available and files exist),
    and paths are made absolute. Relative paths start from the settings file's folder, or else from the current one.
    Raises UserError with all problems found.
    """
    path = Path(path)
    text, found, made_with = document.read_text(path), _Findings(), ""
    old_file = _is_json(path, text)
    if old_file:
        translation = translate(parse_json(text, str(path)))
        made_with = translation.made_with
        found.notes.extend(translation.notes)
        given = {name: _Given(written, node.place, node) for name, (written, node) in translation.given.items()}
    else:
        given = _collect(_flatten(document.parse_yaml(text, str(path)), found), found)
    given |= _collect(_read_overrides(overrides, found), found)
    if made_with and "model" not in given:
        found.notes.append(f"made with the checkpoint {made_with}; give model=PATH to render with it")
    settings, readable = _settle(given, found, old_file)
    settings = _check(settings, readable, found, path.parent if to_render else None)
    if found.problems:
        raise UserError(found.problems)
    return Loaded(settings, (*found.notes, *_explain_idle(settings, given, old_file)))


def dump(settings: Settings, *, full: bool = False) -> str:
    """Write settings as YAML that loads to equal settings: what differs from the defaults, or all with `full`."""
    entries = ((name, each, value) for name, each, value, default in _values(settings) if full or value != default)
    return write_yaml(entries, SECTIONS)


def _values(settings: Settings) -> Iterator[tuple[str, Declaration, object, object]]:
    """Give (name, declaration, value, default) of every setting."""
    plain, params = Settings(), default_params()
    for name, each in DECLARATIONS.items():
        holder, defaults = (settings.params, params) if name in PARAMS else (settings, plain)
        yield name, each, getattr(holder, name), getattr(defaults, name)
    for number, unit in enumerate(settings.control_units, 1):
        for name, each in CONTROLS.items():
            yield f"cn_{number}_{name}", each, getattr(unit, name), each.default


# --- from a file to named nodes ---------------------------------------------------------------------------------------


def _is_json(path: Path, text: str) -> bool:
    if path.suffix.lower() in (".yaml", ".yml"):
        return False
    return path.suffix.lower() == ".json" or text.lstrip().startswith("{")


def _flatten(root: document.Mapping, found: _Findings) -> Iterator[_Given]:
    """Give the settings of a YAML file, in sections or not."""
    for key, node in root.entries:
        if key.text not in SECTIONS or not key.text:
            yield _Given(key.text, key.place, node)
        elif isinstance(node, document.Mapping):
            yield from (_Given(inner.text, inner.place, value) for inner, value in node.entries)
        elif not (isinstance(node, Scalar) and node.is_null):
            what = "expected settings below it, each on an indented line of its own"
            found.refuse(f"{key.text}: this is a section; {what}", node.place)


def _read_overrides(overrides: Iterable[str], found: _Findings) -> Iterator[_Given]:
    """Read 'name=value' and 'section.name=value'."""
    for override in overrides:
        name, equals, value = override.partition("=")
        shown = override if len(override) <= LONGEST_QUOTE else f"{override[: LONGEST_QUOTE - 1]}…"
        place = Place(f"command line: {shown}")
        section, dot, inner = name.strip().partition(".")
        if not equals or not name.strip():
            found.refuse("expected name=value", place)
            continue
        known = DECLARATIONS.get(_canonical(inner or section) or "")
        try:
            if known is not None and known.type is str and value.strip()[:1] in ("{", "["):
                node: Node = Scalar(value.strip(), place)  # a text such as {seed}_{date}
            else:
                node = document.parse_yaml_value(value, place)
        except UserError as error:
            found.problems.extend(error.problems)
            continue
        yield _Given(inner if dot and section in SECTIONS else name.strip(), place, node)


def _canonical(name: str) -> str | None:
    """Give the name of the setting that a file calls `name`, if there is one."""
    name = CANONICAL.get(name, name)
    control = _CONTROL_NAME.fullmatch(name)
    return name if name in DECLARATIONS or (control and control[2] in CONTROLS) else None


def _collect(entries: Iterable[_Given], found: _Findings) -> dict[str, _Given]:
    """Sort entries by the settings they are of; a setting that is given twice is a problem."""
    given: dict[str, _Given] = {}
    for entry in entries:
        name, written = _canonical(entry.written), entry.written
        if written in DISSOLVED:
            found.refuse(f"{written}: there is no such switch here; {DISSOLVED[written]}", entry.place)
        elif written in FOREIGN:
            found.notes.append(f"{written}: {FOREIGN[written]}; it has no effect here")
        elif name is None:
            meant = nearest(written, [*DECLARATIONS, *CANONICAL, *SECTIONS])
            found.refuse(f"unknown setting {written!r}" + (f"; did you mean {meant}?" if meant else ""), entry.place)
        elif name in given:
            first = given[name]
            also = "" if first.written == written == name else f" (as {first.written} and {written})"
            found.refuse(f"{name} is given twice{also}; first at {first.place}", entry.place)
        else:
            given[name] = entry
            if name != written and entry.place.line:
                found.notes.append(f"{written} is called {name} here")
    return given


# --- from named nodes to settings -------------------------------------------------------------------------------------


def _find(name: str) -> Declaration:
    control = _CONTROL_NAME.fullmatch(name)
    return CONTROLS[control[2]] if control else DECLARATIONS[name]


def _settle(given: Mapping[str, _Given], found: _Findings, old_file: bool) -> tuple[Settings, dict[str, Origin]]:
    """Make settings of what is given, defaults of the rest; say where each came from that could be read."""
    values: dict[str, Any] = {}
    for name, each in given.items():
        try:
            values[name] = read_value(_find(name), each.node, each.written)
        except Wrong as wrong:
            if old_file and _find(name).pending:
                found.notes.append(f"{wrong.problem.message}; left out, as it has no effect yet")
            else:
                found.problems.append(wrong.problem)
    origins = {name: Origin(given[name].written, given[name].node.place) for name in values}
    params = Params(**{name: values.pop(name, default) for name, default in default_params().items()})
    controls: dict[int, dict[str, Any]] = {}
    for name in [name for name in values if _CONTROL_NAME.fullmatch(name)]:
        number, setting = name[3:].split("_", 1)
        controls.setdefault(int(number), {})[setting] = values.pop(name)
    units = [ControlUnit(**controls.get(number, {})) for number in range(1, max(controls, default=0) + 1)]
    while units and units[-1] == ControlUnit():
        units.pop()
    return Settings(params=params, control_units=tuple(units), **values), origins


def _check(settings: Settings, origins: Mapping[str, Origin], found: _Findings, folder: Path | None) -> Settings:
    """Check what can only be seen in whole settings; with the folder of the file, find files too.

    By Deforum's profile a render goes on where Deforum's does: with values out of range, and without what is on a
    network.
    """
    lenient = settings.profile == "deforum"
    if folder is not None:
        if lenient:
            settings, missing = drop_urls(settings)
            settings, without = drop_hybrid(settings, folder)
            found.notes.extend([*missing, *without])
        settings, lost = find_files(settings, origins, folder)
        found.problems.extend(lost)
        if not lost:
            settings = _settle_length(settings, found)
    for problem, way_on in check_curves(settings, origins):
        if lenient and way_on:
            found.notes.append(f"{problem.message}; {way_on}")
        else:
            found.problems.append(problem)
    found.problems.extend(check_masks(settings, origins))
    unknown = list(check_samplers(settings, origins))
    if lenient and unknown and origins["sampler"].place.line:
        found.notes.extend(f"{problem.message.partition(';')[0]}; Euler a is used" for problem in unknown)
        settings = replace(settings, sampler=Settings.sampler)
    else:
        found.problems.extend(unknown)
    return settings


def _settle_length(settings: Settings, found: _Findings) -> Settings:
    """Bring max_frames to the length of the clip, where there is one that decides."""
    try:
        settled = as_long_as_the_clip(settings)
    except UserError as error:
        found.problems.extend(error.problems)
        return settings
    if settled.max_frames != settings.max_frames:
        clip = Path(settings.video_init_path).name
        found.notes.append(f"max_frames: {settings.max_frames} became {settled.max_frames}, the length of {clip}")
    return settled


def _explain_idle(settings: Settings, given: Iterable[str], old_file: bool) -> Iterator[str]:
    """Say, once for each reason, which of the given settings have no effect."""
    values = {name: (each, value, value == default) for name, each, value, default in _values(settings)}
    waiting: dict[str, list[str]] = {}
    other_mode: dict[str, list[str]] = {}
    for name in given:
        each, value, is_default = values.get(name, (_find(name), None, True))
        if is_default:
            continue
        switches = SWITCHES.get(each.pending, ())
        idle = bool(switches) and name not in switches and all(values[switch][2] for switch in switches)
        if each.modes and settings.animation_mode not in each.modes:
            other_mode.setdefault(" or ".join(each.modes), []).append(name)
        elif each.pending and not idle:
            waiting.setdefault(each.pending, []).append(name)
        elif name == "detail_coherence" and settings.color_coherence == "None":
            yield "without effect, as color_coherence: None holds to no picture: detail_coherence"
        elif (name, value) in PENDING_CHOICES:
            waiting.setdefault(PENDING_CHOICES[name, str(value)], []).append(f"{name}: {value}")
    for feature, names in waiting.items():
        yield f"without effect, as {feature} is not there yet: {', '.join(names)}"
    if not old_file and "prompts" in given:
        yield from _explain_unseen(settings)
    if not old_file:  # Deforum's files carry the settings of every mode
        for modes, names in other_mode.items():
            yield f"without effect in {settings.animation_mode} mode, only in {modes}: {', '.join(names)}"


def _explain_unseen(settings: Settings) -> Iterator[str]:
    """Name the prompts that come after the last frame."""
    variables = Variables(seed=settings.seed, fps=settings.fps)
    frames = ((key, parse_key(key).frame(variables, settings.max_frames)) for key, _ in settings.prompts)
    late = [key for key, frame in frames if frame >= settings.max_frames]
    if late and settings.blending == "hold":
        last = settings.max_frames - 1
        yield f"prompts: the last frame is {last}, so what comes after is never seen: {', '.join(late)}"
