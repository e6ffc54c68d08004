"""Reading of a model's parts from its files: with our own networks, or the classes of diffusers and transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deforum.diffusion.families import FAMILIES, single_file
from deforum.diffusion.families.find import CONFIGS, ModelSource
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.diffusion.networks import read_part
from deforum.diffusion.sampling.flow import read_schedule
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.errors import UserError
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
    given = {**dict(source.text_encoders), **({} if source.vae is None else {"vae": source.vae})}
    modules = {
        name: _part(source, name, cls, torch.float32 if name == "vae" else dtype)
        for name, cls in classes.items()
        if name not in absent and name not in given
    }
    modules |= {name: _part_apart(source, name, path, classes[name], dtype) for name, path in given.items()}
    config = read_config(source.path / "scheduler" / "scheduler_config.json")
    return Parts(modules, read_schedule(config, source.prediction, FAMILIES[source.family].spacing))


def _read_file(source: ModelSource, classes: Mapping[str, str], pads: Mapping[str, str], dtype: torch.dtype) -> Parts:
    assert source.path is not None and source.config is not None
    family, config = FAMILIES[source.family], source.config
    weights = single_file.read_file(source.path, dtype)
    apart = {**dict(source.text_encoders), **({} if source.vae is None else {"vae": source.vae})}
    modules: dict[str, Any] = {}
    for name, path in classes.items():
        if name.startswith("tokenizer"):
            continue
        if name in apart:
            modules[name] = _part_apart(source, name, apart[name], path, dtype)
        elif name in family.optional and not single_file.has_encoder(weights, family.slots[name]):
            continue
        elif name == "vae":
            modules[name] = single_file.build_autoencoder(find_function(path), weights, config)
        elif name in family.slots:
            modules[name] = single_file.build_encoder(
                find_function(path), weights, config, name, family.slots[name], dtype
            )
        elif name.startswith("text_encoder"):
            modules[name] = single_file.build_text_encoder(find_function(path), weights, config, name, dtype)
        elif family.spacing is not None:
            modules[name] = single_file.build_transformer(find_function(path), weights, config, family.name, dtype)
        else:
            modules[name] = single_file.build_network(find_function(path), weights, config, dtype)
    for name, part in modules.items():
        lacking = [key for key, weight in part.named_parameters() if weight.is_meta]
        if lacking:
            raise ValueError(f"the {name} lacks {len(lacking)} weights, among them {lacking[0]}")
    for name, path in classes.items():
        encoder = name.replace("tokenizer", "text_encoder")
        if name.startswith("tokenizer") and encoder in modules:
            modules[name] = (
                clip_tokenizer(pads[name])
                if name in pads
                else single_file.tokenizer_of(family.slots[encoder], apart.get(encoder), find_function(path))
            )
    usual = read_config(config / "scheduler" / "scheduler_config.json")
    if family.spacing is not None:
        network = modules[family.network].config
        has_guidance = getattr(network, "guidance_embeds", None)
        return Parts(modules, read_schedule(single_file.flow_scheduler(usual, has_guidance), None, family.spacing))
    described = single_file.read_scheduler(weights, usual, zero_snr=source.zero_snr)
    schedule = NoiseSchedule.from_config(described, source.prediction)
    return Parts(modules, dataclasses.replace(schedule, prediction=source.prediction or ""))


def _part_apart(source: ModelSource, name: str, path: Path, cls: str, dtype: torch.dtype) -> Any:
    """Load a part from a file or folder of its own; the model's or its family's configuration describes it."""
    with _quiet(), without_network():
        config = (CONFIGS / source.family) if source.config is None else source.config
        if source.path is not None and source.path.is_dir():
            config = source.path
        if name == "vae" and path.is_dir():
            part = find_function(cls).from_pretrained(path, torch_dtype=torch.float32, local_files_only=True)
        elif name == "vae":
            weights = single_file.under(path, "first_stage_model.", torch.float32)
            part = single_file.build_autoencoder(find_function(cls), weights, config)
        else:
            slot = FAMILIES[source.family].slots[name]
            weights = single_file.under(path, f"text_encoders.{slot}.transformer.", dtype)
            part = single_file.build_encoder(find_function(cls), weights, config, name, slot, dtype)
    lacking = [key for key, weight in part.named_parameters() if weight.is_meta]
    if lacking:
        raise UserError(f"{path}: lacks {len(lacking)} weights of the {name}, among them {lacking[0]}")
    return part


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
