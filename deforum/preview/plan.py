"""What a preview shows, settled before torch is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from deforum.build import prepare, resolve
from deforum.depth import resolve_depth
from deforum.diffusion import resolve_model
from deforum.diffusion.training_limits import DEFORUM_SIZE, with_size
from deforum.errors import Problem, UserError
from deforum.features import hybrid
from deforum.features.feature import Feature
from deforum.features.table import DEPTH, switched_on, timeline_of
from deforum.forecast.motion import motions_of
from deforum.forecast.scenes import OPEN
from deforum.loading import load, load_text
from deforum.models.places import roots_of
from deforum.pixels.files import check_pictures
from deforum.preview.choices import DepthChoice, Picture
from deforum.preview.scale import scaled, scaled_curves
from deforum.settings.options import Settings
from deforum.shots import PlacedShot, place_shots
from deforum.timeline.timeline import Timeline

if TYPE_CHECKING:
    from deforum.depth import DepthSource

T = TypeVar("T")

WORN = 0.1
"""Share of the picture that is left, below which a preview shows little."""
FEWEST_BETWEEN = 8
"""Frames after which a picture is begun anew at least, to be of use."""


@dataclass(frozen=True)
class Plan:
    """A preview before anything is loaded."""

    settings: Settings
    """Resolved, of the preview's size."""
    timeline: Timeline
    picture: Picture
    """Not auto. Frames of a clip that the animation starts from, or paints over, come before it."""
    found: Mapping[str, Any]
    """Result of `Feature.find`, by name of the features that are shown."""
    has_drawn_depth: bool
    """Whether the 3D camera sees the depth of the drawn room."""
    shown: range
    """The frames of the timeline that are shown."""
    at: int
    """The number that the first of them has in the film."""
    renew: int = 0
    """The picture is begun anew after so many frames; 0: never."""
    notes: tuple[str, ...] = ()
    """Deviations from the render's motion, a line each."""
    shots: tuple[tuple[str, Plan], ...] = ()
    """Of a film of shots: the name and the preview of each, which are shown one after the other in place of this."""

    @property
    def place(self) -> range:
        """The frames by the numbers that they have in the film."""
        if self.shots:
            return range(self.shots[-1][1].place.stop)
        return range(self.at, self.at + len(self.shown))

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that are shown, from the inside out."""
        return shown_features(self.settings)


def plan_preview(
    settings: Settings,
    *,
    picture: Picture = "auto",
    depth: DepthChoice = "auto",
    scale: float = 1.0,
    renew: int = 0,
) -> Plan:
    """Check what a preview of settings needs, and find its clips, masks and depth model. The model may be missing.

    `picture` auto is the init picture if there is one, else the room in 3D and the card in other modes. `depth` auto is
    that of the room, or the model that is set, or the embedded one where that is missing. `scale` is the share of the
    frame's sides; motions in px shrink alike. With `renew` the picture begins anew after so many frames, for zooms in
    which nothing of it is left.
    Raises UserError with everything that is missing.
    """
    settings, notes = with_known_size(resolve(settings))
    timeline = timeline_of(settings)
    shots = place_shots(settings, timeline, load, load_text)
    if shots:
        return _film_of_shots(
            settings, shots, picture=picture, depth=depth, scale=scale, renew=renew, notes=tuple(notes)
        )
    settings, timeline = scaled(settings, scale), scaled_curves(timeline, settings, scale)
    if picture != "auto" and hybrid.starts_from_clip(settings):
        settings = replace(settings, hybrid_use_first_frame_as_init_image=False)
    if picture == "auto":
        has_init = settings.init_image is not None and settings.mode.goes_on
        picture = "init" if has_init else "room" if settings.mode.has_depth else "card"
    if depth != "auto" and not settings.mode.has_depth:
        raise UserError(f"--depth {depth}: {settings.animation_mode} has no depth; leave it out, or animation_mode=3D")
    if depth == "none":
        settings = replace(settings, use_depth_warping=False)
    has_drawn_depth = picture == "room" and depth == "auto" and settings.mode.has_depth and settings.use_depth_warping
    problems: list[Problem] = []

    def look(find: Callable[[], T]) -> T | None:
        try:
            return find()
        except UserError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
            return None

    def find_depth() -> DepthSource | None:
        if has_drawn_depth:
            return None
        if depth == "embedded":
            return resolve_depth("embedded")
        try:
            found: DepthSource | None = DEPTH.find(settings)
            return found
        except UserError as error:
            if depth == "set":
                raise
            notes.extend(f"{problem.message}; the embedded depth model stands in" for problem in error.problems)
            return resolve_depth("embedded")

    found = {
        feature.name: look(find_depth if feature is DEPTH else partial(feature.find, settings))
        for feature in shown_features(settings)
    }
    if picture == "init":
        look(lambda: check_init(settings))
    if picture == "painted":
        look(lambda: prepare(settings))
    if problems:
        raise UserError(problems)
    shown = range(timeline.first, len(timeline))
    notes += worn_note(settings, timeline, shown) if not renew and picture != "init" else []
    return Plan(settings, timeline, picture, found, has_drawn_depth, shown, shown.start, renew, tuple(notes))


def worn_note(settings: Settings, timeline: Timeline, shown: range) -> list[str]:
    """Return a note where nearly nothing of a picture is left before the end, as none is painted."""
    left = motions_of(settings, timeline, OPEN, shown).left
    gone = np.flatnonzero(left < WORN)
    if not len(gone) or not settings.mode.goes_on:
        return []
    frame = int(gone[0])
    if frame < FEWEST_BETWEEN:
        return []
    return [
        f"from frame {shown.start + frame} on less than a tenth of the picture is left, as nothing is painted: "
        f"--renew {frame} begins it anew"
    ]


def _film_of_shots(
    settings: Settings, shots: Sequence[PlacedShot], *, picture: Picture, depth: DepthChoice, scale: float, renew: int,
    notes: tuple[str, ...],
) -> Plan:  # fmt: skip
    """Plan the preview of each shot; they have the size of the film."""
    plans: list[tuple[str, Plan]] = []
    problems: list[Problem] = []
    for shot in shots:
        own = shot.settings
        own = replace(own, width=own.width or settings.width, height=own.height or settings.height)
        try:
            # Without depth, what is chosen of it concerns other shots.
            of_depth = depth if own.mode.has_depth else "auto"
            plan = plan_preview(own, picture=picture, depth=of_depth, scale=scale, renew=renew)
        except UserError as error:
            problems += (Problem(f"shots, {shot.name}: {each.message}", each.where) for each in error.problems)
            continue
        if own.size != settings.size:
            problems.append(Problem(f"shots, {shot.name}: its size is not that of the film; give it width and height"))
        notes = (*notes, *(f"{shot.name}: {note}" for note in plan.notes if note not in notes))
        plans.append((shot.name, replace(plan, shown=shot.frames, at=shot.at)))
    if problems:
        raise UserError(problems)
    first = plans[0][1]
    return replace(first, settings=scaled(settings, scale), notes=notes, shots=tuple(plans))


def check_init(settings: Settings) -> None:
    """Raise UserError where there is no init picture that can be read."""
    if settings.init_image is None:
        raise UserError("--picture init: init_image is not set; set it, or choose card, room or painted")
    problems = check_pictures([Path(settings.init_image)], "init_image")
    if problems:
        raise UserError(problems)


def shown_features(settings: Settings) -> tuple[Feature, ...]:
    """List the features that are on and seen in a preview, from the inside out."""
    return tuple(feature for feature in switched_on(settings) if feature.is_previewed)


def with_known_size(settings: Settings) -> tuple[Settings, list[str]]:
    """Fill in the size as a render does; also return a note where the model is missing that would say it."""
    if settings.width is not None and settings.height is not None:
        return settings, []
    try:
        model = resolve_model(settings.model, roots=roots_of(settings.models_dir))
    except UserError:
        width, height = settings.width or DEFORUM_SIZE[0], settings.height or DEFORUM_SIZE[1]
        note = f"size: that of the model, which is not here; {width}x{height} in its place"
        return replace(settings, width=width, height=height), [note]
    return with_size(settings, model), []
