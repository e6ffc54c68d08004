"""Models of flow matching: our loop paints what diffusers' pipelines paint, of the same latents and noise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families import FAMILIES, single_file
from deforum.diffusion.families.find import ModelSource
from deforum.errors import UserError
from deforum.timeline.prompts import Prompt
from tests.diffusion.originals import encoder_original, original, vae_original
from tests.diffusion.tiny import Tiny, build, frame, picture
from tests.diffusion.tiny_transformers import TinyFlow, build_flow, gemma_tokenizer, qwen_tokenizer, t5_tokenizer

FLOW = [family.name for family in FAMILIES.values() if family.spacing]
SIZE = 64
STEPS = 4
PROMPT, NEGATIVE = "a red house, with blue hills", "ugly sea"


@pytest.fixture(scope="module")
def tinies() -> dict[str, TinyFlow]:
    return {family: build_flow(family) for family in FLOW}


@pytest.fixture(scope="module")
def flow_folders(tinies: dict[str, TinyFlow], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flow")
    return {family: model.save_folder(root / family) for family, model in tinies.items()}


def loaded(folder: Path) -> Diffuser:
    return load_diffuser(resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True)


@pytest.fixture
def noises(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """The starting noise that was drawn."""
    from deforum.diffusion import diffuser, noise

    drawn: list[torch.Tensor] = []
    draw = noise.starting_noise

    def drawing(*args: Any, **kwargs: Any) -> torch.Tensor:
        drawn.append(draw(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(diffuser, "starting_noise", drawing)
    yield drawn


def pipeline(tiny: TinyFlow, name: str) -> Any:
    import diffusers

    make: Any = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = make.from_config(tiny.scheduler)
    made = getattr(diffusers, name)(scheduler=scheduler, **tiny.parts)
    made.set_progress_bar_config(disable=True)
    return made


def packed(noise: torch.Tensor) -> torch.Tensor:
    from diffusers import FluxPipeline

    made: torch.Tensor = FluxPipeline._pack_latents(noise, *noise.shape)
    return made


def right(tiny: TinyFlow, noise: torch.Tensor, cfg: float) -> torch.Tensor:
    """The picture of diffusers' text-to-image pipeline."""
    common: dict[str, Any] = {
        "prompt": PROMPT, "num_inference_steps": STEPS, "width": SIZE, "height": SIZE, "output_type": "pt",
    }  # fmt: skip
    match tiny.family:
        case "stable_diffusion_3":
            found = pipeline(tiny, "StableDiffusion3Pipeline")(
                **common, negative_prompt=NEGATIVE, latents=noise, guidance_scale=cfg
            )
        case "flux":
            found = pipeline(tiny, "FluxPipeline")(**common, latents=packed(noise), guidance_scale=cfg)
        case "z_image":
            found = pipeline(tiny, "ZImagePipeline")(
                **common, negative_prompt=NEGATIVE, latents=noise, guidance_scale=cfg - 1
            )
        case _:
            found = pipeline(tiny, "Lumina2Pipeline")(
                **common, negative_prompt=NEGATIVE, latents=noise, guidance_scale=cfg
            )
    image: torch.Tensor = found.images[0]
    return image


@pytest.mark.parametrize("cfg", [1.0, 3.5])
@pytest.mark.parametrize("family", FLOW)
def test_our_loop_paints_what_the_pipeline_paints(
    family: str, cfg: float, tinies: dict[str, TinyFlow], flow_folders: dict[str, Path], noises: list[torch.Tensor]
) -> None:
    prompt = Prompt(PROMPT, NEGATIVE)
    made = loaded(flow_folders[family])(None, frame(prompt, steps=STEPS, cfg_scale=cfg), width=SIZE, height=SIZE)
    assert torch.allclose(made, right(tinies[family], noises[0][None], cfg), atol=1e-4)
    assert made.std() > 0.01


# --- single files -----------------------------------------------------------------------------------------------------


def encoders_of(tiny: TinyFlow) -> dict[str, Any]:
    """The text encoders by the names that they have within a checkpoint."""
    slots = FAMILIES[tiny.family].slots
    return {slots[name]: part for name, part in tiny.parts.items() if name.startswith("text_encoder")}


def checkpoint(tiny: TinyFlow, vae: str = "vae.") -> dict[str, torch.Tensor]:
    """All parts in one file, as ComfyUI's checkpoints."""
    weights = {
        f"model.diffusion_model.{name}": each
        for name, each in original(tiny.family, tiny.parts["transformer"].state_dict()).items()
    }
    weights |= {vae + name: each for name, each in vae_original(tiny.parts["vae"]).items()}
    for slot, encoder in encoders_of(tiny).items():
        prefix = f"text_encoders.{slot}.transformer."
        weights |= {prefix + name: each for name, each in encoder_original(encoder).items()}
    return weights


def configs(tiny: TinyFlow, folder: Path) -> Path:
    """The configurations of a tiny model, in place of those that ship for real ones."""
    for name, part in tiny.parts.items():
        if not name.startswith("tokenizer"):
            (folder / name).mkdir(parents=True)
            part.config.save_pretrained(folder / name) if name.startswith("text") else part.save_config(folder / name)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(tiny.scheduler))
    return folder


@pytest.fixture
def own_tokenizers(monkeypatch: pytest.MonkeyPatch, tinies: dict[str, TinyFlow]) -> None:
    """The tiny encoders know few words: they get their own tokenizers in place of those that ship."""
    made = {"t5xxl": t5_tokenizer, "qwen3_4b": qwen_tokenizer, "gemma2_2b": gemma_tokenizer}
    monkeypatch.setattr(single_file, "tokenizer_of", lambda slot, path, cls: made[slot]())


def painted(source: ModelSource) -> torch.Tensor:
    diffuser = load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True)
    return diffuser(None, frame(Prompt(PROMPT, NEGATIVE), steps=2, cfg_scale=3.0), width=SIZE, height=SIZE)


@pytest.mark.parametrize("prefix", ["vae.", "first_stage_model."])
@pytest.mark.parametrize("family", FLOW)
def test_a_checkpoint_paints_what_its_folder_paints(
    family: str,
    prefix: str,
    tinies: dict[str, TinyFlow],
    flow_folders: dict[str, Path],
    own_tokenizers: None,
    tmp_path: Path,
) -> None:
    save_file(checkpoint(tinies[family], prefix), tmp_path / "model.safetensors")
    source = resolve_model(str(tmp_path / "model.safetensors"))
    assert (source.family, source.size, source.text_encoders, source.vae) == (family, (1024, 1024), (), None)
    source = replace(source, config=configs(tinies[family], tmp_path / "configs"))
    assert torch.allclose(painted(source), painted(resolve_model(str(flow_folders[family]))), atol=1e-5)


@pytest.mark.parametrize("family", FLOW)
def test_parts_in_files_of_their_own_make_the_same_model(
    family: str, tinies: dict[str, TinyFlow], flow_folders: dict[str, Path], own_tokenizers: None, tmp_path: Path
) -> None:
    """As ComfyUI keeps them: found by themselves in its folders, or named."""
    tiny, models = tinies[family], tmp_path / "ComfyUI" / "models"
    for kind in ("diffusion_models", "vae", "text_encoders"):
        (models / kind).mkdir(parents=True)
    save_file(original(family, tiny.parts["transformer"].state_dict()), models / "diffusion_models" / "net.safetensors")
    save_file(vae_original(tiny.parts["vae"]), models / "vae" / "ae.safetensors")
    for slot, encoder in encoders_of(tiny).items():
        save_file(encoder_original(encoder), models / "text_encoders" / f"{slot}_tiny.safetensors")
    right = painted(resolve_model(str(flow_folders[family])))
    roots = [models.parent]
    found = resolve_model("net", roots=roots)
    assert len(found.notes) == 1 + len(encoders_of(tiny))
    named = resolve_model(
        "net", roots=roots, vae="ae", text_encoder="; ".join(f"{slot}_tiny" for slot in encoders_of(tiny))
    )
    assert not named.notes and set(named.text_encoders) == set(found.text_encoders) and named.vae == found.vae
    config = configs(tiny, tmp_path / "configs")
    assert torch.allclose(painted(replace(named, config=config)), right, atol=1e-5)
    with pytest.raises(UserError, match="its file has no autoencoder; set vae to the file"):
        resolve_model(str(models / "diffusion_models" / "net.safetensors"))


@pytest.mark.parametrize("family", FLOW)
def test_frames_of_a_batch_are_those_painted_alone(family: str, flow_folders: dict[str, Path]) -> None:
    """From a picture, of a size that is no multiple of a patch, with prompts of other lengths and weights."""
    diffuser, init = loaded(flow_folders[family]), picture(72, 56)
    prompts = (Prompt("a (red:1.4) house", ""), Prompt("the sea, with hills, " * 4, NEGATIVE))
    frames = [frame(prompt, index=i, seed=i, steps=4, cfg_scale=2.0) for i, prompt in enumerate(prompts)]
    together = diffuser.diffuse_batch([init] * 2, frames, width=72, height=56)
    alone = [diffuser(init, each, width=72, height=56) for each in frames]
    assert all(made.shape == (3, 56, 72) for made in together)
    assert torch.allclose(torch.stack(together), torch.stack(alone), atol=1e-4)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


def test_weights_and_blends_of_prompts_act(flow_folders: dict[str, Path]) -> None:
    diffuser = loaded(flow_folders["stable_diffusion_3"])

    def made(*prompts: Prompt) -> torch.Tensor:
        return diffuser(None, frame(*prompts, steps=2), width=SIZE, height=SIZE)

    plain, heavy = made(Prompt("a red house", "")), made(Prompt("a (red:1.5) house", ""))
    assert not torch.allclose(plain, heavy, atol=1e-4)
    assert torch.equal(made(Prompt("a (red:1.0) house", "")), plain)
    both = made(Prompt("a red house", "", 0.5), Prompt("blue sea", "", 0.5))
    assert not torch.allclose(both, plain, atol=1e-4)


def test_a_long_prompt_is_cut_with_a_warning(flow_folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    diffuser = loaded(flow_folders["stable_diffusion_3"])
    diffuser(None, frame(Prompt("red " * 300, ""), steps=1, cfg_scale=1.0), width=SIZE, height=SIZE)
    assert "only its first 256 tokens are read" in caplog.text


def test_stable_diffusion_3_does_without_t5(tinies: dict[str, TinyFlow], tmp_path: Path) -> None:
    folder = build_flow("stable_diffusion_3").save_folder(tmp_path / "model")
    for name in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / name)
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    made = loaded(folder)(None, frame(Prompt(PROMPT, NEGATIVE), steps=2), width=SIZE, height=SIZE)
    assert made.std() > 0.01


def test_files_that_are_no_parts_of_the_model_are_refused(tinies: dict[str, TinyFlow], tmp_path: Path) -> None:
    tiny = tinies["flux"]
    net, t5, clip, qwen, vae = (tmp_path / f"{name}.safetensors" for name in ("net", "t5", "clip", "qwen", "vae"))
    save_file(original("flux", tiny.parts["transformer"].state_dict()), net)
    save_file(encoder_original(tiny.parts["text_encoder_2"]), t5)
    save_file(encoder_original(tiny.parts["text_encoder"]), clip)
    save_file(encoder_original(tinies["z_image"].parts["text_encoder"]), qwen)
    save_file({"decoder.conv_in.weight": torch.zeros(8, 4, 3, 3)}, vae)
    cases = {
        (f"{t5}", ""): "its file has no CLIP-L .*; set text_encoder to the file",
        (f"{t5};{t5}", ""): "are both T5 XXL .*; give one of them",
        (f"{qwen}", ""): r"qwen.safetensors: a Qwen 3 4B text encoder; Flux.1 takes CLIP-L \(clip_l.safetensors\), T5",
        (f"{vae}", ""): "vae.safetensors: not a text encoder",
        (f"{t5};{clip}", f"{vae}"): "its latents have 4 channels, and those of Flux.1 16",
        (f"{t5};{clip}", f"{t5}"): "t5.safetensors: not an autoencoder",
    }
    for (text_encoder, given), says in cases.items():
        with pytest.raises(UserError, match=says):
            resolve_model(str(net), text_encoder=text_encoder, vae=given)
    for name in ("a", "b"):
        save_file(encoder_original(tiny.parts["text_encoder_2"]), tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="text_encoder: several files are T5 XXL"):
        resolve_model(str(net), roots=[tmp_path])
    with pytest.raises(UserError, match="prediction_type is epsilon"):
        resolve_model(str(net), prediction="epsilon", roots=[tmp_path])


def test_a_scheduler_of_another_kind_of_noise_is_refused(tmp_path: Path) -> None:
    folder = build_flow("flux").save_folder(tmp_path / "model")
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    with pytest.raises(UserError, match="DDIMScheduler; expected a flow-matching scheduler"):
        resolve_model(str(folder))


def test_tokenizers_that_ship_are_those_of_the_models() -> None:
    """Numbers of tokens as the models' own tokenizers give them."""
    from deforum.diffusion.families import vocabulary

    assert vocabulary.t5_tokenizer()("a photo of a cat").input_ids == [3, 9, 1202, 13, 3, 9, 1712, 1]
    qwen = vocabulary.qwen_tokenizer()
    assert qwen("a photo of a cat").input_ids == [64, 6548, 315, 264, 8251]
    assert qwen("<|im_start|>user\n").input_ids == [151644, 872, 198]


@pytest.mark.parametrize("layout", ["original", "diffusers", "folder"])
def test_another_autoencoder_takes_the_place_of_any_models_own(
    layout: str, models: dict[str, Tiny], folders: dict[str, Path], tmp_path: Path
) -> None:
    other = build("sd1", seed=5)
    if layout == "folder":
        path = other.save_folder(tmp_path / "other") / "vae"
    else:
        path = tmp_path / "other.safetensors"
        weights = vae_original(other.vae) if layout == "original" else other.vae.state_dict()
        save_file({name: each.contiguous() for name, each in weights.items()}, path)
    right = models["sd1"]
    both = Tiny("sd1", right.unet, other.vae, right.encoders, right.configs).save_folder(tmp_path / "both")
    made = [
        load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True)(
            None, frame(steps=2), width=32, height=32
        )
        for source in (resolve_model(str(folders["sd1"]), vae=str(path)), resolve_model(str(both)))
    ]
    assert torch.allclose(made[0], made[1], atol=1e-5)
