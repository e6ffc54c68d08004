"""In-betweens by cross-fading."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import torch

from deforum.animation.parts import Between, Pair, View
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, Mask
from deforum.timeline.frame import Frame

FEATHER = 32  # fade width: 1/32 of the frame's shorter side


@dataclass(frozen=True)
class CrossFade:
    """A `Mix` that fades from one picture to the other."""

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        def between(a: View, b: View, fade: float) -> Image:
            a_covers, b_covers = feather(a.warp.coverage()), feather(b.warp.coverage())
            return cross_fade(a.warp(a.image), a_covers, b.warp(b.image), b_covers, fade)

        return between

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        older = None if pair.older is None or fade == 1 else warp(pair.older)
        return Pair(older, pair.newer if pair.fade == 0 else warp(pair.newer), fade)


def feather(covers: Mask) -> Mask:
    """Feather a coverage mask (H, W) in 0..1 inwards, so that its edge does not show as a line."""
    known = (covers > 0.5).to(torch.uint8).cpu().numpy()
    if known.all():
        return covers
    inwards = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5  # px, from the pixel's own edge
    return covers * torch.from_numpy(inwards * (FEATHER / min(known.shape))).to(covers.device).clamp(0, 1)


def cross_fade(a: Image, a_covers: Mask, b: Image, b_covers: Mask, fade: float) -> Image:
    """Cross-fade two pictures; `fade` 0 is `a`. Where only one covers, only that one is seen."""
    a_share, b_share = (1 - fade) * a_covers, fade * b_covers
    total = a_share + b_share
    share = torch.where(total > 0, b_share / total.clamp(min=1e-6), fade)
    return torch.lerp(a, b, share)
