"""Cameras that carry something along with the picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from deforum.animation.parts import Camera
from deforum.motion.warps import Warp
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class CarryingCamera(ABC):
    """A camera that carries something along with the picture, from frame to frame; what it is, a subclass says."""

    camera: Camera
    index: int = field(default=0, kw_only=True)
    """Of the frame where it is."""

    @abstractmethod
    def carry(self, warp: Warp, index: int) -> Self:
        """Move what it carries by the motion to frame `index`."""

    def look(self, scene: Image, frame: Frame) -> Self:
        return replace(self, camera=self.camera.look(scene, frame))

    def move(self, frame: Frame) -> tuple[Warp, Self]:
        warp, camera = self.camera.move(frame)
        # Deforum's cadence moves the older picture to a frame where the newer one is.
        carried = self if frame.index == self.index else self.carry(warp, frame.index)
        return warp, replace(carried, camera=camera, index=frame.index)
