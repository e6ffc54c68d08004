"""A sound, a tempo and tables as variables of schedules: their values at the frames of a run.

Frame t of a run belongs to the second t / fps + start of the sound. Levels are averaged over the time that a frame is
shown, so that what happens between two frames is not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.audio.decode import SoundError
from deforum.audio.grid import Grid
from deforum.audio.listening import hear
from deforum.audio.sound import Sound
from deforum.audio.spectra import BANDS, RATE
from schedules.variables import HEARD, Unheard

Values = NDArray[np.float64]
Read = Callable[[NDArray[np.int64]], Values]
"""Values of a table at frames."""

_SILENT = 1e-3
"""Level below which a sound counts as silence (-60 dB): it is not amplified any more than this."""
_LOUD = 0.98
"""Share of the heard time whose levels are at most 1 where the gain is chosen."""


@dataclass(frozen=True)
class Shape:
    """How levels become values. Times in s."""

    gain: float | None = None
    """Factor; None: each level has its own, with which its loudest moments are 1."""
    offset: float = 0.0
    smoothing: float = 0.0
    """Standard deviation of the average over time."""
    attack: float = 0.0
    """Time constant with which values rise."""
    release: float = 0.1
    """Time constant with which values fall."""
    beat_decay: float = 0.15
    """Time in which `beat` falls to 37 %."""


@dataclass(frozen=True)
class Music:
    """Where the music of a run comes from."""

    path: Path | None = None
    start: float = 0.0
    """Seconds of the sound before frame 0."""
    bpm: float | None = None
    """None: as it is heard."""
    first_beat: float | None = None
    """s of the sound; None: as it is heard."""
    per_bar: int = 4


_NO_SOUND = "give audio: song.wav"
_NO_TEMPO = "give audio: song.wav, or bpm: 120"


@dataclass(eq=False)
class FilmSignals:
    """The signals of a run, see `schedules.variables.Signals`. A sound is listened to when it is first asked for."""

    fps: float
    music: Music = Music()
    shape: Shape = Shape()
    tables: Mapping[str, Read] = field(default_factory=dict)
    """By the name of the variable. They raise Unheard where the file cannot be read."""
    used: bool = field(default=False, init=False)
    """Whether a schedule has asked for the sound."""
    _curves: dict[object, Values] = field(default_factory=dict, init=False, repr=False)
    _grid: Grid | None = field(default=None, init=False, repr=False)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.tables)

    @property
    def heard(self) -> tuple[str, ...]:
        """Names of HEARD that have values: all with a sound, those of the beat with a tempo alone."""
        if self.music.path is not None:
            return tuple(HEARD)
        return ("beat", "beat_phase", "bar_phase", "bpm") if self.music.bpm is not None else ()

    def sound(self, what: str = "") -> Sound:
        """Return what was heard. Raises Unheard; `what` is what needs it."""
        if self.music.path is None:
            raise Unheard(f"{what} follows a sound, and there is none", _NO_SOUND)
        try:
            return hear(self.music.path)
        except SoundError as error:
            raise Unheard(str(error), said_elsewhere=True) from None

    def grid(self, what: str = "") -> Grid:
        """Return beats and bars on the clock of the sound. Raises Unheard."""
        if self._grid is None:
            self._grid = self._find_grid(what)
        return self._grid

    def _find_grid(self, what: str) -> Grid:
        music = self.music
        if music.path is None:
            if music.bpm is None:
                raise Unheard(f"{what} follows the beat of a sound, and there is neither sound nor tempo", _NO_TEMPO)
            return Grid.steady(music.bpm, music.first_beat or 0.0, music.per_bar)
        sound = self.sound(what)
        if music.bpm is not None:
            return sound.steady_grid(music.bpm, music.per_bar, music.first_beat)
        grid = sound.grid(music.per_bar)
        if grid is None:
            raise Unheard(f"{what}: no beat is heard in {music.path.name}", "give its tempo, bpm: 120")
        if music.first_beat is not None:
            nearest = int(np.abs(grid.beats - music.first_beat).argmin())
            grid = Grid(grid.beats, nearest % music.per_bar, music.per_bar)
        return grid

    # -- values

    def at(self, name: str, frames: NDArray[np.int64]) -> Values:
        if name in self.tables:
            return self.tables[name](frames)
        self.used = self.used or self.music.path is not None
        if name in BANDS:
            return self._level(name, lambda: self.sound(name).levels[name], frames)
        match name:
            case "onset":
                return self._onset(frames)
            case "beat":
                return self._beat(frames)
            case "section":
                starts = [section.start for section in self.sound(name).sections]
                found = np.searchsorted(starts, self._seconds(frames) + 0.5 / self.fps, side="right") - 1.0
                first = np.searchsorted(starts, self.music.start + 0.5 / self.fps, side="right") - 1
                within: Values = np.maximum(found - first, 0)
                return within
        grid = self.grid(name)
        seconds = self._seconds(frames)
        if name == "bpm":
            return grid.bpm(seconds)
        number = grid.number(seconds)
        return np.mod(number if name == "beat_phase" else grid.bars(number), 1.0)

    def band(self, low: float, high: float, frames: NDArray[np.int64]) -> Values:
        name, self.used = f"band({low:g}, {high:g})", True

        def level() -> NDArray[np.float32]:
            try:
                return self.sound(name).band(low, high)
            except SoundError as error:
                raise Unheard(str(error), said_elsewhere=True) from None

        return self._level((low, high), level, frames)

    def place(self, unit: str, number: float) -> float:
        self.used = self.used or self.music.path is not None
        if unit == "section":
            return self._section(number)
        grid = self.grid(f"{unit}({number:g})")
        begin = float(grid.number(np.asarray(self.music.start - 0.5 / self.fps)))
        if unit == "beat":
            beats = max(np.ceil(begin - 1e-6), 0) + number
        else:
            first = max(np.ceil(float(grid.bars(np.asarray(begin))) - 1e-6), 0)
            beats = grid.downbeat + (first + number) * grid.per_bar
        return (float(grid.time(beats)) - self.music.start) * self.fps

    def _section(self, number: float) -> float:
        name = f"section({number:g})"
        sound = self.sound(name)
        starts = np.array([each.start for each in sound.sections] + [sound.seconds])
        first = int(np.searchsorted(starts, self.music.start + 0.5 / self.fps, side="right")) - 1
        if not 0 <= first + number <= len(starts) - 1:
            what = f"{len(starts) - 1 - first} sections are heard from where the film begins"
            raise Unheard(f"there is no {name}: {what}, section(0) to section({len(starts) - 2 - first})")
        return (float(np.interp(first + number, np.arange(len(starts)), starts)) - self.music.start) * self.fps

    # -- levels

    def _seconds(self, frames: NDArray[np.int64]) -> Values:
        return np.asarray(frames / self.fps + self.music.start, np.float64)

    def _level(self, key: object, level: Callable[[], NDArray[np.float32]], frames: NDArray[np.int64]) -> Values:
        if key not in self._curves:
            raw = level().astype(np.float64)
            self._curves[key] = self._shaped(raw * (gain_of(raw) if self.shape.gain is None else self.shape.gain))
        return self._mean(self._curves[key], frames) + self.shape.offset

    def _shaped(self, level: Values) -> Values:
        """Smooth a level, and let it rise and fall as slowly as asked for."""
        if self.shape.smoothing > 0:
            level = np.sqrt(_averaged(level**2, self.shape.smoothing * RATE))
        up, down = (_share(each) for each in (self.shape.attack, self.shape.release))
        if up == down == 1:
            return level
        value, found = 0.0, []
        for each in level.tolist():
            value += (each - value) * (up if each > value else down)
            found.append(value)
        return np.array(found)

    def _mean(self, curve: Values, frames: NDArray[np.int64]) -> Values:
        """Return the RMS of a curve over the time that each frame is shown; 0 where the sound is over."""
        added = np.concatenate([[0.0], np.cumsum(curve**2)])
        half = max(0.5 / self.fps, 0.5 / RATE)
        edges = np.arange(len(added)) - 0.5
        middle = self._seconds(frames) * RATE
        first, last = (np.interp(middle + side * half * RATE, edges, added) for side in (-1, 1))
        found: Values = np.sqrt(np.maximum(last - first, 0) / (2 * half * RATE))
        return found

    def _onset(self, frames: NDArray[np.int64]) -> Values:
        if "onset" not in self._curves:
            onset = self.sound("onset").onset.astype(np.float64)
            # The strongest moment of a frame counts: a frame may be longer than an onset.
            reach = max(round(0.5 * RATE / self.fps), 0)
            widest = np.lib.stride_tricks.sliding_window_view(np.pad(onset, reach), 2 * reach + 1).max(axis=1)
            self._curves["onset"] = self._shaped(widest)
        curve = self._curves["onset"]
        return np.interp(self._seconds(frames) * RATE, np.arange(len(curve)), curve, right=0.0) + self.shape.offset

    def _beat(self, frames: NDArray[np.int64]) -> Values:
        """Return 1 at the frame nearest to a beat, as keyframes at beats are placed, and less from there on.

        Before the first beat it is 0, and after the last one of a sound there is no other.
        """
        grid, seconds = self.grid("beat"), self._seconds(frames)
        last = np.floor(grid.number(seconds + 0.5 / self.fps))
        if self.music.path is not None:
            last = np.minimum(last, len(grid.beats) - 1)
        since = np.asarray(frames) - np.floor((grid.time(last) - self.music.start) * self.fps + 0.5)
        return np.where(last < 0, 0.0, np.exp(-np.maximum(since, 0) / self.fps / self.shape.beat_decay))


def gain_of(level: Values) -> float:
    """Return the factor with which the loud moments of a level are 1."""
    heard = level[level > _SILENT]
    return 1 / max(float(np.quantile(heard, _LOUD)) if len(heard) else 1.0, _SILENT)


def _share(seconds: float) -> float:
    """Return how much of a step is taken within a value of a curve, for a time constant."""
    return 1.0 if seconds <= 0 else float(1 - np.exp(-1 / (seconds * RATE)))


def _averaged(values: Values, width: float) -> Values:
    """Return the average with Gaussian weights of this standard deviation, in values."""
    reach = int(min(4 * width, len(values)) + 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    size = 1 << int(len(values) + 2 * reach).bit_length()
    found = np.fft.irfft(np.fft.rfft(values, size) * np.fft.rfft(weights / weights.sum(), size), size)
    return np.maximum(found[reach : reach + len(values)], 0)
