"""Disocclusion repaint: newly visible areas, behind things that moved aside and beyond the edge, are painted anew.

The warp fills these areas from their surroundings. Noise keeps diffusion from preserving the filling, and a lower
strength gives it enough steps to paint something new. The picture around them stays unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.animation.painter import soften
from deforum.animation.parts import Diffuse, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit, Recording
from deforum.features.saver import SavePicture
from deforum.motion.positions import SEEN
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Image, Mask
from deforum.pixels.noise import add_noise, uniform_noise
from deforum.seeds import derive_seed
from deforum.settings.options import Settings

SOFT = 3.0  # px, deviation of a Gaussian
ENOUGH = 0.5  # blurred value from which a pixel counts fully as a hole


def uncovered(warp: Warp) -> Mask:
    """Mask of the newly visible areas of a moved picture: (H, W), 1 there."""
    return (warp.coverage() < SEEN).float()


@dataclass(frozen=True)
class Repaint:
    """Strength and noise of the newly visible areas, from the parameters of the frame."""

    settings: Settings

    def mask(self, moment: Moment) -> Mask | None:
        """Soft mask of the newly visible areas, (H, W), 0..1; None where there are none.

        Holes grow by a few pixels, because samples beside them mix with their filling, and have soft edges. One-pixel
        cracks count little, so that slow motions do not repaint the same outline again and again.
        """
        if moment.warp is None:
            return None
        hole = uncovered(moment.warp)
        # Elsewhere the flag would have to be waited for: there the mask is 0 everywhere.
        if hole.device == CPU and not hole.any():
            return None
        return (soften(hole, SOFT) / ENOUGH).clamp(max=1)

    def strength(self, moment: Moment) -> Mask | None:
        """Compute the strength of each pixel, (H, W); None: the frame's own strength everywhere."""
        p, mask = moment.frame.params, self.mask(moment)
        return None if mask is None else p.strength + mask * (min(p.disocclusion_strength, p.strength) - p.strength)

    def noise(self, image: Image, moment: Moment) -> Image:
        """Add noise in the newly visible areas, before diffusion."""
        amount, mask = moment.frame.params.disocclusion_noise, self.mask(moment)
        if amount == 0 or mask is None:
            return image
        seed = derive_seed(moment.frame.seed, moment.frame.index, "disocclusion")
        return add_noise(image, uniform_noise(seed, *image.shape[:0:-1]), amount, mask, zero_mean=True)


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Repaint newly visible areas where disocclusion is repaint."""
    return with_repainting(stages, kit.settings) if kit.settings.disocclusion == "repaint" else stages


def with_repainting(stages: Stages, settings: Settings) -> Stages:
    """Add noise and a lower strength in newly visible areas."""
    repaint = Repaint(settings)
    painting = replace(stages.painting, keeps=[*stages.painting.keeps, repaint.strength])
    return replace(stages, painting=painting, before=[*stages.before, repaint.noise])


def record(stages: Stages, found: None, recording: Recording) -> Stages:
    """Save the newly visible areas of each diffused frame where save_disocclusion_masks is on."""
    if not recording.settings.save_disocclusion_masks:
        return stages
    folder, save = recording.folder / "disocclusion", recording.saver()
    # Innermost, so that the saved mask is the one that the painting uses: outer features may change it.
    return replace(stages, around=[lambda diffuse: saving_uncovered(diffuse, folder, save), *stages.around])


def saving_uncovered(diffuse: Diffuse, folder: Path, save: SavePicture) -> Diffuse:
    """Save the newly visible areas of each diffused frame as it is painted: 8-bit PNG, white there."""

    def saved(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        for moment in moments:
            if moment.warp is not None:
                index = moment.frame.index
                save(folder / f"{index:09d}.png", index, uncovered(moment.warp))
        return diffuse(inits, moments)

    return saved
