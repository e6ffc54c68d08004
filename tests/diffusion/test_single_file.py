"""Single files of every kind, small ones in the real layouts: each paints as it should, or is refused in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.load import load_model
from deforum.diffusion.families.model import Conditioning, Model, Pull
from deforum.diffusion.prompts.encode import Embedding
from deforum.errors import UserError
from tests.diffusion.tiny import Tiny, build, frame

Weights = dict[str, torch.Tensor]
NETWORK = "model.diffusion_model."


@pytest.fixture(scope="session")
def configs(models: dict[str, Tiny], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("configs")
    return {family: model.save_configs(root / family) for family, model in models.items()}


def found(path: Path, config: Path, prediction: str | None = None) -> ModelSource:
    """The model of a file; a tiny one needs its own configs in place of the shipped ones."""
    return dataclasses.replace(resolve_model(str(path), prediction=prediction), config=config)


def saved(weights: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file({key: value.contiguous() for key, value in weights.items()}, path, metadata)
    return path


def paint(source: ModelSource) -> torch.Tensor:
    diffuser = load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True)
    return diffuser(None, frame(steps=2.0), width=32, height=32)


# --- what a file predicts ---------------------------------------------------------------------------------------------

EMPTY = torch.zeros(0)
SAYS: dict[str, tuple[Weights, dict[str, str], str, str | None, bool]] = {
    # tensors, metadata, text of the .yaml, prediction, zero terminal SNR
    "nothing": ({}, {}, "", None, False),
    "v_pred": ({"v_pred": EMPTY}, {}, "", "v_prediction", False),
    "ztsnr": ({"v_pred": EMPTY, "ztsnr": EMPTY}, {}, "", "v_prediction", True),
    "kohya v": ({}, {"ss_v_parameterization": "True"}, "", "v_prediction", False),
    "kohya epsilon": ({}, {"ss_v_parameterization": "False"}, "", "epsilon", False),
    "kohya snr": ({}, {"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"}, "", "v_prediction", True),
    "modelspec v": ({}, {"modelspec.prediction_type": "v"}, "", "v_prediction", False),
    "modelspec epsilon": ({}, {"modelspec.prediction_type": "epsilon"}, "", "epsilon", False),
    "predict_key v": ({}, {"modelspec.predict_key": "v"}, "", "v_prediction", False),
    "predict_key epsilon": ({}, {"modelspec.predict_key": "epsilon"}, "", "epsilon", False),
    "architecture": ({}, {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "", "v_prediction", False),
    "other architecture": ({}, {"modelspec.architecture": "stable-diffusion-xl-v1-base"}, "", None, False),
    "yaml double quotes": ({}, {}, 'model:\n  params:\n    parameterization: "v"\n', "v_prediction", False),
    "yaml single quotes": ({}, {}, "model:\n  params:\n    parameterization: 'v'\n", "v_prediction", False),
    "yaml plain": ({}, {}, "model:\n  params:\n    parameterization: v  # as it is\n", "v_prediction", False),
    "yaml tight": ({}, {}, "parameterization:  v\r\n", "v_prediction", False),
    "yaml eps": ({}, {}, "model:\n  params:\n    parameterization: eps\n", "epsilon", False),
    "yaml snr": ({}, {}, "parameterization: v\nztsnr: true\n", "v_prediction", True),
    "yaml of the newer code": ({}, {}, "  target: sgm.modules.denoiser_scaling.VScaling\n", "v_prediction", False),
    "yaml of another thing": ({}, {}, "# parameterization: v\nnotes: v\n", None, False),
    "tensor before metadata": ({"v_pred": EMPTY}, {"modelspec.predict_key": "epsilon"}, "", "v_prediction", False),
    "cosxl": (
        {"edm_vpred.sigma_min": torch.tensor(0.002), "edm_vpred.sigma_max": torch.tensor(120.0)},
        {}, "", "v_prediction", False,
    ),
    "playground": ({"edm_mean": torch.zeros(1, 4, 1, 1), "edm_std": torch.ones(1, 4, 1, 1)}, {}, "", "edm", False),
}  # fmt: skip


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize(("tensors", "metadata", "yaml", "prediction", "zero_snr"), SAYS.values(), ids=SAYS)
def test_what_a_file_says_of_its_noise(
    family: str, tensors: Weights, metadata: dict[str, str], yaml: str, prediction: str | None, zero_snr: bool,
    models: dict[str, Tiny], tmp_path: Path,
) -> None:  # fmt: skip
    path = saved(models[family].ldm() | tensors, tmp_path / "x.safetensors", metadata)
    if yaml:
        path.with_suffix(".yaml").write_text(yaml)
    source = resolve_model(str(path))
    assert (source.prediction, source.zero_snr) == (prediction, zero_snr)
    assert resolve_model(str(path), prediction="epsilon").prediction == "epsilon"


def test_the_first_version_predicts_noise_unless_it_says_otherwise(models: dict[str, Tiny], tmp_path: Path) -> None:
    path = saved(models["sd1"].ldm(), tmp_path / "x.safetensors")
    assert resolve_model(str(path)).prediction == "epsilon"
    path.with_suffix(".yaml").write_text("parameterization: v\n")
    assert resolve_model(str(path)).prediction == "v_prediction"


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_where_nothing_says_it_the_networks_output_does(
    family: str, kind: str, models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    source = found(saved(models[family].ldm(), tmp_path / "x.safetensors"), configs[family])
    forward = diffusers.UNet2DConditionModel.forward

    def repeats(self: Any, x: torch.Tensor, *given: Any, **more: Any) -> Any:
        out = forward(self, x, *given, **more)  # the real call, with all its inputs
        out.sample = 0.1 * out.sample + (x if kind == "epsilon" else 0)
        return out

    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", repeats)
    model = load_model(source, "cpu", "fp32")
    assert model.schedule.prediction == kind


# --- noise levels -----------------------------------------------------------------------------------------------------


def denoised(model: Model, x: torch.Tensor, sigma: float, extra: Mapping[str, Any]) -> tuple[torch.Tensor, Any]:
    """What our denoiser makes of x, and a function of the bare network with the same inputs."""
    generator = torch.Generator().manual_seed(1)
    unet: Any = model.networks[0]
    tokens = torch.randn(77, unet.config.cross_attention_dim, generator=generator)
    pooled = torch.randn(48, generator=generator)
    pull = Pull(Embedding(tokens, pooled), 1.0, is_negative=False)

    def network(given: torch.Tensor, time: float) -> torch.Tensor:
        ids = torch.tensor([[32.0, 32, 0, 0, 32, 32]])
        more = {"added_cond_kwargs": {"text_embeds": pooled[None], "time_ids": ids}} | dict(extra)
        out: torch.Tensor = unet(given, torch.tensor([time]), encoder_hidden_states=tokens[None], **more).sample
        return out

    with torch.inference_mode():
        return model.denoiser([Conditioning((pull,), 1.0)], 32, 32)(x, sigma), network


EDM: dict[str, tuple[Weights, dict[str, Any], tuple[float, float]]] = {
    "playground": (
        {"edm_mean": torch.tensor([-1.6574, 1.886, -1.383, 2.5155]).view(1, 4, 1, 1),
         "edm_std": torch.tensor([8.4927, 5.9022, 6.5498, 5.2299]).view(1, 4, 1, 1)},
        {"sigma_data": 0.5, "prediction_type": "epsilon"}, (0.002, 80.0),
    ),
    "cosxl": (
        {"edm_vpred.sigma_min": torch.tensor(0.002), "edm_vpred.sigma_max": torch.tensor(120.0)},
        {"sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0, "prediction_type": "v_prediction"}, (0.002, 120.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "scheduler", "ends"), EDM.values(), ids=EDM)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_models_on_edms_levels_are_evaluated_as_diffusers_does(
    kind: str, tensors: Weights, scheduler: dict[str, Any], ends: tuple[float, float],
    models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path,
) -> None:  # fmt: skip
    theirs = diffusers.EDMEulerScheduler(**scheduler)
    if kind == "file":
        weights = models["sdxl"].ldm() | tensors
        source = found(saved(weights, tmp_path / "x.safetensors"), configs["sdxl"])
    else:
        folder = models["sdxl"].save_folder(tmp_path / "folder")
        theirs.save_pretrained(folder / "scheduler")
        source = resolve_model(str(folder))
    model = load_model(source, "cpu", "fp32")
    levels = model.schedule.sigmas
    assert (levels[0], levels[-1]) == pytest.approx(ends)
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for sigma in (0.01, 0.7, 20.0):
        ours, network = denoised(model, x * sigma, sigma, {})
        with torch.inference_mode():
            out = network(theirs.precondition_inputs(x * sigma, sigma), float(theirs.precondition_noise(sigma)))
        assert torch.allclose(ours, theirs.precondition_outputs(x * sigma, out, sigma), atol=1e-5)
    assert bool(torch.isfinite(paint(source)).all())


def test_latents_with_mean_and_deviation_are_normalised_as_in_playground(
    models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path
) -> None:
    from deforum.diffusion.autoencoder import Autoencoder

    tensors, _, _ = EDM["playground"]
    source = found(saved(models["sdxl"].ldm() | tensors, tmp_path / "x.safetensors"), configs["sdxl"])
    vae: Any = load_model(source, "cpu", "fp32").vae
    mean, deviation = tensors["edm_mean"], tensors["edm_std"]
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = Autoencoder(vae).encode([image], 0)
        raw = vae.encode(image[None] * 2 - 1).latent_dist.mode()
        assert torch.allclose(ours, (raw - mean) * 0.5 / deviation, atol=1e-6)
        # As StableDiffusionXLPipeline decodes: latents * std / scaling_factor + mean.
        shown = vae.decode(ours * deviation / 0.5 + mean).sample[0]
        (made,) = Autoencoder(vae).decode(ours, 32, 32, 0, may_be_blank=True)
    assert torch.allclose(made, (shown / 2 + 0.5).clamp(0, 1), atol=1e-5)


def test_zero_terminal_snr_gives_the_levels_of_diffusers(
    models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path
) -> None:
    weights = models["sdxl"].ldm() | {"v_pred": EMPTY, "ztsnr": EMPTY}
    source = found(saved(weights, tmp_path / "x.safetensors"), configs["sdxl"])
    schedule = load_model(source, "cpu", "fp32").schedule
    theirs = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=True
    )
    assert schedule.sigmas[-1] == pytest.approx(4096, rel=1e-3)
    alphas = 1 / (1 + schedule.sigmas**2)
    assert alphas == pytest.approx(theirs.alphas_cumprod.double().numpy(), rel=2e-3, abs=1e-6)
    assert schedule.prediction == "v_prediction" and bool(torch.isfinite(paint(source)).all())


# --- weights in other forms -------------------------------------------------------------------------------------------


def test_a_latent_consistency_model_reads_the_guidance_scale(tmp_path: Path) -> None:
    lcm = build("sd1", time_cond_proj_dim=16)
    file = lcm.save_file(tmp_path / "x.safetensors")
    folder = lcm.save_folder(tmp_path / "folder")
    (config := tmp_path / "configs").mkdir()
    build("sd1").save_configs(config)  # which do not say it: the file's weights do
    assert load_model(found(file, config), "cpu", "fp32").reads_guidance
    assert torch.allclose(paint(found(file, config)), paint(resolve_model(str(folder))), atol=1e-5)


def scaled(weights: Weights, names: str, per_channel: bool) -> tuple[Weights, Weights]:
    """Weights in fp8 with their scales, and the same numbers in full."""
    short, full = dict(weights), dict(weights)
    for key, value in weights.items():
        if key.startswith(NETWORK) and key.endswith(".weight") and value.ndim == 2:
            top = value.abs().amax(1) if per_channel else value.abs().max()
            scale = (top / 448).clamp_min(1e-12)
            wide = scale[:, None] if per_channel else scale
            short[key] = (value / wide).to(torch.float8_e4m3fn)
            short[f"{key.removesuffix('weight')}{names}"] = scale
            full[key] = short[key].float() * wide
    return short | {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}, full


@pytest.mark.parametrize("names", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_scaled_fp8_is_multiplied_out(
    names: str, per_channel: bool, models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path
) -> None:
    short, full = scaled(models["sd1"].ldm(), names, per_channel)
    assert any(value.dtype == torch.float8_e4m3fn for value in short.values())
    pictures = [
        paint(found(saved(weights, tmp_path / f"{name}.safetensors"), configs["sd1"]))
        for name, weights in (("short", short), ("full", full))
    ]
    assert torch.equal(*pictures)


def test_plain_fp8_loads(models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path) -> None:
    weights = {
        key: value.to(torch.float8_e4m3fn) if value.is_floating_point() else value
        for key, value in models["sd1"].ldm().items()
    }
    picture = paint(found(saved(weights, tmp_path / "x.safetensors"), configs["sd1"]))
    assert bool(torch.isfinite(picture).all())


def test_early_text_encoder_names_load(models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path) -> None:
    weights = models["sd1"].ldm()
    early = {key.replace("transformer.text_model.", "transformer."): value for key, value in weights.items()}
    early["cond_stage_model.transformer.embeddings.position_ids"] = torch.arange(77)[None]
    assert early.keys() != weights.keys()
    pictures = [
        paint(found(saved(each, tmp_path / f"{name}.safetensors"), configs["sd1"]))
        for name, each in (("early", early), ("today", weights))
    ]
    assert torch.equal(*pictures)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_training_checkpoint_loads_without_its_classes(
    is_zip: bool, models: dict[str, Tiny], configs: dict[str, Path], tmp_path: Path
) -> None:
    """As Lightning writes them; torch.load(weights_only=True) refuses these."""
    weights = models["sd1"].ldm()
    path = tmp_path / "x.ckpt"
    content = {"state_dict": weights, "callbacks": {1: Path("a")}, "hyper": Tiny, "global_step": 1}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    plain = saved(weights, tmp_path / "x.safetensors")
    assert torch.equal(paint(found(path, configs["sd1"])), paint(found(plain, configs["sd1"])))


# --- refused ----------------------------------------------------------------------------------------------------------


def only(*keys: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: torch.zeros(1) for key in keys}


def network_alone(weights: Weights) -> Weights:
    return {key.removeprefix(NETWORK): value for key, value in weights.items() if key.startswith(NETWORK)}


def averaged_alone(weights: Weights) -> Weights:
    flat = {key: f"model_ema.{key.removeprefix('model.').replace('.', '')}" for key in weights if NETWORK in key}
    return {flat.get(key, key): value for key, value in weights.items()}


def inpainting(weights: Weights) -> Weights:
    return weights | {f"{NETWORK}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}


def quantised(weights: Weights) -> Weights:
    key = f"{NETWORK}input_blocks.1.1.proj_in.weight"
    return weights | {f"{NETWORK}time_embed.0.weight": torch.zeros(4, 4, dtype=torch.uint8), f"{key}.absmax": EMPTY}


REFUSED: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "peft lora": (only("unet.down_blocks.0.attentions.0.to_q.lora_A.weight"), "a LoRA"),
    "peft lora of a base model": (only("base_model.model.x.lora_B.default.weight"), "a LoRA"),
    "diffusers lora": (only("unet.up_blocks.0.to_k.lora.down.weight"), "a LoRA"),
    "kohya lora": (only("lora_te_text_model_encoder.lora_up.weight"), "a LoRA"),
    "lokr": (only("lycoris_unet.lokr_w1"), "a LyCORIS file"),
    "unet alone": (network_alone, "a UNet alone"),
    "ema alone": (averaged_alone, "the averaged weights (EMA)"),
    "inpainting": (inpainting, "an inpainting model (its UNet takes 9 channels"),
    "quantised": (quantised, "quantised weights"),
    "unclip": (lambda them: them | {f"{NETWORK}label_emb.0.0.weight": torch.zeros(4, 4)}, "an unCLIP model"),
    "motion": (only("down_blocks.0.motion_modules.0.x.weight"), "an AnimateDiff motion module"),
    "ip adapter": (only("ip_adapter.1.to_k_ip.weight"), "an IP-Adapter"),
    "controlnet": (only("controlnet_cond_embedding.conv_in.weight"), "a ControlNet"),
    "bare flux": (only("double_blocks.0.img_attn.qkv.weight"), "a transformer like that of Flux.1"),
    "upscaler": (only("params_ema.conv_first.weight"), "an upscaler"),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize(("change", "what"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_painted_with_is_said(
    change: Callable[[Weights], Weights], what: str, suffix: str, models: dict[str, Tiny], tmp_path: Path
) -> None:
    weights, path = change(models["sd1"].ldm()), tmp_path / f"x{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": weights}, path)
    else:
        saved(weights, path)
    with pytest.raises(UserError) as error:
        resolve_model(str(path))
    assert what in str(error.value) and "\n" not in str(error.value)
