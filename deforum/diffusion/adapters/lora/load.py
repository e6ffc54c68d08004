"""LoRA files joined to a loaded model: their branches are put beside its layers, where they rest until a frame asks.

They are part of the modules from then on, so that they move with them between host and device, and change precision
with them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deforum.diffusion.adapters.lora.branches import Misfit, make_branch
from deforum.diffusion.adapters.lora.file import Layer, LoraFile, made_for, read_file
from deforum.diffusion.adapters.lora.names import Names
from deforum.errors import UserError
from deforum.models.branches import branch_off
from deforum.models.weights import read_weights

_log = logging.getLogger(__name__)
_SHOWN = 3
"""Layers named in a message."""


@dataclass(frozen=True)
class Joined:
    """A LoRA whose branches a model has."""

    key: str
    """The name of its branches."""
    in_text: bool
    """Whether it changes text encoders."""
    in_network: bool
    """Whether it changes the denoising network."""


def join(paths: Sequence[Path], denoiser: Any, text_encoders: Sequence[Any]) -> Mapping[Path, Joined]:
    """Give a model the branches of LoRA files. Its modules must be whole, on the CPU.

    Raises UserError for a file that is not a LoRA, or does not fit the model.
    """
    names = Names(denoiser, text_encoders)
    return {path: _join(f"lora{index}", path, names) for index, path in enumerate(paths)}


def _join(key: str, path: Path, names: Names) -> Joined:
    file = read_file(path)
    found = {layer.name: names.find(layer.name) for layer in file.layers}
    unknown = [name for name, targets in found.items() if not targets]
    if len(unknown) * 2 > len(file.layers):
        raise UserError(f"{path}: {_not_of_this_model(file, unknown)}")
    if unknown:
        _log.warning(
            "%s: %d of its %d layers are not in this model and are left out: %s",
            path, len(unknown), len(file.layers), _listed(unknown),
        )  # fmt: skip
    weights = read_weights(file.path)
    misfits: list[str] = []
    in_text = in_network = False
    for layer in file.layers:
        tensors = {part: weights[name].float() for part, name in layer.tensors.items()}
        for target in found[layer.name]:
            try:
                branch = make_branch(target.layer, layer, tensors, target.rows)
            except (Misfit, RuntimeError) as error:
                reason = str(error) if isinstance(error, Misfit) else f"its shapes do not fit: {_shapes(file, layer)}"
                misfits.append(f"{layer.name}: {reason}")
                continue
            branch_off(target.layer, key, branch)
            in_text, in_network = in_text or target.is_text, in_network or not target.is_text
    if misfits:
        title = made_for(file)[0]
        raise UserError(
            f"{path}: {len(misfits)} of its {len(file.layers)} layers do not fit this model"
            f"{f' (it seems to be made for {title})' if title else ''}: {'; '.join(misfits[:_SHOWN])}"
        )
    return Joined(key, in_text, in_network)


def _not_of_this_model(file: LoraFile, unknown: Sequence[str]) -> str:
    title = made_for(file)[0]
    return (
        f"made for {title or 'another family of models'}: {len(unknown)} of its {len(file.layers)} layers are not in "
        f"this model, such as {_listed(unknown)}; use a LoRA that was made for models of this family"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:100] for name in names[:_SHOWN]) + more


def _shapes(file: LoraFile, layer: Layer) -> str:
    return ", ".join(f"{part} {' x '.join(map(str, file.shape(layer, part)))}" for part in layer.tensors)
