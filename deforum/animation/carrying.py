"""Wrapping cameras, and cameras that carry state along with the picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from deforum.animation.parts import C, Camera, Memory
from deforum.motion.warps import Warp
from deforum.pixels.image import Image
from deforum.settings.params import Params
from deforum.timeline.frame import Frame


@dataclass(frozen=True)
class OuterCamera(Camera):
    """A camera that wraps another one and delegates to it."""

    camera: Camera

    def look(self, scene: Image, frame: Frame) -> Self:
        return replace(self, camera=self.camera.look(scene, frame))

    def back(self, frame: Frame, way: Sequence[Params[float]]) -> Warp:
        return self.camera.back(frame, way)

    def joined(self, way: Warp, step: Warp) -> Warp:
        return self.camera.joined(way, step)

    def lead(self, way: Warp) -> tuple[Warp, Self]:
        lead, camera = self.camera.lead(way)
        return lead, replace(self, camera=camera)

    def within(self, kind: type[C]) -> C | None:
        return self if isinstance(self, kind) else self.camera.within(kind)

    def memory(self) -> Memory:
        return {"camera": self.camera.memory()}

    def recall(self, memory: Memory) -> Self:
        inner = memory["camera"]
        assert isinstance(inner, Mapping)
        return replace(self, camera=self.camera.recall(inner))


@dataclass(frozen=True)
class CarryingCamera(OuterCamera):
    """A camera that carries state along with the picture from frame to frame; subclasses define the state."""

    index: int = field(default=0, kw_only=True)
    """Index of the frame where the camera is."""

    @abstractmethod
    def carry(self, warp: Warp, index: int) -> Self:
        """Move the carried state by the motion to frame `index`."""

    def look(self, scene: Image, frame: Frame) -> Self:
        return replace(super().look(scene, frame), index=frame.index)

    def move(self, frame: Frame) -> tuple[Warp, Self]:
        warp, camera = self.camera.move(frame)
        # Deforum's cadence moves the older picture to a frame where the newer one is.
        carried = self if frame.index == self.index else self.carry(warp, frame.index)
        return warp, replace(carried, camera=camera, index=frame.index)
