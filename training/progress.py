"""Time budget, learning-rate schedule and atomic checkpoints, shared by all training stages."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch


class Budget:
    """Time budget of a training stage, in minutes; ``spent`` is the seconds used before the run was resumed."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self.total = minutes * 60
        self._began = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds of training, including those before the run was resumed."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Fraction of the budget used, 0 to 1."""
        return min(1.0, self.spent / self.total)


def learning_rate(
    peak: float, step: int, progress: float, warm_up: int = 150, floor: float = 0.03, hold: float = 0.0
) -> float:
    """Learning rate at a step: linear warm-up over ``warm_up`` steps, constant, then cosine decay.

    ``progress`` is the fraction of the budget used; the decay begins at ``hold`` and ends at ``floor`` times the peak.
    """
    fall = max(0.0, progress - hold) / (1 - hold)
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fall))
    return peak * min(1.0, (step + 1) / warm_up) * cosine


def save(state: dict[str, Any], path: Path) -> None:
    """Save a checkpoint atomically."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint written by `save`, onto the CPU."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
