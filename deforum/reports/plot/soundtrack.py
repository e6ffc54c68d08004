"""The soundtrack of a plot: waveform, beats, bars and sections, on the frames of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum.reports.plot.timeline import Soundtrack

if TYPE_CHECKING:
    from deforum.audio.grid import Grid
    from deforum.audio.signals import FilmSignals
    from deforum.audio.sound import Sound
    from deforum.settings.options import Settings

MOST_PARTS = 8000
"""Parts of the waveform; longer sounds are drawn in coarser ones."""


def soundtrack_of(settings: Settings) -> Soundtrack | None:
    """Listen to what a run follows, or to the sound file of its film; return what is heard while its frames last.

    A tempo by hand has beats without a waveform. None without either, and for a file that cannot be heard, which is
    said where it is used.
    """
    from schedules.variables import Unheard

    signals = _signals(settings)
    try:
        sound = None if signals.music.path is None else signals.sound()
    except Unheard:
        return None
    try:
        grid = signals.grid("beat")
    except Unheard:
        grid = None
    if sound is None and grid is None:
        return None
    return _placed(settings.max_frames, signals, sound, grid)


def _signals(settings: Settings) -> FilmSignals:
    from deforum.timeline.variables import signals_of

    signals = signals_of(settings)
    if signals.music.path is None and settings.add_soundtrack == "File" and settings.soundtrack_path:
        return replace(signals, music=replace(signals.music, path=Path(settings.soundtrack_path)))
    return signals


def _placed(num_frames: int, signals: FilmSignals, sound: Sound | None, grid: Grid | None) -> Soundtrack:
    start, fps = signals.music.start, signals.fps
    end = start + num_frames / fps if sound is None else min(start + num_frames / fps, sound.seconds)
    beats, bars, bpm = np.zeros(0), np.zeros(0), 0.0
    if grid is not None and end > start:
        first, last = (float(grid.number(np.asarray(each))) for each in (start, end))
        numbers = np.arange(np.ceil(first - 1e-6), last)
        beats = (grid.time(numbers) - start) * fps
        bars = beats[(numbers - grid.downbeat) % grid.per_bar == 0]
        bpm = float(np.median(grid.bpm(np.asarray([start, (start + end) / 2, end]))))
    wave = np.zeros(0) if sound is None else _wave(sound, start, end)
    heard = [] if sound is None else [each for each in sound.sections if each.end > start and each.start < end]
    return Soundtrack(
        name="tempo" if sound is None else sound.path.name,
        bpm=bpm,
        beats=tuple(map(float, beats)),
        bars=tuple(map(float, bars)),
        sections=tuple((max((each.start - start) * fps, 0.0), each.label) for each in heard),
        low=-wave,
        high=wave,
        first=0.0,
        last=(end - start) * fps,
    )


def _wave(sound: Sound, start: float, end: float) -> np.ndarray:
    """Return the envelope of a part of a sound, in at most MOST_PARTS parts."""
    from deforum.audio.spectra import RATE

    envelope = sound.envelope[round(start * RATE) : round(end * RATE)].astype(np.float64)
    per = -(-len(envelope) // MOST_PARTS) if len(envelope) else 1
    return np.asarray(np.maximum.reduceat(envelope, np.arange(0, len(envelope), per))) if len(envelope) else envelope
