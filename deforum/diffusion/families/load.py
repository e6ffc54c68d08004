"""Loading of a resolved model onto a device in a given precision."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from deforum.diffusion.autoencoder import skip_silent
from deforum.diffusion.families import FAMILIES, any_of
from deforum.diffusion.families.find import ModelSource, check_folder
from deforum.diffusion.families.model import Model
from deforum.diffusion.memory import count_weights
from deforum.errors import UserError
from deforum.models.catalogue import find_function
from deforum.models.device import choose_device, choose_dtype
from deforum.models.faster import SMALL
from deforum.models.hub import fetch

_log = logging.getLogger(__name__)

Load = Callable[[ModelSource, torch.dtype], Model]
"""A family's loader: reads a folder or single file onto the CPU.

Errors of the libraries about broken files may pass through; `load_model` turns them into a UserError.
"""


def load_model(source: ModelSource, device: str, precision: str, *, tiling: bool = False) -> Model:
    """Load a model, see `load_diffuser` for the arguments; raises UserError for damaged or incomplete files."""
    target = choose_device(device)
    dtype = choose_dtype(precision, target)
    if source.kind == "hub":
        source = _fetch(source)
    if precision == "auto" and target.type == "cpu" and 4 * count_weights(source) <= SMALL:
        dtype = torch.float32  # packed, a small network is as fast as in bf16
    load: Load = find_function(FAMILIES[source.family].load)
    try:
        model = load(source, dtype)
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
    skip_silent(*model.vae.encoder.down_blocks, model.vae.encoder.mid_block)
    for module in (*model.networks, model.vae):
        module.to(target, memory_format=torch.channels_last)
        if tiling:
            _wrap_edges(module)
    for module in (*model.networks, model.vae, *model.text.modules):
        module.to(target).eval().requires_grad_(False)
    model = model.settled(source.name)
    if model.schedule.trailing:
        _log.warning(
            "%s is made for trailing timesteps: samplers without a scheduler in their name run on SGM Uniform",
            source.name,
        )
    return model


def _fetch(source: ModelSource) -> ModelSource:
    """Download a hub model into the hub library's cache and check it; raises UserError where that fails."""
    from diffusers import DiffusionPipeline

    folder = fetch(source.name, lambda: str(DiffusionPipeline.download(source.name)))
    return check_folder(source.name, folder, source.prediction)


def _wrap_edges(module: torch.nn.Module) -> None:
    """Give all convolutions circular padding, so that pictures tile."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.padding_mode = "circular"
