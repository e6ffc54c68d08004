"""Settings as they are typed: checked as the command `check` does, in its words, and made ready for the queue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.build import prepare
from deforum.cli.check import good
from deforum.cli.files import name_of
from deforum.cli.observers import about
from deforum.errors import Problem, UserError
from deforum.forecast import forecast, needs_of
from deforum.loading import Loaded, load_text
from deforum.paths import only_in
from deforum.rendering import check
from deforum.serve.queue import Order
from deforum.settings.read import dump
from deforum.sources import heading
from schedules import ScheduleError
from schedules.quoting import printable

_PLACE = re.compile(r":(\d+):(\d+)$")


@dataclass(frozen=True)
class Rules:
    """What settings may do: where runs go, and the folders that they may name files in (None: all)."""

    runs: Path
    folders: tuple[Path, ...] | None = None


@dataclass(frozen=True)
class Mistake:
    """A problem, with its line and column in the text (both from 1; 0: unknown)."""

    message: str
    where: str
    line: int
    column: int


@dataclass(frozen=True)
class Checked:
    """What was found in a text."""

    good: bool
    text: str
    """Every problem, as `check` prints them; or what a render will take."""
    problems: tuple[Mistake, ...]
    notes: tuple[str, ...]
    facts: dict[str, object]
    """Of good settings: frames, width, height, fps and so on."""


def check_text(text: str, name: str, overrides: Sequence[str], rules: Rules) -> Checked:
    """Check settings as `check` does with a file of that name, with the same words."""
    path = Path(name)
    notes: tuple[str, ...] = ()
    try:
        with only_in(rules.folders):
            loaded = load_text(text, overrides, name=name)
            notes = loaded.report
            prepared = check(loaded.settings, output=rules.runs)
            notes = tuple(dict.fromkeys((*notes, *prepared.notes)))
            words = f"{name_of(path)}: {good(prepared, needs_of(prepared))}"
            facts = {**about(prepared.settings), "frames": len(prepared.frames)}
    except (UserError, ScheduleError) as error:
        problems = error.problems if isinstance(error, UserError) else (Problem(str(error)),)
        return Checked(False, printable(str(error)), tuple(map(_mistake, problems)), notes, {})
    return Checked(True, printable(words), (), notes, facts)


def foresee(text: str, name: str, overrides: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """Return what a render of settings will be like, as lines of the command forecast. Raises UserError.

    Of many frames it takes longer than a check.
    """
    with only_in(rules.folders):
        prepared = prepare(load_text(text, overrides, name=name).settings)
        return tuple(map(printable, forecast(prepared).lines()))


def _mistake(problem: Problem) -> Mistake:
    place = _PLACE.search(problem.where)
    line, column = (int(place[1]), int(place[2])) if place else (0, 0)
    return Mistake(problem.message, problem.where, line, column)


def order(
    text: str, name: str, overrides: Sequence[str], rules: Rules, given: dict[str, object] | None = None
) -> Order:
    """Read settings for the queue, with the paths in them made absolute. Raises UserError.

    Files are looked at when the run begins; but where they have to be in certain folders, here.
    """
    with only_in(rules.folders):
        loaded = load_text(text, overrides, name=name)
        if rules.folders is not None:
            check(loaded.settings, output=rules.runs)
    settings = loaded.settings
    size = None if settings.width is None or settings.height is None else (settings.width, settings.height)
    return Order(Path(name).name, _written(loaded), settings.max_frames, loaded.report, given, size)


def _written(loaded: Loaded) -> str:
    return f"{heading(loaded.origin)}\n\n{dump(loaded.settings)}"
