"""Control units on tiny models: against diffusers' own pipelines and classes, and in every format of files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors.torch import save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.controlnet import Acting, Controls, Inputs, _Prepared, acting
from deforum.diffusion.adapters.find import _adapter_config, find_control
from deforum.diffusion.adapters.load import load_units
from deforum.diffusion.adapters.names import adapter_names, todays_names
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.find import CONFIGS
from deforum.diffusion.families.load import load_model
from deforum.diffusion.networks.controlnet import ControlNet
from deforum.diffusion.networks.files import Config
from deforum.diffusion.networks.packed import PackedControlNet, PackedUNet
from deforum.diffusion.noise import starting_noise
from deforum.errors import UserError
from deforum.models.branches import adapting
from deforum.models.captured import Captured
from deforum.models.room import Room
from deforum.models.weights import Header
from deforum.timeline.control import Control
from deforum.timeline.image_tracks import INIT, ReferenceWord
from tests.diffusion.tiny import Tiny, frame, ldm_unet, picture, tokenizers_of
from tests.diffusion.units import HINTS, control, hint, network_of, on, unit_of

CPU = torch.device("cpu")
FAMILIES = ("sd1", "sd2", "sdxl")


@pytest.fixture(scope="module")
def bases(models: dict[str, Tiny], folders: dict[str, Path]) -> dict[str, tuple[Tiny, Path]]:
    return {family: (models[family], folders[family]) for family in FAMILIES}


def ldm(network: Any, unet: Any, prefix: str = "control_model.") -> dict[str, torch.Tensor]:
    """Its weights in the layout of lllyasviel's files."""
    named = {}
    for key, weight in network.state_dict().items():
        if key.startswith("controlnet_cond_embedding."):
            rest = key.removeprefix("controlnet_cond_embedding.")
            last = 2 * (len(network.controlnet_cond_embedding.blocks) + 1)
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
        named[prefix + name] = weight if weight.is_meta else weight.clone()
    return named


def diffuser_of(folder: Path, **options: Any) -> Diffuser:
    return load_diffuser(resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True, **options)


def show(diffuser: Diffuser, init: Any, on: Any) -> torch.Tensor:
    return diffuser(init, on, width=32, height=32)


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
        (True, True): "StableDiffusionXLControlNetImg2ImgPipeline",
        (True, False): "StableDiffusionXLControlNetPipeline",
        (False, True): "StableDiffusionControlNetImg2ImgPipeline",
        (False, False): "StableDiffusionControlNetPipeline",
    }
    is_xl = family == "sdxl"
    more = {} if is_xl else {"safety_checker": None, "feature_extractor": None}
    pipe = getattr(diffusers, names[is_xl, from_image]).from_pretrained(
        folder, controlnet=network, **tokenizers_of(family), **more
    )
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


def _to_shards(tiny: Tiny, network: Any, folder: Path) -> Path:
    network.save_pretrained(folder / "net", max_shard_size="200KB")
    assert len(list((folder / "net").glob("*-of-*.safetensors"))) > 1
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
    "several files": _to_shards,
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
    folder = bases["sdxl"][1]
    torch.manual_seed(4)
    network = diffusers.ControlNetUnionModel(
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
    pipe = diffusers.StableDiffusionXLControlNetUnionImg2ImgPipeline.from_pretrained(
        folder, controlnet=network, **tokenizers_of("sdxl")
    )
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
            controlnet_conditioning_scale=1.0,
            original_size=(32, 32), target_size=(32, 32), width=32, height=32,
        ).images[0]  # fmt: skip
    source = find_control(str(tmp_path), resolve_model(str(folder)))
    assert source.kind == "union"
    [unit] = load_units(((source.for_task(3),), torch.float32), CPU)
    ours = show(diffuser_of(folder), picture(), on((control(unit),)))
    assert torch.allclose(ours, theirs, atol=1e-4)
    # A file alone says the number of kinds by its weights.
    [file] = tmp_path.glob("*.safetensors")
    alone = find_control(str(file.rename(tmp_path.with_name("union.safetensors"))), resolve_model(str(folder)))
    assert (alone.kind, alone.config["num_control_type"], alone.config["num_trans_channel"]) == ("union", 6, 32)


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
    folder = bases["sd1"][1]
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
        folder, adapter=network, **tokenizers_of("sd1"), safety_checker=None, feature_extractor=None
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
            output_type="np", width=32, height=32, adapter_conditioning_scale=0.6,
        ).images[0]  # fmt: skip
    diffuser = diffuser_of(folder)
    ours = show(diffuser, None, on((control(unit_of(tmp_path, folder), 0.6),)))
    assert torch.allclose(ours, torch.from_numpy(theirs).permute(2, 0, 1), atol=1e-4)  # it knows no tensors
    assert not torch.allclose(ours, show(diffuser, None, on(())), atol=1e-3)


# --- when and how strongly --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "steps", "wanted"),
    [
        (0, 1, 4, [0, 1, 2, 3]),
        (0, 0, 4, [0]),  # both ends are included
        (0, 0.5, 4, [0, 1, 2]),
        (0.5, 1, 4, [2, 3]),
        (0.5, 0.5, 4, [2]),
        (0.51, 0.74, 4, []),
        (1, 1, 4, []),  # n / N is never 1
        (0.2, 0.6, 10, [2, 3, 4, 5, 6]),
        (0.3, 0.3, 10, [3]),  # as numbers that binary fractions do not hold
        (0, 1, 1, [0]),
    ],
)
def test_the_range_of_steps_includes_its_ends(start: float, end: float, steps: int, wanted: list[int]) -> None:
    sigmas = [float(2 ** (4 - i)) for i in range(steps)] + [0.0]
    [found] = acting((Control(None, hint(), 0.8, start, end),), sigmas)
    assert [n for n in range(steps) if found.at(sigmas[n])] == wanted
    # A solver that looks between two levels is within the earlier one's step.
    assert [n for n in range(steps) if found.at((sigmas[n] * max(sigmas[n + 1], 0.01)) ** 0.5)] == wanted
    assert {found.at(sigma) for sigma in sigmas} <= {0.0, 0.8}


def residuals(unit: Any, priority: Any, weight: float = 1.0, *, mask: Any = None, cfg_rows: int = 2) -> Any:
    """What a unit adds to two rows, the first of a negative prompt, at a step at which it acts."""
    torch.manual_seed(0)
    inputs = Inputs(torch.randn(cfg_rows, 77, 32))
    controls = (Acting(Control(unit, hint(), weight, 0.0, 1.0, priority, mask), 0.0, 100.0),)
    x, time = torch.randn(cfg_rows, 4, 16, 16), torch.full((cfg_rows,), 300.0)
    with torch.inference_mode():
        found = Controls([controls], [True, False][-cfg_rows:], inputs, torch.float32, CPU)
        return found.at(x, time, 1.0)


def test_priorities_weigh_residuals_as_the_web_ui_does(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    unit = unit_of(tmp_path, folder)
    plain, soft, control_first = (residuals(unit, each).residuals for each in ("balanced", "prompt", "control"))
    last = len(plain) - 1
    for index, (one, other, third) in enumerate(zip(plain, soft, control_first, strict=True)):
        assert torch.allclose(other, one * 0.825 ** (last - index), rtol=1e-5)
        assert torch.allclose(third[1], other[1], atol=1e-6) and not third[0].any()  # the prompt's half alone
    assert torch.allclose(residuals(unit, "balanced", 0.3).residuals[1], plain[1] * 0.3, atol=1e-6)


@pytest.mark.parametrize(("count", "first", "step"), [(13, 12, 1), (10, 12, 1), (8, 7, 1), (25, 12, 0.5)])
def test_soft_weights_of_published_networks(count: int, first: int, step: float) -> None:
    found = _Prepared(
        SimpleNamespace(is_feature=False), (SimpleNamespace(control=Control(None, hint(), 1, 0, 1, "prompt")),),  # type: ignore[arg-type]
        None, (), Inputs(hint()), None, None,
    )._factors(count)  # fmt: skip
    assert found == pytest.approx([0.825 ** (first - step * i) for i in range(count)])


def test_a_mask_keeps_a_unit_to_its_region(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    unit, mask = unit_of(tmp_path, folder), torch.zeros(32, 32)
    mask[:, 16:] = 1
    plain, masked = residuals(unit, "balanced").residuals, residuals(unit, "balanced", mask=mask).residuals
    for one, other in zip(plain, masked, strict=True):
        half = one.shape[3] // 2
        assert not other[..., :half].any() and torch.equal(other[..., half:], one[..., half:])


def test_a_style_network_acts_by_means_on_the_prompt_alone(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path / "plain")
    save_file(ldm(network_of(tiny), tiny.unet), tmp_path / "control_v11e_sd15_shuffle.safetensors")
    plain = residuals(unit_of(tmp_path / "plain", folder), "balanced").residuals
    pooled = residuals(unit_of(tmp_path / "control_v11e_sd15_shuffle.safetensors", folder), "balanced").residuals
    for one, other in zip(plain, pooled, strict=True):
        mean = one[1].mean((1, 2), keepdim=True).expand_as(one[1])
        assert torch.allclose(other[1], mean, atol=1e-5) and not other[0].any()


def test_a_frame_of_a_batch_is_what_it_is_alone(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    unit, diffuser = unit_of(tmp_path, folder), diffuser_of(folder)
    frames = [
        on((), index=0),
        on((control(unit),), index=1),
        on((control(unit, 0.4, picture=hint(0.5), end=0.3),), index=2),
        on((control(unit, priority="prompt"), control(unit, 0.2)), index=3),
        on((), index=4),
    ]
    together = diffuser.diffuse_batch([picture()] * 5, frames, width=32, height=32)
    for each, made in zip(frames, together, strict=True):
        assert torch.allclose(made, show(diffuser, picture(), each), atol=2e-5)
    assert torch.equal(together[0], together[4])
    assert not torch.allclose(together[1], together[2], atol=1e-3)


@pytest.mark.parametrize("steps", [2, 3])
def test_cached_steps_get_the_residuals_of_their_level(
    steps: int, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path
) -> None:
    """Both our UNet and the library's: between full evaluations the first level alone is computed."""
    pictures = []
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path / "net")
    tiny.save_file(tmp_path / "whole.safetensors")
    unit = unit_of(tmp_path / "net", folder)
    source = resolve_model(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        for library in (False, True):
            if library:
                patch.setattr("deforum.diffusion.families.parts.read_part", lambda *_: None)
            model = load_model(source, "cpu", "fp32", step_cache=steps)
            diffuser = Diffuser(model, exact_step_count=True)
            pictures.append(show(diffuser, picture(), on((control(unit),))))
    assert torch.allclose(*pictures, atol=1e-4)
    full = show(diffuser_of(folder), picture(), on((control(unit),)))
    plain = show(
        Diffuser(load_model(source, "cpu", "fp32", step_cache=steps), exact_step_count=True), picture(), on(())
    )
    assert not torch.allclose(pictures[0], plain, atol=1e-3) and not torch.equal(pictures[0], full)


def test_half_precision_and_a_retry_in_float32(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    source = find_control(str(tmp_path), resolve_model(str(folder)))
    [half] = load_units(((source,), torch.bfloat16), CPU)
    right = show(diffuser_of(folder), picture(), on((control(unit_of(tmp_path, folder)),)))
    diffuser = load_diffuser(resolve_model(str(folder)), device="cpu", precision="bf16", exact_step_count=True)
    assert {module.dtype for module in half.modules} == {torch.bfloat16} == {
        diffuser.dtype
    } or diffuser.dtype == torch.float32
    made = show(diffuser, picture(), on((control(half),)))
    assert torch.allclose(made, right, atol=0.1) and not torch.equal(made, right)
    # Values beyond the range of a half: once in float32, the picture is there.
    broken = [True]

    def overflow(module: Any, given: Any, made: Any) -> Any:
        if broken and module.dtype != torch.float32:
            return tuple(torch.full_like(each, torch.inf) for each in made)
        return made

    with torch.no_grad():
        handle = half.network.register_forward_hook(overflow)
    assert torch.isfinite(show(diffuser, picture(), on((control(half),)))).all()
    handle.remove()
    assert {module.dtype for module in half.modules} == {torch.bfloat16}


def test_packed_networks_give_the_same(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    unit = unit_of(tmp_path, folder)
    torch.manual_seed(0)
    x, time, tokens = torch.randn(2, 4, 16, 16), torch.tensor([9.0, 800.0]), torch.randn(2, 77, 32)
    with torch.inference_mode():
        seen = unit.see(torch.stack([hint(), hint(0.4)]))
        plain = unit.network(x, time, tokens, seen)
        for one, other in zip(plain, PackedControlNet(unit.network)(x, time, tokens, None, seen), strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        model: Any = load_model(resolve_model(str(folder)), "cpu", "fp32")
        features = [torch.randn(2, 32, 16, 16), torch.randn(2, 64, 8, 8)]
        for residuals, levels in ((plain, ()), ((), features), (plain, features)):
            middle = residuals[-1] if residuals else None
            right = model.unet(x, time, tokens, None, residuals[:-1], middle, levels).sample
            found = PackedUNet(model.unet)(x, time, tokens, None, *residuals, *levels)
            assert torch.allclose(found, right, atol=1e-5)
            theirs = tiny.unet(
                x, time, tokens, down_block_additional_residuals=residuals[:-1] or None,
                mid_block_additional_residual=middle,
                down_intrablock_additional_residuals=list(levels) or None,
            ).sample  # fmt: skip
            assert torch.allclose(theirs, right, atol=1e-5)


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_unit_reads_the_prompt_without_pictures(
    is_packed: bool, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path
) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    unit = unit_of(tmp_path, folder)
    if is_packed:
        unit = replace(unit, run=PackedControlNet(unit.network))
    torch.manual_seed(0)
    x, time, tokens, pictures = torch.randn(2, 4, 16, 16), torch.ones(2), torch.randn(2, 7, 32), torch.randn(2, 3, 32)
    with torch.inference_mode():
        seen = unit.see(torch.stack([hint(), hint(0.4)]))
        right = unit.evaluate(seen, x, time, Inputs(tokens))
        with adapting({"images": (("ip0", 1, 0.5), ("ip1", 2, 0.5))}):
            found = unit.evaluate(seen, x, time, Inputs(torch.cat([tokens, pictures], dim=1)))
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(found, right, strict=True))


def test_a_unit_does_not_act_on_a_reference(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    """What is where in the frame is not what is where in the reference."""
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    unit = unit_of(tmp_path, folder)
    diffuser, calls = diffuser_of(folder, sees_references=True), list[int]()
    word = ReferenceWord(INIT, 1.0, 0.5)
    handle = unit.network.register_forward_hook(lambda *_: calls.append(1))
    both = show(diffuser, picture(), on((control(unit),), reference=word))
    handle.remove()
    assert len(calls) == 3  # the steps of strength 0.5
    for other in (on((control(unit),)), on((), reference=word)):
        assert (both - show(diffuser, picture(), other)).abs().max() > 1e-4


@pytest.mark.parametrize("mode", ["low", "lowest"])
@pytest.mark.parametrize("kind", ["controlnet", "t2i"])
def test_units_that_wait_on_the_host_give_the_same(
    kind: str, mode: Any, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFORUM_OPENVINO", "off")  # what waits runs in its plain form, which differs by rounding
    tiny, folder = bases["sd1"]
    if kind == "t2i":
        torch.manual_seed(6)
        adapter: Any = diffusers.T2IAdapter(**ADAPTERS["sd1"])
        adapter.save_pretrained(tmp_path)
    else:
        network_of(tiny).save_pretrained(tmp_path)
    monkeypatch.setattr("deforum.diffusion.networks.packed.is_supported", lambda: False)
    diffuser = diffuser_of(folder)
    wanted = show(diffuser, picture(), on((control(unit_of(tmp_path, folder)),)))
    room = Room(CPU, lambda: 0, moves=True, mode=mode)
    monkeypatch.setattr("deforum.diffusion.adapters.load.room_of", lambda device: room)
    unit = unit_of(tmp_path, folder)
    assert any(hasattr(part, "_hf_hook") for module in unit.modules for part in module.modules())
    for _ in range(2):
        assert torch.equal(show(diffuser, picture(), on((control(unit),))), wanted)


def test_a_unit_that_does_not_fit_beside_the_model_waits_on_the_host(
    bases: dict[str, tuple[Tiny, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, folder = bases["sd1"]
    network_of(tiny).save_pretrained(tmp_path)
    for free, mode in ((1000, "low"), (10**9, "full"), (0, "full")):  # 0: not known
        room = Room(CPU, lambda free=free: free, moves=True)  # type: ignore[misc]
        monkeypatch.setattr("deforum.diffusion.adapters.load.room_of", lambda device, room=room: room)
        unit_of(tmp_path, folder)
        assert room.mode == mode


def test_recorded_networks_take_and_give_residuals(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    """As with CUDA graphs: what is recorded at the second use of a shape is repeated on the same addresses."""
    tiny, folder = bases["sdxl"]
    network_of(tiny).save_pretrained(tmp_path)
    recorded = []

    def record(work: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        work()  # as a recording does, to warm up
        result = work()
        recorded.append(work)
        leaves = result if isinstance(result, tuple) else (result.sample,)

        def replay() -> None:
            again = work()
            for place, value in zip(leaves, again if isinstance(again, tuple) else (again.sample,), strict=True):
                place.copy_(value)

        return replay, result

    unit = unit_of(tmp_path, folder)
    wanted = show(diffuser_of(folder), picture(), on((control(unit),)))
    model = load_model(resolve_model(str(folder)), "cpu", "fp32")
    model = model.wrapped(lambda network: Captured(network, "the UNet", record=record))
    fast = dataclasses.replace(unit, network=(net := Captured(unit.network, "the ControlNet", record=record)))
    fast = dataclasses.replace(fast, run=lambda x, time, tokens, guidance, *rest: net(x, time, tokens, *rest))
    diffuser = Diffuser(model, exact_step_count=True)
    for _ in range(2):
        assert torch.allclose(show(diffuser, picture(), on((control(fast),))), wanted, atol=1e-5)
    assert len(recorded) == 2


# --- files that are something else ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"lllite_unet_x.weight": 1}, "ControlNet-LLLite"),
        ({"image_proj.proj.weight": 1}, "an IP-Adapter"),
        ({"model.diffusion_model.x.weight": 1}, "a whole diffusion model"),
        ({"lora_unet_x.lora_up.weight": 1}, "a LoRA"),
        ({"controlnet_x_embedder.weight": 1}, "made for Flux.1; the model is Stable Diffusion 1.x"),
        ({"something": 1}, "no control model was found"),
    ],
)
def test_other_files_are_named(
    weights: dict[str, int], says: str, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    save_file({name: torch.zeros(2, 2) for name in weights}, path)
    with pytest.raises(UserError, match=says):
        find_control(str(path), resolve_model(str(bases["sd1"][1])))


def test_a_unit_of_another_family_is_refused(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    for made, given in (("sd1", "sdxl"), ("sdxl", "sd1")):
        network_of(bases[made][0]).save_pretrained(tmp_path / made)
        with pytest.raises(UserError, match="made for another model; the model is Stable Diffusion"):
            find_control(str(tmp_path / made), resolve_model(str(bases[given][1])))
    with pytest.raises(UserError, match="acts on the embedded diffusion model alone"):
        find_control("embedded", resolve_model(str(bases["sd1"][1])))
    with pytest.raises(UserError, match="there is no ControlNet"):
        find_control("control_sd15_canny [fef5e48e]", resolve_model(str(bases["sd1"][1])))


def test_a_missing_file_of_several_is_an_error(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, base = bases["sd1"]
    [first, *rest] = sorted(_to_shards(tiny, network_of(tiny), tmp_path).glob("*-of-*.safetensors"))
    for lost in (rest[-1], first):
        lost.unlink()
        with pytest.raises(UserError, match=rf"of {len(rest) + 1} files of its weights are missing, .*-000"):
            find_control(str(tmp_path / "net"), resolve_model(str(base)))


def test_missing_weights_are_an_error(bases: dict[str, tuple[Tiny, Path]], tmp_path: Path) -> None:
    tiny, folder = bases["sd1"]
    weights = ldm(network_of(tiny), tiny.unet)
    weights.pop("control_model.zero_convs.1.0.weight")
    save_file(weights, tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"lacks 1 weights, among them controlnet_down_blocks\.1\.weight"):
        unit_of(tmp_path / "net.safetensors", folder)


def test_names_are_found_as_the_web_ui_finds_them(
    bases: dict[str, tuple[Tiny, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, folder = bases["sd1"]
    base = resolve_model(str(folder))
    (tmp_path / "models/ControlNet/v11").mkdir(parents=True)
    for name in ("v11/control_v11p_sd15_canny", "control_v11p_sd15_canny_fp16", "control_v11f1p_sd15_depth"):
        save_file(ldm(network_of(tiny), tiny.unet), tmp_path / f"models/ControlNet/{name}.safetensors")
    monkeypatch.chdir(tmp_path)
    for written, stem in {
        "control_v11p_sd15_canny [d14c016b]": "control_v11p_sd15_canny",
        "control_v11p_sd15_canny_fp16": "control_v11p_sd15_canny_fp16",
        "Canny": "control_v11p_sd15_canny",  # a part of the name: the shortest one
        "control_v11f1p_sd15_depth.safetensors": "control_v11f1p_sd15_depth",
    }.items():
        assert find_control(written, base).file.stem == stem


# --- the real layouts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_real_size_have_the_weights_of_the_real_files(family: str) -> None:
    """Names and shapes of diffusers' class, which reads the published files, and the names of lllyasviel's layout."""
    config = json.loads((CONFIGS / family / "unet" / "config.json").read_text())
    keys = ("in_channels", "down_block_types", "block_out_channels", "layers_per_block", "cross_attention_dim",
            "attention_head_dim", "use_linear_projection", "addition_embed_type", "addition_time_embed_dim",
            "projection_class_embeddings_input_dim", "transformer_layers_per_block")  # fmt: skip
    made = {key: config[key] for key in keys if config.get(key) is not None}
    with torch.device("meta"):
        theirs = diffusers.ControlNetModel(**made)
        ours = ControlNet(Config(made))
    shapes = {name: tuple(weight.shape) for name, weight in theirs.state_dict().items()}
    assert {name: tuple(weight.shape) for name, weight in ours.state_dict().items()} == shapes
    # The published files have the names of the training code, which diffusers' converter reads too.
    original = ldm(theirs, SimpleNamespace(config=SimpleNamespace(**made)), "control_model.")
    assert len(original) == len(shapes) == REAL_COUNTS[family]
    converted = convert_controlnet_checkpoint(dict(original), dict(theirs.config))  # type: ignore[no-untyped-call]
    named = todays_names(original, made)
    assert set(named.values()) == set(shapes)
    # (It leaves out the conditioning on sizes.)
    read = {name: todays for name, todays in named.items() if not todays.startswith("add_embedding")}
    assert set(read.values()) == set(converted)
    assert all(converted[todays] is original[name] for name, todays in read.items())


REAL_COUNTS = {"sd1": 340, "sd2": 340, "sdxl": 844}
"""Tensors in the published files."""


@pytest.mark.parametrize(
    ("kind", "channels", "cell"),
    [("full_adapter", [320, 640, 1280, 1280], 8), ("full_adapter_xl", [320, 640, 1280, 1280], 16),
     ("light_adapter", [320, 640, 1280], 8)],
)  # fmt: skip
def test_adapters_of_real_size_are_known_by_their_weights(
    kind: str, channels: list[int], cell: int, bases: dict[str, tuple[Tiny, Path]], tmp_path: Path
) -> None:
    blocks = 4 if kind == "light_adapter" else 2
    made: Any = diffusers.T2IAdapter
    with torch.device("meta"):
        network = made(
            in_channels=3, channels=channels, num_res_blocks=blocks, downscale_factor=cell, adapter_type=kind
        )
    named = {}
    for name in network.state_dict():  # as TencentARC's files have them
        level, *rest = name.removeprefix("adapter.body.").split(".")
        if not level.isdecimal():
            named[name.removeprefix("adapter.")] = name
        elif kind == "light_adapter":
            named[".".join(["body", level, *("body" if part == "resnets" else part for part in rest)])] = name
        elif rest[0] == "resnets":
            named[".".join(["body", str(2 * int(level) + int(rest[1])), *rest[2:]])] = name
        else:
            named[".".join(["body", str(2 * int(level)), *rest])] = name
    assert adapter_names(named) == named
    assert adapter_names(network.state_dict()) == {name: name for name in network.state_dict()}
    shapes = {old: tuple(network.state_dict()[new].shape) for old, new in named.items()}
    config = _adapter_config(Header(shapes, {}))
    wanted = {"adapter_type": kind, "channels": channels, "num_res_blocks": blocks, "downscale_factor": cell}
    assert config == {**wanted, "in_channels": 3}
