"""The door between pictures and latents, through the model's autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from deforum.diffusion.faults import guarded, is_blank
from deforum.pixels.image import Image

Tensor = torch.Tensor


class Autoencoder:
    """Pictures (3, H, W) of any size to latents (C, h, w) and back, around a diffusers AutoencoderKL."""

    def __init__(self, vae: Any, refinement: int = 0) -> None:
        """`refinement` is how often latents are corrected by what they decode to, see `encode`."""
        self._vae = vae
        self._refinement = refinement
        self._scale = float(vae.config.scaling_factor)
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0.0)
        self.channels = int(vae.config.latent_channels)
        # One halving between each two blocks: 8 for Stable Diffusion, 16 for others.
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return (C, h, w) for a picture; sizes that are no multiple of the factor are rounded up."""
        return self.channels, -(-height // self.factor), -(-width // self.factor)

    def encode(self, images: Sequence[Image], frame: int) -> Tensor:
        """Return latents (B, C, h, w), float32: the middle of what the encoder deems likely, so without randomness.

        Pictures are filled up at the right and at the bottom with their mirror image, or, where they are smaller than
        the filling, with their edge.

        An encoder is only nearly the inverse of its decoder, so what comes back is a little off, in the same direction
        each time: after twenty passes details are gone. A refinement decodes the latents, encodes that again, and adds
        what is missing against the picture's own (P. van Cittert's iteration, 1931, with the encoder in the place of
        the inverse). Each costs a decoding and an encoding.
        """
        batch = torch.stack(tuple(images)).to(self._vae.device)
        height, width = batch.shape[-2:]
        below, right = -height % self.factor, -width % self.factor
        if below or right:
            mode = "reflect" if below < height and right < width else "replicate"
            batch = torch.nn.functional.pad(batch, (0, right, 0, below), mode=mode)

        def read(pixels: Tensor) -> Tensor:
            pixels = pixels.to(self._vae.dtype, memory_format=torch.channels_last)
            mean: Tensor = self._vae.encode(pixels).latent_dist.mode().float()
            return mean

        def work() -> tuple[Tensor, str]:
            wanted = read(batch * 2 - 1)
            latents = wanted
            for _ in range(self._refinement):
                given = latents.to(self._vae.dtype, memory_format=torch.channels_last)
                latents = latents + wanted - read(self._vae.decode(given).sample.clamp(-1, 1))
            return (latents - self._shift) * self._scale, _fault(latents)

        return guarded("the autoencoder (encoding)", frame, [self._vae], work)

    def decode(self, latents: Tensor, width: int, height: int, frame: int, *, may_be_blank: bool) -> list[Image]:
        """Return pictures (3, height, width), 0..1; what was filled up is cut off.

        Raises RenderError, naming `frame`, for a picture without numbers or, unless `may_be_blank`, of one colour.
        """

        def work() -> tuple[Tensor, str]:
            given = (latents / self._scale + self._shift).to(self._vae.dtype, memory_format=torch.channels_last)
            batch = self._vae.decode(given).sample.float()
            fault = _fault(batch)
            batch = (batch / 2 + 0.5)[..., :height, :width]
            # Before it is clamped: what is white all over because it is too bright everywhere is a picture.
            if not fault and not may_be_blank and any(is_blank(image, 1 / 255) for image in batch):
                fault = "a picture of one colour"
            return batch.clamp(0, 1), fault

        batch = guarded("the autoencoder (decoding)", frame, [self._vae], work)
        return list(batch.contiguous(memory_format=torch.channels_last))


def _fault(values: Tensor) -> str:
    return "" if bool(torch.isfinite(values).all()) else "NaN or Inf"


def skip_silent(*blocks: Any) -> None:
    """Let the residual blocks in blocks of an autoencoder hand their input on, where their last weights are all 0."""
    for block in blocks:
        for resnet in block.resnets:
            if not (resnet.conv2.weight.any() or resnet.conv2.bias.any()):
                resnet.forward = partial(_pass, resnet.conv_shortcut or nn.Identity())


def _pass(shortcut: nn.Module, x: Tensor, temb: None = None) -> Tensor:
    made: Tensor = shortcut(x)
    return made
