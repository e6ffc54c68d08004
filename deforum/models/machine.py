"""Facts of the machine, known without torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""The memory limit of a container, in bytes, or the word max."""


def total_memory() -> int:
    """Return the memory of the machine, or of the container that this runs in, in bytes; 0 where it is not known."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return 0
    try:
        return min(total, int(_LIMIT.read_text()))
    except (OSError, ValueError):
        return total


def renders_on_gpu(device: str) -> bool:
    """Whether a setting of `device` means a graphics card, as far as can be told without torch."""
    return device in ("cuda", "mps") or (device == "auto" and shutil.which("nvidia-smi") is not None)
