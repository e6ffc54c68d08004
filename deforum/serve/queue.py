"""The queue of runs: the one owner of its state.

Any thread asks; every change is in the journal before it is answered. A thread of its own starts runs, each a process,
and follows them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deforum import atomic
from deforum.errors import UserError, disk_error
from deforum.output.pause import PAUSE_FILE
from deforum.output.record import read_record
from deforum.serve import process
from deforum.serve.jobs import BUSY, Job, NotNow, Queued, asked, line_of
from deforum.serve.journal import Journal
from deforum.serve.process import Progress
from deforum.sources import RUN_FILE

TICK = 0.2
"""Seconds between two looks at the runs."""
PATIENCE = 30.0
"""Seconds in which a run may finish its frame after it is asked to stop; then it is asked to stop at once."""
AGAIN = 0.5
"""Seconds after which a run that is paused, and has no frame to finish, is asked the second time."""
LAST_PATIENCE = 10.0
"""Seconds after the second time; then it is killed. It can be resumed even so."""


@dataclass(frozen=True)
class Order:
    """A run that is asked for."""

    name: str
    text: str
    """Its settings as YAML, with absolute paths."""
    frames: int
    notes: tuple[str, ...] = ()
    given: Mapping[str, object] | None = None
    """The words of Deforum's API that it came with, to be given back."""
    size: tuple[int, int] | None = None
    """(width, height); None where it is that of the model."""


class Queue:
    """The queue of a folder of runs. `at_once` runs render at the same time.

        with Queue(Path("output")) as queue:
            job, = queue.add([order])
            queue.ask(job.id, "pause")

    Leaving the block stops its runs after their frames; the next server goes on with them.
    Raises UserError where the folder cannot be written, or belongs to another server.
    """

    def __init__(self, runs: Path, *, at_once: int = 1, program: Sequence[str] = process.PROGRAM) -> None:
        self.runs, self._at_once, self._program = runs.resolve(), at_once, program
        self._journal = Journal(self.runs)
        self._state = self._journal.read
        self._progress: dict[str, Progress] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._deadlines: dict[str, tuple[float, bool]] = {}
        """Until when a run that was asked to stop may take, and whether it was asked twice."""
        self._change = threading.Condition(threading.RLock())
        self._closing = False
        self._thread = threading.Thread(target=self._follow, name="queue", daemon=True)

    # --- for any thread ---

    @property
    def state(self) -> Queued:
        return self._state

    def progress(self, id: str) -> Progress:
        """Return how far the process of a job is, or was."""
        job = self._state.job(id)
        with self._change:
            if id not in self._progress and job.attempt:
                self._progress[id] = process.read_on(Progress(), self._events(job))
            return self._progress.get(id, Progress())

    def settings_text(self, id: str) -> str:
        """Return the settings of a job. Raises UserError."""
        path = self._settings(self._state.job(id))
        try:
            return path.read_text("utf-8")
        except (OSError, ValueError):
            raise UserError(f"{path.name}: cannot be read") from None

    def given(self, id: str) -> Mapping[str, object]:
        """Return the words of Deforum's API that a job came with."""
        path = self._settings(self._state.job(id)).with_suffix(".given.json")
        try:
            told = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def add(self, orders: Sequence[Order], *, batch: str = "", places: Sequence[int] = ()) -> list[Job]:
        """Put runs at the end of the queue; they are on the disk when this returns. Raises UserError.

        `places` are their numbers in a batch.
        """
        with self._change:
            now, first = time.time(), self._state.last + 1
            numbers = range(first, first + len(orders))
            ids = [f"{batch}-{place}" for place in places] if batch else list(map(str, numbers))
            jobs = [
                Job(id, number, order.name, now, batch, frames=order.frames, notes=order.notes)
                for id, number, order in zip(ids, numbers, orders, strict=True)
            ]
            for job, order in zip(jobs, orders, strict=True):
                path = self._settings(job)
                try:
                    atomic.write(path, order.text.encode("utf-8", "surrogatepass"), durable=True)
                    if order.given is not None:
                        atomic.write(path.with_suffix(".given.json"), json.dumps(order.given).encode())
                except OSError as error:
                    raise disk_error(error, path) from error
            self._put(*jobs)
        return jobs

    def reject(self, order: Order, message: str, *, batch: str, place: int) -> Job:
        """Note a run of a batch whose settings cannot be rendered: it has failed before it began."""
        with self._change:
            now, number = time.time(), self._state.last + 1
            job = Job(f"{batch}-{place}", number, order.name, now, batch, "failed", ended=now, message=message)
            if order.given is not None:
                with contextlib.suppress(OSError):
                    atomic.write(self._settings(job).with_suffix(".given.json"), json.dumps(order.given).encode())
            self._put(job)
        return job

    def ask(self, id: str, action: str) -> Job:
        """Pause, resume or cancel a run. Raises Unknown, or NotNow where its state does not allow it."""
        with self._change:
            before = self._state.job(id)
            if action == "resume" and before.is_over and not self._settings(before).exists():
                raise NotNow(f"run {id} never began, because its settings cannot be rendered")
            job = asked(before, action)
            if before.is_over:
                job = replace(job, message="", ended=0.0)
            if job.is_over:
                job = replace(job, ended=time.time())
            self._put(job)
            if job.state == "running" and job.pid:
                self._let_go_on(job)
            if job.state == "stopping":
                self._stop(job, at_once=before.state == "paused")
            return job

    def forget(self, id: str) -> None:
        """Take a run that is over off the list; its folder stays. Raises Unknown or NotNow."""
        with self._change:
            job = self._state.job(id)
            if not job.is_over:
                raise NotNow(f"run {id} is {job.state}: cancel it first")
            self._journal.write({"forget": id})
            self._state = self._state.without(id)
            self._progress.pop(id, None)
            for path in self._journal.folder.glob(f"{job.number}.*"):
                path.unlink(missing_ok=True)

    def move(self, id: str, before: str | None) -> None:
        """Put a run before another one of the queue; None: at the end. Raises Unknown."""
        with self._change:
            moved = self._state.moved(id, before)
            self._journal.write({"move": id, "before": before})
            self._state = moved

    def pause_all(self, is_paused: bool) -> None:
        """Start no further run, or start them again; those that render are left alone."""
        with self._change:
            self._journal.write({"paused": is_paused})
            self._state = self._state.paused(is_paused)
            self._change.notify()

    def __enter__(self) -> Queue:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all runs after their frames, and wait for them; they are queued again for the next server."""
        with self._change:
            self._closing = True
            for job in self._alive():
                if job.state != "stopping":
                    self._stop(job, at_once=job.state == "paused")
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._journal.close()

    # --- the thread that follows the runs ---

    def _follow(self) -> None:
        while True:
            with self._change:
                for job in self._alive():
                    self._look(job)
                if self._closing and not self._alive():
                    return
                if not self._closing:
                    self._fill()
                self._change.wait(TICK)

    def _alive(self) -> list[Job]:
        return [job for job in self._state.jobs.values() if job.pid]

    def _put(self, *jobs: Job) -> None:
        """Write jobs down, then have them in the state."""
        self._journal.write(*map(line_of, jobs))
        for job in jobs:
            self._state = self._state.with_job(job)
        self._change.notify()

    def _fill(self) -> None:
        """Start runs while places are free."""
        jobs = self._state.jobs.values()
        free = self._at_once - sum(job.state in BUSY for job in jobs)
        for job in [job for job in jobs if job.state == "queued"][: max(free, 0)]:
            if job.pid:  # it was paused
                self._let_go_on(job)
                self._put(replace(job, state="running"))
            elif not self._state.is_paused:
                self._start(job)

    def _start(self, job: Job) -> None:
        job = replace(job, state="running", attempt=job.attempt + 1, started=job.started or time.time())
        self._let_go_on(job)
        if job.folder and (self.runs / job.folder / RUN_FILE).is_file():
            words = ["render", "--resume", str(self.runs / job.folder)]
        else:
            words = ["render", str(self._settings(job)), "-o", str(self.runs)]
        try:
            child = process.start([*words, "--json", "--progress", "none"], self._events(job), self._log(job),
                                  self._program)  # fmt: skip
        except OSError as error:
            self._put(replace(job, state="failed", ended=time.time(), message=f"no process: {error.strerror}"))
            return
        self._children[job.id] = child
        self._progress[job.id] = Progress()
        self._put(replace(job, pid=child.pid))

    def _look(self, job: Job) -> None:
        """Take note of what the process of a job has done since the last look."""
        child = self._children.get(job.id)
        ended = child.poll() is not None if child is not None else not process.is_alive(self._events(job))
        before = self._progress.get(job.id, Progress())
        progress = self._progress[job.id] = process.read_on(before, self._events(job))
        if progress.updates != before.updates:
            self._state = replace(self._state, revision=self._state.revision + 1)
        if progress.folder and not job.folder:
            job = replace(job, folder=self._name_of(progress.folder))
            self._put(job)
        if ended:
            self._end(job, progress, None if child is None else child.returncode)
        elif job.state == "pausing":
            self._pause(job)
        elif job.state == "stopping" or self._closing:
            self._press(job)

    def _name_of(self, folder: str) -> str:
        """Return the name of a run's folder below the folder of runs; "" for another place."""
        path = Path(folder).resolve()
        return path.relative_to(self.runs).as_posix() if path.is_relative_to(self.runs) else ""

    def _end(self, job: Job, progress: Progress, returncode: int | None) -> None:
        """Take note that the process of a job has ended."""
        self._children.pop(job.id, None)
        self._deadlines.pop(job.id, None)
        job = replace(job, pid=0)
        if progress.status == 0 and not progress.stopped:
            self._put(replace(job, state="finished", ended=time.time()))
        elif job.state == "stopping":
            self._put(replace(job, state="cancelled", ended=time.time()))
        elif self._closing or (returncode is None and progress.status is None):
            # By this server, or together with the server before: the run goes on with the next one.
            self._put(replace(job, state="held" if job.state in ("paused", "pausing") else "queued"))
        elif progress.status in (130, 143) or progress.stopped:
            self._put(replace(job, state="cancelled", ended=time.time(), message="stopped from outside of the queue"))
        else:
            self._put(replace(job, state="failed", ended=time.time(), message=self._why(job, progress, returncode)))

    def _why(self, job: Job, progress: Progress, returncode: int | None) -> str:
        if progress.message:
            return progress.message
        words = process.last_words(self._log(job))
        if returncode is not None and returncode < 0:
            what = f"its process was ended by signal {-returncode}"
            return f"{what}, perhaps because memory was full; resume goes on with it" if returncode == -9 else what
        return f"its process ended with status {returncode}" + (f": {words}" if words else "")

    def _pause(self, job: Job) -> None:
        """Ask a run to pause as soon as it has a folder, and take note when it does."""
        if not job.folder:
            return
        folder = self.runs / job.folder
        with contextlib.suppress(OSError):
            (folder / PAUSE_FILE).touch()
        with contextlib.suppress(UserError, IndexError):
            if read_record(folder).history[-1].what == "paused":
                self._put(replace(job, state="paused"))

    def _let_go_on(self, job: Job) -> None:
        if job.folder:
            with contextlib.suppress(OSError):
                (self.runs / job.folder / PAUSE_FILE).unlink(missing_ok=True)

    def _stop(self, job: Job, *, at_once: bool) -> None:
        """Ask the process of a job to stop."""
        if not job.pid:
            self._put(replace(job, state="cancelled", ended=time.time()))
            return
        process.ask_to_stop(job.pid)
        self._let_go_on(job)
        self._deadlines[job.id] = time.monotonic() + (AGAIN if at_once else PATIENCE), False

    def _press(self, job: Job) -> None:
        """Stop a run that takes too long to stop."""
        until, twice = self._deadlines.setdefault(job.id, (time.monotonic() + PATIENCE, False))
        if time.monotonic() < until:
            return
        if twice:
            process.kill(job.pid)
        else:
            process.ask_to_stop(job.pid)
        self._deadlines[job.id] = time.monotonic() + LAST_PATIENCE, True

    # --- files of jobs ---

    def _settings(self, job: Job) -> Path:
        return self._journal.folder / f"{job.number}.yaml"

    def _events(self, job: Job) -> Path:
        return self._journal.folder / f"{job.number}.{job.attempt}.jsonl"

    def _log(self, job: Job) -> Path:
        return self._journal.folder / f"{job.number}.log"
