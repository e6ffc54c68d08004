"""A reference: its pictures are found and checked; they travel in the frames to the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum.errors import Problem, UserError
from deforum.paths import is_file
from deforum.pixels.files import check_pictures
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from deforum.timeline.image_tracks import INIT
from deforum.timeline.variables import variables_of
from schedules import ScheduleError
from schedules.quoting import cut

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make paths absolute; returns problems of pictures that are not there."""
    problems: list[tuple[str, str]] = []
    units = []
    for unit in settings.reference:
        pictures = []
        for key, text in unit.picture:
            path = None if text == INIT else files.find_file(text)
            pictures.append((key, text if path is None else str(path.resolve())))
            if path is None and text != INIT:
                problems.append(("reference", f"reference, keyframe {cut(key, 40)}: {files.missing(text)}"))
        units.append(replace(unit, picture=tuple(pictures)))
    return replace(settings, reference=tuple(units)), problems


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the setting."""
    if len(settings.reference) > 1:
        yield "reference", f"reference: {len(settings.reference)} references; expected one"
    for unit in settings.reference:
        if not unit.picture:
            yield "reference", "reference: picture is missing; expected {picture: a.png} or {picture: init}"
        if settings.step_cache > 1:
            yield (
                "reference",
                "reference: does not go with step_cache, which leaves out attentions; set step_cache to 1",
            )
        for name in ("strength", "fidelity"):
            schedule = getattr(unit, name)
            try:
                curve = schedule.sample(settings.max_frames, variables_of(settings))
            except ScheduleError as error:
                if error.said_elsewhere:
                    continue
                yield "reference", f"reference, {name}: {error.message}"
                continue
            wrong = ~((curve >= 0) & (curve <= 1))
            if wrong.any():
                first = int(np.argmax(wrong))
                yield "reference", f"reference, {name} is {curve[first]:.6g} at frame {first}; expected 0..1"


def find(settings: Settings) -> tuple[Path, ...]:
    """Find the pictures. Raises UserError for those that cannot be read."""
    paths = tuple(Path(text) for unit in settings.reference for _, text in unit.picture if text != INIT)
    problems = [Problem(f"reference: {path} is not there") for path in paths if not is_file(path)]
    problems += check_pictures((path for path in paths if is_file(path)), "reference")
    if problems:
        raise UserError(problems)
    return paths


def refusals(found: tuple[Path, ...], width: int | None, title: str) -> Iterator[str]:
    """Yield a message for a model without a UNet; see `loras.refusals`."""
    if title and width is None:
        yield f"reference: works with models that have a UNet; the model is of the family {title}"


def attach(stages: Stages, found: tuple[Path, ...], kit: Kit) -> Stages:
    """Return the stages as they are: the diffuser reads the reference of each frame."""
    return stages
