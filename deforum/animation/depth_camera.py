"""The 3D camera: the picture is a depth surface in space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from deforum.animation.carrying import OuterCamera
from deforum.animation.parts import Camera, Memory
from deforum.depth import DepthModel
from deforum.depth.scale import OUTSTANDING, DepthRange, slab_depth, steady_depth
from deforum.motion.matrices import perspective_flip
from deforum.motion.pose import UNITS
from deforum.motion.sight import Depth
from deforum.motion.slab import warp_slab
from deforum.motion.surface import DepthWarp, warp_physical
from deforum.motion.warps import Warp
from deforum.pixels.image import Device, Image, Mask
from deforum.profiling import staged
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import Profile
from deforum.timeline.camera_path import undone
from deforum.timeline.frame import Frame


@dataclass(frozen=True)
class DepthCamera(Camera):
    """3D camera: the picture is a surface in space, placed by the depth model. Without a model the surface is flat.

    With `Profile.depth_steady`, depth is estimated once per diffused picture, keeps one scale over time, and is carried
    along in between. Otherwise it is estimated and equalised in each frame.
    """

    settings: Settings
    profile: Profile
    device: Device
    model: DepthModel | None
    depth_is_raw: bool
    """The model's values are used as distances without scaling (Deforum's algorithms called "old")."""
    depth: Depth | None = None
    """Depth of the picture where the camera is."""
    known: Mask | None = None
    """Where `depth` was seen before the last move; elsewhere it is filled in."""
    range: DepthRange | None = None
    since: int = 0
    """Frames since depth was last estimated."""
    before: Params[float] | None = None
    """Parameters of the frame where the camera is; its lens took the picture."""
    keep: Callable[[int, Depth], None] | None = None
    """Called with (index, depth) for each frame that the camera reaches, and again when depth is estimated anew."""
    path: DepthWarp | None = None
    """The whole way since the last look, so that carried depth is sampled only once."""

    @staged("depth")
    def look(self, scene: Image, frame: Frame) -> DepthCamera:
        if self.model is None:
            return replace(self, depth=None, known=None, path=None, before=frame.params)
        found = self.model(scene, frame.index)
        if not self.profile.depth_steady:
            depth = slab_depth(found, self.model.gives, as_it_is=self.depth_is_raw)
            return replace(self, depth=depth, path=None, before=frame.params)._kept(frame)
        near, far = frame.params.near / UNITS, frame.params.far / UNITS
        carried = None if self.depth is None or self.known is None else (self.depth, self.known)
        depth, range = steady_depth(
            found, self.model.gives, self.range, near=near, far=far, carried=carried, frames=self.since
        )
        return replace(self, depth=depth, range=range, since=0, path=None, before=frame.params)._kept(frame)

    def move(self, frame: Frame) -> tuple[Warp, DepthCamera]:
        settings, size = self.settings, self.settings.size
        if self.profile.physical_camera:
            warp = warp_physical(
                self.depth,
                frame.params,
                *size,
                before=self.before,
                fov_is_vertical=settings.aspect_ratio_use_old_formula,
                fill="stretch" if settings.disocclusion == "stretch" else "far",
                padding=settings.padding_mode,
                sampling=settings.sampling_mode,
                # Carried depth may come somewhat nearer still.
                nearest=frame.params.near / UNITS / (2 * OUTSTANDING),
                device=self.device,
            )
        else:
            warp = warp_slab(
                self.depth,
                frame.params,
                *size,
                old_aspect_formula=settings.aspect_ratio_use_old_formula,
                padding=settings.padding_mode,
                sampling=settings.sampling_mode,
                device=self.device,
            )
        if settings.enable_perspective_flip:
            p = frame.params
            flip = perspective_flip(
                p.perspective_flip_theta, p.perspective_flip_phi, p.perspective_flip_gamma, p.perspective_flip_fv, *size
            )
            warp = warp.flipped(flip, None if self.profile.physical_camera else settings.border)
        if not self.profile.depth_steady:
            return warp, replace(self, before=frame.params)._kept(frame)
        path = warp if self.path is None else self.path.then(warp)
        moved = replace(self, before=frame.params, depth=path.depth, known=path.coverage(), path=path)
        return warp, replace(moved, since=self.since + 1)._kept(frame)

    def back(self, frame: Frame, way: Sequence[Params[float]]) -> Warp:
        # The lens of the picture is that of the last frame; the motion is one from there to `frame`.
        camera = replace(self, before=way[-1], keep=None, path=None)
        return camera.move(replace(frame, params=undone(way)))[0]

    def joined(self, way: Warp, step: Warp) -> Warp:
        # `path` is the same way, already joined.
        return way.then(step) if self.path is None else self.path

    def memory(self) -> Memory:
        return {
            "depth": self.depth,
            "known": self.known,
            "since": self.since,
            "range": {} if self.range is None else {"far": float(self.range.far), "near": float(self.range.near)},
        }

    def recall(self, memory: Memory) -> DepthCamera:
        known: Any = memory  # as `memory` gives it
        return replace(
            self,
            depth=_on(self.device, known["depth"]),
            known=_on(self.device, known["known"]),
            since=known.get("since", 1),  # earlier versions did not keep it
            range=DepthRange(**known["range"]) if known["range"] else None,
        )

    def _kept(self, frame: Frame) -> DepthCamera:
        if self.keep is not None and self.depth is not None:
            self.keep(frame.index, self.depth)
        return self


def _on(device: Device, tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.to(device)


def keeping_depth(camera: Camera, keep: Callable[[int, Depth], None] | None) -> Camera:
    """Have a 3D camera, wrapped or not, call keep(index, depth) for every frame; None: nothing."""
    if isinstance(camera, DepthCamera):
        return replace(camera, keep=keep)
    return replace(camera, camera=keeping_depth(camera.camera, keep)) if isinstance(camera, OuterCamera) else camera
