"""The 2D and still cameras, which move the picture from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deforum.animation.parts import Camera
from deforum.motion.flat import FlatWarp
from deforum.motion.matrices import Matrix, flat_matrix
from deforum.motion.warps import Warp
from deforum.pixels.image import Device, Image
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import Profile
from deforum.timeline.frame import Frame


@dataclass(frozen=True)
class StillCamera(Camera):
    """A camera that does not move."""

    settings: Settings
    device: Device

    def look(self, scene: Image, frame: Frame) -> StillCamera:
        return self

    def move(self, frame: Frame) -> tuple[Warp, StillCamera]:
        return self._still, self

    def back(self, frame: Frame, way: Sequence[Params[float]]) -> Warp:
        return self._still

    @property
    def _still(self) -> Warp:
        return FlatWarp(np.eye(3, dtype=np.float64), *self.settings.size, self.settings.border, self.device)


@dataclass(frozen=True)
class FlatCamera(Camera):
    """2D: rotation, zoom, translation and perspective flip of the whole picture, independent of the scene."""

    settings: Settings
    profile: Profile
    device: Device

    def look(self, scene: Image, frame: Frame) -> FlatCamera:
        return self

    def move(self, frame: Frame) -> tuple[Warp, FlatCamera]:
        return self._warp(self._matrix(frame.params)), self

    def back(self, frame: Frame, way: Sequence[Params[float]]) -> Warp:
        there = np.eye(3, dtype=np.float64)
        for params in way[1:]:
            there = self._matrix(params) @ there
        return self._warp(there).inverse()

    def _matrix(self, params: Params[float]) -> Matrix:
        return flat_matrix(
            params,
            *self.settings.size,
            flip=self.settings.enable_perspective_flip,
            flip_keeps_translation=self.profile.flip_keeps_translation,
        )

    def _warp(self, matrix: Matrix) -> FlatWarp:
        return FlatWarp(matrix, *self.settings.size, self.settings.border, self.device)
