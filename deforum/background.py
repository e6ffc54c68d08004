"""Work beside the renderer: a bounded queue with threads of its own, and values that are computed ahead."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from deforum.profiling import WAITING, count, in_context, stage

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


QUEUE_BYTES, QUEUE_LIMITS = 20 * 2**20, (4, 16)
"""Memory for the pictures in a queue, and the smallest and largest number of them."""


def queue_room(size: int) -> int:
    """Return how many items of `size` bytes a queue holds; in-betweens come faster than files are written."""
    least, most = QUEUE_LIMITS
    return max(least, min(most, QUEUE_BYTES // max(size, 1)))


class Background(Generic[T]):
    """Call `work` on items in background threads; the queue holds at most `waiting` items.

    `put` blocks while the queue is full, so that memory is bounded when the work is slower than the caller. The first
    error in a thread is raised by the next `put`, or by `close`; items after it are dropped.
    """

    def __init__(self, work: Callable[[T], None], *, name: str, threads: int = 1, waiting: int = 4) -> None:
        self._work, self._name = work, name
        self._line: queue.Queue[T | None] = queue.Queue(waiting)
        self._error: Exception | None = None
        names = [name] if threads == 1 else [f"{name} {number}" for number in range(1, threads + 1)]
        self._threads = [threading.Thread(target=in_context(self._serve), name=each, daemon=True) for each in names]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while (item := self._line.get()) is not None:
            count(self._name, self._line.qsize())
            if self._error is None:
                try:
                    self._work(item)
                except Exception as error:
                    self._error = error

    def put(self, item: T) -> None:
        """Queue one item; returns at once unless the queue is full. Raises the first error of the threads."""
        if self._error is not None:
            raise self._error
        if self._line.full():
            with stage(WAITING):
                self._line.put(item)
        else:
            self._line.put(item)
        count(self._name, self._line.qsize())

    def close(self) -> None:
        """Wait until all items are done. Raises the first error of the threads."""
        with stage(WAITING):
            for _ in self._threads:
                self._line.put(None)
            for thread in self._threads:
                thread.join()
        self._threads = []
        if self._error is not None:
            raise self._error

    def abandon(self, patience: float = 0.0) -> None:
        """Drop the queued items and let the threads end by themselves; they are waited for at most `patience` s."""
        threads, self._threads = self._threads, []
        for _ in threads:
            while True:
                try:
                    self._line.put_nowait(None)
                    break
                except queue.Full:
                    try:
                        self._line.get_nowait()
                    except queue.Empty:
                        continue
        until = time.monotonic() + patience
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))


class Ahead(Generic[K, T]):
    """Compute a function of keys in a thread, each time for the key that the caller expects next.

    The results are those of `compute`, whether or not the expectation comes true. An error in the thread is raised when
    its key is asked for.
    """

    def __init__(self, compute: Callable[[K], T], *, name: str) -> None:
        self._compute = compute
        self._thread = ThreadPoolExecutor(1, name)
        self._next: tuple[K, Future[T]] | None = None

    def __call__(self, key: K, following: K | None) -> T:
        """Return the value of a key, and begin with that of the following one; None: no other is expected."""
        known, self._next = self._next, None
        found = known[1].result() if known is not None and known[0] == key else self._compute(key)
        if following is not None:
            self._next = following, self._thread.submit(in_context(self._compute), following)
        return found
