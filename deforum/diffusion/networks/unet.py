"""The UNet of Stable Diffusion 1 and 2 and of the embedded model, as diffusers' UNet2DConditionModel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.networks.blocks import Downsample, Resnet, Transformer, Upsample
from deforum.diffusion.networks.files import Config
from deforum.diffusion.networks.image_tokens import text_of

Tensor = torch.Tensor

READ = frozenset(
    {
        "act_fn",
        "addition_embed_type",
        "addition_embed_type_num_heads",
        "attention_head_dim",
        "block_out_channels",
        "cross_attention_dim",
        "down_block_types",
        "flip_sin_to_cos",
        "freq_shift",
        "in_channels",
        "layers_per_block",
        "norm_eps",
        "norm_num_groups",
        "num_attention_heads",
        "out_channels",
        "sample_size",
        "time_cond_proj_dim",
        "transformer_layers_per_block",
        "up_block_types",
        "use_linear_projection",
    }
)
"""Names of a configuration that the network reads."""
ACCEPTED: dict[str, tuple[Any, ...]] = {
    "addition_time_embed_dim": (None,),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "class_embeddings_concat": (False,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dropout": (0.0,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "projection_class_embeddings_input_dim": (None,),
    "resnet_out_scale_factor": (1.0,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "reverse_transformer_layers_per_block": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
    "upcast_attention": (False, None, True),  # torch's attention, which diffusers uses too, decides that itself
}
"""Other names, with the values that they may have."""
DOWN, UP = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")


@dataclass(eq=False)
class Predicted:
    """The network's output. Forward hooks may replace it, as with the library's class."""

    sample: Tensor


class Encoder(nn.Module):
    """The way down of a UNet, which ControlNets share with it: its blocks, and the embedding of time and prompt."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths: list[int] = config.block_out_channels
        count, time = len(widths), 4 * widths[0]
        layers, make = each(config.get("layers_per_block", 2), count), _Blocks(config)
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], time, config.get("time_cond_proj_dim"))
        self.add_embedding = _added_embedding(config, time)
        self.down_blocks = nn.ModuleList()
        for level, kind in enumerate(config.down_block_types):
            before = [widths[max(level - 1, 0)], *[widths[level]] * (layers[level] - 1)]
            self.down_blocks.append(
                DownLevel(
                    [make.resnet(channels, widths[level]) for channels in before],
                    [make.transformer(level) for _ in before] if "Cross" in kind else [],
                    Downsample(widths[level], padding=1) if level < count - 1 else None,
                )
            )
        self.mid_block = Middle([make.resnet(widths[-1], widths[-1]) for _ in range(2)], make.transformer(count - 1))

    @property
    def device(self) -> torch.device:
        return self.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    def embed(self, x: Tensor, time: Tensor | float, guidance: Tensor | None = None) -> Tensor:
        """Return the embedding (B, width) of a time, and of the guidance scale, for latents `x`."""
        waves = sinusoids(
            torch.as_tensor(time, device=x.device).expand(len(x)),
            self.conv_in.out_channels,
            cosine_first=bool(self.config.get("flip_sin_to_cos", True)),
            shift=float(self.config.get("freq_shift", 0)),
        )
        embedding: Tensor = self.time_embedding(waves.to(x.dtype), guidance)
        return embedding

    def descend(
        self, x: Tensor, embedding: Any, context: Any, features: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the blocks after the first convolution down to the lowest resolution.

        Return the result, and what the way up joins. `features` are added to the result of each level, as a
        T2I-Adapter's are; there may be fewer than levels.
        """
        skips = [x]
        for block, feature in zip_longest(self.down_blocks, features[: len(self.down_blocks)]):
            x, made = block(x, embedding, context, feature)
            skips += made
        return self.mid_block(x, embedding, context), skips


class UNet(Encoder):
    """A denoising UNet conditioned on time and on the tokens of a prompt."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        widths: list[int] = config.block_out_channels
        count, groups, eps = len(widths), config.get("norm_num_groups", 32), config.get("norm_eps", 1e-5)
        layers, make = each(config.get("layers_per_block", 2), count), _Blocks(config)
        self.up_blocks = nn.ModuleList()
        for level, kind in zip(reversed(range(count)), config.up_block_types, strict=True):
            width, number = widths[level], layers[level] + 1
            coming = [widths[min(level + 1, count - 1)], *[width] * (number - 1)]
            skipped = [*[width] * (number - 1), widths[max(level - 1, 0)]]
            self.up_blocks.append(
                UpLevel(
                    [make.resnet(a + b, width) for a, b in zip(coming, skipped, strict=True)],
                    [make.transformer(level) for _ in coming] if "Cross" in kind else [],
                    Upsample(width) if level > 0 else None,
                )
            )
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    @staticmethod
    def covers(config: Config) -> bool:
        """Whether the network of this configuration is of this form."""
        return (
            config.only(ACCEPTED, READ)
            and config.get("act_fn", "silu") == "silu"
            and config.get("addition_embed_type") in (None, "text")
            and all(kind in DOWN for kind in config.down_block_types)
            and all(kind in UP for kind in config.up_block_types)
            and isinstance(config.cross_attention_dim, int)
        )

    def forward(
        self,
        x: Tensor,
        time: Tensor | float,
        encoder_hidden_states: Tensor,
        timestep_cond: Tensor | None = None,
        down_block_additional_residuals: Sequence[Tensor] = (),
        mid_block_additional_residual: Tensor | None = None,
        down_intrablock_additional_residuals: Sequence[Tensor] = (),
    ) -> Predicted:
        """Predict noise, v or x0, (B, C, h, w), from scaled noisy latents of that shape.

        `time` is a training step (B,) or one for all; `encoder_hidden_states` are the prompts' tokens
        (B, tokens, width); `timestep_cond` is an embedding of the guidance scale, for models that take one.
        """
        embedding = self.embed(x, time, timestep_cond)
        if self.add_embedding is not None:
            embedding = embedding + self.add_embedding(text_of(encoder_hidden_states))
        middle = () if mid_block_additional_residual is None else (mid_block_additional_residual,)
        residuals = (*down_block_additional_residuals, *middle)
        return Predicted(self.run(x, embedding, encoder_hidden_states, residuals, down_intrablock_additional_residuals))

    def apart(self, added: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Split what is added into residuals and features: `residuals`, then `features`, each of which may be missing.

        There are more residuals than resolutions, and at most as many features.
        """
        levels: list[Any] = list(self.down_blocks)
        residuals = 2 + sum(len(level.resnets) + len(level.downsamplers) for level in levels)
        split = residuals if len(added) >= residuals else 0
        return added[:split], added[split:]

    def run(
        self, x: Tensor, embedding: Any, context: Any, residuals: Sequence[Tensor] = (), features: Sequence[Tensor] = ()
    ) -> Tensor:
        """Run the blocks on latents, with what those need of time and prompts.

        `residuals` are added to what the way up joins, the last of them to the result of the middle; none, or as many
        as there are. `features`: see `descend`.
        """
        x, skips = self.descend(self.conv_in(x), embedding, context, features)
        if residuals:
            *given, middle = residuals
            x = x + middle
            skips = [skip + residual for skip, residual in zip(skips, given, strict=True)]
        for block in self.up_blocks:
            x = block(x, embedding, context, skips)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out


class _Blocks:
    """Makes the blocks of a configuration."""

    def __init__(self, config: Config) -> None:
        count = len(config.block_out_channels)
        self._widths, self._groups = config.block_out_channels, config.get("norm_num_groups", 32)
        self._eps = config.get("norm_eps", 1e-5)
        self._heads = each(config.get("num_attention_heads") or config.attention_head_dim, count)
        self._depths = each(config.get("transformer_layers_per_block", 1), count)
        self._contexts = each(config.cross_attention_dim, count)
        self._linear = bool(config.get("use_linear_projection", False))

    def resnet(self, channels_in: int, channels: int) -> Resnet:
        return Resnet(channels_in, channels, groups=self._groups, eps=self._eps, time=4 * self._widths[0])

    def transformer(self, level: int) -> Transformer:
        return Transformer(
            self._widths[level],
            self._heads[level],
            self._contexts[level],
            depth=self._depths[level],
            groups=self._groups,
            linear=self._linear,
        )


def _added_embedding(config: Config, time: int) -> nn.Module | None:
    """Return what embeds more than the time: all tokens of the prompt ("text"), or its pooled embedding and sizes."""
    kind = config.get("addition_embed_type")
    if kind == "text":
        return TextEmbedding(config.cross_attention_dim, time, config.get("addition_embed_type_num_heads", 64))
    if kind == "text_time":
        return TimeEmbedding(config.projection_class_embeddings_input_dim, time, None)
    return None


class DownLevel(nn.Module):
    """The blocks of one resolution on the way down. The last level has no sampler, and some have no transformers."""

    def __init__(
        self, resnets: Sequence[Resnet], attentions: Sequence[Transformer], downsampler: Downsample | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        self.downsamplers = nn.ModuleList([downsampler] if downsampler else [])

    def forward(
        self, x: Tensor, embedding: Tensor, context: Tensor, feature: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the result, and what the way up joins: the result of each block.

        A `feature` is added to the last block with attention, or, in a level without, to the level's result.
        """
        made: list[Tensor] = []
        for resnet, attention in zip_longest(self.resnets, self.attentions):
            x = resnet(x, embedding)
            x = x if attention is None else attention(x, context)
            made.append(x)
        if feature is not None and self.attentions:
            made[-1] = x = x + feature
        for sampler in self.downsamplers:
            x = sampler(x)
            made.append(x)
        if feature is not None and not self.attentions:
            made[-1] = x = x + feature
        return x, made


class Middle(nn.Module):
    """The blocks of the lowest resolution."""

    def __init__(self, resnets: Sequence[Resnet], attention: Transformer) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList([attention])

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor) -> Tensor:
        made: Tensor = self.attentions[0](self.resnets[0](x, embedding), context)
        made = self.resnets[1](made, embedding)
        return made


class UpLevel(nn.Module):
    """The blocks of one resolution on the way up."""

    def __init__(
        self, resnets: Sequence[Resnet], attentions: Sequence[Transformer], upsampler: Upsample | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        self.upsamplers = nn.ModuleList([upsampler] if upsampler else [])

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor, skips: list[Tensor]) -> Tensor:
        """Join results of the way down, taken from the end of `skips`, and reach the size of the next of them."""
        for resnet, attention in zip_longest(self.resnets, self.attentions):
            x = resnet(torch.cat([x, skips.pop()], dim=1), embedding)
            x = x if attention is None else attention(x, context)
        for sampler in self.upsamplers:
            x = sampler(x, skips[-1].shape[2:])
        return x


class TimeEmbedding(nn.Module):
    """Two linear layers over the sinusoids of a time; `guidance` is the width of an embedded guidance scale."""

    def __init__(self, width: int, out: int, guidance: int | None) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.cond_proj = nn.Linear(guidance, width, bias=False) if guidance else None
        self.linear_2 = nn.Linear(out, out)

    def forward(self, x: Tensor, guidance: Tensor | None = None) -> Tensor:
        if guidance is not None and self.cond_proj is not None:
            x = x + self.cond_proj(guidance)
        made: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return made


class TextEmbedding(nn.Module):
    """One embedding of all tokens of a prompt, added to the time embedding."""

    def __init__(self, width: int, out: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.pool = AttentionPooling(width, heads)
        self.proj = nn.Linear(width, out)
        self.norm2 = nn.LayerNorm(out)

    def forward(self, tokens: Tensor) -> Tensor:
        made: Tensor = self.norm2(self.proj(self.pool(self.norm1(tokens))))
        return made


class AttentionPooling(nn.Module):
    """Attention of the tokens' mean to all tokens and itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(1, width))
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, _, width = x.shape
        mean = x.mean(dim=1, keepdim=True) + self.positional_embedding.to(x.dtype)
        x = torch.cat([mean, x], dim=1)
        query, key, value = (  # (B * heads, width per head, tokens)
            part.view(batch, -1, self.heads, width // self.heads).transpose(1, 2).flatten(0, 1).transpose(1, 2)
            for part in (self.q_proj(mean), self.k_proj(x), self.v_proj(x))
        )
        scale = (width // self.heads) ** -0.25
        weight = torch.einsum("bct,bcs->bts", query * scale, key * scale)
        weight = torch.softmax(weight.float(), dim=-1).to(weight.dtype)
        return torch.einsum("bts,bcs->bct", weight, value).reshape(batch, width)


def sinusoids(times: Tensor, width: int, *, cosine_first: bool, shift: float) -> Tensor:
    """Embed times (B,) as sinusoids (B, width), float32 (Vaswani et al., arXiv 1706.03762).

    Wavelengths run from 2 pi to 10,000 times that; a `shift` of 1 includes the longest.
    """
    half = width // 2
    exponents = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=times.device) / (half - shift)
    angles = times[:, None].float() * torch.exp(exponents)[None]
    parts = [torch.cos(angles), torch.sin(angles)] if cosine_first else [torch.sin(angles), torch.cos(angles)]
    return torch.cat(parts, dim=-1)


def each(value: Any, count: int) -> list[Any]:
    """Return the value of each resolution, where a configuration has one for all of them too."""
    return list(value) if isinstance(value, (list, tuple)) else [value] * count
