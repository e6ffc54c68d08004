"""Variables and constants of expressions, and their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["bool", "int", "float"]

# name: (kind, description). `t` and `sec` change from frame to frame, the others are constant.
VARIABLES: dict[str, tuple[Kind, str]] = {
    "t": ("int", "frame number, from 0"),
    "sec": ("float", "time in seconds: t / fps"),
    "s": ("int", "seed of the run"),
    "max_f": ("int", "number of the last frame"),
    "fps": ("float", "frames per second"),
}
CHANGING = frozenset({"t", "sec"})
CONSTANTS = {"pi": math.pi, "e": math.e}
HIGHEST_FPS = 1_000_000
LARGEST_INT = 2**63 - 1  # whole numbers are 64-bit, as in numexpr


@dataclass(frozen=True)
class Variables:
    """Values of the variables `s` (the seed), `fps` and `max_f`; the default of `max_f` is num_frames - 1.

    Raises ValueError for a seed beyond 64 bits, for an `fps` of 0 or less or above HIGHEST_FPS, and for a fractional
    `max_f`.
    """

    seed: int = -1
    fps: float = 15.0
    max_f: float | None = None

    def __post_init__(self) -> None:
        if not -LARGEST_INT <= self.seed <= LARGEST_INT:
            raise ValueError(f"seed is {self.seed}; expected a whole number of at most 64 bits")
        if not 0 < self.fps <= HIGHEST_FPS:
            raise ValueError(f"fps is {self.fps}; expected a number above 0, at most {HIGHEST_FPS}")
        if self.max_f is not None and not float(self.max_f).is_integer():
            raise ValueError(f"max_f is {self.max_f}; expected a whole number")

    def steady(self, num_frames: int) -> dict[str, int | float]:
        """Return the values that are the same at every frame, by name."""
        max_f = num_frames - 1 if self.max_f is None else int(self.max_f)
        return {"s": self.seed, "max_f": max_f, "fps": float(self.fps)}
