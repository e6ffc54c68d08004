"""Group normalisation for training on a CPU, ten times as fast as torch's own on channels-last bfloat16.

torch's own took a quarter of the UNet's training time. This one makes two passes over the input for sums per channel
and one multiply-add per value; the rest is arithmetic on (batch, channels). On an autoencoder's few, large channels it
is slower than torch's own.
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

        def shared(part: Tensor) -> Tensor:  # mean over each group, repeated for its channels
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
    """Compute `torch.nn.functional.group_norm` of x (B, C, H, W); weight and bias (C,) are required."""
    return _GroupNorm.apply(x, groups, weight, bias, eps)  # type: ignore[no-any-return, no-untyped-call]


def use() -> None:
    """Replace `torch.nn.functional.group_norm`, and so every `torch.nn.GroupNorm`, in this process."""
    torch.nn.functional.group_norm = group_norm  # type: ignore[assignment]
