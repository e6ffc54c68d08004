"""Previews of the motion of settings as they are typed: films, made by the command `preview` in a process of its own.

One is made at a time; a newer one takes the place of one that is being made. The latest few are kept.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from deforum.errors import UserError, disk_error
from deforum.serve import process
from deforum.serve.jobs import NotNow, Unknown
from deforum.serve.process import PROGRAM, Progress
from deforum.serve.queue import Order

SIDE = 512
"""px; the longer side of a preview is at most this."""
LEAST_SCALE = 1 / 16
PATIENCE = 120.0
"""Seconds until a preview is given up."""
KEPT = 4


@dataclass(frozen=True)
class Preview:
    """A film of the motion. `address` is where the server has it."""

    address: str
    notes: tuple[str, ...]


class Previews:
    """The previews of a server, in a temporary folder while the block runs."""

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="deforum_previews_")
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._number = 0
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Previews:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._next()
        with self._turn:
            self._folder.cleanup()

    def file(self, number: int) -> Path:
        """Return the film of a preview. Raises Unknown for one that is not kept any more."""
        path = Path(self._folder.name, f"{number}.mp4")
        if not path.is_file():
            raise Unknown(f"preview {number} is not kept any more; make it again")
        return path

    def make(self, order: Order, size: tuple[int, int] | None) -> Preview:
        """Make the preview of settings whose frames are of this size (width, height).

        Raises UserError where it cannot be made, and NotNow where a newer one was asked for meanwhile.
        """
        number = self._next()
        with self._turn:
            if number != self._number:
                raise _newer()
            return self._make(order, number, min(1.0, SIDE / max(size)) if size else 1.0)

    def _next(self) -> int:
        """Begin a preview: the one that is being made ends."""
        with self._lock:
            self._number += 1
            if self._child is not None:
                process.kill(self._child.pid)
            return self._number

    def _make(self, order: Order, number: int, scale: float) -> Preview:
        folder = Path(self._folder.name)
        settings, film = folder / "settings.yaml", folder / f"{number}.mp4"
        events, log = folder / f"{number}.jsonl", folder / "log"
        try:
            settings.write_text(order.text, "utf-8", "surrogatepass")
            words = ["preview", str(settings), "-o", str(film), "--scale", f"{max(scale, LEAST_SCALE):.6g}"]
            with self._lock:
                if number != self._number:
                    raise _newer()
                self._child = process.start([*words, "--json", "--progress", "none"], events, log, self._program)
        except OSError as error:
            raise disk_error(error, folder) from error
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill(self._child.pid)
            self._child.wait()
            raise UserError(
                f"the preview took more than {PATIENCE:.0f} s; the command preview has no such limit"
            ) from None
        finally:
            with self._lock:
                status, self._child = self._child.returncode, None
        if number != self._number:
            raise _newer()
        progress = process.read_on(Progress(), events)
        if status or not film.is_file():
            raise UserError(progress.message or f"no preview: {process.last_words(log)}")
        for old in range(number - KEPT):
            for path in (folder / f"{old}.mp4", folder / f"{old}.jsonl"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return Preview(f"/api/previews/{number}", progress.notes)


def _newer() -> NotNow:
    return NotNow("a newer preview was asked for")
