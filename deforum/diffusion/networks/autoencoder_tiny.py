"""The tiny autoencoder for Stable Diffusion's latents (TAESD by O. B. Bohan), as diffusers' AutoencoderTiny."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from deforum.diffusion.networks.autoencoder_kl import Decoded
from deforum.diffusion.networks.files import Config

Tensor = torch.Tensor

WIDTH, LEVELS = 64, 4
"""Channels of all layers, and resolutions; each has half the sides of the one before."""


@dataclass(frozen=True, eq=False)
class Known:
    """A distribution with one value."""

    latents: Tensor

    def mode(self) -> Tensor:
        """Return the latents, (B, C, h, w)."""
        return self.latents


@dataclass(frozen=True, eq=False)
class TinyEncoded:
    """The result of `AutoencoderTiny.encode`."""

    latent_dist: Known


class AutoencoderTiny(nn.Module):
    """Pictures (B, 3, H, W), -1..1, to latents as the UNet takes them, (B, C, H/8, W/8), and back."""

    def __init__(self, latent_channels: int = 4) -> None:
        super().__init__()
        self.config = Config(
            latent_channels=latent_channels,
            block_out_channels=[WIDTH] * LEVELS,
            scaling_factor=1.0,
            shift_factor=0.0,
            force_upcast=False,
        )
        self.encoder, self.decoder = TinyEncoder(latent_channels), TinyDecoder(latent_channels)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def encode(self, x: Tensor) -> TinyEncoded:
        """Encode pictures (B, 3, H, W), -1..1, to latents (B, C, h, w)."""
        return TinyEncoded(Known(self.encoder(x)))

    def decode(self, latents: Tensor) -> Decoded:
        """Decode latents (B, C, h, w) to pictures (B, 3, H, W), about -1..1."""
        return Decoded(self.decoder(latents))


class Block(nn.Module):
    """Three convolutions around a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class TinyEncoder(nn.Module):
    """Pictures to latents."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        layers = [_conv(3, WIDTH), Block()]
        for _ in range(LEVELS - 1):
            layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, stride=2, bias=False), Block(), Block(), Block()]
        self.layers = nn.Sequential(*layers, _conv(WIDTH, latent_channels))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x.add(1).div(2))
        return made


class TinyDecoder(nn.Module):
    """Latents to pictures."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(latent_channels, WIDTH), nn.ReLU()]
        for _ in range(LEVELS - 1):
            layers += [Block(), Block(), Block(), nn.Upsample(scale_factor=2)]
            layers.append(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False))
        self.layers = nn.Sequential(*layers, Block(), _conv(WIDTH, 3))

    def forward(self, latents: Tensor) -> Tensor:
        made: Tensor = self.layers(torch.tanh(latents / 3) * 3)
        return made.mul(2).sub(1)


def todays_names(weights: Mapping[str, Tensor], part: str = "") -> dict[str, Tensor]:
    """Return weights by the names of `AutoencoderTiny`, from diffusers' or TAESD's own.

    TAESD's own files hold one `part` each, "encoder" or "decoder", and number its layers; the decoder's count a first
    layer without weights, which limits the latents.
    """
    if not part:
        return dict(weights)
    made = {}
    for name, weight in weights.items():
        number, _, rest = name.removeprefix("layers.").partition(".")
        made[f"{part}.layers.{int(number) - (part == 'decoder')}.{rest}"] = weight
    return made


def _conv(channels_in: int = WIDTH, channels: int = WIDTH) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, padding=1)
