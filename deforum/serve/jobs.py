"""The queue of runs as frozen data: jobs, their states, and what may be asked of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from deforum.errors import UserError

State = Literal["queued", "held", "running", "pausing", "paused", "stopping", "finished", "failed", "cancelled"]
STATES: tuple[str, ...] = get_args(State)
OVER: frozenset[State] = frozenset({"finished", "failed", "cancelled"})
"""States in which nothing more happens by itself."""
BUSY: frozenset[State] = frozenset({"running", "pausing", "stopping"})
"""States that take one of the places of runs that render at once. A paused run has freed its memory, and takes none."""

ACTIONS: Mapping[str, Mapping[State, State]] = {
    "pause": {"queued": "held", "running": "pausing"},
    "resume": {"held": "queued", "pausing": "running", "paused": "queued", "failed": "queued", "cancelled": "queued"},
    "cancel": {
        "queued": "cancelled", "held": "cancelled",
        "running": "stopping", "pausing": "stopping", "paused": "stopping",
    },
}  # fmt: skip
"""What may be asked of a job: for each action, the states in which it may, and the state that follows."""


@dataclass(frozen=True)
class Job:
    """A run in the queue. Times are seconds since 1970."""

    id: str
    number: int
    """Names its files."""
    name: str
    """Of the settings file, for people."""
    created: float
    batch: str = ""
    """The batch of Deforum's API that it came with."""
    state: State = "queued"
    attempt: int = 0
    """Number of processes that were started for it: a run that goes on is a new one."""
    pid: int = 0
    """Its process; 0 while it has none."""
    folder: str = ""
    """Folder of the run, below the folder of runs; "" until it has begun."""
    frames: int = 0
    started: float = 0.0
    ended: float = 0.0
    message: str = ""
    """Why it failed."""
    notes: tuple[str, ...] = ()
    """On its settings, from when they were given."""

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(action for action, ways in ACTIONS.items() if self.state in ways)


def asked(job: Job, action: str) -> Job:
    """Return a job after an action was asked of it. Raises NotNow."""
    ways = ACTIONS[action]
    if job.state not in ways:
        able = f"it takes {' or '.join(job.actions)}" if job.actions else "nothing can be asked of it"
        raise NotNow(f"run {job.id} is {job.state}: it cannot {action}; {able}")
    return replace(job, state=ways[job.state])


class NotNow(UserError):
    """An action that the state of a job does not allow."""


class Unknown(UserError):
    """There is nothing of that name."""


@dataclass(frozen=True)
class Queued:
    """The state of the whole queue."""

    jobs: Mapping[str, Job] = field(default_factory=lambda: MappingProxyType({}))
    """By id, in the order in which they are started."""
    is_paused: bool = False
    """Whether no further run is started."""
    last: int = 0
    """The number of the newest job."""
    revision: int = 0
    """Counts the changes."""

    def job(self, id: str) -> Job:
        """Return a job. Raises Unknown."""
        if id not in self.jobs:
            from schedules.quoting import quote

            raise Unknown(f"there is no run {quote(id)} in the queue")
        return self.jobs[id]

    def with_job(self, job: Job) -> Queued:
        """Return the queue with a job, new or changed."""
        jobs = MappingProxyType({**self.jobs, job.id: job})
        return replace(self, jobs=jobs, last=max(self.last, job.number), revision=self.revision + 1)

    def without(self, id: str) -> Queued:
        jobs = MappingProxyType({key: job for key, job in self.jobs.items() if key != id})
        return replace(self, jobs=jobs, revision=self.revision + 1)

    def paused(self, is_paused: bool) -> Queued:
        return replace(self, is_paused=is_paused, revision=self.revision + 1)

    def moved(self, id: str, before: str | None) -> Queued:
        """Return the queue with a job before another one; None: at the end. Raises Unknown."""
        job = self.job(id)
        if before is not None:
            self.job(before)
        jobs: dict[str, Job] = {}
        for key, each in self.jobs.items():
            if key == before:
                jobs[id] = job
            if key != id:
                jobs[key] = each
        jobs.setdefault(id, job)
        return replace(self, jobs=MappingProxyType(jobs), revision=self.revision + 1)


# --- as lines of JSON -------------------------------------------------------------------------------------------------

Line = Mapping[str, Any]


def line_of(job: Job) -> Line:
    return {"job": dataclasses.asdict(job)}


def lines_of(queue: Queued) -> list[Line]:
    """Return the lines from which a queue is read back."""
    return [{"paused": queue.is_paused, "last": queue.last}, *map(line_of, queue.jobs.values())]


def apply(queue: Queued, line: Line) -> Queued:
    """Return the queue after a line. Raises LookupError, TypeError or ValueError for what is none."""
    if "job" in line:
        told = dict(line["job"])
        told["notes"] = tuple(map(str, told.get("notes", ())))
        job = Job(**told)
        if job.state not in STATES:
            raise ValueError(job.state)
        return queue.with_job(job)
    if "forget" in line:
        return queue.without(line["forget"])
    if "move" in line:
        return queue.moved(line["move"], line["before"])
    return replace(queue.paused(bool(line["paused"])), last=max(queue.last, int(line.get("last", 0))))
