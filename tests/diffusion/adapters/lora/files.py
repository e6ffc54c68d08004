"""LoRA files of random weights, in the layouts of trainers, and what they do to a network by dense arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

Tensor = torch.Tensor
RANK, ALPHA = 2, 3.0
SCALE = ALPHA / RANK


def layers_of(network: nn.Module) -> dict[str, Any]:
    """The linear layers and convolutions of a network, by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}


def pair(weight: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """A random pair of low rank for a weight: down (r, in (, k, k)) and up (out, r (, 1, 1))."""
    generator = torch.Generator().manual_seed(seed)
    ones = [1] * (weight.ndim - 2)
    down = torch.randn(RANK, *weight.shape[1:], generator=generator) * 0.1
    return down, torch.randn(len(weight), RANK, *ones, generator=generator) * 0.1


def change_of(down: Tensor, up: Tensor) -> Tensor:
    return SCALE * (up.flatten(1) @ down.flatten(1))


def merged(network: Any, changes: Mapping[str, Tensor], factor: float = 1.0) -> Any:
    """A copy of a network whose layers' weights have changes in them."""
    made = copy.deepcopy(network)
    layers = dict(made.named_modules())
    for name, change in changes.items():
        weight = layers[name].weight
        weight.data = weight.data + factor * change.view_as(weight)
    return made


def write(
    path: Path, network: nn.Module, name: Callable[[str], str], ends: tuple[str, str], *, alpha: bool = True
) -> dict[str, Tensor]:
    """Write a pair for each layer of a network; returns the changes of the layers' weights.

    `name` makes the name in the file, `ends` are those of down and up. Without `alpha`, up is multiplied by the scale.
    """
    weights: dict[str, Tensor] = {}
    changes = {}
    for seed, (layer, module) in enumerate(layers_of(network).items()):
        down, up = pair(module.weight, seed)
        changes[layer] = change_of(down, up)
        weights[name(layer) + ends[0]] = down
        weights[name(layer) + ends[1]] = up if alpha else up * SCALE
        if alpha:
            weights[f"{name(layer)}.alpha"] = torch.tensor(ALPHA)
    before = load(path) if path.exists() else {}
    save_file({**before, **weights}, path)
    return changes


def load(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(path))


def flat(name: str) -> str:
    return name.replace(".", "_")
