"""The engine `local`: processes on this machine, each with the models that it has loaded.

A worker reads its orders as lines of JSON and writes news as such; it is a process of its own, so that it may die.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from deforum.cluster.tasks import Task
from deforum.cluster.work import Failed, News, carry_out, from_json, of_task, to_json
from deforum.errors import UserError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ROOT = Path(__file__).resolve().parents[2]


def environment(threads: int) -> dict[str, str]:
    """Return what a worker's process needs: its threads, and where this program is."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**dict.fromkeys(THREADS, str(threads)), "PYTHONPATH": path}


class Worker:
    """A process that carries out tasks, one after the other."""

    def __init__(self, name: str, threads: int, told: queue.Queue[tuple[str, News]]) -> None:
        self.name, self.model, self.task = name, "", ""
        """Its task is empty while it is free."""
        self._told = told
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deforum.cluster.local"], env=os.environ | environment(threads), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, name=f"news of {name}", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # what a library printed
                told = json.loads(line)
                self._told.put((str(told.pop("task")), from_json(told)))
        code = self.process.wait()
        if self.task:
            self._told.put((self.task, Failed(f"{self.name} died ({_in_words(code)})")))


class LocalCrew:
    """Workers on this machine, started when they are needed."""

    def __init__(self, workers: int, threads: int) -> None:
        self.size, self._threads = workers, threads
        self._told: queue.Queue[tuple[str, News]] = queue.Queue()
        self.workers: list[Worker] = []
        self._begun = 0

    def takes(self, task: Task) -> bool:
        self.workers = [worker for worker in self.workers if worker.is_alive or worker.task]
        return len(self.workers) < self.size or any(not worker.task and worker.is_alive for worker in self.workers)

    def start(self, task: Task, *, avoid: str = "") -> str:
        free = [worker for worker in self.workers if not worker.task and worker.is_alive]
        free.sort(key=lambda worker: (worker.name == avoid, worker.model != task.resources.model))
        if (not free or free[0].model not in ("", task.resources.model)) and len(self.workers) < self.size:
            self._begun += 1
            self.workers.append(Worker(f"worker {self._begun}", self._threads, self._told))
            free = [self.workers[-1]]
        worker = free[0]
        worker.task, worker.model = task.name, task.resources.model or worker.model
        folder, kind = of_task(task)
        worker.send({"task": task.name, "folder": folder, "kind": kind})
        return worker.name

    def news(self, seconds: float) -> Iterator[tuple[str, News]]:
        try:
            name, news = self._told.get(timeout=seconds)
            while True:
                if type(news).__name__ in ("Done", "Failed"):
                    for worker in self.workers:
                        worker.task = "" if worker.task == name else worker.task
                yield name, news
                name, news = self._told.get_nowait()
        except queue.Empty:
            return

    def stop(self) -> None:
        for worker in self.workers:
            worker.send({"stop": True})

    def close(self) -> None:
        for worker in self.workers:
            worker.task = ""
            assert worker.process.stdin is not None
            with contextlib.suppress(OSError):
                worker.process.stdin.close()
        for worker in self.workers:
            try:
                worker.process.wait(5)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()


def open_crew(address: str, workers: int, threads: int) -> LocalCrew:
    """Start workers here: `local`, or `local://4` for their number. Raises UserError."""
    if address and not address.isdecimal():
        raise UserError(f"--on local://{address}: expected a number of workers, as in local://4")
    return LocalCrew(int(address or 0) or workers or max(1, (os.cpu_count() or 1) // threads), threads)


def _in_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"


def serve() -> None:
    """Carry out the tasks that are read from the standard input, until it ends."""
    from deforum.models.kept import KeptModels

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print does not get among the news
    orders: queue.Queue[dict[str, str] | None] = queue.Queue()
    stopped, models = threading.Event(), KeptModels()

    def read() -> None:
        for line in sys.stdin:
            order = json.loads(line)
            if order.get("stop"):
                stopped.set()
            else:
                orders.put(order)
        stopped.set()
        orders.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (order := orders.get()) is not None:

        def tell(news: News, name: str = order["task"]) -> None:
            print(json.dumps({"task": name, **to_json(news)}), file=out, flush=True)

        carry_out(Path(order["folder"]), order["kind"], tell, models, stopped.is_set)


if __name__ == "__main__":
    serve()
