"""Reading of a model's parts from its files with the classes of diffusers and transformers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch

from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.sampling.sigmas import NoiseSchedule


def read_folder(source: ModelSource, classes: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Load the parts of a diffusers folder by subfolder name, in `dtype`, the autoencoder in float32.

    Raises ValueError for missing weights.
    """
    return {name: _part(source, name, cls, torch.float32 if name == "vae" else dtype) for name, cls in classes.items()}


def read_file(source: ModelSource, pipeline: Any, dtype: torch.dtype, **given: Any) -> dict[str, Any]:
    """Load a single file's parts by the pipeline's component names, in `dtype`, the autoencoder in float32.

    `given` are components that the file does not hold. Raises ValueError for missing weights.
    """
    from diffusers import AutoencoderKL

    path, common = str(source.path), {"config": str(source.config), "local_files_only": True}
    vae = AutoencoderKL.from_single_file(path, subfolder="vae", torch_dtype=torch.float32, **common)
    parts: dict[str, Any] = pipeline.from_single_file(path, torch_dtype=dtype, vae=vae, **common, **given).components
    for name, part in parts.items():
        lacking = [key for key, weight in part.named_parameters() if weight.is_meta] if hasattr(part, "to") else []
        if lacking:
            raise ValueError(f"the {name} lacks {len(lacking)} weights, among them {lacking[0]}")
    return parts


def read_index(source: ModelSource) -> dict[str, Any]:
    """Read the model_index.json of a folder."""
    return _read_config(source, "model_index.json")


def read_schedule(source: ModelSource) -> NoiseSchedule:
    """Read the noise levels and prediction type; `prediction` is "" for a single file whose type is unknown."""
    schedule = NoiseSchedule.from_config(_read_config(source, "scheduler/scheduler_config.json"), source.prediction)
    is_silent = source.kind == "file" and source.prediction is None
    return dataclasses.replace(schedule, prediction="") if is_silent else schedule


def _read_config(source: ModelSource, name: str) -> dict[str, Any]:
    folder = source.config or source.path
    assert folder is not None
    config: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return config


def _part(source: ModelSource, name: str, cls: Any, dtype: torch.dtype) -> Any:
    assert source.path is not None
    if name.startswith("tokenizer"):
        return cls.from_pretrained(source.path / name)
    module, found = cls.from_pretrained(
        source.path,
        subfolder=name,
        torch_dtype=dtype,
        variant=source.variant,
        local_files_only=True,
        output_loading_info=True,
    )
    # The libraries initialise missing weights randomly and continue.
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{name}/ lacks {len(missing)} weights, among them {missing[0]}")
    return module
