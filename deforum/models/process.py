"""What a rendering process sets once for itself: how it deals with memory and threads."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
GIGABYTE, LARGEST_THRESHOLD = 1 << 30, 1 << 25


def settle_process() -> None:
    """Set the process up for rendering: OpenCV on one thread, and freed memory kept.

    The encoders of pictures and video work beside the renderer. OpenCV's stages last a millisecond; shared out over
    cores that are taken they wait for each other longer than that.
    """
    import cv2

    cv2.setNumThreads(1)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have freed memory kept for the next picture, where the C library is glibc.

    Every stage of a frame makes a new picture. By default its memory goes back to the system and comes anew, page by
    page, which takes longer than the arithmetic: a frame's work at 512x512 took 44 ms so, and 24 ms without.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, GIGABYTE)
        mallopt(MMAP_THRESHOLD, LARGEST_THRESHOLD)
