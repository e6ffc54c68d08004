"""Work on a picture in strips of rows, which stay in a processor's cache from one step to the next, on two cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PIXELS = 32768  # of a strip: a step's arrays of three float32 channels are 390 KB each
TORCH_ALONE = 32768
"""The most numbers for which torch asks no other threads. Those of OpenMP wait for each other, on cores that the
encoders of pictures and films need: an operation of 0.2 ms then takes 1 to 3 ms."""


def in_strips(work: Callable[[slice], T], height: int, width: int, device: torch.device | None = None) -> list[T]:
    """Call `work(rows)` for each strip of a picture, and return the results from top to bottom.

    A second thread helps. Both take the next strip as soon as they are free: where its core is busy, it does less.
    On a render device a picture is one strip.
    """
    import torch

    if device is not None and device.type != "cpu":
        return [work(slice(0, height))]
    rows = max(1, PIXELS // max(width, 1))
    strips = [slice(top, min(top + rows, height)) for top in range(0, height, rows)]
    results: list[T | None] = [None] * len(strips)
    waiting = iter(range(len(strips)))

    as_here = torch.is_inference_mode_enabled()  # holds for a thread

    def serve(waiting: Iterator[int]) -> None:
        with torch.inference_mode(as_here):
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
