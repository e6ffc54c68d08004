"""In-betweens by cross-fading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np
import torch

from deforum.animation.parts import Between, Pair, View
from deforum.models.transfer import stays_on
from deforum.motion.warps import Warp
from deforum.pixels.bands import keep_contrast
from deforum.pixels.image import Image, Mask, for_channels
from deforum.pixels.morphology import close, distance_to_zero
from deforum.pixels.sharpness import blur, blur_on_device, local_sharpness, sharpen_to
from deforum.timeline.frame import Frame

FEATHER = 32  # fade width: 1/32 of the frame's shorter side
NARROW = 3  # px; an uncovered gap of up to this width is closed from its surroundings
CLOSE = (2 * NARROW + 1, NARROW / 2)  # px; kernel and deviation of the blur that closes it
CLOSING = np.ones((NARROW + 2, NARROW + 2), np.uint8)


@dataclass(frozen=True)
class CrossFade:
    """A `Mix` that fades from one picture to the other."""

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        def between(a: View, b: View, fade: float) -> Image:
            before, after = (Seen.of(view, view.warp(view.image), view.warp.coverage()) for view in (a, b))
            return sharp_fade(before.feathered(), after.feathered(), fade)

        return between

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        older = None if pair.older is None or fade == 1 else warp(pair.older)
        return Pair(older, pair.newer if pair.fade == 0 else warp(pair.newer), fade)


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture moved to another frame, its narrow gaps closed; its coverage (H, W), and its sharpness before."""

    image: Image
    covers: Mask
    sharpness: Mask
    """`local_sharpness` before the motion, (H, W)."""

    @classmethod
    def of(cls, view: View, moved: Image, covers: Mask) -> Seen:
        """Take what is seen of a view: its picture when moved, and its coverage."""
        return cls(*close_gaps(moved, covers), sharpness_of(view))

    def feathered(self) -> Seen:
        """Return it with its coverage feathered, so that the edge of a gap or of the picture does not show."""
        return replace(self, covers=feather(self.covers))


def sharpness_of(view: View) -> Mask:
    """Return the `local_sharpness` of a view's picture, moved along with it: (H, W)."""
    return view.warp(local_sharpness(view.image)[None])[0]


def sharp_fade(a: Seen, b: Seen, fade: float) -> Image:
    """Fade from one picture to the other, as sharp as they are; `fade` 0 is `a`.

    Their details differ, so that a mix has less of them, and resampling takes more of the finest. Without a correction
    a film pulses. Where both pictures are the same, nothing changes.
    """
    same = a.image == b.image
    still = same[0] & same[1] & same[2]
    mixed = cross_fade(a.image, a.covers, b.image, b.covers, fade)
    mixed = keep_contrast(mixed, a.image, b.image, fade, still)
    return sharpen_to(mixed, torch.lerp(a.sharpness, b.sharpness, fade), still)


def close_gaps(image: Image, covers: Mask) -> tuple[Image, Mask]:
    """Fill narrow gaps of a moved picture with the mean of what is known around them; return it and its coverage.

    `covers` (H, W) in 0..1 is where the picture is known. A painted outline is soft over a few pixels: anything else
    that is shown in a narrow gap beside it is a bright line, or specks.
    """
    if stays_on(covers.device):
        return close_gaps_on_device(image, covers)
    known = (covers > 0.5).to(torch.uint8).cpu().numpy()
    if known.all():
        return image, covers
    whole = cv2.morphologyEx(known, cv2.MORPH_CLOSE, CLOSING, borderType=cv2.BORDER_REPLICATE)
    gaps = torch.from_numpy(whole > known).to(covers.device)
    if not gaps.any():
        return image, covers
    rows, columns = gaps.nonzero(as_tuple=True)
    around, weight = blur(image * covers, *CLOSE), blur(covers[None], *CLOSE)
    closed = image.clone()
    closed[:, rows, columns] = around[:, rows, columns] / weight[:, rows, columns].clamp(min=1e-3)
    return closed, covers.masked_fill(gaps, 1)


def close_gaps_on_device(image: Image, covers: Mask) -> tuple[Image, Mask]:
    """Fill gaps as `close_gaps` does, without a copy to the host."""
    known = covers > 0.5
    gaps = close(known, len(CLOSING)) & ~known
    around, weight = blur_on_device(image * covers, *CLOSE), blur_on_device(covers[None], *CLOSE)
    return torch.where(gaps, around / weight.clamp(min=1e-3), image), covers.masked_fill(gaps, 1)


def feather(covers: Mask, width: float = 1 / FEATHER) -> Mask:
    """Feather a coverage mask (H, W) in 0..1 inwards, so that its edge does not show as a line.

    `width` is in shorter sides of the frame.
    """
    if stays_on(covers.device):
        return feather_on_device(covers, width)
    known = (covers > 0.5).to(torch.uint8).cpu().numpy()
    if known.all():
        return covers
    inwards = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_5) - 0.5  # px, from the pixel's own edge
    return covers * torch.from_numpy(inwards * (1 / (width * min(known.shape)))).to(covers.device).clamp(0, 1)


def feather_on_device(covers: Mask, share: float = 1 / FEATHER) -> Mask:
    """Feather as `feather` does, without a copy to the host.

    Distances are exact here, and off by up to 2 % there: shares differ by up to 0.03.
    """
    width = min(covers.shape) * share
    inwards = distance_to_zero(covers > 0.5, ceil(width) + 1) - 0.5
    return covers * (inwards / width).clamp(0, 1)


def cross_fade(a: Image, a_covers: Mask, b: Image, b_covers: Mask, fade: float) -> Image:
    """Cross-fade two pictures; `fade` 0 is `a`. Where only one covers, only that one is seen."""
    a_share, b_share = (1 - fade) * a_covers, fade * b_covers
    total = a_share + b_share
    share = torch.where(total > 0, b_share / total.clamp(min=1e-6), fade)
    return torch.lerp(a, b, for_channels(share))
