"""Parts of a model from a single file, whose weights have the names of the original training code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deforum.diffusion.families.checkpoint import EDM_MARKS, EDM_V_MARKS
from deforum.errors import UserError
from deforum.models.config import read_config
from deforum.models.weights import read_weights

Tensor = torch.Tensor

_TEXT = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
_GUIDANCE = "time_embed.cond_proj.weight"
"""Weight of the UNet that takes the guidance scale, in latent consistency models (Luo et al., arXiv 2310.04378)."""
_SCALES = (".scale_weight", ".weight_scale")
"""Names of the factors of weights in 8 bits."""


def read_file(path: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Read a single file's weights by today's names, scaled weights multiplied out to `dtype`. Raises UserError."""
    weights = {_todays(name): weight for name, weight in read_weights(path).items()}
    for name in [name for name in weights if name.endswith(_SCALES)]:
        scaled = f"{name.rpartition('.')[0]}.weight"
        if scaled in weights:
            weights[scaled] = _multiplied(path, scaled, weights[scaled], weights[name], dtype)
    return weights


def read_scheduler(weights: Mapping[str, Tensor], config: Mapping[str, Any], *, zero_snr: bool) -> dict[str, Any]:
    """Return the scheduler config of a single file: the family's, or EDM's levels where its tensors say so."""
    if set(EDM_V_MARKS) <= weights.keys():
        low, high = (float(weights[name]) for name in EDM_V_MARKS)
        edm = {"sigma_min": low, "sigma_max": high, "sigma_data": 1.0, "prediction_type": "v_prediction"}
        return {"_class_name": "EDMEulerScheduler", **edm}
    if set(EDM_MARKS) <= weights.keys():
        return {"_class_name": "EDMEulerScheduler"}  # with Playground's levels, which are diffusers' defaults
    return {**config, "rescale_betas_zero_snr": zero_snr}


def build_network(cls: Any, weights: Mapping[str, Tensor], config: Path, dtype: torch.dtype) -> Any:
    """Build the UNet. Raises ValueError or RuntimeError for weights that do not fit the config."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    described = read_config(config / "unet" / "config.json")
    guidance = weights.get(f"model.diffusion_model.{_GUIDANCE}")
    if guidance is not None:
        described["time_cond_proj_dim"] = guidance.shape[1]
    convert: Any = convert_ldm_unet_checkpoint
    given = convert(dict(weights), described)
    if guidance is not None:
        given["time_embedding.cond_proj.weight"] = guidance
    return _filled(cls, described, given, dtype)


def build_autoencoder(cls: Any, weights: Mapping[str, Tensor], config: Path) -> Any:
    """Build the autoencoder in float32, with the mean and deviation of its latents where the file has them.

    Raises as `build_network`.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    described = read_config(config / "vae" / "config.json")
    if set(EDM_MARKS) <= weights.keys():
        mean, deviation = (weights[name].float().flatten().tolist() for name in EDM_MARKS)
        described |= {"latents_mean": mean, "latents_std": deviation, "scaling_factor": 0.5}  # of Playground 2.5
    convert: Any = convert_ldm_vae_checkpoint
    return _filled(cls, described, convert(dict(weights), described), torch.float32)


def _filled(cls: Any, config: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Build a diffusers network around given weights; those that are missing stay without memory, on "meta"."""
    with torch.device("meta"):
        network = cls.from_config(dict(config))
    network.load_state_dict(dict(weights), strict=False, assign=True)
    for weight in network.parameters():
        if not weight.is_meta:
            weight.data = weight.data.to(dtype)
    return network


def build_text_encoder(cls: Any, weights: Mapping[str, Tensor], config: Path, part: str, dtype: torch.dtype) -> Any:
    """Build a text encoder, a transformers class."""
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    common: Any = {"config": str(config), "subfolder": part, "local_files_only": True}
    create: Any = create_diffusers_clip_model_from_ldm
    return create(cls, dict(weights), torch_dtype=dtype, **common)


def _todays(name: str) -> str:
    """Return the present name of a weight: early files have the text encoder's without "text_model."."""
    for prefix in _TEXT:
        rest = name.removeprefix(prefix)
        if rest != name and rest.startswith(("embeddings.", "encoder.", "final_layer_norm.")):
            return f"{prefix}text_model.{rest}"
    return name


def _multiplied(path: Path, name: str, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Multiply a weight by its scale, one number or one for each output channel."""
    if scale.numel() not in (1, weight.shape[0]):
        raise UserError(f"{path}: {name} has {scale.numel()} scales; expected 1, or {weight.shape[0]}")
    factor = scale.float().view(-1, *[1] * (weight.ndim - 1))
    return (weight.float() * factor).to(dtype)
