"""A lock on a file that the system releases when the process ends, however it ends."""

from __future__ import annotations

import os
import sys


def hold(number: int) -> bool:
    """Lock an open file for this process; False where another process, or another opening of the file, holds it.

    The lock ends when the file is closed. Where the file system has no locks, the answer is True.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(number, _FAR, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


_FAR = 1 << 40
"""Byte that is locked on Windows: far behind what is ever written, because others may not read what is locked."""
