"""Masks that move with the camera: where each pixel of a frame was in frame 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deforum.animate import Camera, Warp, within
from deforum.image import Image, Mask
from deforum.positions import Chart, follow, read_at
from deforum.timeline import Frame

SEEN = 0.99
"""Less than this much of a pixel was in frame 0: it has come into view since."""


@dataclass(frozen=True)
class FollowedCamera:
    """A camera that remembers the way from frame 0."""

    camera: Camera
    came: Chart | None = None
    """From the pixels of the frame where the camera is to frame 0; None while it has not moved."""
    index: int = 0
    """Of the frame where it is."""

    def look(self, scene: Image, frame: Frame) -> FollowedCamera:
        return replace(self, camera=self.camera.look(scene, frame))

    def move(self, frame: Frame) -> tuple[Warp, FollowedCamera]:
        warp, camera = self.camera.move(frame)
        if frame.index == self.index:  # Deforum's cadence moves the older picture to a frame where the newer one is
            return warp, replace(self, camera=camera)
        step, _ = warp.charts()
        if self.came is None:
            return warp, FollowedCamera(camera, step, frame.index)
        # Positions change evenly from pixel to pixel: reading them over and over does not blur what is read at them.
        positions = follow(self.came.positions, step.positions)
        covers = read_at(self.came.covers[None], step.positions)[0] * step.covers
        return warp, FollowedCamera(camera, Chart(positions, covers), frame.index)


def followed(camera: Camera) -> Chart | None:
    """Give the way from frame 0 to where a camera is; None where it is not remembered, or there was none."""
    found = within(camera, FollowedCamera)
    return None if found is None else found.came


def carried(picture: Image, came: Chart | None) -> Image:
    """Move a picture (C, H, W) of frame 0 to where the camera is."""
    return picture if came is None else read_at(picture, came.positions)


def came_into_view(came: Chart) -> Mask:
    """Tell what was not to be seen in frame 0: (H, W), 1 there."""
    return (came.covers < SEEN).float()
