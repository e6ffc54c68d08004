"""Facts of the machine, known without torch."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_LIMITS = (
    # (limit, usage, statistics, the name of reclaimable file pages there)
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files of a container's memory, by cgroups of version 2 and 1. A limit is a number of bytes, or the word max."""


def total_memory(root: Path = Path("/")) -> int:
    """Return the memory of the machine, or of the container that this runs in, in bytes; 0 where it is not known."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return 0
    return min([total, *(limit for limit, _, _, _ in _limits(root))])


def free_memory(root: Path = Path("/")) -> int:
    """Return the memory that programs can still take, in bytes: of the machine, or of the container if it has less.

    0 where it is not known. Files that the system keeps in memory until somebody needs it count as free.
    """
    try:
        lines = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return 0
    for limit, usage, statistics, pages in _limits(root):
        try:
            used = int((root / usage).read_text())
            counts = dict(line.split(" ", 1) for line in (root / statistics).read_text().splitlines() if " " in line)
        except (OSError, ValueError):
            continue
        free = min(free, limit - used + int(counts.get(pages, 0)))
    return max(free, 0)


def _limits(root: Path) -> list[tuple[int, str, str, str]]:
    found = []
    for limit, usage, statistics, pages in _LIMITS:
        try:
            found.append((int((root / limit).read_text()), usage, statistics, pages))
        except (OSError, ValueError):  # no such container, or no limit
            continue
    return found


def renders_on_gpu(device: str) -> bool:
    """Whether a setting of `device` means a graphics card, as far as can be told without torch."""
    return device in ("cuda", "mps") or (device == "auto" and shutil.which("nvidia-smi") is not None)


def peak_memory() -> int:
    """Return the largest memory that the process has used, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
