"""Loading of a resolved model onto a device in a given precision."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import torch

from deforum.diffusion.autoencoder import skip_silent
from deforum.diffusion.families import FAMILIES, any_of
from deforum.diffusion.families.find import ModelSource, check_folder
from deforum.diffusion.families.model import Model
from deforum.diffusion.families.refined import refined
from deforum.diffusion.families.stable_diffusion import with_precision
from deforum.diffusion.families.tiny import check_likeness, load_tiny
from deforum.diffusion.memory import count_weights
from deforum.errors import UserError
from deforum.models.captured import Captured, CudaRecord, compiler
from deforum.models.catalogue import find_function
from deforum.models.device import choose_device, choose_dtype
from deforum.models.edges import Tiling, wrap_edges
from deforum.models.faster import SMALL
from deforum.models.hub import fetch
from deforum.models.offload import size_of
from deforum.models.room import MODES, Mode, Room, room_of

_MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""torch's modes by the choices of the setting; graphs are recorded by ourselves."""
FRAME = 2**30
"""Bytes that a frame of 512x512 takes beside the weights."""

_log = logging.getLogger(__name__)

Load = Callable[[ModelSource, torch.dtype], Model]
"""A family's loader: reads a folder or single file onto the CPU.

Errors of the libraries about broken files may pass through; `load_model` turns them into a UserError.
"""


def load_model(
    source: ModelSource,
    device: str,
    precision: str,
    *,
    tiling: Tiling = "none",
    memory: str = "auto",
    room: Room | None = None,
    compile: str = "off",
    step_cache: int = 1,
    adapt: Callable[[Model], object] | None = None,
) -> Model:
    """Load a model, see `load_diffuser` for the arguments; raises UserError for damaged or incomplete files.

    `room` is where its modules are placed; None: the one of the device. `adapt` adds what adapters have to the whole
    modules, before they are placed, recorded or packed.
    """
    target = choose_device(device)
    room = room_of(target) if room is None else room
    dtype = choose_dtype(precision, target, FAMILIES[source.family].precision)
    if source.kind == "hub":
        source = replace(
            _fetch(source),
            tiny_vae=source.tiny_vae,
            refiner=source.refiner,
            refiner_switch_at=source.refiner_switch_at,
        )
    if precision == "auto" and target.type == "cpu" and 4 * count_weights(source) <= SMALL:
        dtype = torch.float32  # packed, a small network is as fast as in bf16
    load: Load = find_function(FAMILIES[source.family].load)
    try:
        model = load(source, dtype)
        if source.refiner is not None:
            load_refiner: Load = find_function(FAMILIES[source.refiner.family].load)
            model = refined(model, load_refiner(source.refiner, dtype), source.refiner_switch_at)
    except UserError:
        raise
    except Exception as error:
        # The libraries raise many types for damaged, renamed and mismatched files and configs, NotImplementedError
        # for a weight that is missing in all files.
        is_missing = isinstance(error, NotImplementedError)
        reason = (
            "some weights are missing" if is_missing else " ".join(str(error).split())[:300] or type(error).__name__
        )
        raise UserError(
            f"{source.path}: cannot be loaded ({reason}); expected the weights of a whole {any_of()} model; fetch it "
            f"again, or use another"
        ) from error
    if source.tiny_vae:
        tiny = load_tiny(source.tiny_vae)
        check_likeness(tiny, model.vae)
        model = model.with_autoencoder(with_precision(tiny, dtype))
    else:
        skip_silent(*model.vae.encoder.down_blocks, model.vae.encoder.mid_block)
    if tiling != "none" and FAMILIES[source.family].network == "transformer":
        _log.warning("tiling: a transformer sees where the edges are; pictures of %s may not tile", source.name)
    if adapt is not None:
        adapt(model)
    for module in (*model.networks, model.vae):
        module.to(memory_format=torch.channels_last)
        wrap_edges(module, tiling)
    for module in (*model.networks, model.vae, *model.text.modules):
        module.eval().requires_grad_(False)
    _place(model, room, memory)
    model = faster(model.settled(source.name), room, compile=compile, step_cache=step_cache)
    if model.schedule.trailing:
        _log.warning(
            "%s is made for trailing timesteps: samplers without a scheduler in their name run on SGM Uniform",
            source.name,
        )
    return model


def _place(model: Model, room: Room, memory: str) -> None:
    """Place a model's modules, with memory `auto` all on the device if there is room for them and a frame."""
    weights = sum(map(size_of, (*model.networks, *model.text.modules, model.vae)))
    free = room.free() if room.moves else 0
    auto: Mode = "full" if not free or free >= weights + FRAME else "low"
    room.arrange(next((mode for mode in MODES if mode == memory), auto))
    for module in model.networks:
        room.adopt(module, streams=True)
    for module in model.text.modules:
        room.adopt(module)  # some of their layers read others' weights, which must be there at once
    # `encode` and `decode` are no `forward`, on which hooks are: the autoencoder is placed by its parts.
    for name, part in model.vae.named_children():
        if name in ("encoder", "decoder"):
            room.adopt(part)
        else:
            part.to(room.device)
    if room.moves:
        model.vae.__dict__["computes_on"] = room.device


def faster(model: Model, room: Room, *, compile: str = "off", step_cache: int = 1) -> Model:
    """Record networks as CUDA graphs on a graphics card, and compile them where that is wanted.

    The model's autoencoder and UNet are changed. Raises UserError where steps cannot be cached.
    """
    record = CudaRecord() if room.device.type == "cuda" else None
    compiles = None if compile == "off" else compiler(_MODES[compile])
    if record is None and compiles is None and step_cache == 1:
        return model
    stays = room.mode == "full"
    if compiles is not None:
        told = "the first frames of each size take minutes"
        told += ", in which variants of each operation are measured" if compile == "max-autotune" else ""
        _log.warning("compile: %s", told if stays else f"it has no effect with memory: {room.mode}")

    def fast(network: torch.nn.Module, name: str) -> torch.nn.Module:
        if not stays or (record is None and compiles is None):
            return network
        made = Captured(network, name, record=record, compile=compiles)
        room.register(made)
        room.wrap(made)
        return made

    for part in ("encoder", "decoder"):
        setattr(model.vae, part, fast(getattr(model.vae, part), f"the {part}"))
    try:
        return model.wrapped(lambda network: fast(network, f"the {model.network_name}"), step_cache=step_cache)
    except ValueError as error:
        raise UserError(f"step_cache: {error}; set it to 1") from None


def _fetch(source: ModelSource) -> ModelSource:
    """Download a hub model into the hub library's cache and check it; raises UserError where that fails."""
    from diffusers import DiffusionPipeline

    folder = fetch(source.name, lambda: str(DiffusionPipeline.download(source.name)))
    return check_folder(source.name, folder, source.prediction)
