"""A camera that adds the motion of a clip to its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Self

from deforum.animation.carrying import OuterCamera
from deforum.animation.depth_camera import DepthCamera
from deforum.animation.parts import Camera
from deforum.features.hybrid.match import find_matrix
from deforum.flow import FlowModel
from deforum.flow.dense import both_ways
from deforum.motion.flat import FlatWarp
from deforum.motion.flow_warp import FlowWarp, join, move_mask, reliable_flow
from deforum.motion.positions import Sampling
from deforum.motion.warps import Warp
from deforum.pixels.image import Image
from deforum.settings.options import Settings
from deforum.settings.profiles import Profile
from deforum.timeline.frame import Frame

TURNED_ROUND = 0.75
"""Factor of Deforum for unreliable flow, which it applies in the opposite direction."""

Motion = Callable[[Image, Image, Frame], Warp]
"""Estimates the motion from one picture to another, for a frame."""

ClipMotion = Callable[[Frame, Callable[[], Image]], Warp]
"""Returns the motion that is added at a frame; the callable provides the picture, moved there by the camera."""


def whole_motion(settings: Settings) -> Motion:
    """Estimate one matrix for the whole picture: Affine or Perspective."""
    kind = settings.hybrid_motion
    assert kind in ("Affine", "Perspective")

    def motion(a: Image, b: Image, frame: Frame) -> Warp:
        return FlatWarp(find_matrix(a, b, kind), *settings.size, "mirror", a.device)

    return motion


def dense_motion(settings: Settings, profile: Profile, flow: FlowModel) -> Motion:
    """Estimate optical flow, scaled by hybrid_flow_factor; with hybrid_flow_consistency only where it is reliable.

    Deforum's profile moves unreliable pixels in the opposite direction, as Deforum does; the corrected one rests them.
    """
    opposed = 0 if profile.doubtful_flow_rests else TURNED_ROUND

    def motion(a: Image, b: Image, frame: Frame) -> Warp:
        if settings.hybrid_flow_consistency:
            there, back = both_ways(flow, a, b)
            found = reliable_flow(there, back, blur=settings.hybrid_consistency_blur, opposed=opposed)
        else:
            found = flow(a, b)
        return FlowWarp.of(found, factor=frame.params.hybrid_flow_factor)

    return motion


def from_clip(clip: Callable[[int], Image], motion: Motion) -> ClipMotion:
    """Take over the clip's motion from its previous frame to this one."""

    @lru_cache(maxsize=1)  # Deforum's cadence asks twice for the motion of a diffused frame
    def between(frame: Frame) -> Warp:
        return motion(clip(max(frame.index - 1, 0)), clip(frame.index), frame)

    return lambda frame, moved: between(frame)


def from_picture(clip: Callable[[int], Image], motion: Motion) -> ClipMotion:
    """Take over the motion from the animation's own picture to the clip's."""
    return lambda frame, moved: motion(moved(), clip(frame.index), frame)


@dataclass(frozen=True)
class HybridCamera(OuterCamera):
    """Applies the camera's motion, then the clip's; 3D depth is carried along by both."""

    motion: ClipMotion
    sampling: Sampling | None = None
    """Interpolation of moved pictures; None: the camera's."""
    scene: Image | None = None
    """The picture of the last look."""
    way: tuple[Warp, ...] = ()
    """The motions since the last look."""
    step: Warp | None = None
    """The clip's part in the last move."""

    def look(self, scene: Image, frame: Frame) -> Self:
        return replace(super().look(scene, frame), scene=scene, way=())

    def move(self, frame: Frame) -> tuple[Warp, Self]:
        scene = self.scene
        assert scene is not None
        warp, camera = self.camera.move(frame)
        step = self.motion(frame, lambda: reduce(join, (*self.way, warp))(scene))
        moved = join(warp, step, sampling=self.sampling)
        return moved, replace(self, camera=_carry(camera, step), way=(*self.way, moved), step=step)

    def joined(self, way: Warp, step: Warp) -> Warp:
        return way.then(step)  # the wrapped camera does not know the clip's motion


def _carry(camera: Camera, step: Warp) -> Camera:
    """Move a camera's depth with the picture."""
    if not isinstance(camera, DepthCamera) or camera.depth is None or camera.path is None:
        return camera
    known = None if camera.known is None else move_mask(step, camera.known) * step.coverage()
    return replace(camera, depth=move_mask(step, camera.depth), known=known, path=None)
