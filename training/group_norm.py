"""Group normalisation for training on a CPU: on channels-last bfloat16, torch's own takes ten times as long.

It took a quarter of the UNet's training.  Sums per channel need two passes over the input, and what is left is one
multiplication and addition per value; all else is arithmetic on (batch, channels).  On the few large channels of an
autoencoder it is the slower of the two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        batch, channels, height, width = x.shape
        y = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        count = height * width * channels // groups
        sums = y.sum(1, dtype=torch.float32)
        squares = torch.linalg.vector_norm(y, dim=1, dtype=torch.float32).square()
        mean = sums.view(batch, groups, -1).sum(2) / count
        variance = (squares.view(batch, groups, -1).sum(2) / count - mean * mean).clamp_min(0)
        mean, scale = (part.repeat_interleave(channels // groups, 1) for part in (mean, (variance + eps).rsqrt()))
        gain = scale * weight
        out = torch.addcmul((bias - mean * gain)[:, None], y, gain[:, None]).to(x.dtype)
        ctx.save_for_backward(y, weight, mean, scale)
        ctx.groups, ctx.shape = groups, x.shape
        return out.view(batch, height, width, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, weight, mean, scale = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        each = channels // ctx.groups
        g = gradient.permute(0, 2, 3, 1).reshape(y.shape).to(y.dtype)
        to_bias = g.sum(1, dtype=torch.float32)
        to_weight = ((g * y).sum(1, dtype=torch.float32) - mean * to_bias) * scale

        def shared(part: Tensor) -> Tensor:  # mean over each group of what its channels carry
            sums = (part * weight).view(batch, ctx.groups, each).sum(2) / (height * width * each)
            return sums.repeat_interleave(each, 1)

        slope = scale * scale * shared(to_weight)
        level = slope * mean - scale * shared(to_bias)
        back = torch.addcmul(level[:, None].to(y.dtype), g, (scale * weight)[:, None].to(y.dtype))
        back.addcmul_(y, -slope[:, None].to(y.dtype))
        back = back.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return back, None, to_weight.sum(0), to_bias.sum(0), None


def group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """What `torch.nn.functional.group_norm` computes, of pictures (B, C, H, W) with weight and bias."""
    return _GroupNorm.apply(x, groups, weight, bias, eps)  # type: ignore[no-any-return, no-untyped-call]


def use() -> None:
    """Let every `torch.nn.GroupNorm` of this process compute with it."""
    torch.nn.functional.group_norm = group_norm  # type: ignore[assignment]
