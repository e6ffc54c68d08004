"""Transformers' weights by the names of their original training code, from those of diffusers' classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

Weights = dict[str, torch.Tensor]

_SD3 = (
    (r"^pos_embed\.pos_embed$", "pos_embed"), (r"^pos_embed\.proj\.", "x_embedder.proj."),
    (r"^time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
    (r"^time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
    (r"^proj_out\.", "final_layer.linear."), (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^transformer_blocks\.(\d+)\.", r"joint_blocks.\1."),
    (r"\.norm1\.linear\.", ".x_block.adaLN_modulation.1."),
    (r"\.norm1_context\.linear\.", ".context_block.adaLN_modulation.1."),
    (r"\.attn\.norm_q\.", ".x_block.attn.ln_q."), (r"\.attn\.norm_k\.", ".x_block.attn.ln_k."),
    (r"\.attn2\.norm_q\.", ".x_block.attn2.ln_q."), (r"\.attn2\.norm_k\.", ".x_block.attn2.ln_k."),
    (r"\.attn\.norm_added_q\.", ".context_block.attn.ln_q."),
    (r"\.attn\.norm_added_k\.", ".context_block.attn.ln_k."),
    (r"\.attn\.to_out\.0\.", ".x_block.attn.proj."), (r"\.attn2\.to_out\.0\.", ".x_block.attn2.proj."),
    (r"\.attn\.to_add_out\.", ".context_block.attn.proj."),
    (r"\.ff\.net\.0\.proj\.", ".x_block.mlp.fc1."), (r"\.ff\.net\.2\.", ".x_block.mlp.fc2."),
    (r"\.ff_context\.net\.0\.proj\.", ".context_block.mlp.fc1."),
    (r"\.ff_context\.net\.2\.", ".context_block.mlp.fc2."),
)  # fmt: skip
_FLUX = (
    (r"^time_text_embed\.timestep_embedder\.linear_1", "time_in.in_layer"),
    (r"^time_text_embed\.timestep_embedder\.linear_2", "time_in.out_layer"),
    (r"^time_text_embed\.text_embedder\.linear_1", "vector_in.in_layer"),
    (r"^time_text_embed\.text_embedder\.linear_2", "vector_in.out_layer"),
    (r"^time_text_embed\.guidance_embedder\.linear_1", "guidance_in.in_layer"),
    (r"^time_text_embed\.guidance_embedder\.linear_2", "guidance_in.out_layer"),
    (r"^context_embedder\.", "txt_in."), (r"^x_embedder\.", "img_in."), (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^single_transformer_blocks\.(\d+)\.norm\.linear\.", r"single_blocks.\1.modulation.lin."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.proj_out\.", r"single_blocks.\1.linear2."),
    (r"^transformer_blocks\.(\d+)\.", r"double_blocks.\1."),
    (r"\.norm1\.linear\.", ".img_mod.lin."), (r"\.norm1_context\.linear\.", ".txt_mod.lin."),
    (r"\.attn\.norm_q\.weight", ".img_attn.norm.query_norm.scale"),
    (r"\.attn\.norm_k\.weight", ".img_attn.norm.key_norm.scale"),
    (r"\.attn\.norm_added_q\.weight", ".txt_attn.norm.query_norm.scale"),
    (r"\.attn\.norm_added_k\.weight", ".txt_attn.norm.key_norm.scale"),
    (r"\.attn\.to_out\.0\.", ".img_attn.proj."), (r"\.attn\.to_add_out\.", ".txt_attn.proj."),
    (r"\.ff\.net\.0\.proj\.", ".img_mlp.0."), (r"\.ff\.net\.2\.", ".img_mlp.2."),
    (r"\.ff_context\.net\.0\.proj\.", ".txt_mlp.0."), (r"\.ff_context\.net\.2\.", ".txt_mlp.2."),
)  # fmt: skip
_Z_IMAGE = (
    (r"^all_final_layer\.2-1\.", "final_layer."), (r"^all_x_embedder\.2-1\.", "x_embedder."),
    (r"\.attention\.to_out\.0\.", ".attention.out."), (r"\.attention\.norm_([qk])\.", r".attention.\1_norm."),
)  # fmt: skip
_LUMINA = (
    (r"^time_caption_embed\.caption_embedder\.", "cap_embedder."),
    (r"^time_caption_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_caption_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^norm_out\.linear_1", "final_layer.adaLN_modulation.1"), (r"^norm_out\.linear_2", "final_layer.linear"),
    (r"\.norm1\.linear\.", ".adaLN_modulation.1."), (r"\.norm1\.norm\.", ".attention_norm1."),
    (r"^(context_refiner\.\d+)\.norm1\.", r"\1.attention_norm1."), (r"\.norm2\.", ".attention_norm2."),
    (r"\.attn\.to_out\.0\.", ".attention.out."), (r"\.attn\.norm_([qk])\.", r".attention.\1_norm."),
    (r"\.feed_forward\.linear_(\d)", r".feed_forward.w\1"),
)  # fmt: skip
_NAMES = {"stable_diffusion_3": _SD3, "flux": _FLUX, "z_image": _Z_IMAGE, "lumina_2": _LUMINA}

_QKV = {
    "stable_diffusion_3": (
        (r"^transformer_blocks\.(\d+)\.(attn2?)\.to_q\.", r"joint_blocks.\1.x_block.\2.qkv.", "to_k to_v"),
        (r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.", r"joint_blocks.\1.context_block.attn.qkv.",
         "add_k_proj add_v_proj"),
    ),
    "flux": (
        (r"^transformer_blocks\.(\d+)\.attn\.to_q\.", r"double_blocks.\1.img_attn.qkv.", "to_k to_v"),
        (r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.", r"double_blocks.\1.txt_attn.qkv.",
         "add_k_proj add_v_proj"),
        (r"^single_transformer_blocks\.(\d+)\.attn\.to_q\.", r"single_blocks.\1.linear1.", "to_k to_v ../proj_mlp"),
    ),
    "z_image": ((r"^(.*)\.attention\.to_q\.", r"\1.attention.qkv.", "to_k to_v"),),
    "lumina_2": ((r"^(.*)\.attn\.to_q\.", r"\1.attention.qkv.", "to_k to_v"),),
}  # fmt: skip


def original(family: str, state: Mapping[str, torch.Tensor]) -> Weights:
    """Return a transformer's weights under the original names, without a prefix."""
    rest, made = dict(state), Weights()
    for pattern, name, others in _QKV[family]:
        for key in [key for key in rest if re.match(pattern, key)]:
            start, part, leaf = key.rsplit(".", 2)
            keys = [key]
            for other in others.split():
                path = f"{start}.{other}" if "/" not in other else f"{start.rpartition('.')[0]}.{other[3:]}"
                keys.append(f"{path}.{leaf}")
            made[re.sub(pattern, name, key)] = torch.cat([rest.pop(each) for each in keys])
            assert part
    for key, weight in rest.items():
        name = key
        for pattern, replacement in _NAMES[family]:
            name = re.sub(pattern, replacement, name)
        swapped = name.startswith("final_layer.adaLN_modulation") and family in ("stable_diffusion_3", "flux")
        # The last block's context is only read: its modulation has no more than a scale and a shift.
        if swapped or (".context_block.adaLN" in name and len(weight) == 2 * state["proj_out.weight"].shape[1]):
            scale, shift = weight.chunk(2)
            weight = torch.cat([shift, scale])
        made[name] = weight
    return {name: weight.clone().contiguous() if not weight.is_meta else weight for name, weight in made.items()}


def vae_original(vae: Any) -> Weights:
    """Return an autoencoder's weights under the names of the original training code, without a prefix."""
    from tests.diffusion.tiny import ldm_vae

    made: Weights = {}
    for key, value in vae.state_dict().items():
        name = ldm_vae(key, len(vae.config.block_out_channels))
        is_projection = "attn_1" in name and name.endswith("weight") and value.ndim == 2
        made[name] = (value[:, :, None, None] if is_projection else value).clone().contiguous()
    return made


def encoder_original(encoder: Any) -> Weights:
    """Return a text encoder's weights as ComfyUI keeps them, in the names of transformers' whole models."""
    state = {key: value.clone().contiguous() for key, value in encoder.state_dict().items()}
    kind = type(encoder).__name__
    if kind == "CLIPTextModel":
        return {key if key.startswith("text_model.") else f"text_model.{key}": each for key, each in state.items()}
    if kind == "T5EncoderModel":
        return {key: each for key, each in state.items() if key != "encoder.embed_tokens.weight"}
    return {f"model.{key}": each for key, each in state.items()} if "Text" not in kind else state
