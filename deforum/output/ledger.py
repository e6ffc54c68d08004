"""The ledger of a run: a line of JSON for each file of a frame, appended as files are written.

    {"file": "frames/000000012.png", "frame": 12, "sha256": "...", "bytes": 44031, "seed": 19, "seconds": 0.48}

A line that was cut short by a kill is dropped; of two lines on one file the later one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deforum import atomic
from deforum.errors import UserError, disk_error
from deforum.output import lock
from deforum.sources import FRAMES_FOLDER

LEDGER_FILE = "frames.jsonl"
EDITION = "edition"
_NAME = re.compile(r"(?:\w+/){1,2}[\w.]+")
"""Names of files in a run's folder; a ledger may be a stranger's, and names no file elsewhere."""


@dataclass(frozen=True)
class Entry:
    """A file of a frame, as it was written."""

    file: str
    """Path in the folder of the run, with /."""
    frame: int
    sha256: str
    bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of pictures: seed, and the seconds since the picture before. After an edit, its number (`edition`)."""

    @property
    def edition(self) -> int:
        """Number of the edit that it was written in; 0 before any."""
        found = self.facts.get(EDITION, 0)
        return found if isinstance(found, int) else 0

    @property
    def line(self) -> str:
        told = {"file": self.file, "frame": self.frame, "sha256": self.sha256, "bytes": self.bytes, **self.facts}
        return json.dumps(told) + "\n"


def read_entries(folder: Path) -> dict[str, Entry]:
    """Read the ledger of a run, by file; without one it is empty. Raises UserError where it cannot be read."""
    try:
        text = (folder / LEDGER_FILE).read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{folder / LEDGER_FILE}: cannot be read: {error.strerror}") from error
    found = {}
    for line in text.split(b"\n")[:-1]:
        entry = read_entry(line)
        if entry is not None:
            found[entry.file] = entry
    return found


def read_entry(line: bytes) -> Entry | None:
    try:
        told = json.loads(line)
        file, frame, sha256, size = (told.pop(name) for name in ("file", "frame", "sha256", "bytes"))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    right = isinstance(file, str) and isinstance(frame, int) and isinstance(sha256, str) and isinstance(size, int)
    return Entry(file, frame, sha256, size, told) if right and _NAME.fullmatch(file) and ".." not in file else None


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_whole(folder: Path, entry: Entry) -> bool:
    """Whether a file is there as it was written."""
    path = folder / entry.file
    try:
        return path.stat().st_size == entry.bytes and digest(path.read_bytes()) == entry.sha256
    except OSError:
        return False


class Ledger:
    """Write files of a run, and the lines on them; any thread may.

    Holds the lock of the run while it is open. Raises UserError where another process holds it, or where the ledger
    cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = read_entries(folder)
        self.edition_of: Callable[[int], int] = lambda frame: 0
        """Returns the number of the edit that a frame is written in."""
        path = folder / LEDGER_FILE
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._number = os.open(path, flags, 0o666)
        except OSError as error:
            raise disk_error(error, path) from error
        if not lock.hold(self._number):
            os.close(self._number)
            raise Locked(folder)
        self._change = threading.Condition()
        self._expected: set[str] = set()
        self._unsynced: set[str] = set()
        self._broken: OSError | None = None
        """The first error of a write."""
        self._end_last_line()

    def _end_last_line(self) -> None:
        """Cut off a line that was not written to its end."""
        content = (self.folder / LEDGER_FILE).read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._number, whole)

    def name_of(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def expect(self, path: Path) -> None:
        """Announce a file that will be saved: `settle` waits for it."""
        with self._change:
            self._expected.add(self.name_of(path))

    def save(self, path: Path, frame: int, content: bytes, **facts: object) -> None:
        """Write a file and its line; a missing folder is created. A file that is there as it should be is left alone.

        Raises OSError.
        """
        name = self.name_of(path)
        edition = self.edition_of(frame)
        entry = Entry(name, frame, digest(content), len(content), facts | ({EDITION: edition} if edition else {}))
        try:
            self._write(path, entry, content)
        except OSError as error:
            with self._change:
                self._broken = error
                self._change.notify_all()
            raise
        with self._change:
            self.entries[name] = entry
            self._expected.discard(name)
            self._unsynced.add(name)
            self._change.notify_all()

    def _write(self, path: Path, entry: Entry, content: bytes) -> None:
        name = entry.file
        known = self.entries.get(name)
        if known is None or known.sha256 != entry.sha256 or not path.is_file() or path.stat().st_size != entry.bytes:
            # The run's folder itself is not made again: somebody removed it, or its disk is not there any more.
            for parent in reversed(Path(name).parents[:-1]):
                (self.folder / parent).mkdir(exist_ok=True)
            atomic.write(path, content)
            os.write(self._number, entry.line.encode())
        elif known.edition != entry.edition:
            os.write(self._number, entry.line.encode())

    def adopt(self, source: Path, entry: Entry) -> None:
        """Take a whole file of another run as the file of an entry: linked, or copied where that cannot be.

        Raises OSError.
        """
        target = self.folder / entry.file
        for parent in reversed(Path(entry.file).parents[:-1]):
            (self.folder / parent).mkdir(exist_ok=True)
        working = target.with_name(target.name + atomic.UNFINISHED)
        working.unlink(missing_ok=True)
        try:
            os.link(source, working)
        except OSError:
            shutil.copyfile(source, working)
        os.replace(working, target)
        os.write(self._number, entry.line.encode())
        with self._change:
            self.entries[entry.file] = entry
            self._unsynced.add(entry.file)

    def settle(self, is_over: Callable[[], bool]) -> bool:
        """Wait until every file that is announced by now is written, and all lines and files are on the disk.

        Stops waiting when `is_over`, or when a file could not be written; the answer is then False. Raises OSError.
        """
        with self._change:
            awaited = set(self._expected)
            while awaited & self._expected and not is_over() and self._broken is None:
                self._change.wait(0.2)
            if is_over() or self._broken is not None:
                return False
            written, self._unsynced = self._unsynced, set()
        for path in sorted({self.folder / name for name in written}):
            atomic.sync(path)
        for folder in sorted({(self.folder / name).parent for name in written}):
            atomic.sync(folder)
        os.fsync(self._number)
        return True

    def frames_bytes(self) -> int:
        """Return the size of all pictures."""
        return sum(entry.bytes for entry in self.pictures())

    def pictures(self) -> list[Entry]:
        """List the entries of pictures."""
        with self._change:
            return [entry for name, entry in self.entries.items() if name.startswith(f"{FRAMES_FOLDER}/")]

    def forget(self, names: Iterable[str]) -> None:
        """Drop files that are not there as they were written, so that they are written again."""
        for name in names:
            self.entries.pop(name, None)

    def close(self) -> None:
        """Release the lock."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


class Locked(UserError):
    """Another process renders into the folder."""

    def __init__(self, folder: Path, last: str = "") -> None:
        since = f" ({last})" if last else ""
        super().__init__(f"{folder}: this run is going{since}; wait for it, or stop it with Ctrl-C, then resume it")
