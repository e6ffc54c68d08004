"""Loading of control units that were found by `adapters.find`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deforum.diffusion.adapters.controlnet import AdapterUnit, LibraryUnit, OwnUnit, Unit
from deforum.diffusion.adapters.find import ControlSource, unet_config
from deforum.diffusion.adapters.names import adapter_names, todays_names
from deforum.diffusion.families.parts import read_parts
from deforum.diffusion.networks.controlnet import ControlNet
from deforum.diffusion.networks.files import Config
from deforum.diffusion.networks.packed import PackedControlNet, faster_forms
from deforum.errors import UserError
from deforum.models.captured import Captured, CudaRecord
from deforum.models.catalogue import find_function
from deforum.models.faster import Faster
from deforum.models.hub import without_network
from deforum.models.offload import size_of
from deforum.models.room import Room, room_of
from deforum.models.weights import read_weights

Tensor = torch.Tensor
Weights = dict[str, Tensor]


def load_units(wanted: tuple[tuple[ControlSource, ...], torch.dtype], device: torch.device) -> tuple[Unit, ...]:
    """Load units onto a device in a precision; the same file is loaded once. Raises UserError for damaged files."""
    sources, dtype = wanted
    known: dict[ControlSource, Unit] = {}
    for source in sources:
        if source not in known:
            known[source] = _load(source, dtype, room_of(device))
    return tuple(known[source] for source in sources)


def _load(source: ControlSource, dtype: torch.dtype, room: Room) -> Unit:
    makes: Mapping[str, Callable[[ControlSource, torch.dtype], nn.Module]] = {
        "controlnet": _network, "control-lora": _network, "union": _union, "t2i-adapter": _adapter,
        "sd3": _transformer, "flux": _transformer,
    }  # fmt: skip
    try:
        network: Any = makes[source.kind](source, dtype)
    except UserError:
        raise
    except Exception as error:
        # The libraries raise many types for damaged and mismatched files and configurations.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{source.file}: cannot be loaded ({reason}); fetch it again, or use another") from error
    network.to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)
    if room.moves and room.mode == "full" and 0 < room.free() < size_of(network):
        room.lower()  # it does not fit beside the model
    if source.kind in TRANSFORMERS:
        return _of_transformer(source, _fast(network, room), dtype)
    if source.kind == "t2i-adapter":
        room.adopt(network)
        return AdapterUnit(network, int(source.config.get("in_channels", 3)))
    if not isinstance(network, ControlNet):
        return LibraryUnit(_fast(Flat(network, source.task), room), source.pools)
    reader = network.controlnet_cond_embedding
    del network.controlnet_cond_embedding
    room.adopt(reader)
    fast = _fast(network, room)

    def plain(x: Tensor, time: Tensor, tokens: Tensor, guidance: None, *rest: Tensor | None) -> Any:
        return fast(x, time, tokens, *rest)

    run = Faster("the ControlNet", fast, plain, faster_forms(fast, plain, lambda: PackedControlNet(network)))
    return OwnUnit(fast, reader, run, source.pools)


TRANSFORMERS = {"sd3": "SD3ControlNetModel", "flux": "FluxControlNetModel"}
"""The library's classes."""


def _transformer(source: ControlSource, dtype: torch.dtype) -> nn.Module:
    return _filled(source, _of_library(TRANSFORMERS[source.kind], source.config), _weights(source), dtype)


def _of_transformer(source: ControlSource, network: Any, dtype: torch.dtype) -> Unit:
    """Make the unit of a transformer's ControlNet."""
    from deforum.diffusion.adapters.transformers import FluxUnit, StableDiffusion3Unit

    model = unet_config(source.base)
    blocks = int(model.get("num_layers", 24 if source.kind == "sd3" else 19))
    if source.kind == "flux":
        return FluxUnit(network, blocks, int(model.get("num_single_layers", 38)), source.task)
    embed: Any = None
    if not source.config.get("use_pos_embed", True):
        transformer = read_parts(source.base, {"transformer": "diffusers:SD3Transformer2DModel"}, {}, dtype)
        embed = transformer["transformer"].pos_embed.to(next(network.parameters()).device)
    return StableDiffusion3Unit(network, blocks, 0, embed=embed)


def _fast(network: Any, room: Room) -> Any:
    """Place a network, and record it as CUDA graphs where it stays on a card."""
    room.adopt(network, streams=True)
    if room.device.type != "cuda" or room.mode != "full":
        return network
    made = Captured(network, "the ControlNet", record=CudaRecord())
    room.register(made)
    room.wrap(made)
    return made


class Flat(nn.Module):
    """A ControlNet of the library, which returns its residuals as one tuple, that of the middle last."""

    def __init__(self, network: Any, task: int | None) -> None:
        """`task` is the kind of picture for the union of several networks."""
        super().__init__()
        self.network, self._task = network, task

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.network.dtype
        return dtype

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, picture: Tensor, **added: Tensor) -> tuple[Tensor, ...]:
        more: dict[str, Any] = {"added_cond_kwargs": added} if added else {}
        if self._task is None:
            more["controlnet_cond"] = picture
        else:
            kinds = torch.zeros((len(x), self.network.config.num_control_type), dtype=x.dtype, device=x.device)
            kinds[:, self._task] = 1
            more |= {"controlnet_cond": [picture], "control_type": kinds, "control_type_idx": [self._task],
                     "conditioning_scale": [1.0]}  # fmt: skip
        joined, middle = self.network(x, time, encoder_hidden_states=tokens, return_dict=False, **more)
        return (*joined, middle)


def _network(source: ControlSource, dtype: torch.dtype) -> nn.Module:
    weights = _with_todays_names(source)
    if source.kind == "control-lora":
        weights = _joined(source, weights, dtype)
    config = Config({name: value for name, value in source.config.items() if value is not None})
    if ControlNet.covers(config):
        with torch.device("meta"):
            network: nn.Module = ControlNet(config)
    else:
        network = _of_library("ControlNetModel", source.config)
    return _filled(source, network, weights, dtype)


def _union(source: ControlSource, dtype: torch.dtype) -> nn.Module:
    return _filled(source, _of_library("ControlNetUnionModel", source.config), _weights(source), dtype)


def _weights(source: ControlSource) -> Weights:
    """Read the weights of all files of a unit."""
    return {name: weight for path in source.files for name, weight in read_weights(path).items()}


def _adapter(source: ControlSource, dtype: torch.dtype) -> nn.Module:
    weights = _weights(source)
    names = adapter_names(weights)
    weights = {names[name]: weight for name, weight in weights.items()}
    return _filled(source, _of_library("T2IAdapter", source.config), weights, dtype)


def _of_library(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Make a network of diffusers without its weights."""
    cls: Any = find_function(f"diffusers:{name}")
    with torch.device("meta"), without_network():
        network: nn.Module = cls.from_config(dict(config))
    return network


def _with_todays_names(source: ControlSource) -> Weights:
    weights = _weights(source)
    names = todays_names(weights, source.config)
    return {todays: weights[name] for name, todays in names.items()}


def _joined(source: ControlSource, own: Weights, dtype: torch.dtype) -> Weights:
    """Return the weights of a Control-LoRA's network: those of the model's UNet, plus the products of its matrices."""
    unet = read_parts(source.base, {"unet": "diffusers:UNet2DConditionModel"}, {}, dtype)["unet"]
    base: Weights = unet.state_dict()
    made = {
        name: weight for name, weight in base.items() if not name.startswith(("up_blocks.", "conv_out", "conv_norm"))
    }
    for name, weight in own.items():
        stem, _, kind = name.rpartition(".")
        if kind == "up":
            layer = base[f"{stem}.weight"]
            change = weight.float().flatten(1) @ own[f"{stem}.down"].float().flatten(1)
            made[f"{stem}.weight"] = (layer.float() + change.view(layer.shape)).to(layer.dtype)
        elif kind != "down" and name != "lora_controlnet":
            made[name] = weight
    return made


def _filled(source: ControlSource, network: nn.Module, weights: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    """Put weights into a network on "meta". Raises UserError where some are missing or have another shape."""
    given = {name: weight.to(dtype) for name, weight in weights.items()}
    try:
        lacking, _ = network.load_state_dict(given, strict=False, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{source.file}: does not fit {source.base.name} ({reason})") from None
    if lacking:
        raise UserError(
            f"{source.file}: lacks {len(lacking)} weights, among them {lacking[0]}; fetch it again, or use another"
        )
    for name, buffer in network.named_buffers():
        if buffer.is_meta:
            raise UserError(f"{source.file}: lacks {name}; fetch it again, or use another")
    return network
