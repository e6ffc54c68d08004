"""A base model and its refiner: each paints its own noise levels, as diffusers' two pipelines in a row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.find import find_control
from deforum.diffusion.adapters.load import load_units
from deforum.diffusion.families.find import CONFIGS, ModelSource, with_refiner
from deforum.errors import UserError
from deforum.timeline.control import Control
from deforum.timeline.lora_words import LoraWord
from deforum.timeline.prompts import Prompt
from tests.diffusion.adapters.lora.files import flat, merged, write
from tests.diffusion.tiny import Tiny, build, frame, tokenizers_of

PROMPT = Prompt("a red house", "blurry sea")


@pytest.fixture(scope="module")
def refiner() -> Tiny:
    return build("sdxl", seed=7, cross_attention_dim=48, projection_class_embeddings_input_dim=5 * 8 + 48)


@pytest.fixture(scope="module")
def refiner_folder(refiner: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = refiner.save_folder(tmp_path_factory.mktemp("refiner") / "refiner")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"text_encoder": [None, None], "tokenizer": [None, None], "requires_aesthetics_score": True}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def painted(source: ModelSource, *controls: Control, lora: Path | None = None) -> torch.Tensor:
    loras, words = ((("a", lora),), (LoraWord("a", 0.7, 0.7),)) if lora is not None else ((), ())
    diffuser = load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True, loras=loras)
    return diffuser(None, frame(PROMPT, steps=10, controls=controls, loras=words), width=32, height=32)


def right(base: Tiny, refiner: Tiny, switch_at: float) -> torch.Tensor:
    """What diffusers' pipelines make of the same noise."""
    import diffusers as library

    diffusers: Any = library
    config = base.configs["scheduler/scheduler_config.json"] | {"timestep_spacing": "linspace"}
    scheduler = diffusers.EulerDiscreteScheduler.from_config(config)
    tokenizers = tokenizers_of("sdxl")
    first = diffusers.StableDiffusionXLPipeline(
        vae=base.vae, unet=base.unet, scheduler=scheduler, text_encoder=base.encoders[0],
        text_encoder_2=base.encoders[1], **tokenizers,
    )  # fmt: skip
    second = diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=base.vae, unet=refiner.unet, scheduler=scheduler, text_encoder=None, text_encoder_2=refiner.encoders[1],
        tokenizer=None, tokenizer_2=tokenizers["tokenizer_2"], requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
    )  # fmt: skip
    for each in (first, second):
        each.set_progress_bar_config(disable=True)
    common: dict[str, Any] = {
        "prompt": PROMPT.positive, "negative_prompt": PROMPT.negative, "num_inference_steps": 10, "guidance_scale": 5.0,
    }  # fmt: skip
    # The tiny autoencoder halves the size once: 16x16 latents for 32x32 px.
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))
    highest = float(scheduler.sigmas.max())
    noise = noise * (1 + highest**-2) ** 0.5  # with this spacing theirs starts from noise * sigma
    latents = first(**common, latents=noise, width=32, height=32, denoising_end=switch_at, output_type="latent").images
    image: torch.Tensor = second(**common, image=latents, denoising_start=switch_at, output_type="pt").images[0]
    return image


@pytest.mark.parametrize("switch_at", [0.8, 0.35])
def test_base_and_refiner_paint_what_the_pipelines_paint(
    switch_at: float, models: dict[str, Tiny], folders: dict[str, Path], refiner: Tiny, refiner_folder: Path
) -> None:
    source = with_refiner(resolve_model(str(folders["sdxl"])), str(refiner_folder), switch_at)
    assert source.refiner is not None and source.refiner.family == "sdxl_refiner"
    made = painted(source)
    assert torch.allclose(made, right(models["sdxl"], refiner, switch_at), atol=1e-4)
    assert not torch.allclose(made, painted(resolve_model(str(folders["sdxl"]))), atol=1e-3)


def test_a_refiner_that_never_paints_changes_nothing(folders: dict[str, Path], refiner_folder: Path) -> None:
    plain = resolve_model(str(folders["sdxl"]))
    assert torch.equal(painted(with_refiner(plain, str(refiner_folder), 1.0)), painted(plain))


@pytest.mark.long
def test_control_units_act_on_the_base_alone(
    models: dict[str, Tiny], folders: dict[str, Path], refiner_folder: Path, tmp_path: Path
) -> None:
    import diffusers

    network: Any = diffusers.ControlNetModel.from_unet(models["sdxl"].unet, conditioning_embedding_out_channels=(8, 16))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.08)
    network.save_pretrained(tmp_path)
    plain = resolve_model(str(folders["sdxl"]))
    [unit] = load_units(((find_control(str(tmp_path), plain),), torch.float32), torch.device("cpu"))
    control = Control(unit, torch.ones(3, 32, 32), 1.0, 0.0, 1.0)
    never, half = (with_refiner(plain, str(refiner_folder), switch_at) for switch_at in (1.0, 0.5))
    assert torch.equal(painted(never, control), painted(plain, control))
    assert not torch.allclose(painted(half, control), painted(half), atol=1e-3)
    refined_alone = with_refiner(plain, str(refiner_folder), 0.0)
    assert torch.equal(painted(refined_alone, control), painted(refined_alone))


def test_a_lora_acts_on_the_base_alone(
    models: dict[str, Tiny], folders: dict[str, Path], refiner_folder: Path, tmp_path: Path
) -> None:
    base, path = models["sdxl"], tmp_path / "a.safetensors"
    ends = (".lora_down.weight", ".lora_up.weight")
    network = merged(base.unet, write(path, base.unet, lambda name: f"lora_unet_{flat(name)}", ends), 0.7)
    text = write(path, base.encoders[1], lambda name: f"lora_te2_{flat(name)}", ends)
    encoders = [base.encoders[0], merged(base.encoders[1], text, 0.7)]
    plain = resolve_model(str(folders["sdxl"]))
    dense = resolve_model(str(replace(base, unet=network, encoders=encoders).save_folder(tmp_path / "dense")))
    half, right = (with_refiner(each, str(refiner_folder), 0.5) for each in (plain, dense))
    made = painted(half, lora=path)
    assert torch.allclose(made, painted(right), atol=1e-4)
    assert not torch.allclose(made, painted(half), atol=1e-3)
    refined_alone = with_refiner(plain, str(refiner_folder), 0.0)
    assert torch.equal(painted(refined_alone, lora=path), painted(refined_alone))


def test_any_model_of_the_same_latents_refines(folders: dict[str, Path]) -> None:
    plain = resolve_model(str(folders["sdxl"]))
    whole = painted(with_refiner(plain, str(folders["sd1"]), 0.0))
    assert torch.allclose(whole, painted_by_both(plain, folders), atol=1e-5)


def painted_by_both(base: ModelSource, folders: dict[str, Path]) -> torch.Tensor:
    """The refiner from the first step on: its own picture, with the autoencoder of the base."""
    return painted(replace(resolve_model(str(folders["sd1"])), vae=Path(base.path or "") / "vae"))


def test_a_single_file_is_known(refiner: Tiny, folders: dict[str, Path], tmp_path: Path, refiner_folder: Path) -> None:
    from safetensors.torch import save_file

    weights = {
        name.replace("conditioner.embedders.1.model.", "conditioner.embedders.0.model."): weight
        for name, weight in refiner.ldm().items()
        if not name.startswith("conditioner.embedders.0.")
    }
    save_file(weights, tmp_path / "refiner.safetensors")
    plain = resolve_model(str(folders["sdxl"]))
    source = with_refiner(plain, "refiner", 0.5, [tmp_path])
    assert source.refiner is not None
    assert (source.refiner.family, source.refiner.config) == ("sdxl_refiner", CONFIGS / "sdxl_refiner")
    tiny = replace(source, refiner=replace(source.refiner, config=refiner.save_configs(tmp_path / "configs")))
    folder = with_refiner(plain, str(refiner_folder), 0.5)
    assert torch.allclose(painted(tiny), painted(folder), atol=1e-4)
    with pytest.raises(UserError, match="the SDXL refiner, which cannot paint a picture alone; give the base model"):
        resolve_model(str(tmp_path / "refiner.safetensors"))


def test_what_cannot_refine_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    plain = resolve_model(str(folders["sdxl"]))
    with pytest.raises(UserError, match=r"refiner: .*nowhere: no such model"):
        with_refiner(plain, str(tmp_path / "nowhere"), 0.8)
    other = build("sd1", latent_channels=8).save_folder(tmp_path / "eight")
    with pytest.raises(UserError, match=r"refiner: .*eight cannot refine what .*sdxl paints"):
        with_refiner(plain, str(other), 0.8)
    assert with_refiner(plain, " ", 0.8) is plain


def test_the_shipped_configuration_is_that_of_the_refiner() -> None:
    """Parameters in millions, as published."""
    import diffusers

    make: Any = diffusers.UNet2DConditionModel
    with torch.device("meta"):
        unet = make.from_config(json.loads((CONFIGS / "sdxl_refiner/unet/config.json").read_text()))
    assert sum(weight.numel() for weight in unet.parameters()) / 1e6 == pytest.approx(2259.5, abs=10)
