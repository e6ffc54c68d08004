"""Masks that move with the camera: where each pixel of a frame was in frame 0."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from deforum.animation.carrying import CarryingCamera
from deforum.animation.parts import Camera, Memory
from deforum.motion.positions import SEEN, Chart, follow, read_at
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Device, Image, Mask


@dataclass(frozen=True)
class FollowedCamera(CarryingCamera):
    """A camera that remembers the motion from frame 0."""

    came: Chart | None = None
    """Positions in frame 0 of the pixels of the camera's frame; None while it has not moved."""
    device: Device = CPU
    """Device on which a recalled `came` is put."""

    def carry(self, warp: Warp, index: int) -> Self:
        step, _ = warp.charts()
        if self.came is None:
            return replace(self, came=step)
        # Positions are smooth, so resampling them in every frame does not blur the pictures read at them.
        positions = follow(self.came.positions, step.positions)
        covers = read_at(self.came.covers[None], step.positions)[0] * step.covers
        return replace(self, came=Chart(positions, covers))

    def memory(self) -> Memory:
        came = self.came
        known: Memory = {} if came is None else {"positions": came.positions, "covers": came.covers}
        return {**super().memory(), "came": known}

    def recall(self, memory: Memory) -> Self:
        came: Any = memory["came"]
        device = self.device
        chart = Chart(came["positions"].to(device), came["covers"].to(device)) if came else None
        return replace(super().recall(memory), came=chart)


def followed(camera: Camera) -> Chart | None:
    """Return a camera's motion from frame 0; None where it is not remembered, or the camera has not moved."""
    found = camera.within(FollowedCamera)
    return None if found is None else found.came


def carried(picture: Image, came: Chart | None) -> Image:
    """Move a picture (C, H, W) of frame 0 to the camera's frame."""
    return picture if came is None else read_at(picture, came.positions)


def came_into_view(came: Chart) -> Mask:
    """Mask of what was not visible in frame 0: (H, W), 1 there."""
    return (came.covers < SEEN).float()
