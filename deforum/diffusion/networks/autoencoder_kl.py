"""The autoencoder of Stable Diffusion and of the embedded model, as diffusers' AutoencoderKL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.networks.blocks import Downsample, PictureAttention, Resnet, Upsample
from deforum.diffusion.networks.files import Config

Tensor = torch.Tensor
EPS = 1e-6

_READ = frozenset(
    {
        "act_fn",
        "block_out_channels",
        "down_block_types",
        "force_upcast",
        "in_channels",
        "latent_channels",
        "latents_mean",
        "latents_std",
        "layers_per_block",
        "mid_block_add_attention",
        "norm_num_groups",
        "out_channels",
        "sample_size",
        "scaling_factor",
        "shift_factor",
        "up_block_types",
        "use_post_quant_conv",
        "use_quant_conv",
    }
)


@dataclass(frozen=True, eq=False)
class Posterior:
    """The distribution of latents of pictures, by its moments (B, 2C, h, w)."""

    moments: Tensor

    def mode(self) -> Tensor:
        """Return the most probable latents, (B, C, h, w)."""
        return self.moments.chunk(2, dim=1)[0]


@dataclass(frozen=True, eq=False)
class Encoded:
    """The result of `AutoencoderKL.encode`."""

    latent_dist: Posterior


@dataclass(frozen=True, eq=False)
class Decoded:
    """The result of `AutoencoderKL.decode`: pictures (B, 3, H, W), about -1..1."""

    sample: Tensor


class AutoencoderKL(nn.Module):
    """Pictures (B, 3, H, W), -1..1, to latents (B, C, h, w) and back."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = Config({"scaling_factor": 0.18215, "shift_factor": None, "force_upcast": True} | config)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        latent = config.latent_channels
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1) if config.get("use_quant_conv", True) else None
        self.post_quant_conv = nn.Conv2d(latent, latent, 1) if config.get("use_post_quant_conv", True) else None

    @staticmethod
    def covers(config: Config) -> bool:
        """Whether the network of this configuration is of this form."""
        return (
            config.only({}, _READ)
            and config.get("act_fn", "silu") == "silu"
            and set(config.down_block_types) == {"DownEncoderBlock2D"}
            and set(config.up_block_types) == {"UpDecoderBlock2D"}
        )

    @property
    def device(self) -> torch.device:
        return self.decoder.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.conv_in.weight.dtype

    def encode(self, x: Tensor) -> Encoded:
        """Encode pictures (B, 3, H, W), -1..1, to the distribution of their latents (B, C, h, w), unscaled."""
        moments = self.encoder(x)
        return Encoded(Posterior(moments if self.quant_conv is None else self.quant_conv(moments)))

    def decode(self, latents: Tensor) -> Decoded:
        """Decode unscaled latents (B, C, h, w) to pictures (B, 3, H, W), about -1..1."""
        return Decoded(self.decoder(latents if self.post_quant_conv is None else self.post_quant_conv(latents)))


class Level(nn.Module):
    """The blocks of one resolution of the encoder or the decoder."""

    def __init__(
        self, resnets: Sequence[Resnet], *, down: Downsample | None = None, up: Upsample | None = None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.downsamplers = nn.ModuleList([down]) if down else None
        self.upsamplers = nn.ModuleList([up]) if up else None

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for sampler in self.downsamplers or self.upsamplers or ():
            x = sampler(x)
        return x


class Middle(nn.Module):
    """Two residual blocks, with attention between them where the model has it."""

    def __init__(self, channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_resnet(channels, channels, groups) for _ in range(2))
        attentions = [PictureAttention(channels, groups=groups, eps=EPS)] if attention else []
        self.attentions = nn.ModuleList(attentions)

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        made: Tensor = self.resnets[1](x)
        return made


class Encoder(nn.Module):
    """Pictures to the moments of their latents."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, groups, layers = _shape(config)
        self.conv_in = nn.Conv2d(config.get("in_channels", 3), widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            before = [widths[max(level - 1, 0)], *[width] * (layers - 1)]
            down = Downsample(width, padding=0) if level < len(widths) - 1 else None
            self.down_blocks.append(Level([_resnet(channels, width, groups) for channels in before], down=down))
        self.mid_block = Middle(widths[-1], groups, bool(config.get("mid_block_add_attention", True)))
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        made: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return made


class Decoder(nn.Module):
    """Latents to pictures."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, groups, layers = _shape(config)
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.mid_block = Middle(widths[-1], groups, bool(config.get("mid_block_add_attention", True)))
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            width = widths[level]
            before = [widths[min(level + 1, len(widths) - 1)], *[width] * layers]
            up = Upsample(width) if level else None
            self.up_blocks.append(Level([_resnet(channels, width, groups) for channels in before], up=up))
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], EPS)
        self.conv_out = nn.Conv2d(widths[0], config.get("out_channels", 3), 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(latents))
        for block in self.up_blocks:
            x = block(x)
        made: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return made


def _resnet(channels_in: int, channels: int, groups: int) -> Resnet:
    return Resnet(channels_in, channels, groups=groups, eps=EPS, time=None)


def _shape(config: Config) -> tuple[list[int], int, int]:
    """Return the channels of each resolution, the groups of the norms, and the layers of a resolution."""
    values: tuple[Any, ...] = (
        config.block_out_channels,
        config.get("norm_num_groups", 32),
        config.get("layers_per_block", 1),
    )
    return values[0], values[1], values[2]
