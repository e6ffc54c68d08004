"""Waiting for ffmpeg without waiting for ever: a process that does nothing is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deforum.limits import Patience

# A terminal sends Ctrl-C to the whole process group: ffmpeg must not be in ours, or the film ends before its frames do.
OWN_GROUP: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if os.name == "nt"
    else {"start_new_session": True}
)

NICENESS = 10  # added to a program's own; its share of a busy core becomes a tenth of the renderer's


_STOPPED = 2.0
"""Seconds by which a pause is longer than asked for where this process was stopped meanwhile."""


class Watchdog:
    """Stop a process, and what it started, if it does nothing while it is waited for.

        dog = Watchdog(start(command, stdout=subprocess.PIPE), DECODING)
        with dog.waiting():
            frame = process.stdout.read(size)  # ends early where the process is stopped

    Signs of life are the growth of `file` and, up to a longer limit, computing time. Between waits the process may rest
    as long as it likes: it rests while we are slower than it is.
    """

    def __init__(self, process: subprocess.Popen[bytes], patience: Patience, file: Path | None = None) -> None:
        self.process, self.patience = process, patience
        self.stopped_it = False
        """Whether the process was stopped because it did nothing."""
        self._file = file
        self._wait: object | None = None
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Watch the process during the block."""
        self._wait = object()
        try:
            yield
        finally:
            self._wait = None

    def says(self, doing: str) -> str:
        """Return the message for a process that was stopped; `doing` names the task."""
        return f"ffmpeg did nothing for {self.patience.idle:g} seconds while {doing}, and was stopped"

    def _watch(self) -> None:
        idle = busy = time.monotonic()
        wait: object | None = None
        written, computed = -1, -1.0
        while self.process.poll() is None:
            pause = min(1.0, self.patience.idle / 4)
            before = time.monotonic()
            time.sleep(pause)
            now = time.monotonic()
            if now - before > pause + _STOPPED:  # this process was stopped (Ctrl-Z), and could not read or write either
                idle, busy = now, now
            size, ticks = _size(self._file), _computing_time(self.process.pid)
            if self._wait is None or self._wait is not wait or size != written:
                wait, written, computed, idle, busy = self._wait, size, ticks, now, now
            elif ticks != computed or ticks < 0:
                computed, idle = ticks, now
            if wait is not None and (now - idle >= self.patience.idle or now - busy >= self.patience.busy):
                self.stopped_it = True
                kill(self.process)
                return


def start(command: Sequence[str], **pipes: Any) -> subprocess.Popen[bytes]:
    """Start a program in a group of its own, so that it can be stopped with all that it started. Raises OSError."""
    return subprocess.Popen(command, **pipes, **OWN_GROUP)


def give_way(process: subprocess.Popen[bytes]) -> None:
    """Let a program that was just started, and its threads to come, compute in the time that others leave."""
    if os.name != "nt":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, process.pid) + NICENESS)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Stop a program, and what it started, at once."""
    if os.name != "nt":
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()


def _size(file: Path | None) -> int:
    try:
        return -1 if file is None else file.stat().st_size
    except OSError:
        return -1


def _computing_time(pid: int) -> float:
    """Return the processor time of a process in ticks; -1 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return float(sum(map(int, fields[11:15])))
    except (OSError, ValueError):
        return -1.0
