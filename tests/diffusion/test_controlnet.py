"""Control units on tiny models: against diffusers' own pipelines and classes, and in every format of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.controlnet import Acting, acting
from deforum.diffusion.adapters.find import find_control
from deforum.diffusion.adapters.load import load_units
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.load import load_model
from deforum.diffusion.noise import starting_noise
from deforum.errors import UserError
from deforum.timeline.control import Control
from deforum.timeline.prompts import Prompt
from tests.diffusion.tiny import Tiny, build, frame, ldm_unet, picture

CPU = torch.device("cpu")
HINTS = (8, 16)  # the tiny autoencoders halve the size once
FAMILIES = ("sd1", "sd2", "sdxl")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tiny, Path]]:
    """Tiny models whose text has the width of the real ones, by which control models are told apart."""
    found = {}
    for family, width in (("sd1", 32), ("sd2", 32), ("sdxl", 80)):
        tiny = build(family, cross_attention_dim=width)
        found[family] = tiny, tiny.save_folder(tmp_path_factory.mktemp("base") / family)
    return found


def network_of(tiny: Tiny, seed: int = 3, **more: Any) -> Any:
    """A ControlNet of diffusers' class with random weights everywhere, also where real ones begin with zeros."""
    torch.manual_seed(seed)
    network = diffusers.ControlNetModel.from_unet(tiny.unet, conditioning_embedding_out_channels=HINTS, **more)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.08)
    return network.eval()


def ldm(network: Any, unet: Any, prefix: str = "control_model.") -> dict[str, torch.Tensor]:
    """Its weights in the layout of lllyasviel's files."""
    named = {}
    for key, weight in network.state_dict().items():
        if key.startswith("controlnet_cond_embedding."):
            rest = key.removeprefix("controlnet_cond_embedding.")
            last = 2 * (2 * (len(HINTS) - 1) + 1)
            name = rest.replace("conv_in", "0").replace("conv_out", str(last))
            if name.startswith("blocks."):
                _, number, leaf = name.split(".")
                name = f"{2 * int(number) + 2}.{leaf}"
            name = f"input_hint_block.{name}"
        elif key.startswith("controlnet_down_blocks."):
            _, number, leaf = key.split(".")
            name = f"zero_convs.{number}.0.{leaf}"
        elif key.startswith("controlnet_mid_block."):
            name = key.replace("controlnet_mid_block", "middle_block_out.0")
        else:
            name = ldm_unet(key, unet)
        named[prefix + name] = weight.clone()
    return named


def hint(shade: float = 1.0) -> torch.Tensor:
    """A control picture: a white cross, off the middle."""
    made = torch.zeros(3, 32, 32)
    made[:, 10:12], made[:, :, 20:22] = shade, shade
    return made


def diffuser_of(folder: Path, **options: Any) -> Diffuser:
    return load_diffuser(resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True, **options)


def unit_of(path: Path, base: Path) -> Any:
    source = find_control(str(path), resolve_model(str(base)))
    return load_units(((source,), torch.float32), CPU)[0]


def control(unit: Any, weight: float = 1.0, **more: Any) -> Control:
    return Control(**{"unit": unit, "picture": hint(), "weight": weight, "start": 0.0, "end": 1.0, **more})


def show(diffuser: Diffuser, init: Any, on: Any) -> torch.Tensor:
    return diffuser(init, on, width=32, height=32)


def on(controls: tuple[Control, ...], **more: Any) -> Any:
    asked = {"seed": 5, "steps": 6, "strength": 0.5, "cfg_scale": 4, "sampler": "DDIM", **more}
    return frame(Prompt("a red house", "fog"), controls=controls, **asked)


# --- the arithmetic ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("from_image", [True, False])
def test_same_picture_as_diffusers_pipeline(
    family: str,
    from_image: bool,
    bases: dict[str, tuple[Tiny, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny, folder = bases[family]
    network = network_of(tiny)
    network.save_pretrained(tmp_path)
    names = {
        (True, True): "StableDiffusionXLControlNetImg2ImgPipeline", (True, False): "StableDiffusionXLControlNetPipeline",
        (False, True): "StableDiffusionControlNetImg2ImgPipeline", (False, False): "StableDiffusionControlNetPipeline",
    }  # fmt: skip
    is_xl = family == "sdxl"
    more = {} if is_xl else {"safety_checker": None, "feature_extractor": None}
    pipe = getattr(diffusers, names[is_xl, from_image]).from_pretrained(folder, controlnet=network, **more)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, set_alpha_to_one=True, timestep_spacing="leading", steps_offset=1
    )
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    module = __import__(type(pipe).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    init, ask = None, {"image": hint()[None], "width": 32, "height": 32}
    if from_image:
        init = picture()
        latents = pipe.vae.encode(init[None] * 2 - 1).latent_dist.mode() * pipe.vae.config.scaling_factor
        ask |= {"image": latents.detach(), "control_image": hint()[None], "strength": 0.5}
        ask |= {"original_size": (32, 32), "target_size": (32, 32)} if is_xl else {}
    with torch.inference_mode():
        theirs = pipe(
            prompt="a red house", negative_prompt="fog", num_inference_steps=6, guidance_scale=4.0, output_type="pt",
            controlnet_conditioning_scale=0.7, **ask,
        ).images[0]  # fmt: skip
    diffuser = diffuser_of(folder)
    ours = show(diffuser, init, on((control(unit_of(tmp_path, folder), 0.7),)))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, show(diffuser, init, on(())), atol=1e-2)


def _to_folder(tiny: Tiny, network: Any, folder: Path) -> Path:
    network.save_pretrained(folder / "net")
    return folder / "net"


def _to_file(names: Callable[[Tiny, Any], dict[str, torch.Tensor]], suffix: str = ".safetensors") -> Any:
    def write(tiny: Tiny, network: Any, folder: Path) -> Path:
        path = folder / f"net{suffix}"
        weights = {name: weight.contiguous() for name, weight in names(tiny, network).items()}
        if suffix == ".safetensors":
            save_file(weights, path)
        else:
            torch.save(weights, path)
        return path

    return write


FORMATS = {
    "diffusers folder": _to_folder,
    "diffusers file": _to_file(lambda tiny, network: dict(network.state_dict())),
    "lllyasviel": _to_file(lambda tiny, network: ldm(network, tiny.unet)),
    "without prefix": _to_file(lambda tiny, network: ldm(network, tiny.unet, "")),
    "with the whole model": _to_file(
        lambda tiny, network: tiny.ldm() | ldm(network, tiny.unet)
        | {"difference": torch.zeros(1)}  # of files that hold what to add to a model
    ),
    ".pth": _to_file(lambda tiny, network: ldm(network, tiny.unet), ".pth"),
    "half precision": _to_file(lambda tiny, network: {k: v.half() for k, v in ldm(network, tiny.unet).items()}),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("written", FORMATS)
def test_every_format_gives_the_network_that_was_written(
    written: str, family: str, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path
) -> None:
    tiny, folder = bases[family]
    network = network_of(tiny)
    unit = unit_of(FORMATS[written](tiny, network, tmp_path), folder)
    x, tokens, time = (
        torch.randn(2, 4, 16, 16),
        torch.randn(2, 77, tiny.unet.config.cross_attention_dim),
        torch.tensor([9.0, 400.0]),
    )
    more = {"text_embeds": torch.randn(2, 48), "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]]).repeat(2, 1)}
    added = {"added_cond_kwargs": more} if family == "sdxl" else {}
    pictures = torch.stack([hint(), hint(0.5)])
    with torch.inference_mode():
        joined, middle = network(x, time, tokens, pictures, return_dict=False, **added)
        inputs = SimpleNamespace(tokens=tokens, pooled=None, sizes=None)
        if added:
            inputs = SimpleNamespace(tokens=tokens, pooled=more["text_embeds"], sizes=more["time_ids"])
        ours = unit.evaluate(unit.spread(unit.see(pictures), torch.tensor([0, 1])), x, time, inputs)
    close = 3e-2 if written == "half precision" else 1e-4
    for one, other in zip(ours, (*joined, middle), strict=True):
        assert torch.allclose(one, other, atol=close)


def test_a_network_of_an_unusual_form_is_the_librarys(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sdxl"]
    torch.manual_seed(1)
    config = dict(tiny.configs["unet/config.json"]) | {"down_block_types": ["DownBlock2D", "DownBlock2D"]}
    keys = ("in_channels", "down_block_types", "block_out_channels", "layers_per_block", "norm_num_groups",
            "cross_attention_dim", "attention_head_dim", "addition_embed_type", "addition_time_embed_dim",
            "projection_class_embeddings_input_dim", "use_linear_projection")  # fmt: skip
    small = diffusers.ControlNetModel(
        **{key: config[key] for key in keys if key in config},
        conditioning_embedding_out_channels=HINTS, mid_block_type="UNetMidBlock2D",
    )  # fmt: skip
    for weight in small.parameters():
        torch.nn.init.normal_(weight, std=0.08)
    small.save_pretrained(tmp_path / "folder")
    save_file(ldm_free(small), tmp_path / "net.safetensors")
    plain, pictures = show(diffuser_of(folder), picture(), on(())), []
    for path in (tmp_path / "folder", tmp_path / "net.safetensors"):
        pictures.append(show(diffuser_of(folder), picture(), on((control(unit_of(path, folder)),))))
    assert torch.equal(*pictures) and not torch.allclose(pictures[0], plain, atol=1e-3)


def ldm_free(network: Any) -> dict[str, torch.Tensor]:
    return {name: weight.contiguous() for name, weight in network.state_dict().items()}


def test_control_lora_is_the_unet_with_its_matrices(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network = network_of(tiny)
    torch.manual_seed(2)
    base, whole, stored = tiny.unet.state_dict(), network.state_dict(), {"lora_controlnet": torch.zeros(())}
    for name in list(whole):
        if name in base and whole[name].ndim > 1:
            up, down = torch.randn(len(base[name]), 2) * 0.05, torch.randn(2, base[name][0].numel()) * 0.05
            whole[name] = base[name] + (up @ down).view(base[name].shape)
            stem = f"{ldm_unet(name, tiny.unet)}".removesuffix(".weight")
            stored |= {f"{stem}.up": up, f"{stem}.down": down.view(2, *base[name].shape[1:])}
        elif name in base:
            whole[name] = base[name]
    network.load_state_dict(whole)
    stored |= {k: v for k, v in ldm(network, tiny.unet, "").items() if "hint" in k or "zero_c" in k or "block_out" in k}
    path = tmp_path / "lora.safetensors"
    save_file({name: weight.contiguous() for name, weight in stored.items()}, path)
    network.save_pretrained(tmp_path / "whole")
    pictures = [
        show(diffuser_of(folder), picture(), on((control(unit_of(each, folder)),)))
        for each in (path, tmp_path / "whole")
    ]
    assert torch.allclose(*pictures, atol=1e-4)
    assert find_control(str(path), resolve_model(str(folder))).kind == "control-lora"


@pytest.mark.filterwarnings("ignore")
def test_union_is_that_of_diffusers(
    bases: dict[str, tuple[Tiny, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, folder = bases["sdxl"]
    torch.manual_seed(4)
    network = diffusers.ControlNetUnionModel.from_unet(tiny.unet) if False else diffusers.ControlNetUnionModel(
        in_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), block_out_channels=(32, 64),
        layers_per_block=1, norm_num_groups=8, cross_attention_dim=80, attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=96,
        conditioning_embedding_out_channels=HINTS, num_control_type=6, num_trans_channel=32, num_trans_head=4,
        num_proj_channel=32,
    )  # fmt: skip
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.08)
    network.eval().save_pretrained(tmp_path)
    pipe = diffusers.StableDiffusionXLControlNetUnionImg2ImgPipeline.from_pretrained(folder, controlnet=network)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, set_alpha_to_one=True, timestep_spacing="leading", steps_offset=1
    )
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    module = __import__(type(pipe).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    latents = pipe.vae.encode(picture()[None] * 2 - 1).latent_dist.mode() * pipe.vae.config.scaling_factor
    with torch.inference_mode():
        theirs = pipe(
            prompt="a red house", negative_prompt="fog", num_inference_steps=6, guidance_scale=4.0, output_type="pt",
            image=latents.detach(), control_image=[hint()[None]], control_mode=[3], strength=0.5,
            original_size=(32, 32), target_size=(32, 32), width=32, height=32,
        ).images[0]  # fmt: skip
    source = find_control(str(tmp_path), resolve_model(str(folder)))
    assert source.kind == "union"
    [unit] = load_units(((source.for_task(3),), torch.float32), CPU)
    ours = show(diffuser_of(folder), picture(), on((control(unit),)))
    assert torch.allclose(ours, theirs, atol=1e-4)


ADAPTERS = {
    "sd1": {
        "channels": [32, 64],
        "in_channels": 3,
        "num_res_blocks": 2,
        "downscale_factor": 2,
        "adapter_type": "full_adapter",
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_file", [False, True])
def test_t2i_adapter_is_that_of_diffusers(
    is_file: bool, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, folder = bases["sd1"]
    torch.manual_seed(6)
    network = diffusers.T2IAdapter(**ADAPTERS["sd1"])
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    network.eval().save_pretrained(tmp_path)
    if is_file:  # TencentARC's layout, whose blocks are counted through all levels; here beside the configuration
        first = {}
        for name, weight in network.state_dict().items():
            parts = name.removeprefix("adapter.").split(".")
            if parts[0] == "body" and parts[2] == "resnets":
                parts = ["body", str(2 * int(parts[1]) + int(parts[3])), *parts[4:]]
            elif parts[0] == "body":
                parts[1] = str(2 * int(parts[1]))
            first[".".join(parts)] = weight.clone()
        save_file(first, tmp_path / "diffusion_pytorch_model.safetensors")
    pipe = diffusers.StableDiffusionAdapterPipeline.from_pretrained(
        folder, adapter=network, safety_checker=None, feature_extractor=None
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, set_alpha_to_one=True, timestep_spacing="leading", steps_offset=1
    )
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    module = __import__(type(pipe).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    with torch.inference_mode():
        theirs = pipe(
            prompt="a red house", negative_prompt="fog", image=hint()[None], num_inference_steps=6, guidance_scale=4.0,
            output_type="pt", width=32, height=32, adapter_conditioning_scale=0.6,
        ).images[0]  # fmt: skip
    diffuser = diffuser_of(folder)
    ours = show(diffuser, None, on((control(unit_of(tmp_path, folder), 0.6),)))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, show(diffuser, None, on(())), atol=1e-3)
