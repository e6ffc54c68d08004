"""The command plot: every schedule that varies, as a page for a browser or as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import OK
from deforum.cli.files import SETTINGS_SUFFIXES, STDIN, load_file, name_of
from deforum.cli.shipped import find_example
from deforum.cli.words import is_file
from deforum.errors import UserError
from deforum.paths import exists, to_path

if TYPE_CHECKING:
    from deforum.cli.console import Console
    from deforum.reports.plot.timeline import Plot

PAGE, PICTURE = ".html", ".png"


def plot_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | NAME | name=value",
        help="settings files, laid over each other; the schedules to show (default: all that vary); settings to change",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="a page, OUT.html, or a picture, OUT.png (default: FILE_plot.html in the "
        "current folder); - is the standard output",
    )  # fmt: skip
    parser.add_argument(
        "--theme", choices=("auto", "light", "dark"), default="auto",
        help="auto: a page is light or dark as the reader's system is, a picture is light",
    )  # fmt: skip
    parser.add_argument("--font", default="", metavar="FILE", help="the font of a picture (default: a plain one)")
    parser.add_argument("--open", action="store_true", help="also show it in the browser")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file that is not a plot")


def plot(arguments: argparse.Namespace) -> int:
    """Write the plot of settings files; print its path."""
    from deforum.reports.plot.page import write_page

    console: Console = arguments.console
    given = split(arguments.files)
    target = _target(arguments.output, given.files, overwrite=arguments.overwrite)
    plots = [_plot(file, given.names, arguments.overrides, console) for file in given.files]
    theme = None if arguments.theme == "auto" else arguments.theme
    if target is not None and target.suffix.lower() == PICTURE:
        from deforum.reports.plot.picture import draw_picture

        _write(target, draw_picture(plots, theme or "light", arguments.font))
    elif target is not None:
        _write(target, write_page(plots, theme).encode("utf-8"))
    else:
        console.put(write_page(plots, theme))
        return OK
    console.put(f"{target}\n", output=str(target))
    if arguments.open:
        import webbrowser

        webbrowser.open(target.resolve().as_uri())
    return OK


@dataclass(frozen=True)
class Given:
    """The words of the command."""

    files: tuple[Path, ...]
    names: tuple[str, ...]


def split(words: Sequence[str]) -> Given:
    """Separate files from names of schedules: the first word is a file; others are files where there is one.

    Raises UserError for a file that is missing.
    """
    from deforum.reports.plot.timeline import is_name

    files: list[Path] = []
    names: list[str] = []
    for word in words:
        path = to_path(word)
        if path == STDIN or is_file(word):
            files.append(path)
        elif files and is_name(word):
            names.append(word)
        elif (example := find_example(word)) is not None:
            files.append(example)
        elif files and path.suffix.lower() not in SETTINGS_SUFFIXES:
            names.append(word)
        else:
            files.append(path)
    return Given(tuple(dict.fromkeys(files)), tuple(names))


def _plot(file: Path, names: Sequence[str], overrides: Sequence[str], console: Console) -> Plot:
    from deforum.features.audio import located
    from deforum.reports.plot.soundtrack import soundtrack_of
    from deforum.reports.plot.timeline import plot_of
    from deforum.reports.tabulate import look
    from deforum.settings.files import Lookup
    from deforum.shots import has_shots

    loaded = load_file(file, overrides, to_render=False)
    for line in loaded.report:
        console.note(line, name_of(file))
    settings = located(loaded.settings, Lookup(file.parent))
    if has_shots(settings):
        console.note("shots: drawn are the settings of the whole film, without those of single shots", name_of(file))
    timeline = look(settings)
    sound = soundtrack_of(settings)
    return plot_of(settings, timeline, names, title=name_of(file), is_seed_drawn=settings.seed < 0, sound=sound)


def _target(output: str | None, files: Sequence[Path], *, overwrite: bool) -> Path | None:
    """Return where the plot is written; None is the standard output. Raises UserError where something else is there."""
    if output == "-":
        return None
    target = Path(f"{name_of(files[0], stem=True)}_plot{PAGE}") if output is None else to_path(output)
    if target.suffix.lower() not in (PAGE, ".htm", PICTURE):
        raise UserError(f"{target}: expected a name that ends in {PAGE} or {PICTURE}")
    if exists(target) and not overwrite and not _is_plot(target):
        raise UserError(f"{target}: already exists, and is not a plot; choose another one with -o, or add --overwrite")
    return target


def _is_plot(path: Path) -> bool:
    """Whether a file is an earlier plot, which is replaced without asking."""
    from deforum.reports.plot.page import MARK
    from deforum.reports.plot.picture import SOFTWARE

    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    return start.startswith(MARK.encode()) or SOFTWARE.encode() in start


def _write(target: Path, content: bytes) -> None:
    from deforum import atomic

    try:
        atomic.write(target, content)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
