"""The plain networks give what diffusers' and transformers' classes give, bit for bit, and leave the rest to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deforum.diffusion.families.find import resolve_model
from deforum.diffusion.families.parts import read_parts
from deforum.diffusion.networks import NETWORKS, read_part
from tests.diffusion.tiny import build

CLASSES = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}


def embedded() -> Path:
    folder = resolve_model("embedded").path
    assert folder is not None
    return folder


@pytest.fixture(scope="module", params=["embedded", "sd1", "sd2", "lcm"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder; lcm is an sd1 whose UNet takes the guidance scale."""
    if request.param == "embedded":
        return embedded()
    tiny = build("sd1" if request.param == "lcm" else request.param)
    if request.param == "lcm":
        tiny.unet = type(tiny.unet).from_config(tiny.unet.config, time_cond_proj_dim=8)
    return tiny.save_folder(tmp_path_factory.mktemp(request.param))


def both(folder: Path, part: str) -> tuple[Any, Any]:
    """The plain network and the library's, in float32."""
    import diffusers
    import transformers

    name = CLASSES[part]
    ours = read_part(folder / part, name, torch.float32, None)
    library = getattr(diffusers if part in ("unet", "vae") else transformers, name)
    theirs = library.from_pretrained(folder / part)
    return ours, theirs if part == "tokenizer" else theirs.float().eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.inference_mode()
def test_unets_are_equal(folder: Path, layout: torch.memory_format) -> None:
    ours, theirs = (unet.to(memory_format=layout) for unet in both(folder, "unet"))
    config = theirs.config
    context = noise(2, 77, config.cross_attention_dim)
    extra = {"timestep_cond": noise(2, config.time_cond_proj_dim)} if config.time_cond_proj_dim else {}
    for height, width in ((8, 8), (5, 7)):  # the second is not a multiple of what the levels divide by
        x = noise(2, config.in_channels, height, width).to(memory_format=layout)
        for time in (torch.tensor([700.5, 3.0]), 500):
            made, right = (unet(x, time, encoder_hidden_states=context, **extra).sample for unet in (ours, theirs))
            assert right.std() > 0 and torch.equal(made, right)


@torch.inference_mode()
def test_autoencoders_are_equal(folder: Path) -> None:
    ours, theirs = both(folder, "vae")
    pixels = noise(2, 3, 32, 64).clamp(-1, 1)
    latents = theirs.encode(pixels).latent_dist.mode()
    assert torch.equal(ours.encode(pixels).latent_dist.mode(), latents)
    assert torch.equal(ours.decode(latents).sample, theirs.decode(latents).sample)
    for name in ("scaling_factor", "shift_factor", "latent_channels", "force_upcast"):
        assert getattr(ours.config, name) == getattr(theirs.config, name)


@torch.inference_mode()
def test_text_encoders_are_equal(folder: Path) -> None:
    ours, theirs = both(folder, "text_encoder")
    ids = torch.randint(theirs.config.vocab_size, (3, 77), generator=torch.Generator().manual_seed(0))
    made, right = (model(ids, output_hidden_states=True).hidden_states for model in (ours, theirs))
    assert len(made) == len(right) and all(map(torch.equal, made, right))


TEXTS = ("A café, at   noon! 'tis 2 Fast", "", "<|endoftext|> snow\n\tsea \u2728 " * 60, "ＦＵＬＬ width, İstanbul")


def test_tokenizers_are_equal(folder: Path) -> None:
    ours, theirs = both(folder, "tokenizer")
    for text in TEXTS:
        assert ours(text, add_special_tokens=False).input_ids == theirs(text, add_special_tokens=False).input_ids
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.convert_tokens_to_ids(",</w>") == theirs.convert_tokens_to_ids(",</w>")


def test_older_names_of_text_encoders(tmp_path: Path) -> None:
    source = embedded() / "text_encoder"
    weights = load_file(source / "model.safetensors")
    older = {f"text_model.{name.removeprefix('text_model.')}": weight for name, weight in weights.items()}
    older["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(older, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    made, right = (read_part(place, "CLIPTextModel", torch.float32, None) for place in (tmp_path, source))
    assert made is not None and right is not None
    assert all(map(torch.equal, made.state_dict().values(), right.state_dict().values()))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a part of the embedded model, its files linked."""

    def copy(part: str) -> Path:
        for file in (embedded() / part).iterdir():
            (tmp_path / file.name).symlink_to(file)
        return tmp_path

    return copy


def rewrite(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("unet", {"act_fn": "gelu"}),
        ("unet", {"dual_cross_attention": True}),
        ("unet", {"addition_embed_type": "text_time"}),
        ("unet", {"mid_block_type": None}),
        ("unet", {"cross_attention_dim": [192, 192, 192]}),
        ("unet", {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"]}),
        ("unet", {"a_setting_of_next_year": 1}),
        ("vae", {"act_fn": "relu"}),
        ("vae", {"up_block_types": ["AttnUpDecoderBlock2D"]}),
        ("vae", {"a_setting_of_next_year": 1}),
        ("text_encoder", {"architectures": ["CLIPTextModelWithProjection"]}),
        ("text_encoder", {"hidden_act": "relu"}),
        ("text_encoder", {"a_setting_of_next_year": 1}),
        ("unet", {"block_out_channels": [64, 128, 160]}),  # the weights have another shape
    ],
)
def test_other_configurations_are_left_to_the_library(
    part: str, changed: dict[str, Any], copied: Callable[[str], Path]
) -> None:
    folder = copied(part)
    config = json.loads((folder / "config.json").read_text())
    assert read_part(folder, CLASSES[part], torch.float32, None) is not None
    rewrite(folder / "config.json", json.dumps(config | changed))
    assert read_part(folder, CLASSES[part], torch.float32, None) is None


def test_other_files_are_left_to_the_library(copied: Callable[[str], Path]) -> None:
    folder, name = copied("text_encoder"), CLASSES["text_encoder"]
    assert read_part(folder, name, torch.float32, "fp16") is None  # no such variant
    weights = load_file(folder / "model.safetensors")
    weights.pop(
        "final_layer_norm.weight" if "final_layer_norm.weight" in weights else "text_model.final_layer_norm.weight"
    )
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors")
    assert read_part(folder, name, torch.float32, None) is None  # one weight is missing
    rewrite(folder / "model.safetensors", "not weights")
    assert read_part(folder, name, torch.float32, None) is None
    assert read_part(folder, "T5EncoderModel", torch.float32, None) is None


def test_a_tokenizer_of_the_older_form_is_left_to_the_library(copied: Callable[[str], Path]) -> None:
    folder = copied("tokenizer")
    (folder / "tokenizer.json").unlink()
    assert read_part(folder, CLASSES["tokenizer"], torch.float32, None) is None


def test_a_part_that_is_left_is_read_by_the_library(tmp_path: Path) -> None:
    """One setting of one part, which changes no value: only that part is the library's."""
    folder = build("sd1").save_folder(tmp_path)
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"mid_block_add_attention": 1, "new": None}))
    names = {
        part: f"{'diffusers' if part in ('unet', 'vae') else 'transformers'}:{name}" for part, name in CLASSES.items()
    }
    parts = read_parts(resolve_model(str(folder)), names, {}, torch.float32)
    assert isinstance(parts["unet"], NETWORKS["UNet2DConditionModel"])
    assert type(parts["vae"]).__module__.startswith("diffusers.")
