"""The 2D and still cameras, which move the picture from one frame to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deforum.animation.parts import Camera
from deforum.motion.flat import FlatWarp
from deforum.motion.matrices import flat_matrix
from deforum.motion.warps import Warp
from deforum.pixels.image import Device, Image
from deforum.settings.options import Settings
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
        return FlatWarp(np.eye(3, dtype=np.float64), *self.settings.size, self.settings.border, self.device), self


@dataclass(frozen=True)
class FlatCamera(Camera):
    """2D: rotation, zoom, translation and perspective flip of the whole picture, independent of the scene."""

    settings: Settings
    profile: Profile
    device: Device

    def look(self, scene: Image, frame: Frame) -> FlatCamera:
        return self

    def move(self, frame: Frame) -> tuple[Warp, FlatCamera]:
        settings = self.settings
        matrix = flat_matrix(
            frame.params,
            *settings.size,
            flip=settings.enable_perspective_flip,
            flip_keeps_translation=self.profile.flip_keeps_translation,
        )
        return FlatWarp(matrix, *settings.size, settings.border, self.device), self
