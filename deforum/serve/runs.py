"""The folders of runs, as they are on the disk: rendered by this server's queue, by anything else, or long ago.

A run is watched by its files alone, the record and the ledger, which are written as it renders.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from deforum.errors import UserError
from deforum.output.ledger import LEDGER_FILE, Entry, read_entry
from deforum.output.record import RunRecord, read_record
from deforum.serve.jobs import Unknown
from deforum.sources import FRAMES_FOLDER, RUN_FILE, SETTINGS_FILE

DEPTH = 2
"""Levels below the folder of runs in which runs are looked for: those of sweeps have a folder of their own."""
PACE_OF = 30
"""Number of the latest frames that tell the pace."""


@dataclass(frozen=True)
class Frame:
    """A frame that is there."""

    index: int
    file: str
    sha256: str
    seed: int
    seconds: float
    edition: int = 0


@dataclass(frozen=True)
class Stamp:
    """What tells that a run changed: times and sizes of its files."""

    record: tuple[int, int]
    ledger: tuple[int, int]


@dataclass(frozen=True)
class RunView:
    """A run as it is now."""

    name: str
    record: RunRecord
    frames: Mapping[int, Frame]
    """In the order in which they were written; of two files of a frame the later one."""
    read: int = 0
    """Bytes of the ledger that were read."""

    @property
    def total(self) -> int:
        return len(self.record.frames)

    @property
    def done(self) -> int:
        """Number of frames that are there; those that an edit is going to replace do not count."""
        return sum(frame.edition == self.record.edition_of(index) for index, frame in self.frames.items())

    @property
    def is_going(self) -> bool:
        """Whether a process of this machine renders it; runs of other machines are told by their record alone."""
        last = self.record.history[-1] if self.record.history else None
        if last is None or self.record.finished or last.what not in ("began", "resumed", "paused", "edited", "changed"):
            return False
        by = re.fullmatch(r"process (\d+) on (.*)", last.by)
        return by is None or by[2] != platform.node() or _is_there(int(by[1]))

    @property
    def state(self) -> str:
        """finished, rendering, paused, or how it ended."""
        last = self.record.history[-1].what if self.record.history else "began"
        if self.record.finished:
            return "finished"
        if self.is_going:
            return "paused" if last == "paused" else "rendering"
        return last if last in ("stopped", "failed") else "interrupted"

    @property
    def seconds_left(self) -> float | None:
        """Time until the last frame, at the pace of the latest ones; None where it is not known."""
        return seconds_left([frame.seconds for frame in self.frames.values()], self.total - self.done)


def _is_there(pid: int) -> bool:
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def seconds_left(seconds: Sequence[float], left: int) -> float | None:
    """Return the time that `left` frames take at the pace of the latest ones; None while that is not known.

    The first frame is left out: its time has the loading of models in it.
    """
    latest = [each for each in seconds[1:] if each > 0][-PACE_OF:]
    return left * sum(latest) / len(latest) if latest and left > 0 else None


class Runs:
    """The runs below a folder. Names are paths below it, with /.

    Nothing outside of the folder is reached, also not through links. Methods raise Unknown for what is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._views: dict[str, tuple[Stamp, RunView]] = {}

    def names(self) -> list[str]:
        """List the runs, the newest first."""
        found = sorted(self._find(self.root, DEPTH), reverse=True)
        return [name for _, name in found]

    def _find(self, folder: Path, depth: int) -> Iterator[tuple[float, str]]:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
                continue
            record = Path(entry.path, RUN_FILE)
            try:
                yield record.stat().st_mtime, Path(entry.path).relative_to(self.root).as_posix()
            except OSError:
                if depth > 1:
                    yield from self._find(Path(entry.path), depth - 1)

    def folder(self, name: str) -> Path:
        """Return the folder of a run."""
        folder = self._inside(self.root, name)
        if not (folder / RUN_FILE).is_file():
            raise Unknown(f"there is no run {_named(name)} here")
        return folder

    def stamp(self, name: str) -> Stamp:
        folder = self.folder(name)
        return Stamp(_stamp(folder / RUN_FILE), _stamp(folder / LEDGER_FILE))

    def view(self, name: str) -> RunView:
        """Return a run as it is now; only what was written since the last time is read."""
        folder, stamp = self.folder(name), self.stamp(name)
        known = self._views.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            record = known[1].record if known and known[0].record == stamp.record else read_record(folder)
        except UserError as error:
            raise Unknown(str(error)) from None
        before = known[1] if known and known[1].read <= stamp.ledger[1] else None
        view = _read_on(RunView(name, record, {}) if before is None else replace(before, record=record), folder)
        self._views[name] = stamp, view
        return view

    def picture(self, name: str, index: int) -> Path:
        """Return the file of a frame."""
        frame = self.view(name).frames.get(index)
        if frame is None:
            raise Unknown(f"{name} has no frame {index} yet")
        return self.file(name, frame.file)

    def file(self, name: str, file: str) -> Path:
        """Return a file of a run: a frame, a film, subtitles, settings."""
        path = self._inside(self.folder(name), file)
        if not path.is_file():
            raise Unknown(f"{_named(name)} has no file {_named(file)}")
        return path

    def settings_text(self, name: str) -> str:
        """Return the settings of a run."""
        from deforum.settings.document import read_text

        return read_text(self.file(name, SETTINGS_FILE))

    def _inside(self, parent: Path, name: str) -> Path:
        """Return a path below a folder, with all links followed."""
        parts = PurePosixPath(name).parts
        plain = parts and all(not part.startswith(".") and not re.search(r'[\\:\x00-\x1f"]', part) for part in parts)
        if not plain or name.startswith("/"):
            raise Unknown(f"{_named(name)} is nothing below the folder of runs")
        try:
            path = (parent / name).resolve()
        except (OSError, RuntimeError, ValueError):
            path = Path("/")
        if not path.is_relative_to(parent.resolve()) or not path.is_relative_to(self.root):
            raise Unknown(f"{_named(name)} is nothing below the folder of runs")
        return path


def _named(name: str) -> str:
    from schedules.quoting import quote

    return quote(name)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _read_on(view: RunView, folder: Path) -> RunView:
    """Return a view with what its ledger got since; a line that is not whole yet is left for the next time."""
    try:
        with (folder / LEDGER_FILE).open("rb") as file:
            file.seek(view.read)
            content = file.read()
    except OSError:
        return view
    whole = content.rfind(b"\n") + 1
    entries = filter(None, map(read_entry, content[:whole].split(b"\n")[:-1]))
    frames = dict(view.frames)
    for entry in entries:
        if entry.file.startswith(f"{FRAMES_FOLDER}/") and entry.frame in view.record.frames:
            frames.pop(entry.frame, None)
            frames[entry.frame] = _frame(entry)
    return replace(view, frames=frames, read=view.read + whole)


def _frame(entry: Entry) -> Frame:
    seed, seconds = entry.facts.get("seed"), entry.facts.get("seconds")
    return Frame(
        entry.frame, entry.file, entry.sha256, seed if isinstance(seed, int) else -1,
        float(seconds) if isinstance(seconds, int | float) else 0.0, entry.edition,
    )  # fmt: skip


def trace_stages(path: Path) -> Mapping[str, float]:
    """Return the seconds of a trace by stage, by all threads together; empty where it cannot be read."""
    try:
        told: Any = json.loads(path.read_text("utf-8").rstrip().rstrip(",").removesuffix("]") + "]")
    except (OSError, ValueError):
        return {}
    seconds: dict[str, float] = {}
    for event in told if isinstance(told, list) else []:
        if isinstance(event, dict) and event.get("ph") == "X":
            seconds[str(event.get("name"))] = seconds.get(str(event.get("name")), 0.0) + event.get("dur", 0) / 1e6
    return seconds
