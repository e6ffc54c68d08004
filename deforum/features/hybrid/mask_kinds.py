"""Masks that say where a clip shows: how they are made, and what is done to their contrast.

Convention: a mask is (H, W) float32 in 0..1. White (1) keeps the animation's picture, black (0) shows the clip.
Source: the steps and their order are Deforum's, where masks have 8 bits; here they keep their fractions, but for
equalising, which counts levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from deforum.depth import Gives
from deforum.pixels.image import Image, Mask, to_gray

Equalize = Literal["None", "Before", "After", "Both"]

LEVELS = 256


@dataclass(frozen=True)
class MaskTone:
    """What is done to a mask, in this order: equalise, contrast, automatic contrast, inverse, equalise."""

    equalize: Equalize = "None"
    contrast: float = 1
    cutoffs: tuple[float, float] | None = None
    """Automatic contrast: percentages of the pixels below which all is black, and above which all is white."""
    inverse: bool = False

    def __call__(self, mask: Mask) -> Mask:
        if self.equalize in ("Before", "Both"):
            mask = equalize(mask)
        mask = stretch_contrast(mask, self.contrast)
        if self.cutoffs is not None:
            mask = auto_contrast(mask, *self.cutoffs)
        if self.inverse:
            mask = 1 - mask
        return equalize(mask) if self.equalize in ("After", "Both") else mask


def blend_mask(image: Image, clip: Image, alpha: float) -> Mask:
    """Mix the brightness of two pictures: `alpha` 0 is that of the animation's, 1 that of the clip's."""
    return torch.lerp(to_gray(image)[0], to_gray(clip)[0], alpha)


def difference_mask(image: Image, clip: Image) -> Mask:
    """Tell how far two pictures are apart in brightness."""
    return (to_gray(image)[0] - to_gray(clip)[0]).abs()


def nearness_mask(depth: torch.Tensor, gives: Gives) -> Mask:
    """Turn a depth map into a mask, white where it is nearest, black where it is farthest; a flat one is black."""
    near = depth if gives == "inverse depth" else -depth
    low, high = near.aminmax()
    if not torch.isfinite(high - low) or not high > low:
        return torch.zeros_like(depth)
    return (near - low) / (high - low)


def stretch_contrast(mask: Mask, contrast: float) -> Mask:
    """Scale the distance to the mean by a factor; 1 gives the same mask, 0 the mean everywhere."""
    if contrast == 1:
        return mask
    mean = mask.mean()
    return ((mask - mean) * contrast + mean).clamp(0, 1)


def auto_contrast(mask: Mask, low: float, high: float) -> Mask:
    """Stretch contrast so that `low` per cent of the pixels are black and those above `high` per cent are white.

    A mask that has one value between these ends stays as it is.
    """
    ends = torch.tensor((low, high), dtype=torch.float64) / 100
    # torch.quantile takes no more than 2**24 values.
    ordered, place = mask.flatten().sort().values, ends * (mask.numel() - 1)
    below, above = (ordered[place.to(torch.int64)], ordered[place.ceil().to(torch.int64)])
    black, white = torch.lerp(below, above, place.frac().to(mask))
    return ((mask - black) / (white - black)).clamp(0, 1) if white > black else mask


def equalize(mask: Mask) -> Mask:
    """Spread the levels of a mask so that each range of them has the same share of the pixels.

    A level becomes the share of the pixels that are darker, among those that are not of the brightest level: black
    stays black and white white, however much there is of them. A mask of one level stays as it is.
    Source: the rule of Pillow's ImageOps.equalize.
    """
    levels = (mask * (LEVELS - 1)).round().to(torch.int64).clamp_(0, LEVELS - 1)
    counts = torch.bincount(levels.flatten(), minlength=LEVELS).to(torch.float64)
    others = mask.numel() - counts[levels.max()]
    if others == 0:
        return mask
    share: Mask = ((counts.cumsum(0) - counts) / others).to(mask)[levels]
    return share
