"""Work on a picture in strips of rows, which stay in a processor's cache from one step to the next, on two cores."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PIXELS = 65536  # of a strip that threads share: they hand Python's lock to each other after every step on one
TORCH_ALONE = 32768
"""The most numbers for which torch asks no other threads. Those of OpenMP wait for each other, on cores that the
encoders of pictures and films need: an operation of 0.2 ms then takes 1 to 3 ms."""


def strips_of(height: int, width: int, device: torch.device) -> list[slice]:
    """Return the rows of strips in which torch asks no other threads, for one channel.

    On a render device a picture is one strip.
    """
    return _strips(height, width, TORCH_ALONE) if device.type == "cpu" else [slice(0, height)]


def _strips(height: int, width: int, pixels: int) -> list[slice]:
    rows = max(1, pixels // max(width, 1))
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def alone(work: Callable[[], T]) -> T:
    """Call `work` in a thread for which torch and its matrix products have one core, and wait for it.

    What it computes must be the same on any number of cores: sums over a picture are not.
    """
    import torch

    if torch.get_num_threads() == 1:
        return work()
    as_here = torch.is_inference_mode_enabled()  # holds for a thread

    def run() -> T:
        with torch.inference_mode(as_here):
            return work()

    return _one_core().submit(contextvars.copy_context().run, run).result()


@cache
def _one_core() -> ThreadPoolExecutor:
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, "one core", initializer=torch.set_num_threads, initargs=(1,))
    pool.submit(torch.get_num_threads).result()
    torch.set_num_threads(threads)  # the number last set by any thread is what new threads begin with
    return pool


def in_strips(work: Callable[[slice], T], height: int, width: int) -> list[T]:
    """Call `work(rows)` for each strip of a picture, and return the results from top to bottom.

    A second thread helps. Both take the next strip as soon as they are free: where its core is busy, it does less.
    For steps of OpenCV's that take a tenth of a millisecond or more: with shorter ones the threads mostly wait for
    Python's lock.
    """
    strips = _strips(height, width, PIXELS)
    results: list[T | None] = [None] * len(strips)
    waiting = iter(range(len(strips)))

    def serve(waiting: Iterator[int]) -> None:
        for index in waiting:
            results[index] = work(strips[index])

    helps = _helper().submit(serve, waiting) if len(strips) > 1 and (os.cpu_count() or 1) > 1 else None
    serve(waiting)
    if helps is not None and not helps.cancel():
        helps.result()
    return results  # type: ignore[return-value]  # each strip has its result


@cache
def _helper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="strips")
