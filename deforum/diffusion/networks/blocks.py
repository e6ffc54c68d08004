"""Blocks of the UNet and the autoencoder; tensors are (B, C, h, w), sequences (B, tokens, width).

Source: diffusers (Apache-2.0), whose names and order of operations these have; Rombach et al., arXiv 2112.10752.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor


class Resnet(nn.Module):
    """Residual block of two convolutions; the time embedding is added between them."""

    def __init__(self, channels_in: int, channels: int, *, groups: int, eps: float, time: int | None) -> None:
        """`time` is the width of the time embedding; None: the block takes none."""
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = None if time is None else nn.Linear(time, channels)
        self.norm2 = nn.GroupNorm(groups, channels, eps)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = None if channels_in == channels else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None and time is not None:
            hidden = hidden + self.time_emb_proj(F.silu(time))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        made: Tensor = (x if self.conv_shortcut is None else self.conv_shortcut(x)) + hidden
        return made


class Attention(nn.Module):
    """Multi-head attention of a sequence to `context`, or to itself."""

    def __init__(self, width: int, heads: int, *, context: int | None = None, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context or width, width, bias=bias)
        self.to_v = nn.Linear(context or width, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        given = x if context is None else context
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(given), self.to_v(given))
        )
        out = F.scaled_dot_product_attention(query, key, value)
        made: Tensor = self.to_out[0](out.transpose(1, 2).flatten(2))
        return made


class GatedGelu(nn.Module):
    """Linear layer whose output is gated by the GELU of its second half (Shazeer, arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated feed-forward layer of four times the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GatedGelu(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.net[2](self.net[0](x))
        return made


class TransformerBlock(nn.Module):
    """Attention within the picture, attention to the prompt, and a feed-forward layer."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, context=context)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), context) + x
        x = self.ff(self.norm3(x)) + x
        return x


class Transformer(nn.Module):
    """Transformer blocks over the cells of a feature map, around a residual connection."""

    def __init__(self, channels: int, heads: int, context: int, *, depth: int, groups: int, linear: bool) -> None:
        """`linear`: the projections before and after are linear layers (Stable Diffusion 2), else 1x1 convolutions."""
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, 1e-6)
        self.proj_in: nn.Module = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(TransformerBlock(channels, heads, context) for _ in range(depth))
        self.proj_out: nn.Module = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.linear = linear

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        hidden = self.norm(x)
        if not self.linear:
            hidden = self.proj_in(hidden)
        hidden = hidden.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        if self.linear:
            hidden = self.proj_in(hidden)
        for block in self.transformer_blocks:
            hidden = block(hidden, context)
        if self.linear:
            hidden = self.proj_out(hidden)
        hidden = hidden.reshape(batch, height, width, channels).permute(0, 3, 1, 2).contiguous()
        if not self.linear:
            hidden = self.proj_out(hidden)
        made: Tensor = hidden + x
        return made


class PictureAttention(nn.Module):
    """Self-attention of one head over the cells of a feature map, around a residual connection."""

    def __init__(self, channels: int, *, groups: int, eps: float) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.group_norm(x.flatten(2)).transpose(1, 2)
        query, key, value = (part(hidden)[:, None] for part in (self.to_q, self.to_k, self.to_v))
        hidden = self.to_out[0](F.scaled_dot_product_attention(query, key, value)[:, 0])
        made: Tensor = hidden.transpose(-1, -2).reshape(x.shape) + x
        return made


class Downsample(nn.Module):
    """Halve height and width by a strided convolution."""

    def __init__(self, channels: int, *, padding: int) -> None:
        """`padding` 0 pads at the right and at the bottom only, as the autoencoder does."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x if self.conv.padding != (0, 0) else F.pad(x, (0, 1, 0, 1)))
        return made


class Upsample(nn.Module):
    """Double height and width, or reach `size` (h, w), by repeating cells; then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size | None = None) -> Tensor:
        if 4 * x.numel() > 2**31:
            x = x.contiguous()  # CUDA's kernel for channels-last fails there: github.com/pytorch/pytorch/issues/141831
        x = F.interpolate(x, scale_factor=2.0) if size is None else F.interpolate(x, size=size)
        made: Tensor = self.conv(x)
        return made
