"""Process-wide settings of memory and threads, made once before rendering."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt parameters, from glibc's malloc.h
GIGABYTE, LARGEST_THRESHOLD = 1 << 30, 1 << 25


def settle_process() -> None:
    """Set the process up for rendering: OpenCV on one thread, and freed memory kept.

    The picture and video encoders run beside the renderer. OpenCV's stages take a millisecond; split over busy cores,
    their threads wait for each other longer than that.
    """
    import cv2

    cv2.setNumThreads(1)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Keep freed memory for the next picture, where the C library is glibc.

    Every stage of a frame makes a new picture. By default its memory is returned to the system and mapped again, page
    by page, which takes longer than the arithmetic: a frame's work at 512x512 took 44 ms, and 24 ms with this setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, GIGABYTE)
        mallopt(MMAP_THRESHOLD, LARGEST_THRESHOLD)
