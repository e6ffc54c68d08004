"""Parts of a model from a single file, whose weights have the names of the original training code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deforum.diffusion.families.checkpoint import EDM_MARKS, EDM_V_MARKS, today_names
from deforum.diffusion.families.layouts import LAYOUTS
from deforum.diffusion.families.vocabulary import gemma_tokenizer, qwen_tokenizer, t5_tokenizer
from deforum.errors import UserError
from deforum.models.config import read_config
from deforum.models.weights import read_weights

Tensor = torch.Tensor

_TEXT = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
_GUIDANCE = "time_embed.cond_proj.weight"
"""Weight of the UNet that takes the guidance scale, in latent consistency models (Luo et al., arXiv 2310.04378)."""
_NETWORK, _AUTOENCODER = "model.diffusion_model.", "first_stage_model."
_BESIDE = (
    ".scale_weight",
    ".weight_scale",
    ".scale_input",
    ".input_scale",
    "scaled_fp8",
    "logit_scale",
    "spiece_model",
)
"""Ends of the names of what is no weight of a network."""
_SCALES = (".scale_weight", ".weight_scale")
"""Names of the factors of weights in 8 bits."""


def read_file(path: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Read a single file's weights by today's names, scaled weights multiplied out to `dtype`. Raises UserError."""
    read = read_weights(path)
    names = today_names(read)
    weights = {_todays(names[name]): weight for name, weight in read.items()}
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
    todays = {name.removeprefix(_AUTOENCODER): each for name, each in weights.items() if name.startswith(_AUTOENCODER)}
    if any(name.startswith("decoder.up_blocks.") for name in todays):  # a file of diffusers' own
        return _filled(cls, described, todays, torch.float32)
    convert: Any = convert_ldm_vae_checkpoint
    return _filled(cls, described, convert(dict(weights), described), torch.float32)


def _filled(cls: Any, config: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Build a diffusers network around given weights; those that are missing stay without memory, on "meta"."""
    from accelerate import init_empty_weights
    from diffusers.models.modeling_utils import no_init_weights

    # Tensors that are no weights, such as tables of places, are computed.
    with no_init_weights(), init_empty_weights():
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


def under(path: Path, prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Read the weights of one part from a file, or from the files in a folder, by the names of a checkpoint."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    found: dict[str, Tensor] = {}
    for file in files:
        found |= {
            name if name.startswith(prefix) else prefix + name: each for name, each in read_file(file, dtype).items()
        }
    return found


def build_transformer(cls: Any, weights: Mapping[str, Tensor], config: Path, family: str, dtype: torch.dtype) -> Any:
    """Build the transformer of a family in `LAYOUTS`, as large as its weights say. Raises as `build_network`."""
    layout = LAYOUTS[family]
    given = {name.removeprefix(_NETWORK): weight for name, weight in weights.items() if name.startswith(_NETWORK)}
    given = {name: weight for name, weight in given.items() if not name.endswith(_BESIDE)}
    described = read_config(config / "transformer" / "config.json")
    described |= layout.describe({name: tuple(weight.shape) for name, weight in given.items()})
    return _filled(cls, described, layout.convert(given), dtype)


def has_encoder(weights: Mapping[str, Tensor], slot: str) -> bool:
    """Whether a checkpoint holds a text encoder of a slot."""
    return any(name.startswith(f"text_encoders.{slot}.") for name in weights)


def build_encoder(
    cls: Any, weights: Mapping[str, Tensor], config: Path, part: str, slot: str, dtype: torch.dtype
) -> Any:
    """Build a text encoder of a slot, a transformers class; raises ValueError where weights are missing."""
    prefix = f"text_encoders.{slot}.transformer."
    given = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
    given = {name: each for name, each in given.items() if not name.endswith((*_BESIDE, "position_ids"))}
    described = cls.config_class.from_pretrained(config / part, local_files_only=True)
    if "Projection" in cls.__name__:
        given.setdefault("text_projection.weight", torch.eye(described.projection_dim, described.hidden_size))
    else:
        given.pop("text_projection.weight", None)
    made, found = cls.from_pretrained(
        None, config=described, state_dict=given, dtype=dtype, output_loading_info=True, local_files_only=True
    )
    missing = sorted(found["missing_keys"])
    if missing or found["mismatched_keys"]:
        named = missing[0] if missing else str(sorted(found["mismatched_keys"])[0])
        raise ValueError(f"the {part} lacks {len(missing)} weights or has others, among them {named[:200]}")
    return made


def tokenizer_of(slot: str, path: Path | None, cls: Any) -> Any:
    """Return the tokenizer of a slot's text encoder. Raises UserError where it neither ships nor lies beside `path`."""
    if slot == "t5xxl":
        return t5_tokenizer()
    if slot == "qwen3_4b":
        return qwen_tokenizer()
    folder = None if path is None else path if path.is_dir() else path.parent
    places = [] if folder is None else [folder, folder / "tokenizer", folder.parent / "tokenizer"]
    found = next((place / "tokenizer.json" for place in places if (place / "tokenizer.json").is_file()), None)
    if found is None:
        raise UserError(
            f"text_encoder: {path or 'the model file'}: its tokenizer is missing; put the tokenizer.json of Gemma 2 "
            f"beside the text encoder's file, or give the model as a diffusers folder"
        )
    return gemma_tokenizer(found)


def flow_scheduler(config: Mapping[str, Any], has_guidance: bool | None) -> dict[str, Any]:
    """Return the scheduler of a transformer's file: the family's; a Flux without guidance, schnell, has no shift."""
    return {**config, "shift": 1.0, "use_dynamic_shifting": False} if has_guidance is False else dict(config)


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
