"""The commands that inspect settings without rendering: convert, values, params and diff.

Arguments and printing; the logic of each command is in its own module.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.files import STDIN, find_files, load_file, name_of
from deforum.errors import UserError
from deforum.paths import exists, to_path

if TYPE_CHECKING:
    from deforum.cli.console import Console

EQUAL, DIFFERENT = 0, 1
"""Exit statuses of diff, as for the Unix program diff."""


def new_file(output: str | None, *, overwrite: bool) -> Path | None:
    """Return the path of an output file, None for None or "-" (standard output). Raises UserError if it exists."""
    if output in (None, "-"):
        return None
    target = to_path(output)
    if exists(target) and not overwrite:
        raise UserError(f"{target}: already exists; choose another one with -o, or add --overwrite")
    return target


# --- arguments --------------------------------------------------------------------------------------------------------


def _writing(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", help=f"{what}; - is the standard output")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file")


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value", help="files to convert (- is the standard input), and settings"
    )
    _writing(parser, "the YAML file, or a folder for several (default: FILE.yaml beside each)")


def values_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | NAME | name=value",
        help="a settings file, the schedules to show (default: all), and settings to change in the file",
    )  # fmt: skip
    parser.add_argument(
        "--frames", default=":", metavar="A:B:STEP",
        help="frames to show, both ends included: 7 or 0:100 or 0:100:5 or 2s:4s or max_f/2,-1 (default: all)",
    )  # fmt: skip
    parser.add_argument("--format", choices=("csv", "json", "table"), help="default: by the ending of OUT, else csv")
    _writing(parser, "output file (default: -)")


def params_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="NAME",
        help="settings or sections to describe, or words to look for in all texts (default: all settings)",
    )  # fmt: skip


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value", help="two files, and settings to change in both"
    )


# --- commands ---------------------------------------------------------------------------------------------------------


def convert(arguments: argparse.Namespace) -> int:
    """Write each file as YAML that renders the same; print the path of each written file."""
    from deforum.reports.convert import convert, targets

    console: Console = arguments.console
    sources = find_files(arguments.files)
    output = arguments.output
    if output is None and sources == [STDIN]:
        output = "-"
    outputs = targets(sources, output, overwrite=arguments.overwrite)
    loaded = [load_file(source, arguments.overrides, to_render=False) for source in sources]
    conversions = [
        convert(each, source.parent, target, name=name_of(source))
        for each, source, target in zip(loaded, sources, outputs, strict=True)
    ]
    for source, done in zip(sources, conversions, strict=True):
        _tell(source, done.loaded.report, console)
        console.put(done.text, done.target)
        if done.target is not None:
            console.put(f"{done.target}\n")
    console.record(
        converted=[
            {"file": str(source), "output": None if done.target is None else str(done.target), "yaml": done.text}
            for source, done in zip(sources, conversions, strict=True)
        ]
    )
    return EQUAL


def values(arguments: argparse.Namespace) -> int:
    """Print the values of schedules at frames."""
    from deforum.features.audio import located
    from deforum.reports import tabulate
    from deforum.settings.files import Lookup

    console: Console = arguments.console
    file, *names = arguments.files
    target = new_file(arguments.output, overwrite=arguments.overwrite)
    ending = "" if target is None else target.suffix.lower().lstrip(".")
    kind = arguments.format or {"json": "json", "txt": "table"}.get(ending, "csv")
    path = to_path(file)
    loaded = load_file(path, arguments.overrides, to_render=False)
    settings = located(loaded.settings, Lookup(path.parent))
    _tell(path, loaded.report, console)
    columns = tabulate.resolve_columns(names, settings)
    timeline = tabulate.look(settings)
    if settings.seed < 0:
        drawn = f"-1 draws a new seed for each run; the values are those of seed {timeline.seed} (to change: seed=N)"
        console.note(f"seed: {drawn}")
    frames = tabulate.pick_frames(arguments.frames, len(timeline), timeline.variables)
    table = tabulate.tabulate(settings, timeline, columns, frames)
    console.put(tabulate.FORMATS[kind](table), target, columns=tabulate.as_json(table) if console.json else None)
    return EQUAL


def params(arguments: argparse.Namespace) -> int:
    """Print the reference of all settings, or of some."""
    from deforum.reports.reference import as_json, look_up, reference

    console: Console = arguments.console
    if not arguments.words:
        console.put(reference(), settings=as_json() if console.json else None)
        return EQUAL
    found = look_up(arguments.words)
    for note in found.notes:
        console.note(note)
    console.put(found.text, settings=as_json(found.names) if console.json else None)
    return EQUAL


def diff(arguments: argparse.Namespace) -> int:
    """Print how two files differ in what they render. Returns EQUAL or DIFFERENT."""
    from deforum.features.audio import located
    from deforum.reports.compare import compare
    from deforum.settings.files import Lookup

    console: Console = arguments.console
    if len(arguments.files) != 2:
        raise UserError(f"diff compares two settings files; {len(arguments.files)} were given")
    one, other = map(to_path, arguments.files)
    settings = []
    for path in (one, other):
        loaded = load_file(path, arguments.overrides, to_render=False)
        _tell(path, [line for line in loaded.report if not line.startswith("without effect")], console)
        settings.append(located(loaded.settings, Lookup(path.parent)))
    found = compare(*settings)
    lines = [f"{one} | {other}", *found.differences] if found.differences else [f"{one} and {other} render the same"]
    if found.idle and not console.quiet:
        lines.append(f"different, but without effect in both: {', '.join(found.idle)}")
    console.put("\n".join(lines) + "\n", differences=found.differences, without_effect=found.idle)
    return DIFFERENT if found.differences else EQUAL


def _tell(path: Path, report: Sequence[str], console: Console) -> None:
    for line in report:
        console.note(line, name_of(path))
