"""Process-wide settings of memory and threads, made once before rendering."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt parameters, from glibc's malloc.h
GIGABYTE, LARGEST_THRESHOLD = 1 << 30, 1 << 25


WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""Busy-waiting of OpenMP's threads: rounds in GNU's library (10,000 take about 0.1 ms), ms in LLVM's and Intel's."""
POLICIES = (*WAITING, "OMP_WAIT_POLICY", "KMP_LIBRARY")
"""Variables by which a user decides that."""


def settle_process() -> None:
    """Set the process up for rendering: short waits of OpenMP's threads, OpenCV on one thread, and freed memory kept.

    To be called before torch is imported, as OpenMP reads its settings then; the others work at any time.

    The picture and video encoders run beside the renderer. OpenCV's stages take a millisecond; split over busy cores,
    their threads wait for each other longer than that.
    """
    shorten_waits(os.environ)
    import cv2

    cv2.setNumThreads(1)
    _keep_freed_memory()


@contextmanager
def color_tables() -> Iterator[None]:
    """Let OpenCV compute its tables for LAB in a thread during the block, which loads models.

    It does so at the first conversion of a process, which takes 0.1 s, and does not expect two threads then.
    """
    import cv2
    import numpy as np

    pixel = np.zeros((1, 1, 3), np.float32)
    thread = threading.Thread(target=cv2.cvtColor, args=(pixel, cv2.COLOR_RGB2LAB), name="color tables", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def shorten_waits(environment: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads sleep soon after a piece of work, unless the environment says how they wait.

    By default they busy-wait for milliseconds, on the cores that the encoders and other threads need: a warp then takes
    60 times as long. Without any busy-waiting (OMP_WAIT_POLICY=PASSIVE) each of the 700 small operations of a network
    wakes them anew, and a second core gains nothing. benchmarks/quickstart.py measures both.
    """
    if not any(name in environment for name in POLICIES):
        environment.update(WAITING)


def _keep_freed_memory() -> None:
    """Keep freed memory for the next picture, where the C library is glibc.

    Every stage of a frame makes a new picture. By default its memory is returned to the system and mapped again, page
    by page, which takes longer than the arithmetic: a frame's work at 512x512 took 44 ms, and 24 ms with this setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, GIGABYTE)
        mallopt(MMAP_THRESHOLD, LARGEST_THRESHOLD)
