"""Correction of decoded pictures for what the encoder will lose of them.

An animation encodes the pictures that it has decoded. The encoder is only an approximate inverse, and its error is
known as soon as a picture is decoded: encode it, and compare with the latents that it was decoded from. The error is
added to the picture, drawn by the linear path of the decoder. The camera then moves it along with the picture, and the
next encoding finds it where it belongs. This costs one encoding, where `Autoencoder.encode` with refinement costs a
decoding more: measured in docs/speed.md.

It needs a decoder whose linear path is most of it. The embedded model has one: its autoencoder was trained as a linear
pair, to which residual branches were added later (`training/written_pair.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from deforum.models.edges import padded
from deforum.models.transfer import upload

Tensor = torch.Tensor

SHARE = 1.25
"""Times the error that is drawn, as the linear path draws only a part of it. At twice the error details grow from frame
to frame: 30.2 dB after 20 round trips of four pictures, at 1 and 1.5 times 32.0 and 32.1."""
REACH = 1
"""Cells around a cell of the latents on which the linear path draws: 93 % of what it draws in all, by energy."""


class LinearPath:
    """The decoder without its residual branches, as one linear map of latents to pictures."""

    def __init__(self, decoder: Any) -> None:
        """Raises ValueError for weights that are not in memory."""
        side, channels = 2 * REACH + 1, decoder.conv_in.in_channels
        impulses = torch.zeros(channels + 1, channels, side, side)  # the last one stays empty
        impulses[torch.arange(channels), torch.arange(channels), REACH, REACH] = 1
        drawn = _draw(decoder, impulses)
        drawn = drawn[:-1] - drawn[-1:]  # (C, 3, side * cell, side * cell)
        self._cell = drawn.shape[-1] // side
        # From what a cell draws on those around it to what those around a cell draw on it.
        parts = drawn.view(channels, 3, side, self._cell, side, self._cell).flip(2, 4)
        self._kernel = parts.permute(1, 3, 5, 0, 2, 4).flatten(0, 2).contiguous(memory_format=torch.channels_last)
        mode = decoder.conv_in.padding_mode
        self._edges = "constant" if mode == "zeros" else mode

    def __call__(self, latents: Tensor) -> Tensor:
        """Draw unscaled latents (B, C, h, w), float32, as pictures (B, 3, H, W) around 0."""
        self._kernel = upload(self._kernel, latents.device)
        around = padded(latents, [REACH] * 4, self._edges)
        return F.pixel_shuffle(F.conv2d(around, self._kernel), self._cell)


def linear_path(vae: Any) -> LinearPath | None:
    """Return the linear path of an autoencoder that was trained as a linear pair; None for all others.

    It is known by its encoder, whose residual branches above the deepest level output zero.
    """
    levels = getattr(getattr(vae, "encoder", None), "down_blocks", None)
    if levels is None:
        return None
    convolutions = [resnet.conv2 for level in list(levels)[:-1] for resnet in getattr(level, "resnets", ())]
    weights = [weight for conv in convolutions for weight in (conv.weight, conv.bias)]
    if not weights or any(weight.is_meta for weight in vae.parameters()) or any(weight.any() for weight in weights):
        return None
    return LinearPath(vae.decoder)


def _draw(decoder: Any, latents: Tensor) -> Tensor:
    """Decode without residual branches, in float32 on the processor, wherever the weights are."""

    def run(conv: Any, x: Tensor) -> Tensor:
        return F.conv2d(x, _read(conv.weight), _read(conv.bias), padding=conv.padding)

    x = run(decoder.conv_in, latents)
    for level in decoder.up_blocks:
        for resnet in level.resnets:
            x = x if resnet.conv_shortcut is None else run(resnet.conv_shortcut, x)
        for up in level.upsamplers or ():
            x = run(up.conv, F.interpolate(x, scale_factor=2.0))
    norm = decoder.conv_norm_out
    x = F.silu(F.group_norm(x, norm.num_groups, _read(norm.weight), _read(norm.bias), norm.eps))
    return run(decoder.conv_out, x)


def _read(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float32)
