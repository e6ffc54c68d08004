"""Work on a picture in strips of rows, which stay in a processor's cache from one step to the next, on two cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")

PIXELS = 32768  # of a strip: a step's arrays of three float32 channels are 200 KB each


def in_strips(work: Callable[[slice], T], height: int, width: int) -> list[T]:
    """Call `work(rows)` for each strip of a picture, and return the results from top to bottom.

    A second thread helps. Both take the next strip as soon as they are free: where its core is busy, it does less.
    """
    rows = max(1, PIXELS // max(width, 1))
    strips = [slice(top, min(top + rows, height)) for top in range(0, height, rows)]
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
