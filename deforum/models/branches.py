"""Branches beside the layers of a network, which adapters such as LoRAs add: the layers' own weights stay as they are.

A branch acts while its key is among the `current` inputs of the thread, with the weight that stands there. So weights
change from frame to frame, and from step to step, without a copy of the network; several threads may evaluate it at
once with weights of their own; and a network whose branches all rest computes what it computed before, bit for bit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

Tensor = torch.Tensor
Inputs = Mapping[str, Any]
"""What adapters read beside a network's inputs, by key, such as the weights of branches."""

NOTHING: Inputs = {}
PLAIN = "plain"
"""A key whose inputs cannot be recorded or packed: while it is there, networks run in their plain form."""


class _Current(threading.local):
    inputs: Inputs = NOTHING


_CURRENT = _Current()


def current() -> Inputs:
    """Return the inputs of this thread."""
    return _CURRENT.inputs


@contextmanager
def adapting(inputs: Inputs) -> Iterator[None]:
    """Give adapters these inputs, in this thread, in place of those before."""
    before, _CURRENT.inputs = _CURRENT.inputs, inputs
    try:
        yield
    finally:
        _CURRENT.inputs = before


class Branch(nn.Module):
    """What an adapter adds to the output of one layer."""

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        """Return what is added, times `weight`, for the layer's input and its own output `base`, bias included.

        `ranks`: use the first ranks only, where the branch has ranks; None: all.
        """
        raise NotImplementedError

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        """Return what `forward` does as a change of the layer's weight and of its bias."""
        raise NotImplementedError


class Branched(nn.Module):
    """A layer with branches; see `branch_off`."""

    branches: nn.ModuleDict
    """By the name of the adapter. A key of the inputs is such a name, or "name:ranks"."""

    def forward(self, x: Tensor) -> Tensor:
        base: Tensor = super().forward(x)
        return self.joined(x, base)

    def joined(self, x: Tensor, base: Tensor) -> Tensor:
        """Return the layer's own output `base` for `x` with its acting branches."""
        out = base
        for key, weight in _CURRENT.inputs.items():
            name, _, ranks = key.partition(":")
            if name in self.branches:
                out = out + self.branches[name](x, base, weight, int(ranks) if ranks else None)
        return out

    def acting(self) -> tuple[tuple[str, float], ...]:
        """List the branches that act in this thread now, and their weights. Reads them: for layers on a processor."""
        return tuple(
            (key, float(weight)) for key, weight in _CURRENT.inputs.items() if key.partition(":")[0] in self.branches
        )

    def change(self, key: str) -> tuple[Tensor | None, Tensor | None]:
        """Return the changes of the layer's weight and bias by a branch at weight 1; `key` is one of the inputs."""
        name, _, ranks = key.partition(":")
        if name not in self.branches:
            return None, None
        return cast(Branch, self.branches[name]).change(int(ranks) if ranks else None)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {}
"""Types of layers with branches, by those without."""


def _branched(layer: type[nn.Module]) -> type[nn.Module]:
    if layer not in _KINDS:
        _KINDS[layer] = type(f"Branched{layer.__name__}", (Branched, layer), {})
    return _KINDS[layer]


def branch_off(layer: nn.Module, name: str, branch: Branch) -> None:
    """Give a layer a branch. It stays the same object with the same weights, of a subclass of its type.

    Hooks of other libraries on the layer must come after this.
    """
    if not isinstance(layer, Branched):
        # As torch.nn.utils.parametrize does: whoever refers to the layer goes on with it.
        layer.__class__ = _branched(type(layer))
        cast(Branched, layer).branches = nn.ModuleDict()
    cast(Branched, layer).branches[name] = branch


def own_type(layer: nn.Module) -> type[nn.Module]:
    """Return the type of a layer, without its branches."""
    kind = type(layer)
    return kind.__mro__[2] if isinstance(layer, Branched) else kind
