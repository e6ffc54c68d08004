"""Painting by masks: what the model is told, the masked region at full resolution, and what is laid back over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import torch
from torch.nn.functional import interpolate

from deforum.animate import Diffuse, Filter, Moment, Stages
from deforum.diffusion.paint import Paint
from deforum.filters import blur
from deforum.image import Image, Mask, read
from deforum.masks.compose import Masks
from deforum.masks.follow import FollowedCamera, carried, followed
from deforum.timeline import Frame

if TYPE_CHECKING:
    from deforum.settings import Settings

SMALLEST = 64
"""px; a region smaller than this is not enlarged: there is nothing in it to go by."""
REACH = 3
"""Deviations of a Gaussian within which it is computed; beyond, a blurred mask is 0."""

MaskAt = Callable[[Moment, Image], Mask]
Box = tuple[slice, slice]
"""Rows and columns."""


class Painter(Protocol):
    """The model, which knows frames only: paints those that do not depend on each other."""

    def __call__(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        *,
        paints: Sequence[Paint | None] | None = None,
    ) -> list[Image]: ...


Yielding = Callable[[Moment], Mask | None]
"""Says where the picture is to keep less than the frame's strength: a strength (H, W); None: nowhere."""


def paint_of(
    moment: Moment, init: Image, masks: Masks | None, settings: Settings, yielding: Sequence[Yielding] = ()
) -> Paint | None:
    """Say how much of the init each pixel of a frame keeps; None: all of them the frame's own strength.

    Under the mask it is that strength, or what one of `yielding` has of it, whichever is less; where the mask is black
    everything is kept, and greys are in between.
    """
    strengths = [strength for each in yielding if (strength := each(moment)) is not None]
    if masks is None and not strengths:
        return None
    keeps = torch.full(init.shape[1:], moment.frame.params.strength, device=init.device)
    for strength in strengths:
        keeps = torch.minimum(keeps, strength.to(init.device))
    if masks is None:
        return Paint(keeps)
    start = init if moment.start is None else moment.start
    return Paint(1 - masks.paint(moment, start) * (1 - keeps), settings.fill)


def by_paint(painter: Painter, masks: Masks | None, settings: Settings, yielding: Sequence[Yielding] = ()) -> Diffuse:
    """Make the stage that diffuses, from the model and what has a say in where it paints."""

    def diffuse(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        jobs = [_job(init, moment, masks, settings, yielding) for init, moment in zip(inits, moments, strict=True)]
        paints = [job.paint for job in jobs] if any(job.paint for job in jobs) else None
        frames = [job.told(moment.frame) for job, moment in zip(jobs, moments, strict=True)]
        painted = painter([job.init for job in jobs], frames, paints=paints)
        return [job.finish(picture) for job, picture in zip(jobs, painted, strict=True)]

    return diffuse


@dataclass(frozen=True, eq=False)
class _Job:
    """What the model is given for one frame, and what is made of what it gives back."""

    init: Image | None
    paint: Paint | None
    box: Box | None = None
    """The region of the frame that `init` is, enlarged."""
    whole: Image | None = None
    """The frame that the region is put back into, where there is one."""
    share: Mask | None = None
    """How much of the painted region is put there, (h, w)."""

    def told(self, frame: Frame) -> Frame:
        """Give the frame as the model is to know it: the noise of an enlarged region is that of no place."""
        return frame if self.box is None else replace(frame, places=None)

    def finish(self, picture: Image) -> Image:
        if self.box is None or self.whole is None or self.share is None:
            return picture
        finished, region = self.whole.clone(), self.whole[:, *self.box]
        piece = resize(picture, region.shape[1], region.shape[2]).to(region.device)
        finished[:, *self.box] = torch.lerp(region, piece, self.share)
        return finished


def _job(
    init: Image | None, moment: Moment, masks: Masks | None, settings: Settings, yielding: Sequence[Yielding]
) -> _Job:
    paint = None if init is None else paint_of(moment, init, masks, settings, yielding)
    if init is None or paint is None or masks is None or not settings.full_res_mask:
        return _Job(init, paint)
    box = region_of(paint.strength < 1, settings.full_res_mask_padding)
    if box is None:
        return _Job(init, paint)
    height, width = init.shape[1:]
    share = soften((paint.strength < 1).float(), settings.mask_overlay_blur)[box]
    strength = interpolate(paint.strength[box][None, None], (height, width), mode="nearest")[0, 0]
    return _Job(resize(init[:, *box], height, width), Paint(strength, paint.fill), box, init, share)


def region_of(masked: torch.Tensor, padding: int) -> Box | None:
    """Find the smallest region of the frame's proportions around what is masked (H, W, bool), and `padding` px more.

    None where that is the whole frame, or where nothing is masked.
    """
    height, width = masked.shape
    rows, columns = masked.any(1).nonzero().flatten().tolist(), masked.any(0).nonzero().flatten().tolist()
    if not rows:
        return None
    top, bottom = max(rows[0] - padding, 0), min(rows[-1] + 1 + padding, height)
    left, right = max(columns[0] - padding, 0), min(columns[-1] + 1 + padding, width)
    smallest = min(SMALLEST / min(height, width), 1)
    scale = max((bottom - top) / height, (right - left) / width, smallest)
    if scale >= 1:
        return None
    tall, wide = min(ceil(height * scale), height), min(ceil(width * scale), width)
    return _around(top, bottom, tall, height), _around(left, right, wide, width)


def _around(start: int, end: int, length: int, limit: int) -> slice:
    """Lengthen start..end on both sides, within 0..limit."""
    first = min(max((start + end - length) // 2, 0), limit - length)
    return slice(first, first + length)


def resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Enlarge or shrink (C, H, W), bicubic; what the filter overshoots is cut off."""
    if image.shape[1:] == (height, width):
        return image
    sized = interpolate(image[None], (height, width), mode="bicubic", align_corners=False, antialias=True)
    return sized.clamp_(0, 1).contiguous(memory_format=torch.channels_last)[0]


def soften(mask: Mask, radius: float) -> Mask:
    """Blur a mask by a Gaussian of deviation `radius` px; 3 * radius px away from all that is not 0 it is exactly 0."""
    if radius <= 0:
        return mask
    reach = min(ceil(REACH * radius), min(mask.shape) - 1)
    return blur(mask.expand(3, -1, -1), 2 * reach + 1, radius)[0].contiguous()


def under(change: Filter, mask_at: MaskAt) -> Filter:
    """Let a filter act only where a mask is white."""

    def changed(image: Image, moment: Moment) -> Image:
        result = change(image, moment)
        if result is image:
            return image
        mask = mask_at(moment, image if moment.start is None else moment.start)
        return torch.lerp(image, result, mask)

    return changed


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
