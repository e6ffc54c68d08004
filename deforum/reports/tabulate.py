"""Tables of schedule values by frame, for people or for programs (CSV, JSON)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deforum.errors import UserError
from schedules import NumberSchedule, ScheduleError, TextSchedule, Variables, nearest, parse_expression, parse_key
from schedules.quoting import cut

if TYPE_CHECKING:
    from deforum.settings.options import Settings
    from deforum.timeline.frame import Frame
    from deforum.timeline.timeline import Timeline

Cell = bool | int | float | str

STAND_IN_SEED = 0
"""The seed used in place of -1, which draws a new seed for each run."""
LONGEST_CELL = 48
"""Longest text in a table for people, in characters."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length; the first is `frame`."""

    columns: Mapping[str, Sequence[Cell]]

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        return zip(*self.columns.values(), strict=True)


def look(settings: Settings) -> Timeline:
    """Sample settings as a run would, with STAND_IN_SEED in place of a seed of -1."""
    from deforum.features.table import timeline_of

    return timeline_of(replace(settings, seed=STAND_IN_SEED) if settings.seed < 0 else settings)


# --- columns ----------------------------------------------------------------------------------------------------------


def _prompt(which: int) -> Callable[[Frame], str]:
    def read(frame: Frame) -> str:
        from deforum.output.labels import prompts_of

        return prompts_of(frame)[which]

    return read


OF_FRAMES: Mapping[str, Callable[[Frame], Cell]] = {
    "seed": lambda frame: frame.seed,
    "subseed": lambda frame: frame.subseed,
    "sampler": lambda frame: frame.sampler,
    "checkpoint": lambda frame: frame.checkpoint,
    "prompt": _prompt(0),
    "negative_prompt": _prompt(1),
}
"""Columns read from the frame, as it is rendered, rather than from the schedule of that name."""

ALIASES = {"prompts": "prompt", "seeds": "seed"}


def _schedules(settings: Settings) -> Mapping[str, NumberSchedule | TextSchedule]:
    """Return the schedules that are not in frames: masks, and those of ControlNet units."""
    units = (
        (f"cn_{number}_{name}", value)
        for number, unit in enumerate(settings.control_units, 1)
        for name, value in vars(unit).items()
        if isinstance(value, NumberSchedule)
    )
    return {"mask": settings.mask, "noise_mask": settings.noise_mask, **dict(units)}


def signal_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of the variables that follow a sound, a tempo or a table, as far as the settings give them."""
    from deforum.timeline.variables import signals_of

    signals = signals_of(settings)
    return (*signals.heard, *(unit.name for unit in settings.variables))


def column_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all columns except `frame`, in order."""
    from deforum.settings.params import PARAMS

    numbers = [name for name in PARAMS if name != "subseed"]
    numbers += signal_names(settings)
    return ("diffused", "seed", "subseed", *numbers, "sampler", "checkpoint", *_schedules(settings), "prompt",
            "negative_prompt")  # fmt: skip


def resolve_columns(words: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Return columns by names or old names of settings; all columns for no words. Raises UserError."""
    from deforum.settings.options import OPTIONS
    from deforum.settings.read import CANONICAL
    from deforum.settings.yaml_writer import write_value

    known = column_names(settings)
    if not words:
        return known
    names = [word if word in known else ALIASES.get(word, CANONICAL.get(word, word)) for word in words]
    for word, name in zip(words, names, strict=True):
        if name in known:
            continue
        if name in OPTIONS and hasattr(settings, name):
            raise UserError(
                f"{cut(word)}: this is not a schedule; it is {cut(write_value(getattr(settings, name)))} in every frame"
            )
        meant = nearest(word, [*known, *ALIASES, *CANONICAL])
        hint = f"; did you mean {meant}?" if meant else "; without names, all are shown"
        raise UserError(f"{cut(word)}: there is no such schedule{hint}")
    return tuple(dict.fromkeys(names))


def tabulate(settings: Settings, timeline: Timeline, names: Sequence[str], frames: Sequence[int]) -> Table:
    """Return a table of columns, named as by `resolve_columns`, at frames of the timeline."""
    chosen = list(frames)
    of_frames = [timeline[index] for index in chosen] if not OF_FRAMES.keys().isdisjoint(names) else []
    keys, schedules = frozenset(timeline.keys), _schedules(settings)
    signals, own = signal_names(settings), timeline.variables.own
    at, count = np.asarray(chosen), len(timeline)

    def column(name: str) -> Sequence[Cell]:
        if name == "diffused":
            return [index in keys for index in chosen]
        if name in OF_FRAMES:
            return [OF_FRAMES[name](frame) for frame in of_frames]
        if name in schedules:
            values = schedules[name].sample(len(timeline), timeline.variables)
            return [value if isinstance(value, str) else float(value) for value in (values[i] for i in chosen)]
        if name in signals:
            return [float(value) for value in parse_expression(name, own=own).evaluate(at, timeline.variables, count)]
        return [float(value) for value in getattr(timeline.curves, name)[chosen]]

    return Table({"frame": chosen, **{name: column(name) for name in names}})


@dataclass(frozen=True)
class Stretch:
    """Frames of settings that a run shows from its frame `at` on."""

    settings: Settings
    timeline: Timeline
    frames: range
    at: int


def tabulate_run(stretches: Sequence[Stretch]) -> Table:
    """Return a table of all columns of a run whose settings change on the way; a column that is not there is empty."""
    tables = [tabulate(each.settings, each.timeline, column_names(each.settings), each.frames) for each in stretches]
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns: dict[str, list[Cell]] = {
        name: [cell for table in tables for cell in table.columns.get(name, [""] * len(table.columns["frame"]))]
        for name in names
    }
    frames = [each.at + number for each in stretches for number in range(len(each.frames))]
    return Table({**columns, "frame": frames})


# --- which frames -----------------------------------------------------------------------------------------------------


def pick_frames(text: str, num_frames: int, variables: Variables) -> tuple[int, ...]:
    """Parse a selection of frames: `7`, `0:100`, `0:100:5`, `:30`, `-1`, `max_f/2`, `2s:4s`, separated by commas.

    Ranges include both ends and are cut at the last frame. Negative numbers count from the end. Raises UserError, also
    for an empty selection.
    """

    def position(part: str, default: int) -> int:
        if not part.strip():
            return default
        frame = parse_key(part.strip(), name="--frames").frame(variables, num_frames)
        return frame + num_frames if frame < 0 else frame

    picked: list[int] = []
    try:
        for part in text.split(","):
            first, *rest = part.split(":")
            if not rest:
                frame = position(first, -1)
                if not 0 <= frame < num_frames:
                    raise UserError(f"--frames {cut(part.strip())}: out of range; the frames are 0 to {num_frames - 1}")
                picked.append(frame)
                continue
            step = rest[1].strip() if len(rest) > 1 else ""
            if len(rest) > 2 or (step and not (step.isdecimal() and int(step))):
                what = "expected FIRST:LAST or FIRST:LAST:STEP with a step of at least 1"
                raise UserError(f"--frames {cut(part)}: {what}")
            last = min(position(rest[0], num_frames - 1), num_frames - 1)
            picked += range(max(position(first, 0), 0), last + 1, int(step or 1))
    except ScheduleError as error:
        raise UserError(str(error)) from error
    if not picked:
        raise UserError(f"--frames {cut(text)}: selects no frame; the frames are 0 to {num_frames - 1}")
    return tuple(dict.fromkeys(picked))


# --- writing ----------------------------------------------------------------------------------------------------------


def write_cell(cell: Cell) -> str:
    """Format a cell: numbers with the fewest digits that read back exactly, true and false as 1 and 0."""
    match cell:
        case bool():
            return str(int(cell))
        case float() if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell))
        case float():
            return repr(cell)
        case _:
            return str(cell)


def write_csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([write_cell(cell) for cell in row] for row in table.rows())
    return out.getvalue()


def as_json(table: Table) -> dict[str, list[Cell]]:
    """Return a list of JSON values per column. Infinities, which JSON lacks, are texts."""

    def finite(cell: Cell) -> Cell:
        return str(cell) if isinstance(cell, float) and cell - cell != 0 else cell

    return {name: [finite(cell) for cell in cells] for name, cells in table.columns.items()}


def write_json(table: Table) -> str:
    """Return one object with a list per column, one line each."""
    lines = (
        f"  {json.dumps(name)}: {json.dumps(cells, ensure_ascii=False, allow_nan=False)}"
        for name, cells in as_json(table).items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_table(table: Table) -> str:
    """Return a text table: constant values once, the others in columns. Numbers have six digits, long texts are cut."""

    def short(cell: Cell) -> str:
        text = f"{cell:.6g}" if isinstance(cell, float) else write_cell(cell)
        text = " ".join(text.split())
        return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"

    steady = {name: cells[0] for name, cells in table.columns.items() if len(set(cells)) == 1 and name != "frame"}
    lines = [f"{name}: {short(cell)}" for name, cell in steady.items()]
    if lines:
        lines = ["The same in all these frames:", *(f"  {line}" for line in lines), ""]
    columns = [[name, *map(short, cells)] for name, cells in table.columns.items() if name not in steady]
    texts = [isinstance(cells[0], str) for name, cells in table.columns.items() if name not in steady]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = (
            cell.ljust(width) if is_text else cell.rjust(width)
            for cell, width, is_text in zip(row, widths, texts, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Table], str]] = {"csv": write_csv, "json": write_json, "table": write_table}
