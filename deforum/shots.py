"""The shots of a film: each has settings of its own, and is rendered as a chain that begins at its first frame.

`place_shots` says which frames of which settings a film shows, in order. `Prepared.shots` holds the result: for a list
of cuts, or to go from a frame of the film to that of a shot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from deforum.errors import Problem, UserError
from deforum.features.table import timeline_of
from deforum.settings.document import Place, parse_yaml_value
from deforum.settings.document import Sequence as NodeSequence
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from deforum.settings.read import CANONICAL, Origin, dump, list_values
from deforum.settings.shots import Shot, write_node
from deforum.settings.yaml_writer import write_value
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline
from deforum.timeline.variables import variables_of
from schedules import ScheduleError, parse_key

OF_THE_FILM = (
    "fps", "output", "batch_name", "device", "frame_format", "save_metadata", "video_format", "crf", "video_quality",
    "video_preset", "skip_video_creation", "delete_imgs", "make_gif", "subtitles", "upscale", "post", "interpolate",
    "slow_motion", "r_upscale_video", "add_soundtrack", "soundtrack_path", "resume_from_timestring",
)  # fmt: skip
"""Settings of the whole film: those in a file of a shot do not act."""
_IN_A_SHOT: ContextVar[bool] = ContextVar("in_a_shot", default=False)
"""Whether the file that is read is that of a shot."""


class Loaded(Protocol):
    @property
    def settings(self) -> Settings: ...


Load = Callable[..., Loaded]
"""`deforum.loading.load` or `load_text`."""


@dataclass(frozen=True)
class PlacedShot:
    """A shot in its place in the film."""

    name: str
    settings: Settings
    """Complete, and without shots; `first_frame` is the first one of `frames`."""
    frames: range
    """Its frames, by the numbers that they have in its settings."""
    at: int
    """Index in the film of its first frame."""

    @property
    def place(self) -> range:
        """Its frames, by the numbers that they have in the film."""
        return range(self.at, self.at + len(self.frames))

    @cached_property
    def timeline(self) -> Timeline:
        return timeline_of(self.settings)

    def frame(self, index: int) -> Frame:
        """Return the frame at an index of the film, with that index."""
        return replace(self.timeline[self.frames[index - self.at]], index=index)


def has_shots(settings: Settings) -> bool:
    """Whether a run is a film of shots."""
    return bool(settings.shots) or settings.shot_cuts != "none"


def place_shots(settings: Settings, timeline: Timeline, load: Load, load_text: Load) -> tuple[PlacedShot, ...]:
    """Place the shots of resolved settings, whose timeline is given; () where they have none. Raises UserError."""
    if not has_shots(settings):
        return ()
    if not settings.shots:
        return tuple(_between_cuts(settings, timeline))
    placed: list[PlacedShot] = []
    problems: list[Problem] = []
    end = settings.first_frame
    for number, shot in enumerate(settings.shots):
        try:
            own = _settings_of(settings, shot, load, load_text, is_first=not number)
            frames = _frames_of(shot, own, 0 if shot.file else end)
        except UserError as error:
            problems += (_within(shot, problem) for problem in error.problems)
            continue
        at = placed[-1].place.stop if placed else 0
        placed.append(PlacedShot(shot.name, replace(own, first_frame=frames.start), frames, at))
        end = end if shot.file else frames.stop
    if problems:
        raise UserError(problems)
    return tuple(placed)


def _within(shot: Shot, problem: Problem, place: Place | None = None) -> Problem:
    where = problem.where if place is None or shot.file else str(place)
    return Problem(f"shots, {shot.name}: {problem.message}", where)


def _alone(settings: Settings, *, is_first: bool) -> Settings:
    """Return the settings that a shot starts out with: later ones begin at noise, unless they say otherwise."""
    init = settings.init_image if is_first or not settings.mode.goes_on else None
    # Where the film is written is its own affair, and no file may say so: see `load`.
    return replace(settings, shots=(), shot_cuts="none", init_image=init, output=Settings.output)


def _settings_of(settings: Settings, shot: Shot, load: Load, load_text: Load, *, is_first: bool) -> Settings:
    _refuse_what_is_the_films(shot)
    if shot.file:
        with _in_a_shot():
            own = load(shot.file, shot.changes).settings
        if has_shots(own):
            raise UserError(f"{shot.file} has shots of its own; list those here")
        if own.fps != settings.fps:
            raise UserError(
                f"{shot.file} has {own.fps:g} fps and the film {settings.fps:g}; expected the same: give the shot "
                f"fps: {settings.fps:g}, by which what is timed in seconds moves to other frames"
            )
        return replace(own, **{name: getattr(settings, name) for name in OF_THE_FILM})
    alone = _alone(settings, is_first=is_first)
    return load_text(dump(alone), shot.changes, name="settings.yaml").settings if shot.changes else alone


@contextlib.contextmanager
def _in_a_shot() -> Iterator[None]:
    token = _IN_A_SHOT.set(True)
    try:
        yield
    finally:
        _IN_A_SHOT.reset(token)


def _refuse_what_is_the_films(shot: Shot) -> None:
    for name in (change.partition("=")[0] for change in shot.changes):
        known = CANONICAL.get(name, name)
        if known in ("shots", "shot_cuts", "first_frame", *OF_THE_FILM) and not (known == "fps" and shot.file):
            raise UserError(f"{name} is of the whole film; give it outside of the shot")


def _frames_of(shot: Shot, own: Settings, begin: int) -> range:
    variables = variables_of(own)
    try:
        since, until = (
            parse_key(text, name=name).frame(variables, own.max_frames) if text else usual
            for name, text, usual in (("from", shot.since, begin), ("to", shot.until, own.max_frames))
        )
    except ScheduleError as error:
        raise UserError(str(error)) from error
    if not 0 <= since < until <= own.max_frames:
        raise UserError(
            f"from {since} to {until}: expected frames within 0 and {own.max_frames} (max_frames), and a cut after the "
            "first frame"
        )
    return range(since, until)


def _between_cuts(settings: Settings, timeline: Timeline) -> Iterator[PlacedShot]:
    first = settings.first_frame
    starts = [first, *(cut for cut in cuts_of(settings, timeline) if cut > first)]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(timeline)], strict=True), 1):
        own = replace(_alone(settings, is_first=number == 1), first_frame=start)
        yield PlacedShot(f"shot_{number:03}", own, range(start, end), start - first)


def cuts_of(settings: Settings, timeline: Timeline) -> list[int]:
    """Return the frames at which `shot_cuts` begins a new shot, ascending."""
    cuts: set[int] = set()
    if settings.shot_cuts in ("strength", "both") and settings.mode.goes_on:
        strength = timeline.curves.strength
        for before, key in zip(timeline.keys, timeline.keys[1:], strict=False):
            if strength[key] <= 0 < strength[before]:
                cuts.add(key)
    if settings.shot_cuts in ("prompts", "both") and not timeline.blend_prompts:
        track = timeline.prompts
        for index in track.keys:
            if 0 < index < len(timeline) and track.at(index - 1, blend=False) != track.at(index, blend=False):
                cuts.add(index)
    return sorted(cuts)


def locate_shots(
    settings: Settings, origins: Mapping[str, Origin], folder: Path, load: Load, load_text: Load
) -> tuple[Settings, list[Problem]]:
    """Make the paths in shots absolute, and read them with the settings of each; also return what is wrong.

    Relative paths start from the folder of the settings file.
    """
    if not settings.shots:
        return settings, []
    if _IN_A_SHOT.get():  # it may be the file that is read
        return settings, [
            Problem("shots: this is the file of a shot, and has shots of its own; list those of the film")
        ]
    node = origins["shots"].node if "shots" in origins else None
    nodes: Sequence[object] = node.items if isinstance(node, NodeSequence) else ()
    shots, problems = list[Shot](), list[Problem]()
    for number, shot in enumerate(settings.shots):
        place: Place | None = getattr(nodes[number], "place", None) if number < len(nodes) else None
        try:
            shots.append(_located(settings, shot, folder, load, load_text, is_first=not number))
        except UserError as error:
            problems += (_within(shot, problem, place) for problem in error.problems)
    return settings if problems else replace(settings, shots=tuple(shots)), problems


def _located(settings: Settings, shot: Shot, folder: Path, load: Load, load_text: Load, *, is_first: bool) -> Shot:
    _refuse_what_is_the_films(shot)
    if shot.file:
        path = Lookup(folder).find(shot.file)
        if path is None:
            raise UserError(f"file: {Lookup(folder).missing(shot.file)}")
        shot = replace(shot, file=str(path.resolve()))
        with _in_a_shot():
            load(path, shot.changes)
        return shot
    if not shot.changes:
        return shot
    text = dump(_alone(settings, is_first=is_first))
    own = load_text(text, shot.changes, name=str(folder / "settings.yaml")).settings
    values = {name: value for name, _, value, _ in list_values(own)}

    def written(change: str) -> str:
        name, _, value = change.partition("=")
        known = CANONICAL.get(name, name)
        if known in values:
            value = write_node(parse_yaml_value(write_value(values[known]), Place(name)))
        return f"{name}={value}"

    return replace(shot, changes=tuple(map(written, shot.changes)))
