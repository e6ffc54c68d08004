"""How much of each place of a picture diffusion may change: a strength of its own for every pixel.

All of a frame goes through the model from the highest noise level that any of its pixels asks for. A place that keeps
more of the init is held: until the level at which its own strength lets it begin, it is the init with that level's
noise, so that what is painted beside it sees it and fits to it. Source: Levin and Fried, "Differential Diffusion:
Giving Each Pixel Its Strength" (arXiv 2306.00950).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from deforum.diffusion.sampling.steps import count_steps
from deforum.pixels.image import Image, Mask

Tensor = torch.Tensor

MaskFill = Literal["original", "fill", "latent noise", "latent nothing"]
"""What painting starts from: the picture itself, the colours around smeared in, or latents of noise or of zeros."""


@dataclass(frozen=True, eq=False)
class Paint:
    """Where and how much a frame is painted; it takes the place of the frame's own `strength`.

    `strength` (H, W) is the share of the init that each pixel keeps: 1 is never changed (but for what the way through
    the autoencoder does), 0 is painted from noise alone. `fill` says what the pixels below 1 start from.
    """

    strength: Mask
    fill: MaskFill = "original"


def cell_steps(strength: Mask, factor: int, steps: int, *, exact: bool) -> Tensor:
    """Count the steps that are run at each place of the latent: (h, w), 0 where the init is kept whole.

    A latent cell covers `factor` x `factor` px and is painted as much as the one of them that keeps least: no pixel
    that is to be repainted is held back by its neighbours. Steps are counted as `count_steps` does for whole frames.
    """
    height, width = strength.shape
    given = pad(1 - strength[None, None].float().cpu(), (0, -width % factor, 0, -height % factor))
    lowest = 1 - max_pool2d(given, factor)[0, 0]
    # Six digits are more than a file gives, and make 0.3 in float32 the 0.3 that it was.
    values, place = torch.unique(lowest, return_inverse=True)
    kept = [round(value, 6) for value in values.tolist()]
    return torch.tensor([0 if share >= 1 else count_steps(steps, share, exact=exact) for share in kept])[place]


@dataclass(frozen=True, eq=False)
class Hold:
    """Keeps places at the init under the noise level that a sampler has reached, until each may begin."""

    latents: Tensor
    """The init's (B, C, h, w)."""
    noise: Tensor
    """What the walk started from, of the same shape: latents + noise * sigma."""
    begins: Tensor
    """The noise level at which each place is let go, (B, 1, h, w); 0: never."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        # At its own level a place starts from exactly what it would start from alone. (Levels of a walk are farther
        # apart than rounding.)
        return torch.where(self.begins <= sigma * 1.0001, self.latents + self.noise * sigma, x)


def hold(latents: Tensor, noise: Tensor, counts: Sequence[Tensor | None], sigmas: Sequence[float]) -> Hold:
    """Make the Hold of a walk over `sigmas` from the steps (h, w) of each frame's places; None: the whole walk."""
    levels = torch.tensor([0.0, *reversed(sigmas[:-1])])
    all_steps = torch.full(latents.shape[-2:], len(sigmas) - 1)
    steps = torch.stack([all_steps if count is None else count for count in counts])
    return Hold(latents, noise, levels[steps][:, None].to(latents.device))


def smear(image: Image, masked: Tensor) -> Image:
    """Fill the masked places (H, W, bool) with the colours around them; the farther in, the softer.

    Convention: image (3, H, W); outside of `masked` it comes back as it is. Where nothing is outside, all becomes the
    mean colour. Source: the pull-push interpolation of Gortler et al., "The Lumigraph", 1996.
    """
    known = (~masked).to(image)[None, None]
    if not bool(known.any()):
        return image.mean((-2, -1), keepdim=True).expand_as(image).contiguous()
    return _pull_push(image[None] * known, known)[0]


def _pull_push(color: Tensor, weight: Tensor) -> Tensor:
    """Fill in from ever coarser pictures: color (1, 3, H, W), 0 where weight (1, 1, H, W) is 0."""
    if bool((weight > 0).all()):
        return color
    height, width = color.shape[-2:]
    around = (0, width % 2, 0, height % 2)
    share = avg_pool2d(pad(weight, around), 2)
    mean = avg_pool2d(pad(color * weight, around), 2) / share.clamp(min=1e-6)
    coarse = _pull_push(mean * (share > 0), (share > 0).to(color))
    finer = interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.where(weight > 0, color, finer)
