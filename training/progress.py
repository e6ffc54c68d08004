"""What every training stage shares: a time budget with its learning-rate curve, and saves that survive a kill."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch


class Budget:
    """A training stage's time budget; ``spent`` seconds carry over from an earlier piece of the run."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self.total = minutes * 60
        self._began = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds trained, over all pieces."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the budget is used up."""
        return min(1.0, self.spent / self.total)


def learning_rate(
    peak: float, step: int, progress: float, warm_up: int = 150, floor: float = 0.03, hold: float = 0.0
) -> float:
    """Linear warm-up over ``warm_up`` steps, the peak up to ``hold``, then a cosine down to ``floor`` of the peak."""
    fall = max(0.0, progress - hold) / (1 - hold)
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fall))
    return peak * min(1.0, (step + 1) / warm_up) * cosine


def save(state: dict[str, Any], path: Path) -> None:
    """Save a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint written by `save`."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
