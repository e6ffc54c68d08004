"""Whole flow-matching models of random weights, by the libraries' own classes, in the formats of real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deforum.diffusion.families import FAMILIES
from deforum.diffusion.families.vocabulary import clip_tokenizer

WORDS = ["a", "red", "house", "blue", "green", "sea", "with", "hills", "ugly", "of", "the", "and"]
T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 100}
CLIP: dict[str, Any] = {
    "vocab_size": 49408, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
    "eos_token_id": 49407,
}  # fmt: skip
TRANSFORMERS: Mapping[str, dict[str, Any]] = {
    "stable_diffusion_3": {
        "sample_size": 32, "patch_size": 2, "in_channels": 16, "num_layers": 2, "attention_head_dim": 8,
        "num_attention_heads": 4, "joint_attention_dim": 96, "caption_projection_dim": 32, "pooled_projection_dim": 80,
        "out_channels": 16, "pos_embed_max_size": 32, "dual_attention_layers": (0,), "qk_norm": "rms_norm",
    },
    "flux": {
        "in_channels": 64, "num_layers": 1, "num_single_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": 32, "pooled_projection_dim": 32, "guidance_embeds": True, "axes_dims_rope": (4, 6, 6),
    },
    "z_image": {
        "in_channels": 16, "dim": 32, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2,
        "cap_feat_dim": 32, "axes_dims": [4, 6, 6], "axes_lens": [512, 64, 64],
    },
    "lumina_2": {
        "sample_size": 32, "in_channels": 16, "hidden_size": 48, "num_layers": 2, "num_refiner_layers": 1,
        "num_attention_heads": 2, "num_kv_heads": 1, "multiple_of": 16, "axes_dim_rope": (8, 8, 8),
        "axes_lens": (300, 64, 64), "cap_feat_dim": 32,
    },
}  # fmt: skip
SCHEDULERS: Mapping[str, dict[str, Any]] = {
    "stable_diffusion_3": {"shift": 3.0},
    "flux": {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0},
    "z_image": {"shift": 3.0},
    "lumina_2": {"shift": 6.0},
}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    letters = "abcdefghijklmnopqrstuvwxyz,.:"
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -4.0)]
    vocabulary += [(f"▁{word}", -2.0) for word in WORDS] + [(letter, -5.0) for letter in letters]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0)


def qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    from deforum.diffusion.families.vocabulary import _byte_letters

    words = [*_byte_letters(), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = Qwen2Tokenizer(
        vocab={word: index for index, word in enumerate(words)}, merges=[],
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    made.chat_template = CHAT
    return made


def gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,.:<>"
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters]
    return GemmaTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])


def text_parts(family: str) -> dict[str, Any]:
    """Text encoders and tokenizers by the names of a folder."""
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        Gemma2Config,
        Gemma2Model,
        Qwen3Config,
        Qwen3Model,
        T5Config,
        T5EncoderModel,
    )

    def clip(cls: Any, width: int, layers: int = 3) -> Any:
        return cls(CLIPTextConfig(**CLIP | {"num_hidden_layers": layers}, hidden_size=width, projection_dim=width))

    language: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 300,
    }  # fmt: skip
    if family == "stable_diffusion_3":
        return {
            "text_encoder": clip(CLIPTextModelWithProjection, 32),
            "text_encoder_2": clip(CLIPTextModelWithProjection, 48, 32),  # as many as CLIP-G has
            "text_encoder_3": T5EncoderModel(T5Config(**T5 | {"d_model": 96})),
            "tokenizer": clip_tokenizer("<|endoftext|>"),
            "tokenizer_2": clip_tokenizer("!"),
            "tokenizer_3": t5_tokenizer(),
        }
    if family == "flux":
        return {
            "text_encoder": clip(CLIPTextModel, 32),
            "text_encoder_2": T5EncoderModel(T5Config(**T5)),
            "tokenizer": clip_tokenizer("<|endoftext|>"),
            "tokenizer_2": t5_tokenizer(),
        }
    if family == "z_image":
        return {"text_encoder": Qwen3Model(Qwen3Config(**language)), "tokenizer": qwen_tokenizer()}
    return {"text_encoder": Gemma2Model(Gemma2Config(**language)), "tokenizer": gemma_tokenizer()}


@dataclass
class TinyFlow:
    """A model's parts by the names of a diffusers folder."""

    family: str
    parts: dict[str, Any]
    scheduler: dict[str, Any]

    def save_folder(self, folder: Path) -> Path:
        index: dict[str, Any] = {"_class_name": FAMILIES[self.family].pipelines[0]}
        for name, part in self.parts.items():
            part.save_pretrained(folder / name)
            library = "diffusers" if name in ("transformer", "vae") else "transformers"
            index[name] = [library, type(part).__name__]
        index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
        (folder / "model_index.json").write_text(json.dumps(index))
        (folder / "scheduler").mkdir()
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(self.scheduler))
        return folder


def build_flow(family: str, seed: int = 0, **config: Any) -> TinyFlow:
    """Make a model of random weights; `config` changes the transformer's."""
    import diffusers as library

    diffusers: Any = library
    torch.manual_seed(seed)
    classes = {
        "stable_diffusion_3": diffusers.SD3Transformer2DModel,
        "flux": diffusers.FluxTransformer2DModel,
        "z_image": diffusers.ZImageTransformer2DModel,
        "lumina_2": diffusers.Lumina2Transformer2DModel,
    }
    transformer = classes[family](**TRANSFORMERS[family] | config)
    for weight in transformer.parameters():  # their own start is zeros where it matters
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        elif not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    vae = diffusers.AutoencoderKL(
        block_out_channels=[16, 16, 16, 32], down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=1, norm_num_groups=8, sample_size=64,
        latent_channels=16, scaling_factor=0.36, shift_factor=0.11, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    parts: dict[str, Any] = {"transformer": transformer.eval(), "vae": vae.eval()}
    parts |= {name: part.eval() if name.startswith("text") else part for name, part in text_parts(family).items()}
    return TinyFlow(family, parts, {"_class_name": "FlowMatchEulerDiscreteScheduler", **SCHEDULERS[family]})
