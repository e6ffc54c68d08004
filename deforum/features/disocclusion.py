"""Painting anew what the camera did not see before: behind things that moved aside, and beyond the picture's edge.

The picture there is made up by the warp, from what is beside it. Noise makes it something that diffusion does not keep,
and a lower strength gives diffusion the steps to paint something in its place; around it the picture stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.animation.painter import soften
from deforum.animation.parts import Diffuse, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit, Recording
from deforum.motion.positions import SEEN
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, Mask, write_png
from deforum.pixels.noise import add_noise, uniform_noise
from deforum.seeds import derive_seed
from deforum.settings.options import Settings

SOFT = 3.0  # px, deviation of a Gaussian
ENOUGH = 0.5  # blurred value from which a pixel counts fully as a hole


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


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Paint anew what comes into view, where disocclusion is repaint."""
    return with_repainting(stages, kit.settings) if kit.settings.disocclusion == "repaint" else stages


def with_repainting(stages: Stages, settings: Settings) -> Stages:
    """Put noise over what comes into view, and keep less of it."""
    repaint = Repaint(settings)
    painting = replace(stages.painting, keeps=[*stages.painting.keeps, repaint.strength])
    return replace(stages, painting=painting, before=[*stages.before, repaint.noise])


def record(stages: Stages, found: None, recording: Recording) -> Stages:
    """Save where each diffused frame shows what was not seen before, where save_disocclusion_masks is on."""
    if not recording.settings.save_disocclusion_masks:
        return stages
    folder = recording.folder / "disocclusion"
    # Next to the painting, so that what is saved is what it is told: features around it may change that.
    return replace(stages, around=[lambda diffuse: saving_uncovered(diffuse, folder), *stages.around])


def saving_uncovered(diffuse: Diffuse, folder: Path) -> Diffuse:
    """Save where each diffused frame shows what was not seen before, as it is painted: 8-bit PNG, white there."""

    def saved(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        for moment in moments:
            if moment.warp is not None:
                write_png(folder / f"{moment.frame.index:09d}.png", uncovered(moment.warp))
        return diffuse(inits, moments)

    return saved
