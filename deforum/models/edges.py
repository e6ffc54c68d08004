"""Convolutions whose padding is the opposite edge, so that pictures tile: in both directions, or in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor
Tiling = Literal["none", "both", "x", "y"]
"""Directions in which opposite edges fit together: x joins left and right, y top and bottom."""
BOTH, ALONG_X, ALONG_Y = "circular", "circular x", "circular y"
"""Padding modes; torch knows the first one."""


def wrap_edges(module: nn.Module, tiling: Tiling) -> None:
    """Let all convolutions of a module see the opposite edge beyond an edge."""
    if tiling == "none":
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        layer.padding_mode = {"both": BOTH, "x": ALONG_X, "y": ALONG_Y}[tiling]  # type: ignore[assignment]
        if tiling != "both":
            assert not isinstance(layer.padding, str)
            top, left = layer.padding
            layer.__dict__["_conv_forward"] = _Wrapped(
                layer.padding_mode, (left, left, top, top), layer.stride, layer.dilation, layer.groups
            )


def padded(x: Tensor, around: Sequence[int], mode: str) -> Tensor:
    """Pad (B, C, H, W) at the left, right, top and bottom by the cells `around`, in a padding mode."""
    left, right, top, bottom = around
    sideways, upright = [left, right, 0, 0], [0, 0, top, bottom]
    if mode == ALONG_X:
        return F.pad(F.pad(x, sideways, mode="circular"), upright)
    if mode == ALONG_Y:
        return F.pad(F.pad(x, upright, mode="circular"), sideways)
    return F.pad(x, list(around), mode=mode)


@dataclass(frozen=True)
class _Wrapped:
    """Stands in for a layer's own `_conv_forward`. It does not refer to the layer, which is freed with the model."""

    mode: str
    around: tuple[int, int, int, int]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(padded(x, self.around, self.mode), weight, bias, self.stride, 0, self.dilation, self.groups)
