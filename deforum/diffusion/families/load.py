"""Loading of a resolved model onto a device in a given precision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from deforum.diffusion.autoencoder import skip_silent
from deforum.diffusion.families import FAMILIES, any_of
from deforum.diffusion.families.find import ModelSource, check_folder
from deforum.diffusion.families.model import Model
from deforum.errors import UserError
from deforum.models.catalogue import find_function
from deforum.models.device import choose_device, choose_dtype
from deforum.models.hub import fetch, without_network

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
    load: Load = find_function(FAMILIES[source.family].load)
    try:
        with _quiet(), without_network():
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the progress bars and warnings of diffusers and transformers."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    libraries = (of_diffusers, of_transformers)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (level, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()


def _wrap_edges(module: torch.nn.Module) -> None:
    """Give all convolutions circular padding, so that pictures tile."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.padding_mode = "circular"
