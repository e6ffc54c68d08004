"""Layers with weights in oneDNN's layout, for networks on processors.

Without it, each call of a convolution brings its weights into that layout: for a small network that takes as long as
the arithmetic. For float32 on a CPU, in inference mode.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from deforum.models import edges
from deforum.models.branches import Branched, own_type

Tensor = torch.Tensor
Makers = Mapping[type[nn.Module], Callable[[Any], nn.Module]]
"""Functions that make the packed form of a module, by its exact type."""

LARGE = 40_000
"""Weights of a linear layer from which oneDNN's layout is faster than the plain one (measured, 16 to 128 rows)."""

MOST = 8
"""Shapes of input for which a convolution keeps its weights."""

SETS = 2
"""Sets of weights of branches for which a layer keeps merged weights."""

CHANGES = 4
"""Branches of a layer whose changes are kept."""


def is_supported() -> bool:
    """Whether this build of torch has oneDNN's operations on weights in its layout."""
    available: Callable[[], bool] = torch.backends.mkldnn.is_available
    return available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class Part(nn.Module):
    """Base of packed parts, which are called directly: hooks belong to the plain modules."""

    forward: Callable[..., Tensor]

    def __call__(self, *given: Any) -> Tensor:
        return self.forward(*given)


class Form(Protocol):
    """What is made of weights, linearly: that of a sum is the sum of those of its parts."""

    def plus(self, change: Any, factor: float) -> Self:
        """Return the form of the weights plus `factor` times a change, whose form is given."""


T = TypeVar("T", bound=Form)
Weights = Sequence[tuple[Tensor, Tensor | None]]
"""Weight and bias of each of some layers."""


class Pair(NamedTuple):
    """A weight and a bias, as they are or in oneDNN's layout."""

    weight: Tensor
    bias: Tensor | None

    def plus(self, change: Pair, factor: float) -> Pair:
        return Pair(self.weight.add(change.weight, alpha=factor), _sum(self.bias, change.bias, factor))


def _sum(bias: Tensor | None, change: Tensor | None, factor: float) -> Tensor | None:
    if change is None:
        return bias
    return change * factor if bias is None else bias.add(change, alpha=factor)


class Forms(Generic[T]):
    """What is made of the weights of some layers: once, and again for each set of weights of their branches.

    Branches of layers on a processor are merged into the weights: each would take as long as a layer, small as it is.
    What a branch changes is brought into the form once, so that for other weights of branches forms are added alone: in
    oneDNN's layout that takes a sixth of merging and bringing the sum into it. The last few are kept.
    """

    def __init__(self, layers: Sequence[Any], make: Callable[[Weights], T]) -> None:
        self._layers, self._make = layers, make
        self._branched = [layer for layer in layers if isinstance(layer, Branched)]
        self._own = make([(layer.weight, layer.bias) for layer in layers])
        self._merged: OrderedDict[Hashable, T] = OrderedDict()
        self._changes: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def now(self) -> T:
        """Return what is made of the weights as they are in this thread now."""
        key = tuple([layer.acting() for layer in self._branched])
        if not any(key):
            return self._own
        with self._lock:
            made = self._merged.get(key)
            if made is None:
                made = self._own
                for name, factor in dict(pair for own in key for pair in own).items():
                    made = made.plus(self._change(name), factor)
                _keep(self._merged, key, made, SETS)
            return made

    def _change(self, name: str) -> T:
        """Return what is made of the changes by a branch at weight 1; `name` is a key of the inputs."""
        found = self._changes.get(name)
        if found is None:
            found = self._make([_changed(layer, name) for layer in self._layers])
            _keep(self._changes, name, found, CHANGES)
        return found


K = TypeVar("K")
V = TypeVar("V")


def _keep(known: OrderedDict[K, V], key: K, made: V, most: int) -> None:
    known[key] = made
    if len(known) > most:
        known.popitem(last=False)


def _changed(layer: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Return the changes of a layer's weight and bias; 0 where it has no such branch."""
    weight, bias = layer.change(name) if isinstance(layer, Branched) else (None, None)
    if weight is None:
        return torch.zeros_like(layer.weight), bias
    weight = weight.reshape(layer.weight.shape)
    return (weight.contiguous(memory_format=torch.channels_last) if weight.ndim == 4 else weight), bias


class Conv(Part):
    """Convolution with weights in oneDNN's layout for each shape of input, made when it first occurs."""

    def __init__(self, conv: nn.Conv2d, *, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        """`weight` and `bias` replace those of `conv`, which then gives stride, padding mode and dilation."""
        super().__init__()
        given = conv if weight is None else _Given(weight, bias)
        self.padding = conv.padding
        padding = list(map(int, conv.padding))
        self._mode = conv.padding_mode
        self._around: list[int] = []
        if self._mode != "zeros" and any(padding):
            self._around, padding = [padding[1], padding[1], padding[0], padding[0]], [0, 0]
        self._shape = padding, list(conv.stride), list(conv.dilation), conv.groups
        self._forms = Forms([given], lambda weights: _Layouts.of(*weights[0], self._shape))

    def forward(self, x: Tensor) -> Tensor:
        x, form = self._padded(x), self._forms.now()
        made: Tensor = torch.ops.mkldnn._convolution_pointwise.default(
            x, form.layout(x.shape), form.bias, *self._shape, "none", [], ""
        )
        return made

    def added(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the convolution of `x` plus `other`."""
        x, form = self._padded(x), self._forms.now()
        made: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, form.layout(x.shape), form.bias, *self._shape, "add", None, None, [], ""
        )
        return made

    def plus(self, change: Conv, factor: float) -> Conv:
        """Return the convolution with another one's weights added."""
        made = copy.copy(self)
        form = self._forms.now().plus(change._forms.now(), factor)
        made._forms = Forms([], lambda weights: form)
        return made

    def _padded(self, x: Tensor) -> Tensor:
        return edges.padded(x, self._around, self._mode) if self._around else x


@dataclass(frozen=True, eq=False)
class _Given:
    """Weights in place of a layer's own."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, eq=False)
class _Layouts:
    """A convolution's weight in the layouts for shapes of input."""

    make: Callable[[torch.Size], Tensor]
    """Makes the layout for a shape."""
    bias: Tensor | None
    grouped: tuple[Tensor, tuple[Any, ...]] | None = None
    """Of a convolution of groups: its weight and geometry, as sums of layouts would lose the groups."""
    made: dict[torch.Size, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, shape: tuple[Any, ...]) -> _Layouts:
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        grouped = (weight, shape) if shape[-1] > 1 else None
        return cls(lambda size: reorder(weight, *shape, list(size)), bias, grouped)

    def layout(self, shape: torch.Size) -> Tensor:
        # A layout for another shape gives the same results, but takes up to 40 times as long.
        weight = self.made.get(shape)
        if weight is None:  # two threads may both make it
            if len(self.made) >= MOST:
                self.made.clear()
            weight = self.made[shape] = self.make(shape)
        return weight

    def plus(self, change: _Layouts, factor: float) -> _Layouts:
        if self.grouped is not None and change.grouped is not None:
            (weight, shape), (other, _) = self.grouped, change.grouped
            return _Layouts.of(weight.add(other, alpha=factor), _sum(self.bias, change.bias, factor), shape)
        return _Layouts(
            lambda shape: self.layout(shape).add(change.layout(shape), alpha=factor),
            _sum(self.bias, change.bias, factor),
        )


class Linear(Part):
    """Linear layers with the same input as one: their outputs stand side by side.

    A 1x1 convolution is one over cells.
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self._packed = sum(layer.weight.numel() for layer in layers) >= LARGE
        self._forms = Forms(layers, self._form)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self._forms.now()
        if not self._packed:
            return F.linear(x, weight, bias)
        made: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
        return made

    def _form(self, weights: Weights) -> Pair:
        matrices = [weight.flatten(1) for weight, _ in weights]
        weight = torch.cat(matrices) if len(matrices) > 1 else matrices[0]
        biases = [
            weight.new_zeros(len(matrix)) if bias is None else bias
            for matrix, (_, bias) in zip(matrices, weights, strict=True)
        ]
        has_bias = any(bias is not None for _, bias in weights)
        bias = (torch.cat(biases) if len(biases) > 1 else biases[0]) if has_bias else None
        return Pair(torch.ops.mkldnn._reorder_linear_weight(weight) if self._packed else weight, bias)


def pack(module: nn.Module, makers: Makers) -> Any:
    """Return the packed form of a module.

    A module that `makers` lacks is copied around its packed parts; the copy shares the module's weights.
    """
    if "forward" in vars(module):
        return module  # replaced in this one module, as residual branches by their shortcuts
    make = makers.get(own_type(module))
    if make is not None:
        return make(module)
    copied = copy.copy(module)
    copied._modules = {name: None if part is None else pack(part, makers) for name, part in module._modules.items()}
    return copied
