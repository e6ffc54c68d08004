"""Painting anew what the camera did not see before: behind things that moved aside, and beyond the picture's edge.

The picture there is made up by the warp, from what is beside it. Noise makes it something that diffusion does not keep,
and a lower strength gives diffusion the steps to paint something in its place; around it the picture stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from deforum.animation.painter import soften
from deforum.animation.parts import Diffuse, Moment
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, Mask
from deforum.pixels.noise import add_noise, uniform_noise
from deforum.seeds import derive_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deforum.settings.options import Settings

SOFT = 3.0  # px, deviation of a Gaussian
ENOUGH = 0.5  # of what the Gaussian sees; more than this counts as a hole as a whole
SEEN = 0.99  # of a pixel


def uncovered(warp: Warp) -> Mask:
    """Tell where a moved picture shows what the one before did not: (H, W), 1 there."""
    return (warp.coverage() < SEEN).float()


@dataclass(frozen=True)
class Repaint:
    """What is done to those places at a moment, as its frame's parameters say."""

    settings: Settings

    def mask(self, moment: Moment) -> Mask | None:
        """Tell where, (H, W), 0..1; None: nowhere.

        Holes grow by a few pixels, as what is sampled beside them has something of them, and end softly. Cracks of a
        pixel count little, or slow motions would paint the same outline over and over.
        """
        if moment.warp is None:
            return None
        hole = uncovered(moment.warp)
        if not bool(hole.any()):
            return None
        return (soften(hole, SOFT) / ENOUGH).clamp(max=1)

    def strength(self, moment: Moment) -> Mask | None:
        """Say how much each pixel keeps, (H, W); None: nowhere less than the frame's own strength."""
        p, mask = moment.frame.params, self.mask(moment)
        return None if mask is None else p.strength + mask * (min(p.disocclusion_strength, p.strength) - p.strength)

    def noise(self, image: Image, moment: Moment) -> Image:
        """Put noise there, before diffusion."""
        amount, mask = moment.frame.params.disocclusion_noise, self.mask(moment)
        if amount == 0 or mask is None:
            return image
        seed = derive_seed(moment.frame.seed, moment.frame.index, "disocclusion")
        return add_noise(image, uniform_noise(seed, *image.shape[:0:-1]), amount, mask, zero_mean=True)


def saving_uncovered(diffuse: Diffuse, folder: Path) -> Diffuse:
    """Save where each diffused frame shows what was not seen before, as it is painted: 8-bit PNG, white there."""

    def saved(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        for moment in moments:
            if moment.warp is not None:
                folder.mkdir(parents=True, exist_ok=True)
                levels = uncovered(moment.warp).mul(255).byte().cpu().numpy()
                cv2.imencode(".png", levels)[1].tofile(folder / f"{moment.frame.index:09d}.png")
        return diffuse(inits, moments)

    return saved
