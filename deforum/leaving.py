"""The end of the program, without taking the interpreter apart: with torch and diffusers that takes a second.

To be imported first: what is registered for the end later, as by imports, is done before.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

_status: list[int] = []


def leave(status: int) -> NoReturn:
    """End the program with an exit status: threads end, what is registered for the end is done, output is written."""
    _status.append(status)
    sys.exit(status)


def _end() -> None:
    if not _status:  # an error that is not ours
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):  # closed: the interpreter says what it says
        return
    os._exit(_status[-1])


atexit.register(_end)
