"""The cameras of the animation modes: what moves the picture from one frame to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from deforum.animate import Camera, Warp
from deforum.camera import UNITS, Depth, DepthWarp, warp_physical, warp_slab
from deforum.depth import DepthModel
from deforum.depth.scale import Span, slab_depth, steady_depth
from deforum.image import Device, Image, Mask
from deforum.params import Params
from deforum.positions import Chart, Charts, map_by, pixels
from deforum.profile import Profile
from deforum.timeline import Frame
from deforum.warp import Border, Matrix, coverage, flat_matrix, inverse, perspective_flip, warp_flat

if TYPE_CHECKING:
    from deforum.settings import Settings


@dataclass(frozen=True)
class FlatWarp:
    """A motion in the picture plane: `matrix` (3, 3) maps source pixels to destination pixels."""

    matrix: Matrix
    width: int
    height: int
    border: Border
    device: Device

    def __call__(self, image: Image) -> Image:
        return warp_flat(image, self.matrix, border=self.border)

    def then(self, later: FlatWarp) -> FlatWarp:
        return replace(self, matrix=later.matrix @ self.matrix)

    def inverse(self) -> FlatWarp:
        return replace(self, matrix=inverse(self.matrix))

    @cached_property
    def _coverage(self) -> Mask:
        return coverage(self.matrix, self.width, self.height, self.device)

    def coverage(self) -> Mask:
        return self._coverage

    def charts(self) -> Charts:
        here, back = pixels(self.width, self.height, self.device), inverse(self.matrix)
        return (
            Chart(map_by(back, here), self.coverage()),
            Chart(map_by(self.matrix, here), coverage(back, self.width, self.height, self.device)),
        )


@dataclass(frozen=True)
class StillCamera:
    """Does not move."""

    settings: Settings
    device: Device

    def look(self, scene: Image, frame: Frame) -> StillCamera:
        return self

    def move(self, frame: Frame) -> tuple[Warp, StillCamera]:
        size = self.settings.width, self.settings.height
        return FlatWarp(np.eye(3, dtype=np.float64), *size, self.settings.border, self.device), self


@dataclass(frozen=True)
class FlatCamera:
    """2D: rotation, zoom, translation and perspective flip of the whole picture; it knows nothing of the scene."""

    settings: Settings
    profile: Profile
    device: Device

    def look(self, scene: Image, frame: Frame) -> FlatCamera:
        return self

    def move(self, frame: Frame) -> tuple[Warp, FlatCamera]:
        settings = self.settings
        matrix = flat_matrix(
            frame.params,
            settings.width,
            settings.height,
            flip=settings.enable_perspective_flip,
            flip_keeps_translation=self.profile.flip_keeps_translation,
        )
        return FlatWarp(matrix, settings.width, settings.height, settings.border, self.device), self


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


@dataclass(frozen=True)
class DepthCamera:
    """3D: the picture is a surface in space, as far away as the depth model says; without a model it is flat.

    With `Profile.depth_steady` depth is found once for each diffused picture, scaled alike over time, and carried along
    between them; without, it is found and equalised in each frame.
    """

    settings: Settings
    profile: Profile
    device: Device
    model: DepthModel | None
    depth_is_raw: bool
    """The model's values are distances as they are (Deforum's algorithms called "old")."""
    depth: Depth | None = None
    """Of the picture where the camera is."""
    known: Mask | None = None
    """Where `depth` was seen before the last move, not made up."""
    span: Span | None = None
    before: Params[float] | None = None
    """Of the frame where the camera is, whose lens took the picture."""
    keep: Callable[[int, Depth], None] | None = None
    """Told the depth of each frame that the camera comes to, and again where it is found anew."""
    path: DepthWarp | None = None
    """The whole way since the camera last looked: depth carried along it is sampled once, not in each frame."""

    def look(self, scene: Image, frame: Frame) -> DepthCamera:
        if self.model is None:
            return replace(self, depth=None, known=None, path=None, before=frame.params)
        found = self.model(scene, frame.index)
        if not self.profile.depth_steady:
            depth = slab_depth(found, self.model.gives, as_it_is=self.depth_is_raw)
            return replace(self, depth=depth, path=None, before=frame.params)._kept(frame)
        near, far = frame.params.near / UNITS, frame.params.far / UNITS
        carried = None if self.depth is None or self.known is None else (self.depth, self.known)
        depth, span = steady_depth(found, self.model.gives, self.span, near=near, far=far, carried=carried)
        return replace(self, depth=depth, span=span, path=None, before=frame.params)._kept(frame)

    def move(self, frame: Frame) -> tuple[Warp, DepthCamera]:
        settings, size = self.settings, (self.settings.width, self.settings.height)
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
        return warp, moved._kept(frame)

    def _kept(self, frame: Frame) -> DepthCamera:
        if self.keep is not None and self.depth is not None:
            self.keep(frame.index, self.depth)
        return self


def keeping_depth(camera: Camera, keep: Callable[[int, Depth], None]) -> Camera:
    """Have a 3D camera tell the depth of each frame; it may be inside of others."""
    if isinstance(camera, DepthCamera):
        return replace(camera, keep=keep)
    inner = getattr(camera, "camera", None)
    return camera if inner is None else replace(cast(Any, camera), camera=keeping_depth(inner, keep))
