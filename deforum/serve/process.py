"""A run as a process of its own, by the command line: a crash of one stops nothing else.

The process writes its events, lines of JSON, into a file. It holds a lock on that file from its first moment to its
last: by that a server that was started again knows which runs still go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import deforum
from deforum.output import lock

PROGRAM: Sequence[str] = (sys.executable, "-m", "deforum")
TOKEN_VARIABLE = "DEFORUM_TOKEN"
"""Environment variable with the token of the server; runs do not get it."""
MOST_NOTES = 100
LAST_WORDS = 2000
"""Bytes from the end of a log that tell why a process ended."""


def start(words: Sequence[str], events: Path, log: Path, program: Sequence[str] = PROGRAM) -> subprocess.Popen[bytes]:
    """Start the command line with its standard output in `events`, and its messages in `log`. Raises OSError."""
    package = str(Path(deforum.__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment.pop(TOKEN_VARIABLE, None)
    with events.open("wb") as out, log.open("ab") as errors:
        lock.hold(out.fileno())  # belongs to the open file, which the process has alone when this block ends
        return subprocess.Popen(
            [*program, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment,
            start_new_session=True,  # Ctrl-C in the server's terminal is for the server, which then stops its runs
        )  # fmt: skip


def is_alive(events: Path) -> bool:
    """Whether the process that writes a file of events still is there."""
    try:
        number = os.open(events, os.O_RDWR)
    except OSError:
        return False
    try:
        return not lock.hold(number)
    finally:
        os.close(number)


def ask_to_stop(pid: int) -> None:
    """Let a run stop after its frame, or at once when it is asked the second time; it can be resumed in both cases."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


def last_words(log: Path) -> str:
    """Return the last line of a log, with what it says before a traceback left out; "" if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LAST_WORDS))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a process is, by its events."""

    offset: int = 0
    """Bytes of the file that were read."""
    folder: str = ""
    """Path of the run's folder; "" until it is loaded."""
    done: int = 0
    total: int = 0
    frame: int = -1
    prompt: str = ""
    step: str = ""
    """The step behind the render that is being made."""
    step_done: int = 0
    step_total: int = 0
    updates: int = 0
    """Number of events."""
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds on the rendering thread, by stage, over all frames so far."""
    timed: int = 0
    """Number of those frames."""
    notes: tuple[str, ...] = ()
    message: str = ""
    """The last error."""
    video: str = ""
    stopped: bool = False
    status: int | None = None
    """The exit status; None until the result is there."""

    @property
    def phase(self) -> str:
        """What is being done: preparing, rendering, finishing (films and steps), done."""
        if self.status is not None:
            return "done"
        if not self.folder:
            return "preparing"
        return "finishing" if self.step or (self.total and self.done >= self.total) else "rendering"


def advance(progress: Progress, events: Iterable[Mapping[str, Any]]) -> Progress:
    """Return the progress after events of `--json`."""
    for event in events:
        progress = _after(replace(progress, updates=progress.updates + 1), event)
    return progress


def _after(progress: Progress, event: Mapping[str, Any]) -> Progress:
    match event.get("event"):
        case "prepared":
            return replace(progress, total=int(event["frames"]))
        case "loaded":
            return replace(progress, folder=str(event["folder"]), total=int(event["total"]))
        case "times":
            seconds = {str(stage): float(spent) for stage, spent in event["seconds"].items()}
            summed = {stage: progress.times.get(stage, 0.0) + spent for stage, spent in seconds.items()}
            return replace(progress, times={**progress.times, **summed}, timed=progress.timed + 1)
        case "frame":
            shown = str(event["prompt"])
            return replace(progress, frame=int(event["frame"]), done=int(event["done"]), prompt=shown)
        case "note":
            return replace(progress, notes=(*progress.notes, str(event["text"]))[-MOST_NOTES:])
        case "step":
            return replace(progress, step=str(event["text"]), step_done=0, step_total=int(event["total"]))
        case "step_frame":
            return replace(progress, step_done=int(event["done"]))
        case "error":
            return replace(progress, message=str(event["message"]))
        case "finished":
            video = str(event["video"] or "")
            return replace(progress, video=video, stopped=bool(event["stopped"]), folder=str(event["folder"]))
        case "result":
            return replace(progress, status=int(event["status"]))
    return progress


def read_on(progress: Progress, events: Path) -> Progress:
    """Return the progress after what was written since; a line that is not whole yet is left for the next time."""
    try:
        with events.open("rb") as file:
            file.seek(progress.offset)
            content = file.read()
    except OSError:
        return progress
    whole = content.rfind(b"\n") + 1
    if not whole:
        return progress
    found = []
    for line in content[:whole].split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            told = json.loads(line) if line else None
            if isinstance(told, dict):
                found.append(told)
    with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
        progress = advance(progress, found)
    return replace(progress, offset=progress.offset + whole)
