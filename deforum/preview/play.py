"""The loop of a render around a painter that paints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from deforum.animation.carrying import CarryingCamera, OuterCamera
from deforum.animation.depth_camera import DepthCamera
from deforum.animation.modes import stages_of
from deforum.animation.painter import Painting
from deforum.animation.parts import Between, Camera, Pair, View
from deforum.animation.stages import Stages
from deforum.build import build, prepare
from deforum.depth import Gives
from deforum.features.feature import Kit
from deforum.models.catalogue import find_function
from deforum.models.device import choose_device
from deforum.models.kept import KeptModels
from deforum.motion.warps import Warp
from deforum.pixels.image import Device, Image, Mask, from_bytes, read
from deforum.preview.cards import draw_card, draw_room
from deforum.preview.masks import draw_masks
from deforum.preview.plan import Plan
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame

if TYPE_CHECKING:
    from deforum.diffusion.pixel_strength import Paint

CELL = 8
"""px of a cell of latents; no feature that a preview shows depends on it."""


def play(plan: Plan, models: KeptModels | None = None, *, draws_masks: bool = False) -> Iterator[tuple[Frame, Image]]:
    """Move the picture of a chain of frames; yield each with its picture, (3, H, W) RGB in 0..1.

    Where masks are on, `draws_masks` shows them. Models that are loaded are added to `models`. Raises UserError.
    """
    stages = stages_for(plan, KeptModels() if models is None else models, draws_masks=draws_masks)
    for state in stages.pace(stages, plan.timeline.spans(), None):
        if state.frame.index not in plan.shown:
            return  # a shot ends
        yield state.frame, state.shown


def stages_for(plan: Plan, models: KeptModels, *, draws_masks: bool = False) -> Stages:
    """Build the stages of a preview: those of the render that move, read and compose pictures, in their order."""
    settings, profile, device = plan.settings, PROFILES[plan.settings.profile], choose_device(plan.settings.device)
    picture, inverse_depth = picture_of(plan, device, models)
    renews = Renewal(plan.timeline.keys, plan.renew)
    plain = stages_of(replace(settings, init_image=None), Unpainted(picture, renews), device)
    stages = replace(plain, before=(), after=(), mix=Unmixed())
    kit = Kit(settings, profile, device, CELL, models)
    for feature in plan.features:
        stages = find_function(feature.attach)(stages, plan.found[feature.name], kit)
    if inverse_depth is not None:
        stages = replace(stages, camera=DrawnDepthCamera(stages.camera, inverse_depth, inverse_depth, renews))
    if draws_masks and stages.painting.masked is not None:
        stages = replace(stages, show=[*stages.show, draw_masks(stages.painting.masked.mask)])
    return replace(stages, painting=Painting(plain.painting.painter), palette=lambda moment, moved, painted: None)


def picture_of(plan: Plan, device: Device, models: KeptModels) -> tuple[Image, Mask | None]:
    """Return the picture that is moved; of the room also its inverse depth, (H, W) in 0..1."""
    settings = plan.settings
    width, height = settings.size
    if plan.picture == "init":
        assert settings.init_image is not None
        return read(Path(settings.init_image), width, height, device), None
    if plan.picture == "painted":
        animation = build(prepare(settings), models)
        return next(animation.states()).shown, None
    if plan.picture == "card":
        return from_bytes(draw_card(width, height), device), None
    fov = plan.timeline[plan.shown.start].params.fov if settings.mode.has_depth else 70.0
    levels, inverse_depth = draw_room(width, height, fov)
    return from_bytes(levels, device), torch.from_numpy(inverse_depth).to(device) if plan.has_drawn_depth else None


@dataclass(frozen=True)
class Renewal:
    """The painted frames in which the picture begins anew: the first one of every `every` frames; 0: none."""

    keys: Sequence[int]
    every: int
    _renewed: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        pairs = zip(self.keys[1:], self.keys, strict=False)
        renewed = {key for key, before in pairs if self.every and key // self.every != before // self.every}
        object.__setattr__(self, "_renewed", frozenset(renewed))

    def __call__(self, index: int) -> bool:
        return index in self._renewed


@dataclass(frozen=True)
class Unpainted:
    """A `Painter` that paints nothing: frames stay as they are, and begin with a picture where they start from none."""

    picture: Image
    renews: Renewal

    def __call__(
        self, inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        return [
            self.picture if init is None or self.renews(frame.index) else init
            for init, frame in zip(inits, frames, strict=True)
        ]


class Unmixed:
    """A `Mix` of the older picture alone: the newer one shows the same."""

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        def between(older: View, newer: View, fade: float) -> Image:
            return older.warp(older.image)

        return between

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        return Pair(None, pair.newer if pair.fade == 0 else warp(pair.newer), fade)


@dataclass(frozen=True)
class DrawnDepth:
    """A `DepthModel` that knows the depth."""

    inverse: Mask
    gives: Gives = "inverse depth"

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return self.inverse


@dataclass(frozen=True)
class DrawnDepthCamera(CarryingCamera):
    """Gives the 3D camera that it wraps the depth of a drawn picture, moved along with it."""

    inverse: Mask
    """Inverse depth of the picture at the camera, (H, W) in 0..1."""
    drawn: Mask
    """That of the picture as it was drawn."""
    renews: Renewal

    def look(self, scene: Image, frame: Frame) -> DrawnDepthCamera:
        renewed = self.renews(frame.index)
        inverse = self.drawn if renewed else self.inverse
        camera = seeing(self.camera, DrawnDepth(inverse), forgets=renewed)
        looked = replace(self, camera=camera, inverse=inverse)
        return super(DrawnDepthCamera, looked).look(scene, frame)

    def carry(self, warp: Warp, index: int) -> DrawnDepthCamera:
        return replace(self, inverse=warp(self.inverse[None])[0])


def seeing(camera: Camera, model: DrawnDepth, *, forgets: bool) -> Camera:
    """Return a 3D camera, wrapped or not, with a depth model; it `forgets` the depth that it has carried so far."""
    if isinstance(camera, DepthCamera):
        known = replace(camera, depth=None, known=None, range=None) if forgets else camera
        return replace(known, model=model)
    if isinstance(camera, OuterCamera):
        return replace(camera, camera=seeing(camera.camera, model, forgets=forgets))
    return camera
