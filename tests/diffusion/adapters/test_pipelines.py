"""Frames with LoRAs, IP-Adapters and control units, alone and together, are what diffusers' pipelines paint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPTokenizer, CLIPVisionModelWithProjection

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.noise import starting_noise
from deforum.diffusion.prompts.inversions import find_inversions
from deforum.timeline.image_tracks import ImageWord
from deforum.timeline.lora_words import LoraWord
from deforum.timeline.prompts import Prompt
from tests.diffusion.adapters.ip_adapter.files import photograph, vision, weights_of
from tests.diffusion.adapters.lora.files import flat, merged, write
from tests.diffusion.tiny import build, frame, picture, tokenizers_of
from tests.diffusion.units import control, hint, network_of, on, unit_of

Tensor = torch.Tensor
CLOSE = 1e-4
NAMES = {
    ("sd1", False): "StableDiffusionImg2ImgPipeline",
    ("sd1", True): "StableDiffusionControlNetImg2ImgPipeline",
    ("sdxl", False): "StableDiffusionXLImg2ImgPipeline",
    ("sdxl", True): "StableDiffusionXLControlNetImg2ImgPipeline",
}


def pipeline(family: str, folder: Path, network: Any = None, **more: Any) -> Any:
    """Diffusers' image to image pipeline, with a ControlNet where one is given."""
    if family == "sd1":
        more |= {"safety_checker": None, "feature_extractor": more.get("feature_extractor")}
    if network is not None:
        more["controlnet"] = network
    more = tokenizers_of(family) | more
    made = getattr(diffusers, NAMES[family, network is not None]).from_pretrained(folder, **more)
    made.set_progress_bar_config(disable=True)
    scheduler: Any = diffusers.DDIMScheduler
    made.scheduler = scheduler.from_config(
        made.scheduler.config, set_alpha_to_one=True, timestep_spacing="leading", steps_offset=1
    )
    return made


def theirs(pipe: Any, monkeypatch: pytest.MonkeyPatch, **ask: Any) -> Tensor:
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    module = __import__(type(pipe).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    latents = pipe.vae.encode(picture()[None] * 2 - 1).latent_dist.mode() * pipe.vae.config.scaling_factor
    if "XL" in type(pipe).__name__:
        ask |= {"original_size": (32, 32), "target_size": (32, 32)}
    if "ControlNet" in type(pipe).__name__:
        ask |= {"control_image": hint()[None], "controlnet_conditioning_scale": 0.7, "width": 32, "height": 32}
    ask = {"prompt": "a red house"} | ask
    with torch.inference_mode():
        return pipe(  # type: ignore[no-any-return]
            negative_prompt="fog", num_inference_steps=6, guidance_scale=4.0, strength=0.5,
            output_type="pt", image=latents.detach(), **ask,
        ).images[0]  # fmt: skip


def ours(folder: Path, frame: Any, **adapters: Any) -> Tensor:
    diffuser = load_diffuser(
        resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True, **adapters
    )
    return diffuser(picture(), frame, width=32, height=32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.long)])
@pytest.mark.parametrize("has_unit", [False, True])
def test_ip_adapter(
    family: str, has_unit: bool, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, folder = build(family), folders[family]
    weights = weights_of("plain", tiny.unet)
    save_file(weights, tmp_path / "ip.safetensors")
    encoder, seen = vision(tmp_path / "vision"), photograph(tmp_path / "a.png")
    network = network_of(tiny) if has_unit else None
    pipe = pipeline(
        family, folder, network, image_encoder=CLIPVisionModelWithProjection.from_pretrained(encoder),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )  # fmt: skip
    parts = ("image_proj", "ip_adapter")
    nested = {
        part: {name.removeprefix(f"{part}."): each for name, each in weights.items() if name.startswith(part)}
        for part in parts
    }
    pipe.load_ip_adapter(nested, subfolder="", weight_name="")
    pipe.set_ip_adapter_scale(0.6)
    want = theirs(pipe, monkeypatch, ip_adapter_image=Image.open(seen))
    controls: tuple[Any, ...] = ()
    if network is not None:
        network.save_pretrained(tmp_path / "net")
        controls = (control(unit_of(tmp_path / "net", folder), 0.7),)
    adapters = {"ip_adapters": ((tmp_path / "ip.safetensors", encoder),)}
    got = ours(folder, on(controls, images=(ImageWord(0, ((str(seen), 1.0),), 0.6),)), **adapters)
    assert (got - want).abs().max() < CLOSE < (got - ours(folder, on(controls))).abs().max()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.long)])
def test_lora(family: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs have the LoRA fused into their weights, by dense arithmetic: loading it as it is takes peft."""
    tiny, folder, path = build(family), folders[family], tmp_path / "a.safetensors"
    ends = (".lora_down.weight", ".lora_up.weight")
    pipe = pipeline(family, folder)
    pipe.unet = merged(pipe.unet, write(path, tiny.unet, lambda name: f"lora_unet_{flat(name)}", ends), 0.7)
    for number, part in enumerate(("text_encoder", "text_encoder_2")[: len(tiny.encoders)], 1):
        prefix = f"lora_te{number}_" if family == "sdxl" else "lora_te_"
        changes = write(path, tiny.encoders[number - 1], _named(prefix), ends)
        setattr(pipe, part, merged(getattr(pipe, part), changes, 0.7))
    want = theirs(pipe, monkeypatch)
    got = ours(folder, on((), loras=(LoraWord("a", 0.7, 0.7),)), loras=(("a", path),))
    assert (got - want).abs().max() < CLOSE < (got - ours(folder, on(()))).abs().max()


@pytest.mark.filterwarnings("ignore")
def test_textual_inversion(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two vectors, for which the library adds two tokens."""
    path, folder = tmp_path / "inkwash.safetensors", folders["sd1"]
    save_file({"emb_params": torch.randn(2, 32, generator=torch.Generator().manual_seed(2)) / 8}, path)
    pipe = pipeline("sd1", folder, tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"))  # one to change
    pipe.load_textual_inversion(str(path), token="inkwash")
    want = theirs(pipe, monkeypatch, prompt="a inkwash house")
    inversions = find_inversions(["a inkwash house"], str(tmp_path), (), resolve_model(str(folder)))
    asked = {"seed": 5, "steps": 6, "strength": 0.5, "cfg_scale": 4, "sampler": "DDIM"}
    painted: Any = frame(Prompt("a inkwash house", "fog"), **asked)  # type: ignore[arg-type]
    got = ours(folder, painted, inversions=inversions)
    assert (got - want).abs().max() < CLOSE < (got - ours(folder, painted)).abs().max()


def _named(prefix: str) -> Any:
    return lambda name: prefix + flat(name)
