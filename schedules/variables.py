"""The names an expression may use, and their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["bool", "int", "float"]

# name: kind, what it is. `t` and `sec` change from frame to frame, the others do not.
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
    """Values of the names `s`, `fps` and `max_f`; `max_f` is num_frames - 1 unless it is given.

    Raises ValueError for a seed beyond 64 bits, for a rate outside of 0 .. HIGHEST_FPS and for a `max_f` that is not
    whole.
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
        """Give the values that are the same at every frame, by name."""
        max_f = num_frames - 1 if self.max_f is None else int(self.max_f)
        return {"s": self.seed, "max_f": max_f, "fps": float(self.fps)}
