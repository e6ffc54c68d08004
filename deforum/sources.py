"""Where settings come from: a settings file, or a frame, film or folder of a run, which carry the run's settings.

A picture of A1111's web UI gives its prompt, seed, size and so on.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum import foreign
from deforum.errors import UserError
from deforum.metadata import PARAMETERS, SETTINGS, kind_of, read_texts
from deforum.settings.document import read_text
from deforum.version import __version__
from deforum.video.tags import demuxer_of, read_comment

HEADING = "# Rendered by deforum"
"""First words of the settings that a run writes."""
SETTINGS_FILE, FRAMES_FOLDER = "settings.yaml", "frames"
"""Names in the folder of a run."""
VALUES_FILES = {"csv": "values.csv", "json": "values.json"}
"""Names of the tables of values (save_values) in the folder of a run."""
RUN_FILE, SWEEP_FILE, STEP_FILE = "run.json", "sweep.json", "step.json"
"""The record of a run, of a sweep, and of a step behind a run, in their folders."""

_FRAME = re.compile(r"(?:(\d{14})_)?\d{9}")
_ABSOLUTE = re.compile(r"(?<![\w.~])(?:[A-Za-z]:|~)?[/\\](?:[^/\\\"'\[\]]*[/\\])*([^/\\]*)")
_FROM = "from "
_FIRST = re.compile(rf"\({_FROM}(.*?)\)(?: with .*)?$")
_LONGEST_ORIGIN = 500
_EXPECTED = "expected a settings file, or a frame, film or folder of a run"


@dataclass(frozen=True)
class Source:
    """Settings as they were found: the text of a settings file, or values by name."""

    path: Path
    """The file whose folder relative paths start from, and whose name tells the kind of `text`."""
    text: str = ""
    values: Mapping[str, object] | None = None
    notes: tuple[str, ...] = ()
    made_with: str = ""
    """The checkpoint that the source names; "" if none."""


def read_source(path: Path) -> Source:
    """Find the settings in a file or folder. Raises UserError where there are none, saying what the file is instead."""
    if path.is_dir():
        return _read_folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        head = b""  # read_text says what is wrong
    kind = kind_of(head)
    if kind is not None and kind.name != "GIF" and not _is_animated(path, kind.name):
        return _read_picture(path, kind.name)
    if kind is not None or demuxer_of(head) is not None:
        return _read_film(path)
    what = foreign.kind_of_file(head)
    if what:
        raise UserError(f"{path}: this is {what}; {_EXPECTED}")
    return Source(path, read_text(path))


def _is_animated(path: Path, kind: str) -> bool:
    with path.open("rb") as file:
        return kind == "WebP" and file.read(21)[12:16] == b"VP8X" and b"ANIM" in file.read(64)


def _read_folder(folder: Path) -> Source:
    own, old = folder / SETTINGS_FILE, sorted(folder.glob("*_settings.txt"))
    if own.is_file():
        return Source(own, read_text(own))
    if len(old) == 1:
        return Source(old[0], read_text(old[0]))
    several = f"several settings files are in it ({', '.join(each.name for each in old[:3])}); name one"
    raise UserError(f"{folder}: {several if old else f'this is a folder without {SETTINGS_FILE}; {_EXPECTED}'}")


def _read_picture(path: Path, kind: str) -> Source:
    texts = read_texts(path) or {}
    if SETTINGS in texts:
        return Source(path, texts[SETTINGS])
    beside = _settings_beside(path)
    if beside is not None:
        return Source(beside, read_text(beside), notes=(f"{path.name} has no settings in it; taken: {beside.name}",))
    if foreign.is_a1111(texts):
        values, notes, made_with = foreign.settings_of_a1111(texts[PARAMETERS])
        return Source(path, values=values, notes=notes, made_with=made_with)
    what = foreign.describe(f"a {kind} picture", texts)
    raise UserError(f"{path}: {what}; {_EXPECTED}. To start from this picture: init_image={path}")


def _settings_beside(path: Path) -> Path | None:
    """Return the settings file of the run that a frame belongs to by its name and place."""
    match = _FRAME.fullmatch(path.stem)
    if match is None:
        return None
    if match[1]:
        beside = path.with_name(f"{match[1]}_settings.txt")
    else:
        beside = path.resolve().parent.parent / SETTINGS_FILE
        if path.resolve().parent.name != FRAMES_FOLDER:
            return None
    return beside if beside.is_file() else None


def _read_film(path: Path) -> Source:
    comment = read_comment(path) or ""
    if comment.startswith(HEADING):
        return Source(path, comment)
    beside = path.parent / SETTINGS_FILE
    if beside.is_file() and path.name.startswith(path.parent.name):
        return Source(beside, read_text(beside), notes=(f"{path.name} has no settings in it; taken: {beside.name}",))
    what = foreign.describe("a film", foreign.json_texts(comment))
    raise UserError(f"{path}: {what}; {_EXPECTED}. To animate it: video_init_path={path}")


def heading(origin: str = "") -> str:
    """Return the line that begins the settings of a run; `origin` is where they came from, as `describe_origin`."""
    return f"{HEADING} {__version__}" + (f" from {origin}" if origin else "")


def origin_in(text: str) -> str:
    """Return the origin in the heading of a run's settings; "" if it has none."""
    line = text.partition("\n")[0]
    return line.partition(" from ")[2].strip() if line.startswith(HEADING) else ""


def describe_origin(path: Path, overrides: Sequence[str] = (), *, before: str = "") -> str:
    """Return where settings come from, in one line: a file's name as it was given, and the overrides.

    Of absolute paths only the last name is told, as the line is written into pictures and films. `before` is the origin
    of a run whose settings are rendered again; the first one of all is told.
    """
    given = path.name if path.is_absolute() or ".." in path.parts else path.as_posix()
    first = _FIRST.search(before)
    given += f" ({_FROM}{first[1] if first else before})" if before else ""
    words = [shlex.quote(_ABSOLUTE.sub(r"\1", override)) for override in overrides]
    line = given + (f" with {' '.join(words)}" if words else "")
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    return line if len(line) <= _LONGEST_ORIGIN else f"{line[: _LONGEST_ORIGIN - 1]}…"
