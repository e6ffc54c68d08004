"""The stage that diffuses: the model, and what has a say in where it paints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


def each(paint: Callable[[Image | None, Frame], Image]) -> Painter:
    """Make a painter of what paints a single frame, and paints it everywhere."""

    def painter(
        inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        return [paint(init, frame) for init, frame in zip(inits, frames, strict=True)]

    return painter


Keeps = Callable[[Moment], Mask | None]
"""Says where the picture is to keep less than the frame's strength: a strength (H, W); None: nowhere."""


@dataclass(frozen=True)
class Region:
    """How the masked region is painted at full resolution: `padding` px more of it are seen, and `blur` px softens
    the edge of what is put back."""

    padding: int
    blur: float


@dataclass(frozen=True)
class Masked:
    """Where a frame is painted."""

    mask: MaskAt
    fill: MaskFill
    """What painting starts from there."""
    region: Region | None
    """None: the whole frame goes through the model."""


@dataclass(frozen=True)
class Painting:
    """The stage that diffuses: the model, and what has a say in where and how much it paints."""

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
        """Say how much of the init each pixel of a frame keeps; None: all of them the frame's own strength.

        Under the mask it is that strength, or what one of `keeps` has of it, whichever is less; where the mask is
        black everything is kept, and greys are in between.
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
        return Paint(1 - self.masked.mask(moment, start) * (1 - kept), self.masked.fill)

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
        return _Request(resize(init[:, *box], height, width), Paint(strength, paint.fill), box, init, share)


@dataclass(frozen=True, eq=False)
class _Request:
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
        return frame if self.box is None else replace(frame, noise_map=None)

    def finish(self, picture: Image) -> Image:
        if self.box is None or self.whole is None or self.share is None:
            return picture
        finished, region = self.whole.clone(), self.whole[:, *self.box]
        piece = resize(picture, region.shape[1], region.shape[2]).to(region.device)
        finished[:, *self.box] = torch.lerp(region, piece, self.share)
        return finished


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
