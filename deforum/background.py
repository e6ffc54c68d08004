"""A bounded work queue with threads of its own, beside the renderer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Call `work` on items in background threads; the queue holds at most `waiting` items.

    `put` blocks while the queue is full, so that memory is bounded when the work is slower than the caller. The first
    error in a thread is raised by the next `put`, or by `close`; items after it are dropped.
    """

    def __init__(self, work: Callable[[T], None], *, name: str, threads: int = 1, waiting: int = 4) -> None:
        self._work = work
        self._line: queue.Queue[T | None] = queue.Queue(waiting)
        self._error: Exception | None = None
        self._threads = [threading.Thread(target=self._serve, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while (item := self._line.get()) is not None:
            if self._error is None:
                try:
                    self._work(item)
                except Exception as error:
                    self._error = error

    def put(self, item: T) -> None:
        """Queue one item; returns at once unless the queue is full. Raises the first error of the threads."""
        if self._error is not None:
            raise self._error
        self._line.put(item)

    def close(self) -> None:
        """Wait until all items are done. Raises the first error of the threads."""
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Drop the queued items and let the threads end by themselves, without waiting for them."""
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
