"""Noise that moves with the picture: the camera carries a noise map along.

The noise map is explained in `deforum.motion.noise_map`.
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
from deforum.motion.noise_map import NoiseMap
from deforum.motion.warps import Warp
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame


@dataclass(frozen=True)
class NoiseCamera(CarryingCamera):
    """A camera that carries the noise map to its own frame."""

    noise_map: NoiseMap
    looked: NoiseMap | None = None
    """The noise map where the camera last looked."""

    def look(self, scene: Image, frame: Frame) -> Self:
        return replace(super().look(scene, frame), looked=self.noise_map)

    def lead(self, way: Warp) -> tuple[Warp, Self]:
        lead, camera = super().lead(way)
        if lead is way or self.looked is None:
            return lead, camera
        # Noise stays on what it is painted over.
        return lead, replace(camera, noise_map=self.looked.moved(lead.charts()[0], self.index))

    def carry(self, warp: Warp, index: int) -> Self:
        return replace(self, noise_map=self.noise_map.moved(warp.charts()[0], index))

    def memory(self) -> Memory:
        numbers, beside = torch.from_numpy(self.noise_map.numbers), torch.from_numpy(self.noise_map.beside)
        return {**super().memory(), "numbers": numbers, "beside": beside}

    def recall(self, memory: Memory) -> Self:
        known: Any = memory  # as `memory` gives it
        noise_map = replace(self.noise_map, numbers=known["numbers"].numpy(), beside=known["beside"].numpy())
        return replace(super().recall(memory), noise_map=noise_map)


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Let noise follow the camera."""
    return with_moving_noise(stages, NoiseMap.of(*kit.settings.size, kit.cell))


def with_moving_noise(stages: Stages, noise_map: NoiseMap) -> Stages:
    """Let the noise of every diffusion pass move with the picture."""
    return replace(stages, camera=NoiseCamera(stages.camera, noise_map), around=[*stages.around, with_map])


def with_map(diffuse: Diffuse) -> Diffuse:
    """Put the noise map into frames before they are diffused."""

    def placed(moment: Moment) -> Moment:
        camera = moment.camera.within(NoiseCamera)
        return moment if camera is None else replace(moment, frame=replace(moment.frame, noise_map=camera.noise_map))

    def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return diffuse(inits, [placed(moment) for moment in moments])

    return diffused
