"""?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from deforum.animation.carrying import CarryingCamera
from deforum.animation.parts import Diffuse, Moment, Stages, within
from deforum.motion.warps import Warp

if TYPE_CHECKING:
    from deforum.pixels.image import Image
from deforum.motion.places import Places


@dataclass(frozen=True)
class PlacesCamera(CarryingCamera):
    """A camera that takes the places along, as they are where it is."""

    places: Places

    def carry(self, warp: Warp, index: int) -> Self:
        return replace(self, places=self.places.moved(warp.charts()[0], index))


def with_moving_noise(stages: Stages, places: Places) -> Stages:
    """Let the noise of all diffusion, however often a frame is diffused, move with the picture."""
    return replace(stages, camera=PlacesCamera(stages.camera, places), diffuse=from_places(stages.diffuse))


def from_places(diffuse: Diffuse) -> Diffuse:
    """Tell frames where the noise is, before they are diffused."""

    def placed(moment: Moment) -> Moment:
        camera = within(moment.camera, PlacesCamera)
        return moment if camera is None else replace(moment, frame=replace(moment.frame, places=camera.places))

    def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return diffuse(inits, [placed(moment) for moment in moments])

    return diffused
