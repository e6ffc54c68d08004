"""Files that are complete under their final name, whenever the program or the machine stops."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

UNFINISHED = ".part"
"""Suffix of a file while it is written."""


def write(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file under another name, then give it its own; of a write that fails nothing is left.

    `durable` waits until the file is on the disk, so that it is there after a power failure too. Raises OSError.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. A file that is gone is passed over."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    try:
        number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)
