"""Noise that moves with the picture: the camera carries a noise map along.

The noise map is explained in `deforum.motion.noise_map`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch

from deforum.animation.carrying import CarryingCamera
from deforum.animation.parts import Diffuse, Memory, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.motion.noise_map import NoiseMap
from deforum.motion.warps import Warp
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame


@dataclass(frozen=True)
class NoiseCamera(CarryingCamera):
    """A camera that carries the noise map to its own frame."""

    carried: NoiseMap
    """The noise map before `steps`."""
    steps: tuple[tuple[Warp, int], ...] = ()
    """The motions since, and the frames that they led to; a map is moved when it is needed, as it costs a wait."""

    @cached_property
    def noise_map(self) -> NoiseMap:
        """The noise map where the camera is."""
        noise_map = self.carried
        for warp, index in self.steps:
            noise_map = noise_map.moved(warp.charts()[0], index)
        return noise_map

    def look(self, scene: Image, frame: Frame) -> Self:
        return replace(super().look(scene, frame), carried=self.noise_map, steps=())

    def carry(self, warp: Warp, index: int) -> Self:
        return replace(self, steps=(*self.steps, (warp, index)))

    def lead(self, way: Warp) -> tuple[Warp, Self]:
        lead, camera = super().lead(way)
        # Noise stays on what it is painted over.
        return lead, camera if lead is way else replace(camera, steps=((lead, self.index),))

    def memory(self) -> Memory:
        numbers, beside = torch.from_numpy(self.noise_map.numbers), torch.from_numpy(self.noise_map.beside)
        return {**super().memory(), "numbers": numbers, "beside": beside}

    def recall(self, memory: Memory) -> Self:
        known: Any = memory  # as `memory` gives it
        noise_map = replace(self.carried, numbers=known["numbers"].numpy(), beside=known["beside"].numpy())
        return replace(super().recall(memory), carried=noise_map, steps=())


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Let noise follow the camera."""
    return with_moving_noise(stages, NoiseMap.of(*kit.settings.size, kit.cell))


def with_moving_noise(stages: Stages, noise_map: NoiseMap) -> Stages:
    """Let the noise of every diffusion pass move with the picture."""
    return replace(stages, camera=NoiseCamera(stages.camera, noise_map), around=[*stages.around, with_map])


def with_map(diffuse: Diffuse) -> Diffuse:
    """Put the noise map into frames before they are diffused.

    The first picture has the noise of its seed as it is, so that a seed chosen by its picture begins with that picture.
    """

    def placed(moment: Moment) -> Moment:
        camera = moment.camera.within(NoiseCamera)
        if camera is None or moment.warp is None:
            return moment
        return replace(moment, frame=replace(moment.frame, noise_map=camera.noise_map))

    def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return diffuse(inits, [placed(moment) for moment in moments])

    return diffused
