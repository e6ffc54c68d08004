"""Attaching masks: painting under the mask, the masked region at full resolution, and the overlay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from deforum.animation.filters import Noise, sharpen
from deforum.animation.painter import MaskAt, Masked, Region, soften, under
from deforum.animation.parts import Diffuse, Filter, Moment
from deforum.animation.stages import Stages
from deforum.depth import load_depth
from deforum.features.feature import Kit, Recording, Tell
from deforum.features.masks.clipseg import load_words
from deforum.features.masks.compose import Masks
from deforum.features.masks.find import MaskSource
from deforum.features.masks.follow import FollowedCamera, carried, followed
from deforum.features.saver import SavePicture
from deforum.pixels.image import Image, read
from deforum.settings.options import Settings


@dataclass(frozen=True, eq=False)
class Overlay:
    """Restores the unmasked area: where the blurred mask is 0, every pixel is exactly that of its source.

    The source of every frame is the init image. Without one, and in Video Input mode, it is the picture that painting
    started from, before any filter.
    """

    masks: Masks
    settings: Settings
    init: Image | None
    """The init image, where it is the source of every frame."""
    tell: Tell | None = None
    """Told how much of each pixel is that of the init image or the clip."""

    def __call__(self, image: Image, moment: Moment) -> Image:
        """Overlay a diffused frame, after all other filters."""
        if moment.start is None:
            return image  # painted from noise alone
        return self._lay(image, moment, moment.start, moment.start)

    def between(self, image: Image, moment: Moment) -> Image:
        """Overlay an in-between with the init image; diffused frames are overlaid already."""
        return self._lay(image, moment, image, image)

    def _lay(self, image: Image, moment: Moment, picture: Image, source: Image) -> Image:
        if self.init is not None:
            source = carried(self.init.to(image.device), followed(moment.camera))
        share = soften(self.masks.paint(moment, picture), self.settings.mask_overlay_blur)
        if self.tell is not None and (self.init is not None or self.settings.mode.reads_clip):
            self.tell(moment.frame.index, 1 - share)
        return torch.lerp(source.to(image.device), image, share.to(image.device))


def attach(stages: Stages, found: MaskSource, kit: Kit) -> Stages:
    """Load the models and clip of the masks, and paint under them. Raises UserError for invalid files."""
    depth = None if found.depth is None else kit.load(load_depth, found.depth)
    words = None if found.words is None else kit.load(load_words, found.words)
    clip = None if found.clip is None else kit.open(found.clip)
    masks = Masks(found, kit.settings, kit.profile, kit.device, clip, depth, words)
    return with_masks(stages, kit.settings, masks)


def with_masks(stages: Stages, settings: Settings, masks: Masks) -> Stages:
    """Paint under masks: the model and filters act only there, and the rest is restored after all other filters.

    With mask_follows_camera the camera remembers its way from frame 0.
    """
    before = [_under_mask(change, masks) for change in stages.before]
    region = Region(settings.full_res_mask_padding, settings.mask_overlay_blur) if settings.full_res_mask else None
    painting = replace(stages.painting, masked=Masked(masks.paint, settings.fill, region))
    camera = FollowedCamera(stages.camera, device=masks.device) if settings.mask_follows_camera else stages.camera
    stages = replace(stages, camera=camera, before=before, painting=painting)
    if not settings.overlay_mask or not masks.source.paint:
        return stages
    init = None
    if settings.mode.goes_on and settings.init_image is not None:
        init = read(Path(settings.init_image), *settings.size, masks.device)
    overlay = Overlay(masks, settings, init)
    between = stages.between if init is None else [*stages.between, overlay.between]
    return replace(stages, after=[*stages.after, overlay], between=between)


def own(stages: Stages, found: MaskSource, tell: Tell) -> Stages:
    """Tell where frames show the init image, or the clip in Video Input mode."""
    after = [replace(each, tell=tell) if isinstance(each, Overlay) else each for each in stages.after]
    return replace(stages, after=after)


def _under_mask(change: Filter, masks: Masks) -> Filter:
    """Restrict sharpening and noise to the masked area."""
    if change is sharpen:
        return under(change, masks.paint)
    return under(change, masks.noise) if isinstance(change, Noise) else change


def record(stages: Stages, found: MaskSource, recording: Recording) -> Stages:
    """Save the mask of each diffused frame where save_masks is on."""
    masked, folder = stages.painting.masked, recording.folder / "masks"
    if masked is None or not found.paint or not recording.settings.save_masks:
        return stages
    mask, save = masked.mask, recording.saver()
    return replace(stages, around=[*stages.around, lambda diffuse: saving_masks(diffuse, mask, folder, save)])


def saving_masks(diffuse: Diffuse, mask_at: MaskAt, folder: Path, save: SavePicture) -> Diffuse:
    """Save the mask of each diffused frame, as it is painted: 8-bit PNG, white where it is painted."""

    def saved(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        for init, moment in zip(inits, moments, strict=True):
            start = init if moment.start is None else moment.start
            if start is not None:
                index = moment.frame.index
                save(folder / f"{index:09d}.png", index, mask_at(moment, start))
        return diffuse(inits, moments)

    return saved
