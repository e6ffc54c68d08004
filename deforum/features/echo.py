"""Echo: a trail of earlier frames is laid over each frame.

P_n is the picture of frame n, T_n the trail there, M_n the memory; a is echo_amount, d is echo_decay, and c is the
coverage of the trail:

    shown_n = P_n + a c (over(P_n, T_n) - P_n)
    M_n     = P_n + d c (keep(P_n, T_n) - P_n)
    T_n+1   = M_n, moved by the motion from frame n to n+1

               normal   lighten     darken      add
    over(P, T)   T     max(P, T)   min(P, T)   min(P + T, 1)
    keep(P, T)   T     max(P, T)   min(P, T)   max(P, T)

c is 0 in frame 0 and in newly visible areas, with soft edges; one-pixel cracks count little, as they would show as
lines. All values stay within 0..1. The trail of a still scene is the scene. Of a white dot on black that was there k
frames ago, lighten and add show a d^(k-1); normal shows (1 - d) of that, but all of it if the dot had been there since
frame 0.

P_n itself is never resampled; the trail is resampled in every frame, and softens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import pad

from deforum.animation.painter import REACH, soften
from deforum.animation.parts import Memory, Moment
from deforum.animation.stages import Stages
from deforum.features.disocclusion import uncovered
from deforum.features.feature import Kit
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Image, Mask

NAME = "echo"
"""Key of the trail in the memory."""
SOFT = 3  # px, deviation of the Gaussian at the edges of holes in the trail
ENOUGH = 0.5  # blurred value from which a pixel counts fully as a hole

Mixed = Callable[[Image, Image], Image]
"""Blends a picture and a trail."""


@dataclass(frozen=True)
class Blend:
    """A row of the table above."""

    over: Mixed
    keep: Mixed


def trail_alone(image: Image, trail: Image) -> Image:
    return trail


def add_light(image: Image, trail: Image) -> Image:
    return (image + trail).clamp_(max=1)


BLENDS: Mapping[str, Blend] = {
    "normal": Blend(trail_alone, trail_alone),
    "lighten": Blend(torch.maximum, torch.maximum),
    "darken": Blend(torch.minimum, torch.minimum),
    "add": Blend(add_light, torch.maximum),  # a remembered sum would not fade
}


@dataclass(frozen=True)
class Trail:
    """The trail, moved to the frame of the picture."""

    image: Image
    covers: Mask | None
    """Coverage of the trail: (H, W), 0..1; None: everywhere."""

    def laid_over(self, image: Image, mix: Mixed, share: float) -> Image:
        """Blend a share of the trail into a picture where it covers the picture."""
        if share == 0:
            return image
        return torch.lerp(image, mix(image, self.image), share if self.covers is None else share * self.covers)


def trail_of(trails: Memory, warp: Warp | None, image: Image) -> Trail | None:
    """Move the remembered trail to the frame of a picture; None where there is none.

    Independent frames have no motion: their trail does not move.
    """
    remembered = trails.get(NAME)
    if not isinstance(remembered, torch.Tensor):
        return None
    remembered = remembered.to(image.device)
    if warp is None:
        return Trail(remembered, None)
    return Trail(warp(remembered), covered(warp))


def covered(warp: Warp) -> Mask | None:
    """Coverage of a moved trail: (H, W), 0..1; None: everywhere.

    A hole counts fully and fades out over a few pixels around it; holes at the picture's edge extend beyond it. A
    one-pixel crack counts by a quarter, as the trail beside it fills it.
    """
    hole = uncovered(warp)
    if hole.device == CPU and not hole.any():
        return None
    reach = REACH * SOFT
    soft = soften(pad(hole[None], (reach,) * 4, "replicate")[0], SOFT)[reach:-reach, reach:-reach]
    return 1 - (soft / ENOUGH).clamp(max=1)


@dataclass(frozen=True)
class Echo:
    """Lays the trail over pictures."""

    blend: Blend

    def show(self, image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
        """Lay the trail over a picture that is about to be shown, and remember both."""
        trail, p = trail_of(trails, moment.step, image), moment.frame.params
        if trail is None:
            return image, {**trails, NAME: image}
        kept = trail.laid_over(image, self.blend.keep, p.echo_decay)
        return trail.laid_over(image, self.blend.over, p.echo_amount), {**trails, NAME: kept}

    def paint_from(self, image: Image, moment: Moment) -> Image:
        """Lay the trail over the picture that painting starts from."""
        trail = trail_of(moment.trails, moment.warp, image)
        return image if trail is None else trail.laid_over(image, self.blend.over, moment.frame.params.echo_amount)


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Lay trails over shown pictures and, with echo_in_loop, over the pictures that painting starts from."""
    settings = kit.settings
    echo = Echo(BLENDS[settings.echo_blend])
    in_loop = settings.echo_in_loop and settings.mode.goes_on
    before = [echo.paint_from, *stages.before] if in_loop else stages.before
    return replace(stages, before=before, show=[*stages.show, echo.show])
