"""Reading of a model's parts from its files: with our own networks, or the classes of diffusers and transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from deforum.diffusion.families import FAMILIES, single_file
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.diffusion.networks import read_part
from deforum.diffusion.sampling.flow import read_schedule
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.models.catalogue import find_function
from deforum.models.config import read_config
from deforum.models.hub import without_network


@dataclass(frozen=True, eq=False)
class Parts:
    """A model's parts by the names of a diffusers folder, and its noise levels."""

    modules: Mapping[str, Any]
    schedule: NoiseSchedule
    """Its `prediction` is "" for a single file whose type is unknown."""

    def __getitem__(self, name: str) -> Any:
        return self.modules[name]

    def __contains__(self, name: str) -> bool:
        return name in self.modules


def read_parts(source: ModelSource, classes: Mapping[str, str], pads: Mapping[str, str], dtype: torch.dtype) -> Parts:
    """Load a folder or a single file: networks and text encoders in `dtype`, the autoencoder in float32.

    `classes` names the library's class of each part, package:class. The libraries are imported only for single files,
    and for parts of a folder that `networks.read_part` leaves to them. `pads` has the padding tokens of the tokenizers,
    which single files do not hold. Raises ValueError for missing weights, and the libraries' errors for broken files.
    """
    if source.kind == "file":
        with _quiet(), without_network():
            return _read_file(source, classes, pads, dtype)
    assert source.path is not None
    absent = {part for part in FAMILIES[source.family].optional if not (source.path / part).is_dir()}
    absent |= {part.replace("text_encoder", "tokenizer") for part in absent}
    modules = {
        name: _part(source, name, cls, torch.float32 if name == "vae" else dtype)
        for name, cls in classes.items()
        if name not in absent
    }
    config = read_config(source.path / "scheduler" / "scheduler_config.json")
    return Parts(modules, read_schedule(config, source.prediction, FAMILIES[source.family].spacing))


def _read_file(source: ModelSource, classes: Mapping[str, str], pads: Mapping[str, str], dtype: torch.dtype) -> Parts:
    assert source.path is not None and source.config is not None
    weights, config = single_file.read_file(source.path, dtype), source.config
    modules: dict[str, Any] = {name: clip_tokenizer(pad) for name, pad in pads.items()}
    for name, path in classes.items():
        cls = find_function(path)
        if name == "vae":
            modules[name] = single_file.build_autoencoder(cls, weights, config)
        elif name.startswith("text_encoder"):
            modules[name] = single_file.build_text_encoder(cls, weights, config, name, dtype)
        elif not name.startswith("tokenizer"):
            modules[name] = single_file.build_network(cls, weights, config, dtype)
    for name, part in modules.items():
        lacking = [key for key, weight in part.named_parameters() if weight.is_meta] if name not in pads else []
        if lacking:
            raise ValueError(f"the {name} lacks {len(lacking)} weights, among them {lacking[0]}")
    usual = read_config(config / "scheduler" / "scheduler_config.json")
    described = single_file.read_scheduler(weights, usual, zero_snr=source.zero_snr)
    schedule = NoiseSchedule.from_config(described, source.prediction)
    return Parts(modules, dataclasses.replace(schedule, prediction=source.prediction or ""))


def read_index(source: ModelSource) -> dict[str, Any]:
    """Read the model_index.json of a folder; empty for a single file."""
    return {} if source.kind == "file" or source.path is None else read_config(source.path / "model_index.json")


def _part(source: ModelSource, name: str, cls: str, dtype: torch.dtype) -> Any:
    assert source.path is not None
    variant = "fp16" if name in source.fp16_parts else None
    made = read_part(source.path / name, cls.split(":")[1], dtype, variant)
    if made is not None:
        return made
    with _quiet(), without_network():
        return _library_part(source, name, find_function(cls), dtype)


def _library_part(source: ModelSource, name: str, cls: Any, dtype: torch.dtype) -> Any:
    assert source.path is not None
    if name.startswith("tokenizer"):
        return cls.from_pretrained(source.path / name)
    module, found = cls.from_pretrained(
        source.path,
        subfolder=name,
        torch_dtype=dtype,
        variant="fp16" if name in source.fp16_parts else None,
        local_files_only=True,
        output_loading_info=True,
    )
    # The libraries initialise missing weights randomly and continue.
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{name}/ lacks {len(missing)} weights, among them {missing[0]}")
    return module


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
