"""The commands that inspect settings without rendering: convert, values, params and diff.

Arguments and printing; the logic of each command is in its own module.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deforum.errors import UserError
from deforum.paths import exists, to_path

EQUAL, DIFFERENT = 0, 1
"""Exit statuses of diff, as for the Unix program diff."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def put_out(text: str, target: Path | None = None) -> None:
    """Write a text to a file, or to the standard output for None. Raises UserError if the file cannot be written."""
    if target is not None:
        try:
            target.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error
        return
    from schedules.quoting import escape

    try:
        sys.stdout.write(escape(text))
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as `head` closed the pipe; Python must not flush it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def new_file(output: str | None, *, overwrite: bool) -> Path | None:
    """Return the path of an output file, None for None or "-" (standard output). Raises UserError if it exists."""
    if output in (None, "-"):
        return None
    target = to_path(output)
    if exists(target) and not overwrite:
        raise UserError(f"{target}: already exists; choose another one with -o, or add --overwrite")
    return target


# --- arguments --------------------------------------------------------------------------------------------------------


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print notes on the settings")


def _writing(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", help=f"{what}; - is the standard output")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file")


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="FILE | name=value", help="files to convert, and settings to change"
    )
    _writing(parser, "the YAML file, or a folder for several (default: FILE.yaml beside each)")
    _quiet(parser)


def values_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="FILE | NAME | name=value",
        help="a settings file, the schedules to show (default: all), and settings to change in the file",
    )  # fmt: skip
    parser.add_argument(
        "--frames", default=":", metavar="A:B:STEP",
        help="frames to show, both ends included: 7 or 0:100 or 0:100:5 or 2s:4s or max_f/2,-1 (default: all)",
    )  # fmt: skip
    parser.add_argument("--format", choices=("csv", "json", "table"), help="default: by the ending of OUT, else csv")
    _writing(parser, "output file (default: -)")
    _quiet(parser)


def params_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="NAME", help="settings or sections to describe (default: all)")


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="FILE | name=value", help="two files, and settings to change in both"
    )
    _quiet(parser)


# --- commands ---------------------------------------------------------------------------------------------------------


def convert(arguments: argparse.Namespace) -> int:
    """Write each file as YAML that renders the same; print the path of each written file."""
    from deforum.cli.files import find_files
    from deforum.reports.convert import convert, targets

    sources = find_files(arguments.files)
    outputs = targets(sources, arguments.output, overwrite=arguments.overwrite)
    conversions = [convert(*each, arguments.overrides) for each in zip(sources, outputs, strict=True)]
    for done in conversions:
        _tell(done.source, done.loaded.report, arguments.quiet)
        put_out(done.text, done.target)
        if done.target is not None:
            print(done.target)
    return EQUAL


def values(arguments: argparse.Namespace) -> int:
    """Print the values of schedules at frames."""
    from deforum.loading import load
    from deforum.reports import tabulate

    file, *names = arguments.files
    target = new_file(arguments.output, overwrite=arguments.overwrite)
    ending = "" if target is None else target.suffix.lower().lstrip(".")
    kind = arguments.format or {"json": "json", "txt": "table"}.get(ending, "csv")
    loaded = load(Path(file), arguments.overrides, to_render=False)
    settings = loaded.settings
    _tell(Path(file), loaded.report, arguments.quiet)
    columns = tabulate.resolve_columns(names, settings)
    timeline = tabulate.look(settings)
    if settings.seed < 0 and not arguments.quiet:
        say(f"seed: -1 draws a new seed for each run; the values are those of seed {timeline.seed} (to change: seed=N)")
    frames = tabulate.pick_frames(arguments.frames, len(timeline), timeline.variables)
    put_out(tabulate.FORMATS[kind](tabulate.tabulate(settings, timeline, columns, frames)), target)
    return EQUAL


def params(arguments: argparse.Namespace) -> int:
    """Print the reference of all settings, or of some."""
    from deforum.reports.reference import look_up, reference

    put_out(look_up(arguments.words) if arguments.words else reference())
    return EQUAL


def diff(arguments: argparse.Namespace) -> int:
    """Print how two files differ in what they render. Returns EQUAL or DIFFERENT."""
    from deforum.loading import load
    from deforum.reports.compare import compare

    if len(arguments.files) != 2:
        raise UserError(f"diff compares two settings files; {len(arguments.files)} were given")
    one, other = (Path(file) for file in arguments.files)
    settings = []
    for path in (one, other):
        loaded = load(path, arguments.overrides, to_render=False)
        _tell(path, [line for line in loaded.report if not line.startswith("without effect")], arguments.quiet)
        settings.append(loaded.settings)
    found = compare(*settings)
    lines = [f"{one} | {other}", *found.differences] if found.differences else [f"{one} and {other} render the same"]
    if found.idle and not arguments.quiet:
        lines.append(f"different, but without effect in both: {', '.join(found.idle)}")
    put_out("\n".join(lines) + "\n")
    return DIFFERENT if found.differences else EQUAL


def _tell(path: Path, report: Sequence[str], quiet: bool) -> None:
    if not quiet:
        for line in report:
            say(f"{path.name}: {line}")
