"""The variables of schedules for the settings of a run: the one place where sounds and tables enter the language."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.audio.signals import FilmSignals, Music, Read, Shape
from deforum.paths import is_file, to_path
from deforum.settings.options import Settings, VariableUnit
from deforum.timeline.tables import Table, TableError, read_table
from schedules.variables import Unheard, Variables


def variables_of(settings: Settings) -> Variables:
    """Return the values of the variables in the schedules of a run. Nothing is read before it is asked for."""
    return Variables(seed=settings.seed, fps=settings.fps, signals=signals_of(settings))


def signals_of(settings: Settings) -> FilmSignals:
    """Return the sound, the tempo and the tables of settings; equal ones share what was computed."""
    shape = Shape(
        settings.audio_gain, settings.audio_offset, settings.audio_smoothing, settings.audio_attack,
        settings.audio_release, settings.beat_decay,
    )  # fmt: skip
    path = sound_file(settings)
    music = Music(path, sound_start(settings), settings.bpm, settings.first_beat, settings.beats_per_bar)
    files = [path, *(to_path(unit.file) for unit in settings.variables)]
    return _signals(settings.fps, music, shape, settings.variables, tuple(map(_state, files)))


def follows_sound(settings: Settings) -> bool:
    """Whether a schedule of settings whose timeline was sampled follows their sound."""
    return signals_of(settings).used


def sound_file(settings: Settings) -> Path | None:
    """Return the file of `audio`; None without one."""
    name = settings.video_init_path if settings.audio == "clip" else settings.audio
    return to_path(name) if name else None


def sound_start(settings: Settings) -> float:
    """Return the second of the sound at which frame 0 is."""
    from deforum.video.find import ClipError, video_init

    before = 0.0
    if settings.audio == "clip":
        with contextlib.suppress(ClipError):  # that there is no clip is told of on its own
            before = video_init(settings).start
    return before + settings.audio_start


def _state(path: Path | None) -> tuple[int, int]:
    """Return what changes when a file changes: its time and size."""
    if path is None or not is_file(path):
        return 0, 0
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=16)
def _signals(
    fps: float, music: Music, shape: Shape, units: tuple[VariableUnit, ...], files: tuple[tuple[int, int], ...]
) -> FilmSignals:
    """`files` are part of the cache's key."""
    return FilmSignals(fps, music, shape, {unit.name: _reader(unit, fps) for unit in units})


def _reader(unit: VariableUnit, fps: float) -> Read:
    table: list[Table] = []

    def read(frames: NDArray[np.int64]) -> NDArray[np.float64]:
        if not table:
            try:
                table.append(read_table(unit))
            except TableError as error:
                raise Unheard(str(error), said_elsewhere=True) from None
        return table[0].at(frames, fps)

    return read
