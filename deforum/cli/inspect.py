"""The commands that look at settings and render nothing: convert, values, params and diff.

Here stands what they print where; what they find out is in a module of its own for each.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deforum.errors import UserError

EQUAL, DIFFERENT = 0, 1
"""Exit statuses of diff, those of the program of that name."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def put_out(text: str, target: Path | None = None) -> None:
    """Write a text to a file, or for None to the standard output. Raises UserError where it cannot be written."""
    if target is not None:
        try:
            target.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as `head` has seen enough; Python must not try again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def new_file(output: str | None, *, overwrite: bool) -> Path | None:
    """Check that a file may be written; None or "-" is the standard output. Raises UserError."""
    if output in (None, "-"):
        return None
    target = Path(output).expanduser()
    if target.exists() and not overwrite:
        raise UserError(f"{target}: is there already; choose another one with -o, or add --overwrite")
    return target


# --- arguments --------------------------------------------------------------------------------------------------------


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="leave out what is told about the reading")


def _writing(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", help=f"{what}; - is the standard output")
    parser.add_argument("--overwrite", action="store_true", help="write over a file that is there already")


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="FILE | name=value", help="files to convert, and changes to them")
    _writing(parser, "the YAML file, or a folder for several (default: FILE.yaml beside each)")
    _quiet(parser)


def values_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="FILE | NAME | name=value",
        help="a settings file, the schedules to show (default: all), and changes to the file",
    )  # fmt: skip
    parser.add_argument(
        "--frames", default=":", metavar="A:B:STEP",
        help="which frames, both ends included: 7 or 0:100 or 0:100:5 or 2s:4s or max_f/2,-1 (default: all)",
    )  # fmt: skip
    parser.add_argument("--format", choices=("csv", "json", "table"), help="default: what OUT ends in, or csv")
    _writing(parser, "write into this file")
    _quiet(parser)


def params_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="NAME", help="settings or sections (default: all)")


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="FILE | name=value", help="two files, and changes to both")
    _quiet(parser)


# --- commands ---------------------------------------------------------------------------------------------------------


def convert(arguments: argparse.Namespace) -> int:
    """Write each file as YAML that renders the same; the name of what was written is printed."""
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
    """Print what every schedule gives at every frame."""
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
        say(f"seed: -1 is drawn anew for each run; shown as if it were {timeline.seed} (seed=N shows another)")
    frames = tabulate.pick_frames(arguments.frames, len(timeline), timeline.variables)
    put_out(tabulate.FORMATS[kind](tabulate.tabulate(settings, timeline, columns, frames)), target)
    return EQUAL


def params(arguments: argparse.Namespace) -> int:
    """Print the reference of all settings, or of some."""
    from deforum.reports.reference import look_up, reference

    put_out(look_up(arguments.words) if arguments.words else reference())
    return EQUAL


def diff(arguments: argparse.Namespace) -> int:
    """Print how two files differ in effect. Gives EQUAL or DIFFERENT."""
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
