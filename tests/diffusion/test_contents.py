"""What a model is, told by its header and the small files beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from deforum.diffusion.families.contents import ModelFacts
from deforum.models.places import Kind
from deforum.reports.models import list_models, table_of
from tests.helpers.headers import write_header as write

Shape = tuple[int, ...]


SD = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "first_stage_model.decoder.mid.x": (1,),
}
FILES: dict[str, tuple[dict[str, Shape], dict[str, str], Kind, str]] = {
    "sd1": ({**SD, "cond_stage_model.transformer.x": (1,)}, {}, "checkpoint", "Stable Diffusion 1.x"),
    "sdxl": ({**SD, "conditioner.embedders.1.model.x": (1,)}, {}, "checkpoint", "Stable Diffusion XL"),
    "flux": ({"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, {}, "diffusion_model", "Flux.1"),
    "sd3": ({"joint_blocks.0.x_block.attn.qkv.weight": (9, 3)}, {}, "diffusion_model", "Stable Diffusion 3.x"),
    "a LoRA of kohya": (
        {"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)},
        {}, "lora", "Stable Diffusion 1.x",
    ),
    "a LoRA of XL": ({"lora_te2_x.lora_down.weight": (4, 1280)}, {}, "lora", "Stable Diffusion XL"),
    "a LoRA of diffusers": (
        {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 2048)},
        {}, "lora", "Stable Diffusion XL",
    ),
    "a LoRA of Flux": (
        {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}, {}, "lora", "Flux.1",
    ),
    "a LoRA that says it": (
        {"lora_unet_x.lora_down.weight": (4, 4)}, {"ss_base_model_version": "sd_v2_768_v"}, "lora",
        "Stable Diffusion 2.x",
    ),
    "a LoRA of modelspec": (
        {"lora_unet_x.alpha": ()}, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "lora",
        "Stable Diffusion XL",
    ),
    "a LyCORIS": ({"lora_unet_x.hada_w1_a": (4, 4)}, {}, "lora", ""),
    "a ControlNet": (
        {"control_model.input_hint_block.0.weight": (16, 3, 3, 3), "x.attn2.to_k.weight": (320, 768)}, {},
        "controlnet", "Stable Diffusion 1.x",
    ),
    "a ControlNet of diffusers": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "down_blocks.0.attn2.to_k.weight": (320, 2048)},
        {}, "controlnet", "Stable Diffusion XL",
    ),
    "a T2I-Adapter": ({"adapter.body.0.in_conv.weight": (4, 4)}, {}, "controlnet", ""),
    "an IP-Adapter": ({"image_proj.proj.weight": (4, 4)}, {}, "ip_adapter", ""),
    "an autoencoder": ({"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 16, 3, 3)}, {},
        "vae", "16 channels"),
    "an autoencoder of old": ({"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}, {}, "vae", "4 channels"),
    "a tiny autoencoder": ({"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)}, {}, "tiny_vae", ""),
    "T5": ({"shared.weight": (4, 4), "encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4)}, {},
        "text_encoder", "T5 XXL"),
    "CLIP": ({"text_model.embeddings.token_embedding.weight": (4, 768)}, {}, "text_encoder", "CLIP-L"),
    "CLIP-G": ({"text_model.encoder.layers.31.layer_norm1.weight": (4,)}, {}, "text_encoder", "CLIP-G"),
    "Qwen": ({"model.layers.0.self_attn.q_norm.weight": (4,)}, {}, "text_encoder", "Qwen 3 4B"),
    "an image encoder": ({"vision_model.x.weight": (4,)}, {}, "image_encoder", ""),
    "an embedding": ({"emb_params": (3, 768)}, {}, "embedding", "Stable Diffusion 1.x"),
    "an embedding of XL": ({"clip_l": (3, 768), "clip_g": (3, 1280)}, {}, "embedding", "Stable Diffusion XL"),
    "an upscaler": ({"conv_first.weight": (4, 4), "body.0.rdb1.conv1.weight": (4, 4)}, {}, "upscaler", ""),
}  # fmt: skip


@pytest.mark.parametrize("shapes, metadata, kind, family", FILES.values(), ids=FILES)
def test_kind_and_family_are_told_by_the_header(
    shapes: dict[str, Shape], metadata: dict[str, str], kind: Kind, family: str, tmp_path: Path
) -> None:
    write(tmp_path / "model.safetensors", shapes, **metadata)
    [facts] = list_models([tmp_path])
    assert (facts.kind, facts.family) == (kind, family)


LORA: dict[str, Shape] = {"lora_unet_x.alpha": ()}


def one(folder: Path) -> ModelFacts:
    [facts] = list_models([folder], ["lora"])
    return facts


def test_a_folder_says_the_kind_where_it_has_one(tmp_path: Path) -> None:
    for folder in ("Lora", "ESRGAN", "Stable-diffusion"):
        write(tmp_path / "models" / folder / f"{folder}.safetensors", {"strange": (1,)})
    assert [each.kind for each in list_models([tmp_path])] == ["checkpoint", "lora", "upscaler"]
    assert list_models([tmp_path], ["lora"])[0].name == "Lora.safetensors"


TRIGGERS: dict[str, tuple[dict[str, str], dict[str, Any], tuple[str, ...]]] = {
    "of modelspec": ({"modelspec.trigger_phrase": "inkwash, brush"}, {}, ("inkwash", "brush")),
    "all pictures had": (
        {"ss_tag_frequency": json.dumps({"10_a": {"inkwash": 20, "sea": 3}, "5_b": {"inkwash": 4, "ink": 23}})}, {},
        ("inkwash", "ink"),
    ),
    "of Civitai": ({}, {".civitai.info": {"trainedWords": ["inkwash", "a  sea"]}}, ("inkwash", "a sea")),
    "of StabilityMatrix": ({}, {".cm-info.json": {"TrainedWords": ["inkwash"]}}, ("inkwash",)),
    "of the web UI": ({}, {".json": {"activation text": "inkwash, sea"}}, ("inkwash", "sea")),
    "broken": ({"ss_tag_frequency": '{"a": 3}'}, {".json": [1], ".civitai.info": {"files": 3}}, ()),
    "none": ({}, {}, ()),
}  # fmt: skip


@pytest.mark.parametrize("metadata, beside, right", TRIGGERS.values(), ids=TRIGGERS)
def test_trigger_words(
    metadata: dict[str, str], beside: dict[str, Any], right: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path / "ink.safetensors", LORA, **metadata)
    for ending, content in beside.items():
        (tmp_path / f"ink{ending}").write_text(json.dumps(content))
    assert one(tmp_path).triggers == right


def test_digests_are_those_that_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("deforum.models.digest.KEPT_ABOVE", 1)
    numbers = "ab" * 32
    path = write(tmp_path / "tree" / "ink.safetensors", LORA, sshs_model_hash=numbers)
    assert one(tmp_path / "tree").digest == numbers[:12]
    said = {"files": [{"name": "ink.safetensors", "hashes": {"SHA256": "CD" * 32}}]}
    path.with_suffix(".civitai.info").write_text(json.dumps(said))
    assert one(tmp_path / "tree").digest == ("cd" * 32)[:10]
    from deforum.reports.models import with_digests

    with_digests(list_models([tmp_path / "tree"]))
    assert one(tmp_path / "tree").digest == hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def test_what_cannot_be_read_or_used_says_why(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "Lora").mkdir(parents=True)
    (models / "Lora" / "cut.safetensors").write_bytes(b"1234")
    shapes = {
        **SD,
        "model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3),
        "cond_stage_model.transformer.x": (1,),
    }
    write(models / "Stable-diffusion" / "inpaint.safetensors", shapes)
    found = {each.name: each.problem for each in list_models([tmp_path])}
    assert "not a whole .safetensors file" in found["cut.safetensors"]
    assert "inpainting model" in found["inpaint.safetensors"]
    table = table_of(list_models([tmp_path]))
    assert "inpainting model" in table and table.startswith("Checkpoint\n")


def test_a_pipeline_folder_is_named_by_its_pipeline(tmp_path: Path) -> None:
    (tmp_path / "mine" / "unet").mkdir(parents=True)
    write(tmp_path / "mine" / "unet" / "x.safetensors", {"a": (2,)})
    (tmp_path / "mine" / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    [facts] = list_models([tmp_path])
    assert (facts.kind, facts.family, facts.name) == ("checkpoint", "Stable Diffusion XL", "mine")
    assert facts.bytes > 4


def test_the_table_has_a_head_for_each_kind(tmp_path: Path) -> None:
    write(tmp_path / "models" / "Lora" / "ink.safetensors", LORA, ss_base_model_version="sd_v1")
    write(tmp_path / "models" / "VAE" / "kl.safetensors", {"decoder.conv_in.weight": (512, 4, 3, 3)})
    lines = table_of(list_models([tmp_path])).splitlines()
    assert [line.split() for line in lines] == [
        ["LoRA"], ["ink.safetensors", "Stable", "Diffusion", "1.x", lines[1].split()[4], "B", "-"], [],
        ["VAE"], ["kl.safetensors", "4", "channels", "37.0", "KB", "-"],
    ]  # fmt: skip
    assert table_of([]) == ""
