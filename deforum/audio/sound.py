"""What was heard in a sound file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.audio.cache import kept
from deforum.audio.decode import decode
from deforum.audio.grid import Grid
from deforum.audio.sections import Section
from deforum.audio.spectra import RATE, Curve, band_level


@dataclass(frozen=True, eq=False)
class Sound:
    """What was heard in a sound file. Times are seconds from its beginning; curves have RATE values a second."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    seconds: float
    envelope: Curve
    """(T,) the waveform: largest |sample| of each 1 / RATE s."""
    levels: Mapping[str, Curve]
    """(T,) RMS by name of BANDS; a sine of full scale has 1."""
    onset: Curve
    """(T,) how strongly something begins; strong ones have 1."""
    beats: NDArray[np.float64]
    """(B,) s; empty where no beat is heard."""
    accents: NDArray[np.float64]
    """(B,) how much each beat sounds like the first of a bar."""
    sections: tuple[Section, ...]
    """They cover the sound from 0 s to its end."""

    @property
    def bpm(self) -> float:
        """The usual tempo; 0 where no beat is heard."""
        return 60 / float(np.median(np.diff(self.beats))) if len(self.beats) > 1 else 0.0

    @property
    def bars(self) -> NDArray[np.float64]:
        """The beginnings of bars of four beats, s."""
        grid = self.grid()
        return np.zeros(0) if grid is None else self.beats[grid.downbeat :: grid.per_bar]

    def grid(self, per_bar: int = 4) -> Grid | None:
        """Return the beats as a grid with the most likely downbeats; None where no beat is heard."""
        if len(self.beats) < 2:
            return None
        scores = [float(self.accents[phase::per_bar].mean()) for phase in range(min(per_bar, len(self.beats)))]
        return Grid(self.beats, int(np.argmax(scores)), per_bar)

    def steady_grid(self, bpm: float, per_bar: int = 4, first: float | None = None) -> Grid:
        """Return the grid of a tempo given by hand; without the time of its first beat, that which fits best."""
        beat = 60 / bpm
        count = max(int(self.seconds / beat), 2)
        if first is None:
            shifts = np.arange(0, beat, 0.005)
            times: NDArray[np.float64] = shifts[:, None] + np.arange(count) * beat
            heard = np.interp(times, np.arange(len(self.onset)) / RATE, np.sqrt(self.onset))
            first = float(shifts[int(heard.mean(axis=1).argmax())])
            grid = Grid(np.asarray(first + np.arange(count) * beat, np.float64), 0, per_bar)
            if len(self.beats) > 1:
                accents = np.interp(grid.beats, self.beats, self.accents)
                scores = [float(accents[phase::per_bar].mean()) for phase in range(min(per_bar, count))]
                return Grid(grid.beats, int(np.argmax(scores)), per_bar)
            return grid
        return Grid(np.asarray(first + np.arange(count) * beat, np.float64), 0, per_bar)

    def band(self, low: float, high: float) -> Curve:
        """Return the RMS level between two frequencies in Hz, (T,). The file is read again, unless it is known.

        Raises SoundError where the file cannot be read any more.
        """
        found: Curve = kept(
            f"{self.digest}-{low:g}-{high:g}", lambda: {"level": band_level(decode(self.path), low, high)}
        )["level"]
        return found
