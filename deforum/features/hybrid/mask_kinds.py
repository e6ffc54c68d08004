"""Composite masks of hybrid video: their kinds, and adjustments of their contrast.

Convention: a mask is (H, W) float32 in 0..1. White (1) keeps the animation's picture, black (0) shows the clip.
Source: the steps and their order are Deforum's. Deforum's masks have 8 bits; here they stay float, except that
equalising counts 8-bit levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from deforum.depth import Gives
from deforum.pixels.image import Image, Mask, to_gray

Equalize = Literal["None", "Before", "After", "Both"]

LEVELS = 256


@dataclass(frozen=True)
class MaskTone:
    """Adjusts a mask, in this order: equalise, contrast, automatic contrast, inverse, equalise."""

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
    """Absolute difference of two pictures in brightness."""
    return (to_gray(image)[0] - to_gray(clip)[0]).abs()


def nearness_mask(depth: torch.Tensor, gives: Gives) -> Mask:
    """Turn a depth map into a mask, white where it is nearest, black where it is farthest; a flat one is black."""
    near = depth if gives == "inverse depth" else -depth
    low, high = near.aminmax()
    has_relief = torch.isfinite(high - low) & (high > low)
    return torch.where(has_relief, (near - low) / (high - low), 0)


def stretch_contrast(mask: Mask, contrast: float) -> Mask:
    """Scale contrast about the mean by a factor; 1 is neutral, 0 gives the mean everywhere."""
    if contrast == 1:
        return mask
    mean = mask.mean()
    return ((mask - mean) * contrast + mean).clamp(0, 1)


def auto_contrast(mask: Mask, low: float, high: float) -> Mask:
    """Stretch contrast so that `low` per cent of the pixels are black and those above `high` per cent are white.

    A mask with a single value between these ends stays unchanged.
    """
    # torch.quantile takes no more than 2**24 values.
    ordered, last = mask.flatten().sort().values, mask.numel() - 1

    def at(per_cent: float) -> torch.Tensor:
        place = per_cent / 100 * last
        return torch.lerp(ordered[math.floor(place)], ordered[math.ceil(place)], place % 1)

    black, white = at(low), at(high)
    return torch.where(white > black, ((mask - black) / (white - black)).clamp(0, 1), mask)


def equalize(mask: Mask) -> Mask:
    """Equalise the histogram of a mask.

    A level becomes the share of darker pixels among those below the brightest level: black stays black and white stays
    white, however many pixels they have. A mask of one level stays unchanged.
    Source: the rule of Pillow's ImageOps.equalize.
    """
    levels = (mask * (LEVELS - 1)).round().to(torch.int64).clamp_(0, LEVELS - 1)
    flat = levels.flatten()
    # In whole numbers, so that the order in which a card adds them up does not matter.
    counts = flat.new_zeros(LEVELS).scatter_add_(0, flat, torch.ones_like(flat))
    others = mask.numel() - counts.gather(0, levels.max()[None])
    share: Mask = ((counts.cumsum(0) - counts) / others).to(mask)[levels]
    return torch.where(others == 0, mask, share)
