"""Pictures that guide, of IP-Adapters and references: by keyframe, with weights sampled for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.settings.options import PictureUnit, ReferenceUnit, Settings
from deforum.settings.units import Unit, declared
from deforum.timeline.prompts import PromptTrack
from deforum.timeline.variables import variables_of
from schedules import NumberSchedule, ScheduleError, parse_key

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class ImageWord:
    """The pictures of one IP-Adapter in a frame."""

    unit: int
    """Which of the units of the setting, from 0."""
    pictures: tuple[tuple[str, float], ...]
    """Paths with their weights, which sum to 1."""
    scale: float

    def __str__(self) -> str:
        shown = " + ".join(path if weight == 1 else f"{weight:g} {path}" for path, weight in self.pictures)
        return f"{shown} x {self.scale:g}"


@dataclass(frozen=True)
class ImageTrack:
    """The pictures of one IP-Adapter over time."""

    unit: int
    pictures: PromptTrack
    scale: Curve
    """(F,)"""

    def at(self, index: int, *, blend: bool) -> ImageWord:
        """Return what acts in a frame; `blend`: between keyframes both pictures do."""
        return ImageWord(self.unit, self.pictures.at(index, blend=blend), float(self.scale[index]))


def place_images(settings: Settings) -> tuple[ImageTrack, ...]:
    """Place the pictures of the setting `ip_adapter` on the timeline. Raises UserError, ScheduleError."""
    return tuple(_track(number, unit, settings) for number, unit in enumerate(settings.ip_adapter))


def _track(number: int, unit: PictureUnit, settings: Settings) -> ImageTrack:
    pictures = _placed(unit.images, settings, f"ip_adapter {number + 1} ({unit.model}): images")
    return ImageTrack(number, pictures, _curve(PictureUnit, "scale", unit.scale, settings))


INIT = "init"
"""In place of a reference's path: the picture that the frame is painted from."""


@dataclass(frozen=True)
class ReferenceWord:
    """The reference of a frame, see `deforum.diffusion.adapters.reference`."""

    picture: str
    """A path, or `INIT`."""
    strength: float
    fidelity: float
    around: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Margins in px that a picture is mirrored into, as those of the frame: left, right, top, bottom."""

    def __str__(self) -> str:
        return f"{self.picture} x {self.strength:g}, fidelity {self.fidelity:g}"


@dataclass(frozen=True)
class ReferenceTrack:
    """A reference over time; each curve is (F,)."""

    pictures: PromptTrack
    strength: Curve
    fidelity: Curve

    def at(self, index: int) -> ReferenceWord:
        """Return the reference of a frame: the picture of the last keyframe."""
        [(picture, _)] = self.pictures.at(index, blend=False)
        return ReferenceWord(picture, float(self.strength[index]), float(self.fidelity[index]))


def place_reference(settings: Settings) -> ReferenceTrack | None:
    """Place the setting `reference` on the timeline. Raises UserError, ScheduleError."""
    if not settings.reference:
        return None
    unit = settings.reference[0]
    pictures = _placed(unit.picture, settings, "reference: picture")
    curves = (_curve(ReferenceUnit, name, getattr(unit, name), settings) for name in ("strength", "fidelity"))
    return ReferenceTrack(pictures, *curves)


def _placed(images: Sequence[tuple[str, str]], settings: Settings, where: str) -> PromptTrack:
    variables = variables_of(settings)
    placed: dict[int, str] = {}
    for key, path in images:
        try:
            placed[parse_key(key, name=where).frame(variables, settings.max_frames)] = path
        except ScheduleError as error:
            raise UserError(Problem(str(error))) from None
    keys = tuple(sorted(key for key in placed if key >= 0))
    if not keys:
        raise UserError(f"{where} has no picture; expected {{0: picture.png}}")
    return PromptTrack(keys, tuple(placed[key] for key in keys))


def _curve(kind: type[Unit], name: str, schedule: NumberSchedule, settings: Settings) -> Curve:
    values = schedule.sample(settings.max_frames, variables_of(settings))
    return np.asarray(np.clip(values, *declared(kind)[name].bounds))
