"""Beats and bars as a grid: from a time to a number of beats, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Beats in s, ascending, at least two, and which of them begin a bar: downbeat, downbeat + per_bar, ...

    Beyond both ends the beats go on at the tempo there.
    """

    beats: Times
    downbeat: int = 0
    per_bar: int = 4

    @staticmethod
    def steady(bpm: float, first: float = 0.0, per_bar: int = 4) -> Grid:
        """Make the grid of a constant tempo, whose first beat begins a bar."""
        return Grid(first + np.arange(2) * 60 / bpm, 0, per_bar)

    def time(self, number: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the time of a number of beats, in s."""
        order = np.arange(len(self.beats))
        return self._between(np.asarray(number, np.float64), order, self.beats, *reversed(self._tempo()))

    def number(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many beats have passed at a time, with the share of the one that goes on."""
        ends = tuple(1 / each for each in self._tempo())
        return self._between(time, self.beats, np.arange(len(self.beats)), ends[1], ends[0])

    def bars(self, number: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many bars have passed at a number of beats."""
        return (number - self.downbeat) / self.per_bar

    def bpm(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the tempo at times, over eight beats around each."""
        number = self.number(time)
        return 60 * 8 / (self.time(number + 4) - self.time(number - 4))

    def _tempo(self) -> tuple[float, float]:
        """Return the length of a beat at the beginning and at the end, in s."""
        lengths = np.diff(self.beats)
        return float(np.median(lengths[:8])), float(np.median(lengths[-8:]))

    @staticmethod
    def _between(
        at: NDArray[np.float64], known: NDArray[np.floating | np.integer], values: NDArray[np.floating | np.integer],
        last: float, first: float,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Interpolate; beyond the ends go on with the slopes `first` and `last`."""
        found: NDArray[np.float64] = np.interp(at, known, values)
        found = found + np.minimum(at - known[0], 0) * first + np.maximum(at - known[-1], 0) * last
        return found
