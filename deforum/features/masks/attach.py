"""Painting by masks: what the model is told, the masked region at full resolution, and what is laid back over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import torch

from deforum.animation.parts import Diffuse, Moment, Stages
from deforum.features.masks.compose import Masks
from deforum.features.masks.follow import FollowedCamera, carried, followed
from deforum.pixels.image import Image, read

if TYPE_CHECKING:
    from deforum.settings.options import Settings
from deforum.animation.painter import soften


@dataclass(frozen=True, eq=False)
class Overlay:
    """Puts back what was not to be painted: where the blurred mask is 0, every pixel is exactly that of its source.

    The source is the init image, in every frame; without one (and in Video Input mode, where each frame has its own) it
    is the picture that painting started from, before any filter.
    """

    masks: Masks
    settings: Settings
    init: Image | None
    """The init image, where it is the source of every frame."""

    def painted(self, image: Image, moment: Moment) -> Image:
        """Lay over a diffused frame, behind all other filters."""
        if moment.start is None:
            return image  # painted from noise alone
        return self._lay(image, moment, moment.start, moment.start)

    def shown(self, image: Image, moment: Moment) -> Image:
        """Lay over a frame between diffused ones, which are laid over already."""
        return image if moment.start is not None or self.init is None else self._lay(image, moment, image, image)

    def _lay(self, image: Image, moment: Moment, picture: Image, source: Image) -> Image:
        if self.init is not None:
            source = carried(self.init.to(image.device), followed(moment.camera))
        share = soften(self.masks.paint(moment, picture), self.settings.mask_overlay_blur)
        return torch.lerp(source.to(image.device), image, share.to(image.device))


def saving_masks(diffuse: Diffuse, masks: Masks, folder: Path) -> Diffuse:
    """Save the mask of each diffused frame, as it is painted: 8-bit PNG, white where it is painted."""

    def saved(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        for init, moment in zip(inits, moments, strict=True):
            start = init if moment.start is None else moment.start
            if start is not None:
                folder.mkdir(parents=True, exist_ok=True)
                levels = masks.paint(moment, start).mul(255).round().byte().cpu().numpy()
                cv2.imencode(".png", levels)[1].tofile(folder / f"{moment.frame.index:09d}.png")
        return diffuse(inits, moments)

    return saved


def with_masks(stages: Stages, settings: Settings, masks: Masks) -> Stages:
    """Add the overlay behind everything else, and let the camera remember its way for masks that follow it."""
    camera = FollowedCamera(stages.camera) if settings.mask_follows_camera else stages.camera
    if not settings.overlay_mask or not masks.source.paint:
        return replace(stages, camera=camera)
    init = None
    if settings.animation_mode in ("2D", "3D") and settings.init_image is not None:
        init = read(Path(settings.init_image), settings.width, settings.height, masks.device)
    overlay = Overlay(masks, settings, init)
    show = stages.show if init is None else [*stages.show, overlay.shown]
    return replace(stages, camera=camera, after=[*stages.after, overlay.painted], show=show)
