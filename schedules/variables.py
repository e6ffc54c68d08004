"""Variables and constants of expressions, and their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["bool", "int", "float"]

# name: (kind, description). `t` and `sec` change from frame to frame, the others are constant.
VARIABLES: dict[str, tuple[Kind, str]] = {
    "t": ("int", "frame number, from 0"),
    "sec": ("float", "time in seconds: t / fps"),
    "s": ("int", "seed of the run"),
    "max_f": ("int", "number of the last frame"),
    "fps": ("float", "frames per second"),
}
HEARD: dict[str, str] = {
    "amp": "level of the sound, about 0..1",
    "bass": "level from 20 to 150 Hz, about 0..1",
    "mid": "level from 150 to 2000 Hz, about 0..1",
    "treble": "level from 2000 to 16000 Hz, about 0..1",
    "onset": "how strongly something begins, 0..1",
    "beat": "1 at a beat, then decaying",
    "beat_phase": "share of the beat that is over, 0..1",
    "bar_phase": "share of the bar that is over, 0..1",
    "bpm": "tempo in beats per minute",
    "section": "number of the section of the song, from 0",
}
"""Variables that follow a sound, or a tempo: name and description. All are float and change from frame to frame."""
VARIABLES |= {name: ("float", description) for name, description in HEARD.items()}
CHANGING = frozenset({"t", "sec", *HEARD})
CONSTANTS = {"pi": math.pi, "e": math.e}
HIGHEST_FPS = 1_000_000
LARGEST_INT = 2**63 - 1  # whole numbers are 64-bit, as in numexpr


class Unheard(Exception):
    """A value or a place of `Signals` that is not there, with a hint at what to do."""

    def __init__(self, message: str, hint: str | None = None, *, said_elsewhere: bool = False) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.said_elsewhere = said_elsewhere
        """Whether the file that is missing or damaged is told of where it is given."""


class Signals(Protocol):
    """What comes into expressions from outside: values of a sound and of tables, and places in music.

    Frames may lie beyond the last one. All raise Unheard.
    """

    @property
    def names(self) -> frozenset[str]:
        """Names of variables beside those of the language."""

    def at(self, name: str, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the values of a variable, of `names` or HEARD, in the shape of `frames`."""

    def band(self, low: float, high: float, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the level between two frequencies in Hz."""

    def place(self, unit: str, number: float) -> float:
        """Return the frame, with a fraction, of a beat, bar or section, counted from 0."""


@dataclass(frozen=True)
class Variables:
    """Values of the variables `s` (the seed), `fps` and `max_f`, and signals; the default of `max_f` is num_frames - 1.

    Raises ValueError for a seed beyond 64 bits, for an `fps` of 0 or less or above HIGHEST_FPS, and for a fractional
    `max_f`.
    """

    seed: int = -1
    fps: float = 15.0
    max_f: float | None = None
    signals: Signals | None = None

    def __post_init__(self) -> None:
        if not -LARGEST_INT <= self.seed <= LARGEST_INT:
            raise ValueError(f"seed is {self.seed}; expected a whole number of at most 64 bits")
        if not 0 < self.fps <= HIGHEST_FPS:
            raise ValueError(f"fps is {self.fps}; expected a number above 0, at most {HIGHEST_FPS}")
        if self.max_f is not None and not float(self.max_f).is_integer():
            raise ValueError(f"max_f is {self.max_f}; expected a whole number")

    @property
    def own(self) -> frozenset[str]:
        """Names of variables beside those of the language."""
        return frozenset() if self.signals is None else self.signals.names

    def heard(self) -> Signals:
        """Return the signals. Raises Unheard where there are none."""
        if self.signals is None:
            raise Unheard("there is no sound to follow")
        return self.signals

    def steady(self, num_frames: int) -> dict[str, int | float]:
        """Return the values that are the same at every frame, by name."""
        max_f = num_frames - 1 if self.max_f is None else int(self.max_f)
        return {"s": self.seed, "max_f": max_f, "fps": float(self.fps)}
