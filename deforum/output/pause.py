"""Pausing a run: it frees its memory, waits, and goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PAUSE_FILE = "PAUSE"
"""A file of this name in the folder of a run pauses it until the file is gone."""
_LOOK_AGAIN = 0.25
"""Seconds."""


class Pause:
    """Pause a run while there is a file PAUSE in its folder."""

    def asked(self, folder: Path) -> bool:
        """Whether the run shall pause; asked after every frame."""
        return (folder / PAUSE_FILE).exists()

    def until(self, folder: Path) -> str:
        """Return what ends the pause, as the end of a sentence."""
        return f"the file {folder / PAUSE_FILE} is gone"

    def wait(self, folder: Path, stop: Callable[[], bool]) -> None:
        """Return when the run shall go on, or stop."""
        while self.asked(folder) and not stop():
            time.sleep(_LOOK_AGAIN)


class NoPause(Pause):
    """For runs at once, which share their models and wait for each other: none is paused by itself."""

    def asked(self, folder: Path) -> bool:
        return False


PLAIN_PAUSE = Pause()
