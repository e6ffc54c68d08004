"""Img2img with a strength per pixel.

The whole frame is sampled from the highest noise level that any of its pixels needs. A pixel with more strength joins
at a lower level: above it, it is held at the init plus that level's noise, so that the pixels being painted around it
fit to it. Source: Levin and Fried, "Differential Diffusion: Giving Each Pixel Its Strength" (arXiv 2306.00950).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from deforum.diffusion.sampling.samplers import Timesteps
from deforum.diffusion.sampling.steps import count_steps
from deforum.models.transfer import upload
from deforum.pixels.image import Image, Mask

Tensor = torch.Tensor

MaskFill = Literal["original", "fill", "latent noise", "latent nothing"]
"""Initial content of the masked area: the init itself, the surrounding colours, or latents of noise or of zeros."""


@dataclass(frozen=True, eq=False)
class Paint:
    """A strength per pixel, in place of the frame's own `strength`, and the fill of the masked area.

    `strength` (H, W) is the share of the init that each pixel keeps: 1 is unchanged except for the autoencoder's round
    trip, 0 is painted from noise alone. `fill` is the initial content of the pixels below 1.
    """

    strength: Mask
    fill: MaskFill = "original"
    least: float | None = None
    """A strength that no pixel is below and that, in most frames, some have; None: not known without looking."""


SHARES = 1_000_000
"""Strengths are told apart to six digits, which undoes the error of float32: 0.3 counts as 0.3."""


def cell_steps(strength: Mask, factor: int, steps: int, *, exact: bool, timesteps: Timesteps = "") -> Tensor:
    """Return the number of steps to run at each latent cell, (h, w), 0 where the init is kept.

    A latent cell covers `factor` x `factor` px of `strength` (H, W) and takes the lowest strength among them, so that
    every pixel is repainted at least as much as it asks. The count is that of `count_steps`. Raises UserError where
    `steps` is below 1.
    """
    height, width = strength.shape
    given = pad(1 - strength[None, None].float().cpu(), (0, -width % factor, 0, -height % factor))
    lowest = 1 - max_pool2d(given, factor)[0, 0]
    # Rounding to six digits undoes the error of float32: 0.3 counts as 0.3.
    values, place = torch.unique(lowest, return_inverse=True)
    kept = [round(value, 6) for value in values.tolist()]
    counts = [0 if share >= 1 else count_steps(steps, share, exact=exact, timesteps=timesteps) for share in kept]
    return torch.tensor(counts)[place]


def cell_steps_on_device(strength: Mask, factor: int, steps: int, *, exact: bool, timesteps: Timesteps = "") -> Tensor:
    """Return the number of steps at each latent cell as `cell_steps` does, without a copy to the host."""
    height, width = strength.shape
    given = pad(1 - strength[None, None].float(), (0, -width % factor, 0, -height % factor))
    lowest = (1 - max_pool2d(given, factor)[0, 0]).clamp(0, 1)
    table = _count_table(steps, exact, timesteps, strength.device)
    return table[(lowest * SHARES).round().long()]


@lru_cache(maxsize=16)
def _count_table(steps: int, exact: bool, timesteps: Timesteps, device: torch.device) -> Tensor:
    """Return `count_steps` of the strengths 0, 1/SHARES .. 1, (SHARES + 1,) int64; 0 at 1."""
    # The count falls as the strength rises: it is asked for where it changes only.
    counts, first = torch.zeros(SHARES + 1, dtype=torch.int64), 0
    while first < SHARES:
        count = count_steps(steps, first / SHARES, exact=exact, timesteps=timesteps)
        low, high = first, SHARES
        while high - low > 1:
            middle = (low + high) // 2
            same = count_steps(steps, middle / SHARES, exact=exact, timesteps=timesteps) == count
            low, high = (middle, high) if same else (low, middle)
        counts[first:high] = count
        first = high
    with torch.inference_mode(False):
        return upload(counts, device)


@dataclass(frozen=True, eq=False)
class Hold:
    """Holds latent cells at the init plus noise of the current level until the level at which each begins."""

    latents: Tensor
    """The init's latents (B, C, h, w)."""
    noise: Tensor
    """Unit noise of the same shape; sampling starts from latents + noise * sigma."""
    begins: Tensor
    """The noise level at which each cell begins, (B, 1, h, w); 0: never."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Return latents x at a noise level with the cells that have not begun put back."""
        # A cell is still reset at its own level, and so starts exactly as it would in a frame of that strength. The
        # tolerance covers rounding; successive levels differ by more.
        return torch.where(self.begins <= sigma * 1.0001, self.latents + self.noise * sigma, x)


def hold(latents: Tensor, noise: Tensor, counts: Sequence[Tensor | None], sigmas: Sequence[float]) -> Hold:
    """Make the Hold for sampling over `sigmas` from each frame's steps per cell (h, w); None: all steps everywhere."""
    device = latents.device
    levels = upload(torch.tensor([0.0, *reversed(sigmas[:-1])]), device)
    all_steps = torch.full(latents.shape[-2:], len(sigmas) - 1, device=device)
    steps = torch.stack([all_steps if count is None else upload(count, device) for count in counts])
    return Hold(latents, noise, levels[steps][:, None])


def smear(image: Image, masked: Tensor) -> Image:
    """Fill the masked pixels (H, W, bool) of an image (3, H, W) with the colours around them, softer farther in.

    Pixels outside of `masked` are unchanged. A fully masked image becomes its mean colour. Source: the pull-push
    interpolation of Gortler et al., "The Lumigraph", 1996.
    """
    known = (~masked).to(image)[None, None]
    filled = _pull_push(image[None] * known, known)[0]
    # A fully masked image is its mean colour.
    return torch.where(masked.all(), image.mean((-2, -1), keepdim=True), filled)


def _pull_push(color: Tensor, weight: Tensor) -> Tensor:
    """Fill color (1, 3, H, W) where weight (1, 1, H, W) is 0 from successively halved resolutions."""
    height, width = color.shape[-2:]
    # On the CPU it ends as soon as all is known; elsewhere that would have to be waited for, and changes nothing.
    if height == width == 1 or (weight.device.type == "cpu" and bool((weight > 0).all())):
        return color
    around = (0, width % 2, 0, height % 2)
    share = avg_pool2d(pad(weight, around), 2)
    mean = avg_pool2d(pad(color * weight, around), 2) / share.clamp(min=1e-6)
    coarse = _pull_push(mean * (share > 0), (share > 0).to(color))
    finer = interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.where(weight > 0, color, finer)
