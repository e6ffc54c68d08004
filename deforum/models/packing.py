"""Layers with weights in oneDNN's layout, for networks on processors.

Without it, each call of a convolution brings its weights into that layout: for a small network that takes as long as
the arithmetic. For float32 on a CPU, in inference mode.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor
Makers = Mapping[type[nn.Module], Callable[[Any], nn.Module]]
"""Functions that make the packed form of a module, by its exact type."""

LARGE = 40_000
"""Weights of a linear layer from which oneDNN's layout is faster than the plain one (measured, 16 to 128 rows)."""

MOST = 8
"""Shapes of input for which a convolution keeps its weights."""


def is_supported() -> bool:
    """Whether this build of torch has oneDNN's operations on weights in its layout."""
    available: Callable[[], bool] = torch.backends.mkldnn.is_available
    return available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class Part(nn.Module):
    """Base of packed parts, which are called directly: hooks belong to the plain modules."""

    forward: Callable[..., Tensor]

    def __call__(self, *given: Any) -> Tensor:
        return self.forward(*given)


class Conv(Part):
    """Convolution with weights in oneDNN's layout for each shape of input, made when it first occurs."""

    def __init__(self, conv: nn.Conv2d, *, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        """`weight` and `bias` replace those of `conv`, which then gives stride, padding mode and dilation."""
        super().__init__()
        self.weight, self.bias = (conv.weight, conv.bias) if weight is None else (weight, bias)
        self._weights: dict[torch.Size, Tensor] = {}
        self.padding = conv.padding
        padding = list(map(int, conv.padding))
        self._mode = conv.padding_mode
        self._around: list[int] = []
        if self._mode != "zeros" and any(padding):
            self._around, padding = [padding[1], padding[1], padding[0], padding[0]], [0, 0]
        self._shape = padding, list(conv.stride), list(conv.dilation), conv.groups

    def forward(self, x: Tensor) -> Tensor:
        x = self._padded(x)
        made: Tensor = torch.ops.mkldnn._convolution_pointwise.default(
            x, self._layout(x.shape), self.bias, *self._shape, "none", [], ""
        )
        return made

    def added(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the convolution of `x` plus `other`."""
        x = self._padded(x)
        made: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, self._layout(x.shape), self.bias, *self._shape, "add", None, None, [], ""
        )
        return made

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, self._around, mode=self._mode) if self._around else x

    def _layout(self, shape: torch.Size) -> Tensor:
        # A layout for another shape gives the same results, but takes up to 40 times as long.
        weight = self._weights.get(shape)
        if weight is None:  # two threads may both make it
            if len(self._weights) >= MOST:
                self._weights.clear()
            weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self._shape, list(shape))
            self._weights[shape] = weight
        return weight


class Linear(Part):
    """Linear layer of one or more matrices (out, in), one below the other."""

    def __init__(self, *weights: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        weight = torch.cat(weights) if len(weights) > 1 else weights[0]
        self._packed = weight.numel() >= LARGE
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._packed else weight
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        if not self._packed:
            return F.linear(x, self.weight, self.bias)
        made: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
        return made


def pack(module: nn.Module, makers: Makers) -> Any:
    """Return the packed form of a module.

    A module that `makers` lacks is copied around its packed parts; the copy shares the module's weights.
    """
    if "forward" in vars(module):
        return module  # replaced in this one module, as residual branches by their shortcuts
    make = makers.get(type(module))
    if make is not None:
        return make(module)
    copied = copy.copy(module)
    copied._modules = {name: None if part is None else pack(part, makers) for name, part in module._modules.items()}
    return copied
