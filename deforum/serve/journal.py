"""The queue on the disk: a line of JSON for each change, appended and synced before it is answered.

A line that was cut short by a kill is dropped. The journal is written anew when a server opens it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from deforum import atomic
from deforum.errors import UserError, disk_error
from deforum.limits import RUN_FILE_SIZE
from deforum.output import lock
from deforum.serve.jobs import Line, NotNow, Queued, Unknown, apply, lines_of

STATE_FOLDER = ".deforum_serve"
"""In the folder of runs: the queue, and the files of its jobs."""
JOURNAL_FILE, LOCK_FILE = "queue.jsonl", "lock"


class Journal:
    """The journal of a folder of runs; one server at a time holds it. Raises UserError."""

    def __init__(self, runs: Path) -> None:
        self.folder = runs / STATE_FOLDER
        self.path = self.folder / JOURNAL_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        if not lock.hold(self._lock):
            os.close(self._lock)
            raise UserError(f"{runs}: another server has the queue of this folder; stop it, or choose another with -o")
        try:
            queue = read_queue(self.path)
            text = "".join(json.dumps(line) + "\n" for line in lines_of(queue))
            atomic.write(self.path, text.encode(), durable=True)
            self._number = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            os.close(self._lock)
            raise disk_error(error, self.path) from error
        self.read = queue
        """The queue as it was found."""

    def write(self, *lines: Line) -> None:
        """Append lines; when this returns, they are on the disk. Raises UserError where they cannot be written."""
        try:
            os.write(self._number, "".join(json.dumps(line) + "\n" for line in lines).encode())
            os.fsync(self._number)
        except OSError as error:
            raise disk_error(error, self.path) from error

    def close(self) -> None:
        os.close(self._number)
        os.close(self._lock)


def read_queue(path: Path) -> Queued:
    """Read a journal; without one the queue is empty. Lines that are damaged are left out. Raises UserError."""
    try:
        RUN_FILE_SIZE.check(path.stat().st_size, str(path))
        content = path.read_bytes()
    except FileNotFoundError:
        return Queued()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    queue = Queued()
    for line in content.split(b"\n")[:-1]:
        try:
            queue = apply(queue, json.loads(line))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, NotNow, Unknown):
            continue
    return queue
