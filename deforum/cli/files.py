"""Settings files and overrides in the arguments of the command line."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from deforum.errors import UserError
from deforum.paths import exists, to_path

SETTINGS_SUFFIXES = (".yaml", ".yml", ".txt", ".json")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate files from overrides: `name=value` is an override unless a file of that name exists."""
    files: list[str] = []
    overrides: list[str] = []
    for word in words:
        is_override = re.match(r"[A-Za-z_]\w*=", word) is not None and not exists(Path(word))
        (overrides if is_override else files).append(word)
    return files, overrides


def find_files(words: Sequence[str]) -> list[Path]:
    """Resolve files, folders and patterns to settings files, in order, each once. Raises UserError for all misses."""
    from deforum.errors import Problem

    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for word in words:
        path = to_path(word)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SETTINGS_SUFFIXES and p.is_file())
            if not inside:
                problems.append(
                    Problem(f"no settings file in it; expected one ending in {', '.join(SETTINGS_SUFFIXES)}", word)
                )
        elif path.is_file():
            inside = [path]
        else:
            inside = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())
            if not inside:
                problems.append(Problem("no such file; expected a settings file, a folder of them or a pattern", word))
        found.update(dict.fromkeys(inside))
    if problems:
        raise UserError(problems)
    return list(found)
