"""Work in other threads, beside the renderer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Do `work` on items in other threads, while at most `waiting` items are held.

    `put` blocks while the line is full, so memory does not grow when the work is slower than what feeds it. The first
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
        """Hand over one item; returns at once unless the line is full."""
        if self._error is not None:
            raise self._error
        self._line.put(item)

    def close(self) -> None:
        """Wait until all items are done; raises the first error."""
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Drop what still waits and let the threads end by themselves."""
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
