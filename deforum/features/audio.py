"""The sound and the tables that schedules follow: they are found and checked here, and act through the schedules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.audio import Sound, hear
from deforum.audio.decode import SoundError
from deforum.audio.signals import gain_of
from deforum.features.feature import Kit
from deforum.paths import is_file, to_path
from deforum.settings.files import Lookup
from deforum.settings.options import Settings, VariableUnit
from deforum.timeline.tables import TableError, read_table
from deforum.timeline.variables import signals_of, sound_file
from schedules.gate import FUNCTIONS
from schedules.quoting import LONGEST_NAME, cut
from schedules.variables import CONSTANTS, VARIABLES, Unheard

if TYPE_CHECKING:
    from deforum.animation.stages import Stages

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MOST_SECTIONS = 12


@dataclass(frozen=True)
class Followed:
    """The files that schedules follow."""

    sound: Path | None
    tables: tuple[Path, ...]


def is_on(settings: Settings) -> bool:
    return bool(settings.audio) or bool(settings.variables)


def find(settings: Settings) -> Followed:
    return Followed(sound_file(settings), tuple(to_path(unit.file) for unit in settings.variables))


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths of tables absolute; also return a message for each that is missing."""
    units: list[VariableUnit] = []
    missing: list[tuple[str, str]] = []
    for unit in settings.variables:
        path = files.find_file(unit.file)
        if path is None:
            missing.append(("variables", f"variables, {cut(unit.name, LONGEST_NAME)}: {files.missing(unit.file)}"))
        units.append(unit if path is None else replace(unit, file=os.path.abspath(path)))
    return replace(settings, variables=tuple(units)), missing


def located(settings: Settings, files: Lookup) -> Settings:
    """Return settings whose sound and tables are named by absolute paths, as far as they are there.

    For commands that look at values and need no other file.
    """
    path = files.find_file(settings.audio) if settings.audio not in ("", "clip") else None
    if path is not None:
        settings = replace(settings, audio=os.path.abspath(path))
    return locate(settings, files)[0]


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the sound and the tables, as far as the files are there."""
    yield from _check_sound(settings)
    names = [unit.name for unit in settings.variables]
    for number, unit in enumerate(settings.variables):
        where = f"variables, {cut(unit.name, LONGEST_NAME)}"
        if not _NAME.fullmatch(unit.name):
            yield "variables", f"{where}: this is no name of a variable; expected letters, digits and _, such as energy"
        elif unit.name in VARIABLES or unit.name in CONSTANTS or unit.name in FUNCTIONS:
            yield "variables", f"{where}: the language has this name already; choose another one"
        elif unit.name in names[:number]:
            yield "variables", f"{where}: is given twice"
        elif unit.file and is_file(to_path(unit.file)):
            try:
                read_table(unit)
            except TableError as error:
                yield "variables", f"{where}: {error}"


def _check_sound(settings: Settings) -> Iterator[tuple[str, str]]:
    path = sound_file(settings)
    if path is None or not is_file(path):
        return  # that it is missing is told where files are looked for
    try:
        sound = hear(path)
    except SoundError as error:
        yield "audio", f"audio: {error}"
        return
    if settings.audio_start >= sound.seconds:
        yield (
            "audio_start",
            (
                f"audio_start: {settings.audio_start:g} s is behind the end of {path.name}, which lasts "
                f"{clock(sound.seconds)}"
            ),
        )


def notes(settings: Settings, found: Followed) -> Iterable[str]:
    """Yield what was heard."""
    if found.sound is None:
        return
    try:
        sound = hear(found.sound)
    except SoundError:
        return
    yield f"audio: {describe(sound, settings)}"
    length = (sound.seconds - signals_of(settings).music.start) * settings.fps
    if length > settings.max_frames + settings.fps:
        yield (
            f"audio: the sound goes on for {clock(length / settings.fps)}, {int(length)} frames at {settings.fps:g} "
            f"fps; max_frames ends the film after {settings.max_frames}"
        )


def describe(sound: Sound, settings: Settings) -> str:
    """Return what was heard in a line: length, tempo, beats, sections, gains."""
    parts = [f"{sound.path.name} lasts {clock(sound.seconds)}"]
    try:
        grid = signals_of(settings).grid()
        tempo = settings.bpm or sound.bpm
        given = " (given)" if settings.bpm else ""
        parts.append(
            f"{tempo:.1f} bpm{given}, {len(grid.beats)} beats from {grid.beats[0]:.2f} s on, the first bar at "
            f"{grid.beats[min(grid.downbeat, len(grid.beats) - 1)]:.2f} s"
        )
    except Unheard:
        parts.append("no beat is heard; give its tempo with bpm: 120")
    starts = [f"{each.label} {clock(each.start)}" for each in sound.sections]
    more = ", ..." if len(starts) > _MOST_SECTIONS else ""
    parts.append(f"{len(starts)} section{'s' * (len(starts) > 1)} ({', '.join(starts[:_MOST_SECTIONS])}{more})")
    if settings.audio_gain is None:
        gains = (f"{name} {gain_of(level.astype(float)):.2g}" for name, level in sound.levels.items())
        parts.append(f"gains {', '.join(gains)}")
    return "; ".join(parts)


def clock(seconds: float) -> str:
    """Write a time as 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def attach(stages: Stages, found: Followed, kit: Kit) -> Stages:
    """Return the stages as they are: schedules are sampled before."""
    return stages
