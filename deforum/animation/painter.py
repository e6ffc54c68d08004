"""The diffusion stage: the model, masks, and the strength of each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from math import ceil
from typing import Protocol

import torch
from torch.nn.functional import interpolate

from deforum.animation.parts import Filter, Moment
from deforum.diffusion.pixel_strength import MaskFill, Paint
from deforum.pixels.image import Image, Mask
from deforum.pixels.sharpness import blur
from deforum.timeline.frame import Frame

SMALLEST = 64
"""px; minimum of a region's shorter side, so that the model sees enough context."""

REACH = 3
"""Radius of a Gaussian kernel in standard deviations; beyond it a blurred mask is 0."""

MaskAt = Callable[[Moment, Image], Mask]
Box = tuple[slice, slice]
"""Rows and columns."""


class Painter(Protocol):
    """The model: paints independent frames in one batch."""

    def __call__(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        *,
        paints: Sequence[Paint | None] | None = None,
    ) -> list[Image]: ...


def each(paint: Callable[[Image | None, Frame], Image]) -> Painter:
    """Make a painter from a function that paints a single frame without a mask."""

    def painter(
        inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        return [paint(init, frame) for init, frame in zip(inits, frames, strict=True)]

    return painter


Keeps = Callable[[Moment], Mask | None]
"""Returns a strength per pixel (H, W) that may be lower than the frame's; None keeps the frame's everywhere."""


@dataclass(frozen=True)
class Region:
    """Options for painting the masked region at full resolution: `padding` px of margin around it, `blur` px at the
    edge where it is pasted back."""

    padding: int
    blur: float


@dataclass(frozen=True)
class Masked:
    """The mask of a frame, and how it is painted under it."""

    mask: MaskAt
    fill: MaskFill
    """What painting starts from under the mask."""
    region: Region | None
    """None: the whole frame is diffused."""


@dataclass(frozen=True)
class Painting:
    """The diffusion stage: the model, and where and how strongly it paints."""

    painter: Painter
    keeps: Sequence[Keeps] = ()
    masked: Masked | None = None

    def __call__(self, inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        requests = [self._request(init, moment) for init, moment in zip(inits, moments, strict=True)]
        paints = [request.paint for request in requests] if any(request.paint for request in requests) else None
        frames = [request.told(moment.frame) for request, moment in zip(requests, moments, strict=True)]
        painted = self.painter([request.init for request in requests], frames, paints=paints)
        return [request.finish(picture) for request, picture in zip(requests, painted, strict=True)]

    def paint(self, init: Image, moment: Moment) -> Paint | None:
        """Compute the strength of each pixel; None where all pixels have the frame's own strength.

        Under the mask it is the minimum of the frame's strength and those of `keeps`. Where the mask is black it is 1;
        greys are in between.
        """
        strengths = [strength for each in self.keeps if (strength := each(moment)) is not None]
        if self.masked is None and not strengths:
            return None
        kept = torch.full(init.shape[1:], moment.frame.params.strength, device=init.device)
        for strength in strengths:
            kept = torch.minimum(kept, strength.to(init.device))
        if self.masked is None:
            return Paint(kept)
        start = init if moment.start is None else moment.start
        least = None if strengths else moment.frame.params.strength
        return Paint(1 - self.masked.mask(moment, start) * (1 - kept), self.masked.fill, least)

    def _request(self, init: Image | None, moment: Moment) -> _Request:
        paint = None if init is None else self.paint(init, moment)
        region = None if self.masked is None else self.masked.region
        if init is None or paint is None or region is None:
            return _Request(init, paint)
        box = region_of(paint.strength < 1, region.padding)
        if box is None:
            return _Request(init, paint)
        height, width = init.shape[1:]
        share = soften((paint.strength < 1).float(), region.blur)[box]
        strength = interpolate(paint.strength[box][None, None], (height, width), mode="nearest")[0, 0]
        return _Request(resize(init[:, *box], height, width), replace(paint, strength=strength), box, init, share)


@dataclass(frozen=True, eq=False)
class _Request:
    """The model's input for one frame, and how its output is pasted back."""

    init: Image | None
    paint: Paint | None
    box: Box | None = None
    """The region of the frame that `init` shows enlarged."""
    whole: Image | None = None
    """The frame that the region is pasted back into, where there is a region."""
    share: Mask | None = None
    """Opacity of the painted region when pasted back, (h, w)."""

    def told(self, frame: Frame) -> Frame:
        """Return the frame for the model: of an enlarged region, its part of control pictures and of masks, on the
        plain grid."""
        if self.box is None or self.init is None:
            return frame
        box, (height, width) = self.box, self.init.shape[1:]
        controls = [control.seen(lambda whole: resize(whole[:, *box], height, width)) for control in frame.controls]
        regions = tuple(
            replace(each, mask=interpolate(each.mask[box][None, None], (height, width), mode="bilinear")[0, 0])
            for each in frame.regions
        )
        return replace(frame, noise_map=None, grid=(0, 0), controls=tuple(controls), regions=regions)

    def finish(self, picture: Image) -> Image:
        if self.box is None or self.whole is None or self.share is None:
            return picture
        finished, region = self.whole.clone(), self.whole[:, *self.box]
        piece = resize(picture, region.shape[1], region.shape[2]).to(region.device)
        finished[:, *self.box] = torch.lerp(region, piece, self.share)
        return finished


def region_of(masked: torch.Tensor, padding: int) -> Box | None:
    """Find the smallest region of the frame's aspect ratio around a mask (H, W, bool) and its margin of `padding` px.

    None where the region is the whole frame, or the mask is empty.
    """
    height, width = masked.shape
    # One transfer for both.
    has = torch.cat((masked.any(1), masked.any(0))).tolist()
    rows, columns = (list(compress(range(len(part)), part)) for part in (has[:height], has[height:]))
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
    """Extend start..end on both sides to `length`, within 0..limit."""
    first = min(max((start + end - length) // 2, 0), limit - length)
    return slice(first, first + length)


def resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize (C, H, W) by bicubic interpolation; overshoots are clamped to 0..1."""
    if image.shape[1:] == (height, width):
        return image
    sized = interpolate(image[None], (height, width), mode="bicubic", align_corners=False, antialias=True)
    return sized.clamp_(0, 1).contiguous(memory_format=torch.channels_last)[0]


def soften(mask: Mask, radius: float) -> Mask:
    """Blur a mask by a Gaussian of deviation `radius` px; it is exactly 0 from 3 * radius px off all nonzero pixels."""
    if radius <= 0:
        return mask
    reach = min(ceil(REACH * radius), min(mask.shape) - 1)
    return blur(mask.expand(3, -1, -1), 2 * reach + 1, radius)[0].contiguous()


def under(change: Filter, mask_at: MaskAt) -> Filter:
    """Restrict a filter to where a mask is white."""

    def changed(image: Image, moment: Moment) -> Image:
        result = change(image, moment)
        if result is image:
            return image
        mask = mask_at(moment, image if moment.start is None else moment.start)
        return torch.lerp(image, result, mask)

    return changed
