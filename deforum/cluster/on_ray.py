"""The engine `ray`: workers are Ray actors, each with the models that it has loaded, on any machine of a cluster.

Frames come home through storage that all machines share, where there is one at the same path, else as objects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray as untyped_ray

from deforum.cluster.local import environment
from deforum.cluster.parcel import Arrived, Homecoming, Parcel, is_whole_run, pack, render_parcel
from deforum.cluster.tasks import Task
from deforum.cluster.work import Done, Failed, News, carry_out, failure_of, of_task
from deforum.errors import UserError
from deforum.needs import gigabytes

ray: Any = untyped_ray  # its own annotations do not know of actors

STORE_BYTES = 200 << 20
"""Object store of a cluster that is started here: frames pass through it one by one."""
MOST_WAITING = 64
"""News of a task that are not taken yet; then it waits."""


class Worker:
    """What runs in an actor: tasks, one after the other."""

    def __init__(self) -> None:
        from deforum.models.kept import KeptModels

        self._models, self._stopped = KeptModels(), threading.Event()

    def sees(self, path: str, token: str) -> tuple[str, bool]:
        """Return what this worker is called, and whether it shares a folder with who asks: by a file with a token."""
        try:
            shares = Path(path).read_text() == token
        except OSError:
            shares = False
        return f"process {os.getpid()} on {os.uname().nodename}", shares

    def stop(self) -> None:
        self._stopped.set()

    def work(self, order: tuple[str, str] | Parcel) -> Iterator[News | Arrived]:
        """Carry out a task, or render a parcel; yield the news."""
        told: queue.Queue[News | Arrived | None] = queue.Queue(MOST_WAITING)

        def go() -> None:
            try:
                if isinstance(order, Parcel):
                    render_parcel(order, told.put, self._models, self._stopped.is_set)
                else:
                    carry_out(Path(order[0]), order[1], told.put, self._models, self._stopped.is_set)
            finally:
                told.put(None)

        threading.Thread(target=go, name="task", daemon=True).start()
        while (news := told.get()) is not None:
            yield news


Kind = tuple[int, int]
"""GPUs and bytes that a worker has."""


@dataclass
class Hand:
    """A worker, as the crew knows it."""

    name: str
    actor: Any
    kind: Kind
    shares: bool = True
    model: str = ""
    task: Task | None = None
    stream: Any = None
    """The news of its task."""
    home: Homecoming | None = None
    last: News | None = field(default=None, repr=False)


class RayCrew:
    """Workers of a Ray cluster, started when a task needs them, and kept for further ones."""

    def __init__(self, workers: int, threads: int) -> None:
        have = ray.cluster_resources()
        self._most, self._threads = workers, threads
        self._cpus, self._gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
        self.size = workers or max(1, self._gpus or self._cpus // threads)
        self._bytes = max((int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]), default=0)
        self.hands: list[Hand] = []
        self._of_here: queue.SimpleQueue[tuple[str, News]] = queue.SimpleQueue()

    def takes(self, task: Task) -> bool:
        return self._free(task) is not None or self._has_room()

    def _has_room(self) -> bool:
        """Whether one more worker can be; of another kind one takes the place of a worker that is free."""
        return len(self.hands) < self.size or any(hand.task is None for hand in self.hands)

    def _kind(self, task: Task) -> Kind:
        gpus = min(task.resources.gpus, self._gpus)
        return gpus, task.resources.bytes

    def _free(self, task: Task, avoid: str = "") -> Hand | None:
        gpus, size = self._kind(task)
        free = [hand for hand in self.hands if hand.task is None and hand.kind[0] >= gpus and hand.kind[1] >= size]
        free.sort(key=lambda hand: (hand.name == avoid, hand.model != task.resources.model, hand.kind))
        return free[0] if free else None

    def start(self, task: Task, *, avoid: str = "") -> str:
        hand = self._free(task, avoid)
        other = hand is None or hand.name == avoid or hand.model not in ("", task.resources.model)
        if hand is None or (other and len(self.hands) < self.size):
            try:
                hand = self._hire(task)
            except UserError as error:
                self._of_here.put((task.name, failure_of(error)))
                return "no worker"
        hand.task, hand.model, hand.last = task, task.resources.model or hand.model, None
        try:
            order: tuple[str, str] | Parcel = of_task(task)
            if not hand.shares:
                parcel = pack(task.folder) if task.kind == "render" else None
                if parcel is None:
                    # What is left needs all frames, which are here.
                    hand.task = None
                    return self._do_here(task)
                order, hand.home = parcel, Homecoming(task.folder)
            hand.stream = hand.actor.work.options(num_returns="streaming").remote(order)
        except UserError as error:
            hand.task = None
            self._of_here.put((task.name, failure_of(error)))
        return hand.name

    def _do_here(self, task: Task) -> str:
        """Do in this process what needs all frames of a run, which are here."""
        from deforum.models.kept import KeptModels

        def go() -> None:
            carry_out(
                task.folder, task.kind, lambda news: self._of_here.put((task.name, news)), KeptModels(), lambda: False
            )

        threading.Thread(target=go, name=task.name, daemon=True).start()
        return "this process"

    def _hire(self, task: Task) -> Hand:
        """Start a worker for a task, in place of one that is free where there is no room."""
        if len(self.hands) >= self.size:
            idle = next(hand for hand in self.hands if hand.task is None)
            self.hands.remove(idle)
            ray.kill(idle.actor)
        gpus, size = kind = self._kind(task)
        if size > self._bytes:
            raise UserError(
                f"{task.name} needs about {gigabytes(size)} of memory, and no machine of the cluster has more than "
                f"{gigabytes(self._bytes)} to give"
            )
        actor = (
            ray.remote(Worker)
            .options(
                num_cpus=min(self._threads, self._cpus), num_gpus=gpus, memory=size, max_concurrency=4,
                runtime_env={"env_vars": environment(self._threads)},
            )
            .remote()
        )  # fmt: skip
        token, path = secrets.token_hex(8), task.run / f".shared_{os.getpid()}"
        path.write_text(token)
        try:
            name, shares = ray.get(actor.sees.remote(str(path.absolute()), token))
        except ray.exceptions.RayError as error:
            raise UserError(f"ray: a worker cannot be started: {str(error).splitlines()[0]}") from error
        finally:
            path.unlink(missing_ok=True)
        self.hands.append(Hand(name, actor, kind, shares))
        return self.hands[-1]

    def news(self, seconds: float) -> Iterator[tuple[str, News]]:
        while not self._of_here.empty():
            yield self._of_here.get()
        streams = {hand.stream: hand for hand in self.hands if hand.stream is not None}
        if not streams:
            threading.Event().wait(min(seconds, 0.05))
            return
        ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0)
        if not ready:
            ready, _ = ray.wait(list(streams), num_returns=1, timeout=seconds)
        for stream in ready:
            hand = streams[stream]
            assert hand.task is not None
            name = hand.task.name
            try:
                news: News | Arrived = ray.get(next(stream))
            except StopIteration:
                yield from self._end(hand, hand.last or Failed(f"{hand.name} ended without a word"))
                continue
            except ray.exceptions.RayError as error:
                dead = isinstance(error, ray.exceptions.RayActorError)
                ended = Failed(f"{hand.name} died" if dead else f"{hand.name}: {error}")
                if dead:
                    self.hands.remove(hand)
                yield from self._end(hand, ended)
                continue
            if isinstance(news, Arrived):
                try:
                    assert hand.home is not None
                    hand.home.take(news)
                except OSError as error:
                    hand.last = Failed(f"{hand.task.folder}: {error.strerror}")
            elif isinstance(news, Done | Failed):
                hand.last = hand.last or news
            else:
                yield name, news

    def _end(self, hand: Hand, news: News) -> Iterator[tuple[str, News]]:
        """Free a worker at the end of its task, and yield the news of that, unless there are films to be made."""
        task, home = hand.task, hand.home
        hand.task = hand.stream = hand.home = None
        assert task is not None
        if home is not None:
            news = home.close(news)
            if isinstance(news, Done) and not news.stopped and is_whole_run(task.folder):
                self._do_here(task)
                return
        yield task.name, news

    def stop(self) -> None:
        for hand in self.hands:
            if hand.task is not None:
                hand.actor.stop.remote()

    def close(self) -> None:
        for hand in self.hands:
            if hand.home is not None:
                hand.home.close(Failed("closed"))
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(hand.actor)
        self.hands.clear()
        ray.shutdown()


def open_crew(address: str, workers: int, threads: int) -> RayCrew:
    """Connect to a Ray cluster, or start one on this machine. Raises UserError where it does not answer."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            ray.init(address if address == "auto" else f"ray://{address}", **quiet)
        else:
            cpus = max((os.cpu_count() or 1), workers * threads)
            ray.init(
                address="local", _node_ip_address="127.0.0.1", include_dashboard=False, num_cpus=cpus,
                object_store_memory=STORE_BYTES, **quiet,
            )  # fmt: skip
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise UserError(f"--on ray://{address}: {str(error).splitlines()[0]}") from error
    return RayCrew(workers, threads)
