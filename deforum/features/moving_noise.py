"""Noise that moves with the picture: the camera takes along which piece of a seed's noise is where.

What these places are, and why, stands in `deforum.motion.places`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from deforum.animation.carrying import CarryingCamera
from deforum.animation.parts import Diffuse, Memory, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.motion.places import Places
from deforum.motion.warps import Warp
from deforum.pixels.image import Image


@dataclass(frozen=True)
class PlacesCamera(CarryingCamera):
    """A camera that takes the places along, as they are where it is."""

    places: Places

    def carry(self, warp: Warp, index: int) -> Self:
        return replace(self, places=self.places.moved(warp.charts()[0], index))

    def memory(self) -> Memory:
        numbers, beside = torch.from_numpy(self.places.numbers), torch.from_numpy(self.places.beside)
        return {**super().memory(), "numbers": numbers, "beside": beside}

    def recall(self, memory: Memory) -> Self:
        known: Any = memory  # as `memory` gives it
        places = replace(self.places, numbers=known["numbers"].numpy(), beside=known["beside"].numpy())
        return replace(super().recall(memory), places=places)


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Let noise follow the camera."""
    return with_moving_noise(stages, Places.of(kit.settings.width, kit.settings.height, kit.cell))


def with_moving_noise(stages: Stages, places: Places) -> Stages:
    """Let the noise of all diffusion, however often a frame is diffused, move with the picture."""
    return replace(stages, camera=PlacesCamera(stages.camera, places), around=[*stages.around, from_places])


def from_places(diffuse: Diffuse) -> Diffuse:
    """Tell frames where the noise is, before they are diffused."""

    def placed(moment: Moment) -> Moment:
        camera = moment.camera.within(PlacesCamera)
        return moment if camera is None else replace(moment, frame=replace(moment.frame, places=camera.places))

    def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return diffuse(inits, [placed(moment) for moment in moments])

    return diffused
