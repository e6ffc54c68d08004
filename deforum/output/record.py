"""The record of a run, run.json: what it was made of and with, and what happened to it.

Files of frames have their lines in the ledger beside it; see `deforum.output.ledger`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from deforum import atomic
from deforum.errors import UserError
from deforum.limits import RUN_FILE_SIZE
from deforum.sources import RUN_FILE
from deforum.version import __version__

FORMAT = 1
FIXED = ("width", "height", "animation_mode", "profile", "first_frame", "shots", "shot_cuts")
"""Settings that cannot change within a run: every frame and film would be another one."""
PACKAGES = ("torch", "numpy", "opencv-python-headless", "diffusers", "transformers", "safetensors", "imageio-ffmpeg")
"""Packages whose version may change a picture, or a film."""


_PIECE = re.compile(r"(?:shots|chunks)/[\w-][\w .-]*")
"""Names of the folders of pieces; a record may be a stranger's, and names no folder elsewhere."""


@dataclass(frozen=True)
class SettingsPart:
    """The settings of a run from a frame on."""

    since: int
    """Index of the first frame that they are for; 0 in the first part."""
    settings: str
    """As YAML, resolved."""
    changes: tuple[str, ...] = ()
    """What `--with` changed, as name=value, or what an edit did; empty in the first part."""
    is_whole: bool = False
    """Whether frames before `since` come out the same with these settings, so that they can be rendered on the way."""
    states_since: int = 0
    """Where it is whole: the first frame whose state fits these settings."""
    origin: str = ""
    """Where they came from, as `Loaded.origin`; "": from where the run began."""
    edition: int = 0
    """Number that the files of its frames are recorded with: older ones are replaced."""


@dataclass(frozen=True)
class Happening:
    """Something that happened to a run: began, resumed, stopped, paused, failed, finished."""

    what: str
    when: str
    frames: int
    """Frames that were finished then."""
    why: str = ""
    by: str = ""
    """Process and machine."""


@dataclass(frozen=True)
class Input:
    """A file that frames are made from. The digest of a large one is known some time after the run began."""

    path: str
    bytes: int
    mtime: float
    sha256: str = ""


@dataclass(frozen=True)
class FilmFile:
    """A complete film."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a run's frames that is rendered in a folder of its own: a shot, or a chunk of independent frames."""

    folder: str
    """Within that of the run, with /."""
    name: str
    """For people."""
    first: int
    total: int
    """Its frames, by its own numbers: from `first` to `total` - 1."""
    at: int
    """Index in the run of its first frame."""

    @property
    def place(self) -> range:
        """Its frames, by the numbers of the run."""
        return range(self.at, self.at + self.total - self.first)


@dataclass(frozen=True)
class RunRecord:
    """The contents of run.json."""

    deforum: str
    origin: str
    """Where the settings came from, as `Loaded.origin`."""
    source_sha256: str
    """Digest of the settings file; "" for settings that were no file."""
    asked: str
    """Digest of the settings before anything was resolved: `--continue` finds a run by it."""
    total: int
    parts: tuple[SettingsPart, ...]
    inputs: tuple[Input, ...]
    packages: Mapping[str, str]
    device: str
    threads: int
    machine: str
    is_changed: bool
    """Whether a program changed the stages: only that program can resume the run."""
    notes: tuple[str, ...] = ()
    history: tuple[Happening, ...] = ()
    films: tuple[FilmFile, ...] = ()
    finished: bool = False
    frames_deleted: bool = False
    """Whether the frames were deleted, as asked, when the films were complete."""
    first: int = 0
    """Index of the first frame, where the run is a stretch of its settings' frames; `total` is that after its last."""

    from_pictures: bool = False
    """Whether films are made of the frames' files, although those show less: a finished run has no exact copies."""

    pieces: tuple[Piece, ...] = ()
    """What of it is rendered in folders of its own; the others are rendered here."""
    is_piece: bool = False
    """Whether it is a piece of another run, which makes the films."""

    @property
    def frames(self) -> range:
        """The frames of the run."""
        return range(self.first, self.total)

    def part_of(self, frame: int) -> int:
        """Return the index of the part that a frame belongs to."""
        return max((number for number, part in enumerate(self.parts) if part.since <= frame), default=0)

    def origin_of(self, part: int) -> str:
        """Return where the settings of a part came from."""
        return self.parts[part].origin or self.origin

    @property
    def whole_part(self) -> int:
        """The index of the last part whose settings are those of all frames before it too."""
        return max((number for number, part in enumerate(self.parts) if part.is_whole), default=0)

    def edition_of(self, frame: int) -> int:
        """Return the number that the files of a frame are recorded with."""
        return self.parts[self.part_of(frame)].edition

    def with_event(self, what: str, frames: int, why: str = "") -> RunRecord:
        """Return a record with one more event, now."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        event = Happening(what, now, frames, why, f"process {os.getpid()} on {platform.node()}")
        return replace(self, history=(*self.history, event))

    def write(self, folder: Path) -> None:
        """Write run.json. Raises OSError."""
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)
        atomic.write(folder / RUN_FILE, text.encode("utf-8", "surrogateescape"), durable=True)


def packages() -> dict[str, str]:
    """Return the installed versions of PACKAGES, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    return f"{platform.platform()}, {platform.machine()}"


def read_record(folder: Path) -> RunRecord:
    """Read run.json. Raises UserError where there is none, or where it is damaged."""
    path = folder / RUN_FILE
    try:
        RUN_FILE_SIZE.check(path.stat().st_size, str(path))
        told = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if folder.is_dir() and not any(folder.iterdir()):
            raise UserError(f"{folder}: nothing was rendered into it yet; render the settings file again") from None
        raise UserError(
            f"{folder}: there is no {RUN_FILE} in it; expected the folder of a run of deforum {__version__} or newer. "
            "A film from the frames of any run: the command film"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise UserError(
            f"{path}: damaged; the run cannot be resumed. A film from its frames: the command film"
        ) from None
    if isinstance(told, dict) and told.get("format") != FORMAT:
        raise UserError(f"{path}: of format {told.get('format')}; this version reads format {FORMAT}")
    try:
        return _record(told)
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"{path}: damaged; the run cannot be resumed. A film from its frames: the command film"
        ) from None


def _record(told: dict[str, Any]) -> RunRecord:
    """Build the record from JSON. Raises LookupError, TypeError or ValueError for what is none."""
    lists = {"parts": SettingsPart, "inputs": Input, "history": Happening, "films": FilmFile, "pieces": Piece}
    values = {field.name: told[field.name] for field in dataclasses.fields(RunRecord) if field.name in told}
    for name, kind in lists.items():
        if name in values:
            values[name] = tuple(kind(**each) for each in values[name])
    values["parts"] = tuple(replace(part, changes=tuple(part.changes)) for part in values["parts"])
    values["notes"] = tuple(map(str, values["notes"]))
    record = RunRecord(**values)
    texts = [record.origin, record.deforum, record.device, *(part.settings for part in record.parts)]
    numbers = [record.total, record.threads, record.first]
    numbers += [number for part in record.parts for number in (part.since, part.states_since, part.edition)]
    numbers += [number for piece in record.pieces for number in (piece.first, piece.total, piece.at)]
    texts += [piece.name for piece in record.pieces]
    if not all(_PIECE.fullmatch(piece.folder) and piece.total > piece.first for piece in record.pieces):
        raise ValueError
    names = [film.file for film in record.films]
    if not record.parts or not all(isinstance(text, str) for text in [*texts, *names]):
        raise ValueError
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or any("/" in name for name in names):
        raise ValueError
    return record
