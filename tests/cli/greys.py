"""A stand-in for the diffusion, also in a subprocess: frame n is a grey of n * 20 levels."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from deforum.pixels.image import Image, from_bytes
from deforum.timeline.frame import Frame
from tests.helpers.command import paint_with


def paint_greys(patch: pytest.MonkeyPatch, *, hold_at: int = -1, break_at: int = -1) -> None:
    """Replace the diffusion by greys.

    Frame `hold_at` writes a file `begun` into the current folder and waits for a file `go`. Frame `break_at` fails.
    """

    def paint(init: Image | None, frame: Frame) -> Image:
        if frame.index == hold_at:
            Path("begun").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        if frame.index == break_at:
            raise RuntimeError("the model broke")
        return from_bytes(np.full((64, 64, 3), frame.index * 20 % 256, np.uint8))

    paint_with(patch, paint, refused=lambda settings: settings.seed == 666)
