"""Carrying out a plan: which task goes to a worker next, and what happens where one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deforum.cluster.tasks import Plan, Task, check_plan
from deforum.cluster.work import Done, Failed, Frames, News, Said

RETRIES = 3
"""How often a task is tried again after its worker died, or after an error that is nobody's mistake."""
LOCKED_SECONDS = 2.0
"""Wait for the lock of a folder: that of a dead process on another machine goes some time after it."""
MOST_LOCKED = 60


class Crew(Protocol):
    """Workers, of one of the engines."""

    @property
    def size(self) -> int:
        """About how many tasks can go at once."""

    def takes(self, task: Task) -> bool:
        """Whether a worker is free for a task."""

    def start(self, task: Task, *, avoid: str = "") -> str:
        """Give a task to a worker, not to the one named `avoid` where there are others; return the worker's name."""

    def news(self, seconds: float) -> Iterable[tuple[str, News]]:
        """Wait for news of tasks, by their names; of a worker that died, Failed."""

    def stop(self) -> None:
        """Ask all tasks to stop after their frame."""

    def close(self) -> None:
        """End the workers."""


@dataclass
class Ending:
    """How a task ended."""

    state: str = "not begun"
    """done, failed, stopped, or not begun."""
    why: str = ""
    tries: int = 0
    workers: list[str] = field(default_factory=list)


Watch = Callable[[Task, News | str], None]
"""Told of each task's news, and in words of what happens to it."""


def carry_out_plan(
    plan: Plan, crew: Crew, watch: Watch, *, stop: Callable[[], bool] = lambda: False, retries: int = RETRIES
) -> Mapping[str, Ending]:
    """Carry out a plan; return how each task ended. A failed one stops none but those that come after it."""
    check_plan(plan)
    tasks = {task.name: task for task in plan}
    endings = {task.name: Ending() for task in plan}
    waiting: dict[str, float] = dict.fromkeys(tasks, 0.0)
    running: set[str] = set()
    locked: dict[str, int] = {}
    is_stopped = False

    def order(name: str) -> tuple[bool, int]:
        """What completes a run goes first, then the longest: so the last one that is waited for is short."""
        return tasks[name].kind == "render", -tasks[name].frames

    while running or (waiting and not is_stopped):
        if stop() and not is_stopped:
            is_stopped = True
            crew.stop()
        for name in [] if is_stopped else sorted(waiting, key=order):
            task, ending = tasks[name], endings[name]
            before = [endings[other].state for other in task.after]
            if any(state in ("failed", "not done") for state in before):
                ending.state, ending.why = "not done", "what it needs failed"
                del waiting[name]
            elif all(state == "done" for state in before) and time.monotonic() >= waiting[name] and crew.takes(task):
                del waiting[name]
                worker = crew.start(task, avoid=ending.workers[-1] if ending.workers else "")
                ending.workers.append(worker)
                ending.tries += 1
                ending.state = "going"
                running.add(name)
        for name, news in crew.news(0.2):
            if name not in running:
                continue
            task, ending = tasks[name], endings[name]
            watch(task, news)
            match news:
                case Done(stopped):
                    ending.state = "stopped" if stopped else "done"
                    running.discard(name)
                case Failed(why, is_final, is_locked):
                    running.discard(name)
                    ending.state, ending.why = "failed", why
                    locked[name] = locked.get(name, 0) + is_locked
                    again = locked[name] <= MOST_LOCKED if is_locked else ending.tries - locked[name] <= retries
                    if again and not is_final and not is_stopped:
                        ending.state = "waiting"
                        waiting[name] = time.monotonic() + LOCKED_SECONDS * is_locked
                        if not is_locked:
                            watch(task, f"{why.splitlines()[0]}; it goes on from its last state on another worker")
                case Frames() | Said():
                    pass
    for ending in endings.values():
        if ending.state in ("waiting", "going"):
            ending.state = "stopped"
    return endings


def failures(plan: Sequence[Task], endings: Mapping[str, Ending]) -> list[str]:
    """Return a line on each task that failed."""
    lines = []
    for task in plan:
        ending = endings[task.name]
        if ending.state == "failed":
            tries = f", tried {ending.tries} times (on {', '.join(dict.fromkeys(ending.workers))})"
            lines.append(f"{task.name}: {ending.why}" + (tries if ending.tries > 1 else ""))
    return lines
