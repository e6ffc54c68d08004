"""Settings files and overrides in the arguments of the command line."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from deforum.cli.words import is_assignment, is_file, setting_name
from deforum.errors import UserError
from deforum.paths import to_path

if TYPE_CHECKING:
    from deforum.loading import Loaded

SETTINGS_SUFFIXES = (".yaml", ".yml", ".txt", ".json")

CAMERA_NAMES = ("transforms.json", "camera_path.json", "cameras.txt", "images.txt", "points3D.txt")
"""Camera files with the suffix of settings: see `deforum.camera_files.table`."""

STDIN = Path("-")
"""The file name that means the standard input."""


def is_settings_name(path: Path) -> bool:
    """Whether a file of a folder is taken for settings, by its name; records of runs and camera files are not."""
    from deforum.profiling import TRACE_FILE
    from deforum.sources import RUN_FILE, STEP_FILE, SWEEP_FILE, VALUES_FILES

    others = (TRACE_FILE, RUN_FILE, SWEEP_FILE, STEP_FILE, *CAMERA_NAMES, *VALUES_FILES.values())
    is_one = path.name in others or path.name.endswith(".parameters.json")  # those of submit
    return path.suffix.lower() in SETTINGS_SUFFIXES and not is_one


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate files from overrides: `name=value` is an override unless a file of that name exists."""
    files: list[str] = []
    overrides: list[str] = []
    for word in words:
        (overrides if is_assignment(word) else files).append(word)
    return files, overrides


def name_of(file: Path, *, stem: bool = False) -> str:
    """Return the name of a settings file for messages, or without its suffix."""
    if file == STDIN:
        return "stdin" if stem else "standard input"
    return file.stem if stem else file.name


def load_file(
    file: Path, overrides: Sequence[str] = (), *, to_render: bool = True, allow_download: bool = False
) -> Loaded:
    """Read a settings file, or the standard input for `-`, as `deforum.loading.load` does. Raises UserError."""
    from deforum.loading import load, load_text

    if file != STDIN:
        return load(file, overrides, to_render=to_render, allow_download=allow_download)
    text = _read(sys.stdin)
    return load_text(text, overrides, name=name_of(file), to_render=to_render, allow_download=allow_download)


@lru_cache(maxsize=1)
def _read(stream: TextIO) -> str:
    """Read a stream to its end, once: the runs of a sweep read the same text. Raises UserError."""
    from deforum.settings.document import read_stream

    if stream.isatty():
        print("reading settings from the standard input; Ctrl-D ends them", file=sys.stderr, flush=True)
    return read_stream(stream.buffer, name_of(STDIN))


def find_files(words: Sequence[str]) -> list[Path]:
    """Resolve files, folders, patterns and names of examples to settings files, in order, each once.

    Raises UserError for all misses.
    """
    from deforum.cli.shipped import find_example
    from deforum.errors import Problem

    found: dict[Path, None] = {}
    problems: list[Problem] = []
    words = list(words)
    while words:
        word = words.pop(0)
        path = to_path(word)
        if path == STDIN:
            inside = [path]
        elif path.is_dir():
            inside = sorted(p for p in path.iterdir() if is_settings_name(p) and p.is_file())
            if not inside:
                problems.append(
                    Problem(f"no settings file in it; expected one ending in {', '.join(SETTINGS_SUFFIXES)}", word)
                )
        elif path.is_file():
            inside = [path]
        else:
            inside = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())
            example = None if inside else find_example(word)
            if example is not None:
                inside = [example]
            if not inside:
                value = words.pop(0) if words and setting_name(word) and not is_file(words[0]) else ""
                problems.append(Problem(_explain_missing(word, value), word))
        found.update(dict.fromkeys(inside))
    if problems:
        raise UserError(problems)
    return list(found)


def _explain_missing(word: str, value: str) -> str:
    """Return the message for a word that names no file: what it may have been meant for; `value` is the next word."""
    from schedules import nearest

    name = setting_name(word)
    if name is not None:
        return f"this is a setting, and no file has that name; expected {name}={value or 'VALUE'}"
    path = Path(word).expanduser()
    folder = path.parent
    try:
        there = [each.name for each in folder.iterdir() if each.suffix.lower() in SETTINGS_SUFFIXES]
    except OSError:
        there = []
    meant = nearest(path.name, there)
    if meant is not None:
        return f"no such file; did you mean {folder / meant}?"
    return "no such file; expected a settings file, a folder of them or a pattern"
