"""The layouts of transformers' single files: their configuration from shapes, and today's names of their weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from deforum.models.catalogue import find_function

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
Weights = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Layout:
    """How a family's network is stored in its original code's files, without a prefix."""

    describe: Callable[[Shapes], dict[str, Any]]
    """Returns the values of the configuration that its shapes tell."""
    convert: Callable[[Weights], Weights]
    """Returns the weights by the names of diffusers' class."""


def _count(shapes: Iterable[str], name: str) -> int:
    """Return the number of blocks of a name, such as "joint_blocks" of joint_blocks.0., joint_blocks.1., ..."""
    found = re.compile(rf"{name}\.(\d+)\.")
    return 1 + max((int(match[1]) for key in shapes if (match := found.match(key))), default=-1)


def _by_diffusers(name: str, weights: Weights) -> Weights:
    """Convert weights by diffusers' own function convert_NAME, which empties what it is given."""
    made: Weights = dict(find_function(f"diffusers.loaders.single_file_utils:convert_{name}")(dict(weights)))
    return made


# --- Stable Diffusion 3 -----------------------------------------------------------------------------------------------


def _describe_sd3(shapes: Shapes) -> dict[str, Any]:
    width, channels, patch, _ = shapes["x_embedder.proj.weight"]
    layers, normed = _count(shapes, "joint_blocks"), shapes.get("joint_blocks.0.x_block.attn.ln_q.weight")
    head = normed[0] if normed else 64
    return {
        "in_channels": channels,
        "out_channels": channels,
        "patch_size": patch,
        "num_layers": layers,
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "caption_projection_dim": width,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": isqrt(shapes["pos_embed"][1]),
        "qk_norm": "rms_norm" if normed else None,
        "dual_attention_layers": [
            layer for layer in range(layers) if f"joint_blocks.{layer}.x_block.attn2.qkv.weight" in shapes
        ],
    }


def _convert_sd3(weights: Weights) -> Weights:
    return _by_diffusers("sd3_transformer_checkpoint_to_diffusers", weights)


# --- Flux -------------------------------------------------------------------------------------------------------------


def _describe_flux(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["img_in.weight"]
    norm = "double_blocks.0.img_attn.norm.query_norm"
    head = shapes.get(f"{norm}.scale", shapes.get(f"{norm}.weight", (128,)))[0]
    return {
        "in_channels": channels,
        "num_layers": _count(shapes, "double_blocks"),
        "num_single_layers": _count(shapes, "single_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
    }


_FLUX_NAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^time_in\.in_layer", "time_text_embed.timestep_embedder.linear_1"),
        (r"^time_in\.out_layer", "time_text_embed.timestep_embedder.linear_2"),
        (r"^vector_in\.in_layer", "time_text_embed.text_embedder.linear_1"),
        (r"^vector_in\.out_layer", "time_text_embed.text_embedder.linear_2"),
        (r"^guidance_in\.in_layer", "time_text_embed.guidance_embedder.linear_1"),
        (r"^guidance_in\.out_layer", "time_text_embed.guidance_embedder.linear_2"),
        (r"^txt_in", "context_embedder"),
        (r"^img_in", "x_embedder"),
        (r"^final_layer\.linear", "proj_out"),
        (r"^final_layer\.adaLN_modulation\.1", "norm_out.linear"),
        (r"^double_blocks\.", "transformer_blocks."),
        (r"^single_blocks\.", "single_transformer_blocks."),
        (r"\.img_mod\.lin\.", ".norm1.linear."),
        (r"\.txt_mod\.lin\.", ".norm1_context.linear."),
        (r"\.modulation\.lin\.", ".norm.linear."),
        (r"\.img_attn\.norm\.query_norm\.(scale|weight)$", ".attn.norm_q.weight"),
        (r"\.img_attn\.norm\.key_norm\.(scale|weight)$", ".attn.norm_k.weight"),
        (r"\.txt_attn\.norm\.query_norm\.(scale|weight)$", ".attn.norm_added_q.weight"),
        (r"\.txt_attn\.norm\.key_norm\.(scale|weight)$", ".attn.norm_added_k.weight"),
        (r"\.norm\.query_norm\.(scale|weight)$", ".attn.norm_q.weight"),
        (r"\.norm\.key_norm\.(scale|weight)$", ".attn.norm_k.weight"),
        (r"\.img_attn\.proj\.", ".attn.to_out.0."),
        (r"\.txt_attn\.proj\.", ".attn.to_add_out."),
        (r"\.img_mlp\.0\.", ".ff.net.0.proj."),
        (r"\.img_mlp\.2\.", ".ff.net.2."),
        (r"\.txt_mlp\.0\.", ".ff_context.net.0.proj."),
        (r"\.txt_mlp\.2\.", ".ff_context.net.2."),
        (r"\.linear2\.", ".proj_out."),
    )
)


def _convert_flux(weights: Weights) -> Weights:
    import torch

    made: Weights = {}
    width = weights["img_in.weight"].shape[0]
    for key, weight in weights.items():
        name = key
        for pattern, replacement in _FLUX_NAMES:
            name = pattern.sub(replacement, name)
        if name.startswith("norm_out.linear."):
            shift, scale = weight.chunk(2)  # theirs come in the other order
            made[name] = torch.cat([scale, shift])
        elif match := re.search(r"\.(img_attn|txt_attn)\.qkv\.", name):
            parts = ("to_q", "to_k", "to_v") if match[1] == "img_attn" else ("add_q_proj", "add_k_proj", "add_v_proj")
            made |= {name.replace(match[0], f".attn.{part}."): each for part, each in _split(parts, weight, width)}
        elif ".linear1." in name:
            inner = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
            made |= {name.replace("linear1", part): each for part, each in _split(inner, weight, width)}
        else:
            made[name] = weight
    return made


def _split(names: tuple[str, ...], weight: torch.Tensor, width: int) -> list[tuple[str, torch.Tensor]]:
    """Split the rows of a weight into parts of `width` rows, the last one with the rest."""
    import torch

    rows = [width] * (len(names) - 1)
    return list(zip(names, torch.split(weight, [*rows, weight.shape[0] - sum(rows)]), strict=True))


# --- Z-Image and Lumina 2 ---------------------------------------------------------------------------------------------


def _describe_z_image(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["x_embedder.weight"]
    head = shapes["layers.0.attention.q_norm.weight"][0]
    return {
        "in_channels": channels // 4,
        "dim": width,
        "n_layers": _count(shapes, "layers"),
        "n_refiner_layers": _count(shapes, "noise_refiner"),
        "n_heads": width // head,
        "n_kv_heads": width // head,
        "cap_feat_dim": shapes["cap_embedder.1.weight"][1],
    }


def _convert_z_image(weights: Weights) -> Weights:
    return _by_diffusers("z_image_transformer_checkpoint_to_diffusers", weights)


def _describe_lumina(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["x_embedder.weight"]
    head = shapes["layers.0.attention.q_norm.weight"][0]
    shared = (shapes["layers.0.attention.qkv.weight"][0] - width) // 2
    return {
        "in_channels": channels // 4,
        "hidden_size": width,
        "num_layers": _count(shapes, "layers"),
        "num_refiner_layers": _count(shapes, "noise_refiner"),
        "num_attention_heads": width // head,
        "num_kv_heads": shared // head,
        "cap_feat_dim": shapes["cap_embedder.1.weight"][1],
    }


def _convert_lumina(weights: Weights) -> Weights:
    import torch

    width = weights["x_embedder.weight"].shape[0]
    parted: Weights = {}
    for name, weight in weights.items():
        if ".qkv." in name:  # they split it by the sizes of the published model
            shared = (weight.shape[0] - width) // 2
            parts = torch.split(weight, [width, shared, shared])
            parted |= {name.replace("qkv", f"to_{part}"): each for part, each in zip("qkv", parts, strict=True)}
        else:
            parted[name] = weight
    return _by_diffusers("lumina2_to_diffusers", parted)


LAYOUTS: Mapping[str, Layout] = {
    "stable_diffusion_3": Layout(_describe_sd3, _convert_sd3),
    "flux": Layout(_describe_flux, _convert_flux),
    "z_image": Layout(_describe_z_image, _convert_z_image),
    "lumina_2": Layout(_describe_lumina, _convert_lumina),
}
"""By family."""
