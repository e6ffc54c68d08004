"""The command timeline: prompts and keyframes as a cut list for an editing program, and a cut list as settings."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.files import STDIN, find_files, load_file, name_of
from deforum.cli.inspect import new_file
from deforum.errors import UserError
from deforum.paths import to_path

if TYPE_CHECKING:
    from deforum.cli.console import Console
    from deforum.cut_lists.cut_list import CutList
    from deforum.settings.options import Settings


def timeline_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value",
        help="settings, or a run, of which a cut list is made; or a cut list (.otio, .edl, labels of Audacity), and "
        "the settings that its prompts and keyframes go into, if there are any; settings to change, such as fps=25 of "
        "an EDL",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("otio", "edl", "labels"), help="of the cut list (default: by the ending of OUT, else otio)"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="output file: .otio, .edl, .txt, or .yaml (default: -)")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file")


def timeline(arguments: argparse.Namespace) -> int:
    """Write settings as a cut list, or a cut list as settings."""
    first = to_path(arguments.files[0])
    text = _cut_list_in(first)
    if text is not None:
        return _import(arguments, first, text)
    if len(arguments.files) > 1:
        raise UserError(f"{arguments.files[1]}: one cut list is made of one file of settings; {first} was given too")
    return _export(arguments)


def _export(arguments: argparse.Namespace) -> int:
    from deforum.cut_lists.formats import FORMATS, format_by_name
    from deforum.cut_lists.settings import from_settings

    console: Console = arguments.console
    [path] = find_files(arguments.files) if not to_path(arguments.files[0]).is_dir() else [to_path(arguments.files[0])]
    target = new_file(arguments.output, overwrite=arguments.overwrite)
    by_name = None if target is None else format_by_name(target.suffix)
    if target is not None and by_name is None and arguments.format is None:
        endings = ", ".join(row.suffix for row in FORMATS.values())
        raise UserError(f"{target}: expected a name ending in {endings}, or --format")
    kind = arguments.format or by_name or "otio"
    loaded = load_file(path, arguments.overrides, to_render=False)
    cuts = from_settings(loaded.settings, name=name_of(path, stem=True), film=_film_of(path))
    for line in (*loaded.report, *cuts.notes):
        console.note(line, name_of(path))
    console.put(FORMATS[kind].write(cuts), target, **_facts(cuts, kind, target))
    return 0


def _import(arguments: argparse.Namespace, path: Path, text: str) -> int:
    from deforum.cut_lists.formats import FORMATS, format_of
    from deforum.cut_lists.settings import to_settings
    from deforum.loading import load_text
    from deforum.settings.read import dump
    from deforum.video.formats import exact_fps

    console: Console = arguments.console
    kind = format_of(text)
    assert kind is not None
    target = new_file(arguments.output, overwrite=arguments.overwrite)
    if target is not None and target.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(f"{target}: settings are made of a cut list; their name has to end in .yaml")
    if len(arguments.files) > 2:
        raise UserError(f"{arguments.files[2]}: expected a cut list, and at most one file of settings for it")
    base: Settings | None = None
    if len(arguments.files) > 1:
        [other] = find_files(arguments.files[1:])
        base = load_file(other, to_render=False).settings
    given = _rate_in(arguments.overrides)
    fps = given if given is not None or base is None else exact_fps(base.fps)
    cuts = FORMATS[kind].read(text, name_of(path), fps)
    if base is None and cuts.settings:
        base = load_text(cuts.settings, name=f"the settings in {name_of(path)}", to_render=False).settings
    settings, notes = to_settings(cuts, base)
    if fps is None and kind == "labels":
        notes = (f"labels do not say a frame rate: {settings.fps:g} is taken; give another one with fps=25", *notes)
    for line in notes:
        console.note(line, name_of(path))
    changed = load_text(dump(settings), arguments.overrides, name=name_of(path), to_render=False).settings
    out = f"# Prompts and keyframes from {name_of(path)}\n\n{dump(changed)}"
    console.put(out, target, **_facts(cuts, kind, target))
    return 0


def _facts(cuts: CutList, kind: str, target: Path | None) -> dict[str, object]:
    return {
        "format": kind, "output": None if target is None else str(target), "fps": float(cuts.fps),
        "frames": cuts.num_frames,
        "clips": [{"start": clip.start, "end": clip.end, "text": clip.text} for clip in cuts.clips],
        "markers": [{"frame": marker.frame, "text": marker.text} for marker in cuts.markers],
    }  # fmt: skip


def _cut_list_in(path: Path) -> str | None:
    """Return the text of a file that is a cut list; None for other files. Raises UserError for one that is too long."""
    from deforum.cut_lists.formats import format_by_name, format_of
    from deforum.limits import CUT_FILE
    from deforum.settings.document import read_text

    if path == STDIN or not path.is_file():
        return None
    try:
        text = read_text(path, CUT_FILE)
    except UserError:
        if path.suffix.lower() in (".otio", ".edl"):
            raise
        return None  # a picture or a film, or settings, whose own reader says what is wrong
    if format_of(text) is None and path.suffix.lower() in (".otio", ".edl"):
        what = "OpenTimelineIO" if format_by_name(path.suffix) == "otio" else "an EDL of the form CMX 3600"
        raise UserError(f"{path}: this is not {what}")
    return text if format_of(text) is not None else None


def _rate_in(overrides: list[str]) -> Fraction | None:
    """Return the frame rate among overrides, at which a cut list that does not say one is read. Raises UserError."""
    from deforum.loading import load
    from deforum.video.formats import exact_fps

    rates = [each for each in overrides if each.partition("=")[0].strip().rpartition(".")[2] == "fps"]
    return exact_fps(load({}, rates, to_render=False).settings.fps) if rates else None


def _film_of(path: Path) -> Path | None:
    """Return the film that settings were given by: a film, or that of a run's folder."""
    from deforum.video.formats import FORMATS

    suffixes = dict.fromkeys(row.suffix for row in FORMATS.values())
    if path.is_file():
        return path if path.suffix.lower() in suffixes else None
    name = path.resolve().name
    return next((found for suffix in suffixes if (found := path / f"{name}{suffix}").is_file()), None)
