"""Whole Stable Diffusion models of a few hundred thousand random weights, in the formats that real ones come in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file

from deforum.diffusion.families.find import CONFIGS
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.timeline.frame import PromptRegion
from deforum.timeline.image_tracks import ImageWord, ReferenceWord
from deforum.timeline.lora_words import LoraWord
from deforum.timeline.prompts import Prompt

PARAMS = {
    "strength": 0.65,
    "steps": 6.0,
    "cfg_scale": 5.0,
    "guidance_rescale": 0.0,
    "pag_scale": 0.0,
    "freeu_b1": 1.0,
    "freeu_b2": 1.0,
    "freeu_s1": 1.0,
    "freeu_s2": 1.0,
    "subseed_strength": 0.0,
    "noise_multiplier": 1.0,
    "clip_skip": 1.0,
    "ddim_eta": 0.0,
    "ancestral_eta": 1.0,
}


def frame(
    *prompts: Prompt | str,
    index: int = 0,
    seed: int = 1,
    subseed: int = 2,
    sampler: str = "Euler",
    starts_empty: bool = False,
    controls: tuple[Any, ...] = (),
    loras: tuple[LoraWord, ...] = (),
    images: tuple[ImageWord, ...] = (),
    reference: ReferenceWord | None = None,
    regions: tuple[PromptRegion, ...] = (),
    **params: float,
) -> Any:
    """A frame with what the diffuser reads of it."""
    texts = tuple(Prompt(prompt, "") if isinstance(prompt, str) else prompt for prompt in prompts or ("a red house",))
    values = SimpleNamespace(**(PARAMS | params))
    return SimpleNamespace(
        index=index,
        seed=seed,
        subseed=subseed,
        prompts=texts,
        sampler=sampler,
        params=values,
        noise_map=None,
        controls=controls,
        grid=(0, 0),
        starts_empty=starts_empty,
        loras=loras,
        images=images,
        reference=reference,
        regions=regions,
    )


def picture(width: int = 32, height: int = 32) -> torch.Tensor:
    """A smooth picture (3, height, width) with something different in each channel."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([x, y, (x + y) / 2])


UNET = {
    "sd1": {"block_out_channels": [32, 64], "cross_attention_dim": 32, "attention_head_dim": 4},
    "sd2": {"block_out_channels": [32, 64], "cross_attention_dim": 32, "attention_head_dim": [2, 4]},
    "sdxl": {
        "block_out_channels": [32, 64],
        "cross_attention_dim": 80,
        "attention_head_dim": [2, 4],
        "transformer_layers_per_block": [1, 2],
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 48,
    },
}
DOWN = {"sd1": ["CrossAttnDownBlock2D", "DownBlock2D"], "sdxl": ["DownBlock2D", "CrossAttnDownBlock2D"]}
UP = {"sd1": ["UpBlock2D", "CrossAttnUpBlock2D"], "sdxl": ["CrossAttnUpBlock2D", "UpBlock2D"]}
TEXT = {"vocab_size": 49408, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}


def tokenizers_of(family: str) -> dict[str, Any]:
    """The tokenizers of a folder, by its names: a pipeline that is given them need not read them, which takes long."""
    pads = {"sd1": ["<|endoftext|>"], "sd2": ["!"], "sdxl": ["<|endoftext|>", "!"]}[family]
    return dict(zip(("tokenizer", "tokenizer_2"), map(clip_tokenizer, pads), strict=False))


@dataclass
class Tiny:
    """A model's parts and the configs that describe them, as the real ones are described but smaller."""

    family: str
    unet: Any
    vae: Any
    encoders: list[Any]
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save_folder(self, folder: Path, **scheduler: Any) -> Path:
        """Write a diffusers pipeline folder."""
        self.save_configs(folder, **scheduler)
        self.unet.save_pretrained(folder / "unet")
        self.vae.save_pretrained(folder / "vae")
        for encoder, name in zip(self.encoders, ("text_encoder", "text_encoder_2"), strict=False):
            encoder.save_pretrained(folder / name)
        for name, tokenizer in tokenizers_of(self.family).items():
            tokenizer.save_pretrained(folder / name)
        return folder

    def save_configs(self, folder: Path, **scheduler: Any) -> Path:
        """Write the folder of configs alone, as it ships beside single files."""
        for name, config in self.configs.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(config | (scheduler if "scheduler" in name else {})))
        return folder

    def save_file(self, path: Path, metadata: dict[str, str] | None = None) -> Path:
        """Write one `.safetensors` file with the key names of the original training code."""
        save_file(self.ldm(), path, metadata=metadata)
        return path

    def ldm(self) -> dict[str, torch.Tensor]:
        """The weights under the original training code's names."""
        weights = {f"model.diffusion_model.{ldm_unet(k, self.unet)}": v for k, v in self.unet.state_dict().items()}
        for key, value in self.vae.state_dict().items():
            name = ldm_vae(key, len(self.vae.config.block_out_channels))
            is_projection = "attn_1" in name and name.endswith("weight") and value.ndim == 2
            weights[f"first_stage_model.{name}"] = value[:, :, None, None] if is_projection else value
        if self.family == "sd2":
            weights |= _open_clip(self.encoders[0], "cond_stage_model.model.")
        else:
            prefix = (
                "conditioner.embedders.0.transformer." if self.family == "sdxl" else "cond_stage_model.transformer."
            )
            for key, value in self.encoders[0].state_dict().items():
                weights[f"{prefix}text_model.{key.removeprefix('text_model.')}"] = value
        if self.family == "sdxl":
            weights |= _open_clip(self.encoders[1], "conditioner.embedders.1.model.")
        return {key: value.clone().contiguous() for key, value in weights.items()}


def build(family: str, *, vae_blocks: int = 2, latent_channels: int = 4, seed: int = 0, **unet_config: Any) -> Tiny:
    """Make a model of random weights: "sd1", "sd2" or "sdxl"; the autoencoder shrinks by 2**(vae_blocks - 1)."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    configs = {
        str(p.relative_to(CONFIGS / family)): json.loads(p.read_text()) for p in (CONFIGS / family).rglob("*.json")
    }
    layout = "sdxl" if family == "sdxl" else "sd1"
    configs["unet/config.json"] |= UNET[family] | {
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 16,
        "in_channels": latent_channels,
        "out_channels": latent_channels,
        "down_block_types": DOWN[layout],
        "up_block_types": UP[layout],
        **unet_config,
    }
    configs["vae/config.json"] |= {
        "block_out_channels": [16] * (vae_blocks - 1) + [32],
        "down_block_types": ["DownEncoderBlock2D"] * vae_blocks,
        "up_block_types": ["UpDecoderBlock2D"] * vae_blocks,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 32,
        "latent_channels": latent_channels,
    }
    configs["text_encoder/config.json"] |= TEXT | {"hidden_size": 32, "projection_dim": 32}
    encoders = [CLIPTextModel(CLIPTextConfig(**configs["text_encoder/config.json"]))]
    if family == "sdxl":
        configs["text_encoder_2/config.json"] |= TEXT | {"hidden_size": 48, "projection_dim": 48}
        encoders.append(CLIPTextModelWithProjection(CLIPTextConfig(**configs["text_encoder_2/config.json"])))
    unet = UNet2DConditionModel.from_config(configs["unet/config.json"])
    vae = AutoencoderKL.from_config(configs["vae/config.json"])
    return Tiny(family, unet.eval(), vae.eval(), [encoder.eval() for encoder in encoders], configs)


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm_unet(key: str, unet: Any) -> str:
    """The original training code's name of a UNet's weight."""
    layers = unet.config.layers_per_block
    for name, ldm in _UNET_ENDS.items():
        if key.startswith(name + "."):
            return key.replace(name, ldm, 1)
    if key.startswith("mid_block"):
        _, kind, index, rest = key.split(".", 3)
        return f"middle_block.{1 if kind == 'attentions' else int(index) * 2}.{_inner(kind, rest)}"
    side, block_text, kind, index, rest = key.split(".", 4)
    block = int(block_text)
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        place = 2 if "CrossAttn" in unet.config.up_block_types[block] else 1
        return f"output_blocks.{(layers + 1) * block + layers}.{place}.{rest}"
    place = 1 if kind == "attentions" else 0
    if side == "down_blocks":
        return f"input_blocks.{(layers + 1) * block + int(index) + 1}.{place}.{_inner(kind, rest)}"
    return f"output_blocks.{(layers + 1) * block + int(index)}.{place}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    name, leaf = rest.rsplit(".", 1)
    return f"{_RESNET[name]}.{leaf}"


def ldm_vae(key: str, blocks: int) -> str:
    key = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{blocks - 1 - int(m[1])}", key)
    key = re.sub(r"down_blocks\.(\d+)", r"down.\1", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    key = re.sub(r"resnets\.(\d+)", r"block.\1", key)
    key = re.sub(r"(down|up)samplers\.0", r"\1sample", key)
    for name, ldm in {
        "mid_block.attentions.0": "mid.attn_1",
        "conv_norm_out": "norm_out",
        "conv_shortcut": "nin_shortcut",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }.items():
        key = key.replace(name, ldm)
    return key


def _open_clip(encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    state = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    width = encoder.config.hidden_size
    weights = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state.get("text_projection.weight", torch.eye(width)).T,
    }
    for i in range(encoder.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for leaf in ("weight", "bias"):
            heads = [state[f"{ours}self_attn.{name}_proj.{leaf}"] for name in "qkv"]
            weights[f"{theirs}attn.in_proj_{leaf}"] = torch.cat(heads)
            for name, ldm in {
                "self_attn.out_proj": "attn.out_proj",
                "layer_norm1": "ln_1",
                "layer_norm2": "ln_2",
                "mlp.fc1": "mlp.c_fc",
                "mlp.fc2": "mlp.c_proj",
            }.items():
                weights[f"{theirs}{ldm}.{leaf}"] = state[f"{ours}{name}.{leaf}"]
    return {prefix + key: value for key, value in weights.items()}
