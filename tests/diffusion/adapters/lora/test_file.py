"""LoRA files by their headers: layers and kinds, scales in configurations, the family, and faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deforum.diffusion.adapters.lora.file import made_for, read_file, trigger_words
from deforum.errors import UserError

CONTEXT = "attentions_0_transformer_blocks_0_attn2_to_k"


def written(path: Path, *names: str, metadata: dict[str, str] | None = None, width: int = 4) -> Path:
    save_file({name: torch.ones(2, width) for name in names}, path, metadata)
    return path


KINDS = {
    "lora": ("x.lora_up.weight", "x.lora_down.weight", "x.alpha"),
    "hada": ("x.hada_w1_a", "x.hada_w1_b", "x.hada_w2_a", "x.hada_w2_b"),
    "lokr": ("x.lokr_w1", "x.lokr_w2_a", "x.lokr_w2_b"),
    "ia3": ("x.weight", "x.on_input"),
    "oft": ("x.oft_diag",),
    "norm": ("x.w_norm", "x.b_norm"),
    "diff": ("x.diff_b",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str, tmp_path: Path) -> None:
    file = read_file(written(tmp_path / "a.safetensors", *KINDS[kind], "bundle_emb.a.string_to_param.*"))
    assert [(layer.name, layer.kind, len(layer.tensors)) for layer in file.layers] == [("x", kind, len(KINDS[kind]))]
    assert file.passed_over == ("bundle_emb.a.string_to_param.*",)


FAMILIES = [
    (f"lora_unet_down_blocks_0_{CONTEXT}", 768, ("Stable Diffusion 1.x", 768)),
    (f"lora_unet_input_blocks_4_1_{CONTEXT}", 2048, ("Stable Diffusion XL", 2048)),
    ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_v", 1024, ("Stable Diffusion 2.x", 1024)),
    (f"lora_unet_down_blocks_0_{CONTEXT}", 192, ("", 192)),
    ("transformer.single_transformer_blocks.0.attn.to_q", 8, ("Flux", None)),
    ("lora_unet_double_blocks_0_img_attn_qkv", 8, ("Flux", None)),
    ("transformer.transformer_blocks.0.attn.add_q_proj", 8, ("Stable Diffusion 3", None)),
    ("lora_te_text_model_encoder_layers_0_mlp_fc1", 8, ("", None)),
]


@pytest.mark.parametrize(("name", "width", "says"), FAMILIES)
def test_the_family_that_a_file_was_made_for(name: str, width: int, says: tuple[str, int], tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", f"{name}.lora_down.weight", f"{name}.lora_up.weight", width=width)
    assert made_for(read_file(path)) == says


PAIR = ("unet.a.b.lora_A.weight", "unet.a.b.lora_B.weight")
CONFIGS = [
    ({"unet.r": 2, "unet.lora_alpha": 6}, 6.0, False),
    ({"unet.r": 2, "unet.lora_alpha": 6, "unet.alpha_pattern": {"a.b": 8}, "unet.use_rslora": True}, 8.0, True),
    ({"unet.r": 2, "unet.lora_alpha": 6, "unet.alpha_pattern": {"b": 8, "c": 9}}, 8.0, False),
    ({}, None, False),
]


@pytest.mark.parametrize(("config", "alpha", "root"), CONFIGS)
def test_the_scale_in_metadata_of_diffusers(
    config: dict[str, object], alpha: float, root: bool, tmp_path: Path
) -> None:
    texts = {"lora_adapter_metadata": json.dumps(config)}
    [layer] = read_file(written(tmp_path / "a.safetensors", *PAIR, metadata=texts)).layers
    assert (layer.alpha, layer.root) == (alpha, root)


def test_a_folder_of_peft(tmp_path: Path) -> None:
    names = [name.replace("unet.", "base_model.model.") for name in PAIR]
    written(tmp_path / "adapter_model.safetensors", *names)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 10}))
    [layer] = read_file(tmp_path).layers
    assert (layer.name, layer.alpha) == ("base_model.model.a.b", 10.0)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "VERA", "r": 2}))
    with pytest.raises(UserError, match="'VERA' is not supported"):
        read_file(tmp_path)


def test_words_that_a_file_asks_for(tmp_path: Path) -> None:
    texts = {"modelspec.trigger_phrase": " in ink "}
    assert list(trigger_words(read_file(written(tmp_path / "a.safetensors", *PAIR, metadata=texts)))) == ["in ink"]


def test_what_is_not_a_lora(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", "model.diffusion_model.input_blocks.0.0.weight")
    with pytest.raises(UserError, match="not a LoRA: none of its 1 tensors, such as model"):
        read_file(path)
    with pytest.raises(UserError, match="weight lacks its other half"):
        read_file(written(tmp_path / "b.safetensors", *KINDS["lora"], "y.lora_up.weight"))
    with pytest.raises(UserError, match="no LoRA in this folder"):
        read_file(tmp_path)
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(UserError, match="not a file of weights"):
        read_file(tmp_path / "c.png")
