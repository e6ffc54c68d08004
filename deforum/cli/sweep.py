"""Sweeps: `seed=1,2,3 cfg_scale=5..9:2` on the command line makes a run for each combination.

The setting decides whether a text with commas is a list of values:

- numbers and curves: plain numbers and ranges (`5..9` or `5..9:2`, ends included), separated by commas: `1,4..6`;
- choices, true and false, samplers: words separated by commas, such as `Euler a,DDIM`;
- any setting: a list in brackets, such as `prompts=[a calm sea, "a storm, at night"]`.

Any other text is one value: a schedule contains a colon, an expression letters or parentheses. Quotes inside the
argument (`sampler="'a,b'"`) make any text one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.settings.document import Mapping as Keyed
from deforum.settings.document import Node, Place, Scalar, parse_yaml_value
from deforum.settings.document import Sequence as Listed
from schedules.quoting import cut

if TYPE_CHECKING:
    from deforum.settings.options import Settings

MOST_RUNS = 1000
LONGEST_LABEL = 24
"""Longest swept value in the name of a run's folder, in characters."""

_NUMBER = r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)"  # without leading zeros, so that 1,000 is not a list
_ITEM = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER})(?::({_NUMBER}))?)?", re.ASCII)
_WORD = re.compile(r"[^\s,:()\[\]{}'\"][^,:()\[\]{}'\"]*")

SLOWEST = ("model", "device", "precision", "tiling")
"""Settings that need another model; runs with equal values of these follow each other."""


@dataclass(frozen=True)
class Value:
    """One value of a setting: `text` as on the command line, `label` for people."""

    text: str
    label: str


@dataclass(frozen=True)
class Axis:
    """A swept setting, as named on the command line, and its values."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Job:
    """One run: a file and its overrides; `swept` are the values that differ between the runs of the file."""

    file: Path
    overrides: tuple[str, ...]
    swept: tuple[tuple[str, Value], ...] = ()
    run: Path | None = None
    """The run to resume, given by its folder; `file` and `overrides` are compared with it."""

    @property
    def label(self) -> str:
        return " ".join([str(self.file), *(f"{name}={value.label}" for name, value in self.swept)])

    def rename(self, settings: Settings) -> Settings:
        """Append the swept values to the name of the run's folder, unless the name has a {placeholder} for them."""
        name = settings.batch_name
        for swept, value in self.swept:
            setting = swept.rpartition(".")[2]
            if f"{{{setting.lower()}}}" not in settings.batch_name.lower():
                name += f"_{setting}={re.sub('[{}]', '', value.label)[:LONGEST_LABEL]}"
        return replace(settings, batch_name=name)


def list_jobs(files: Sequence[Path], overrides: Sequence[str]) -> tuple[list[Job], tuple[Axis, ...]]:
    """Return one job per file and combination of swept values, and the swept axes.

    The last axis changes fastest, those in SLOWEST slowest. Raises UserError for more than MOST_RUNS.
    """
    fixed, axes = read_axes(overrides)
    count = len(files)
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_RUNS:
        raise UserError(f"this makes {count} runs; at most {MOST_RUNS} can be asked for at once")
    order = sorted(range(len(axes)), key=lambda i: axes[i].name.rpartition(".")[2] not in SLOWEST)
    jobs = []
    for file in files:
        for values in product(*(axes[i].values for i in order)):
            chosen = dict(zip(order, values, strict=True))
            swept = tuple((axis.name, chosen[i]) for i, axis in enumerate(axes))
            jobs.append(Job(file, (*fixed, *(f"{name}={value.text}" for name, value in swept)), swept))
    return jobs, axes


def read_axes(overrides: Iterable[str]) -> tuple[tuple[str, ...], tuple[Axis, ...]]:
    """Separate overrides with one value from those with several."""
    fixed, axes = [], []
    for override in overrides:
        name, equals, text = override.partition("=")
        values = read_values(name.strip(), text.strip()) if equals else ()
        if values:
            axes.append(Axis(name.strip(), tuple({value.label: value for value in values}.values())))
        else:
            fixed.append(override)
    return tuple(fixed), tuple(axes)


def read_values(name: str, text: str) -> tuple[Value, ...]:
    """Return the values that a text lists for a setting, in order; () for a single value. Raises UserError."""
    if text.startswith("["):
        return _read_brackets(name, text)
    kind = _kinds().get(name.rpartition(".")[2])
    parts = [part.strip() for part in text.split(",")]
    if kind == "number":
        items = [_ITEM.fullmatch(part) for part in parts]
        if all(items) and (len(items) > 1 or ".." in text):
            return tuple(
                Value(number, number) for item in items if item for number in _numbers(item, cut(f"{name}={text}"))
            )
    elif kind == "word" and len(parts) > 1 and all(_WORD.fullmatch(part) for part in parts):
        return tuple(Value(part, part) for part in parts)
    return ()


def _read_brackets(name: str, text: str) -> tuple[Value, ...]:
    node = parse_yaml_value(text, Place(f"command line: {cut(f'{name}={text}')}"))
    if not isinstance(node, Listed) or len(node.items) < 2:
        return ()  # reading the settings reports what is wrong with it
    if _kinds().get(name.rpartition(".")[2]) == "list" and not all(isinstance(item, Listed) for item in node.items):
        return ()  # a list is one value of such a setting
    return tuple(Value(_write(item), item.text if isinstance(item, Scalar) else _write(item)) for item in node.items)


def _write(node: Node) -> str:
    """Return a value as text that `parse_yaml_value` reads back."""
    match node:
        case Scalar():
            return node.text if node.plain else json.dumps(node.text, ensure_ascii=False)
        case Keyed():
            return "{" + ", ".join(f"{_write(key)}: {_write(value)}" for key, value in node.entries) + "}"
        case Listed():
            return "[" + ", ".join(map(_write, node.items)) + "]"


def _numbers(item: re.Match[str], where: str) -> Iterator[str]:
    """Yield the number of one item, or those of its range, computed in decimals, so that 0.1 + 0.2 is 0.3."""
    first, last, step = (Decimal(group) if group else None for group in item.groups())
    assert first is not None
    if last is None:
        yield item[1]
        return
    stride = abs(Decimal(1) if step is None else step)
    if not stride:
        raise UserError(f"{where}: the step of a range cannot be 0")
    count = int(abs(last - first) / stride) + 1
    if count > MOST_RUNS:
        raise UserError(f"{where}: this makes {count} runs; at most {MOST_RUNS} can be asked for at once")
    for i in range(count):
        yield format((first + i * stride.copy_sign(last - first)).normalize(), "f")


def _kinds() -> Mapping[str, str]:
    """Return the list syntax of each setting, by all its names: "number", "word", "list"; others take brackets."""
    from deforum.settings.options import CONTROLS, DECLARATIONS
    from deforum.settings.steps import Chain
    from schedules import NumberSchedule

    kinds: dict[str, str] = {}
    units = {f"cn_{number}_{name}": each for number in range(1, 10) for name, each in CONTROLS.items()}
    for name, each in (*DECLARATIONS.items(), *units.items()):
        if each.type in (int, float, NumberSchedule):
            kind = "number"
        elif each.choices or each.type is bool or name in ("sampler", "scheduler"):
            kind = "word"
        elif each.type is Chain:
            kind = "list"
        else:
            continue
        kinds |= dict.fromkeys((name, *each.old), kind)
    return kinds
