"""Diffusers folders: whole ones paint as they say, and broken or strange ones are refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.families.load import load_model
from deforum.diffusion.sampling.sigmas import NoiseSchedule, visit
from deforum.errors import UserError
from tests.diffusion.tiny import Tiny, frame


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["sd1"], tmp_path / "model"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        resolve_model(str(folder))
    message = str(error.value)
    assert "\n" not in message and len(message) < 700
    return message


SCHEDULER = "scheduler/scheduler_config.json"
DEEP = '{"a":' * 100_000
BROKEN: dict[str, tuple[str, str, str]] = {
    "index is a list": ("model_index.json", "[1]", "expected a JSON object"),
    "index is deep": ("model_index.json", DEEP, "nested too deeply"),
    "scheduler is a list": (SCHEDULER, "[1]", "expected a JSON object, not a list"),
    "scheduler is a number": (SCHEDULER, "7", "expected a JSON object"),
    "scheduler is deep": (SCHEDULER, "[" * 100_000, "nested too deeply"),
    "scheduler is cut": (SCHEDULER, '{"beta', "cannot be read as JSON"),
    "scheduler is not text": (SCHEDULER, "\ud800", "cannot be read as JSON"),
    "network is a list": ("unet/config.json", "[]", "expected a JSON object"),
    "vae is a text": ("vae/config.json", '"x"', "expected a JSON object"),
    "vocabulary is cut": ("tokenizer/vocab.json", "{", "cannot be read as JSON"),
    "vocabulary is a list": ("tokenizer/vocab.json", "[]", "expected a JSON object"),
    "vocabulary is empty": ("tokenizer/vocab.json", "{}", "not the vocabulary"),
    "vocabulary of texts": ("tokenizer/vocab.json", '{"a": "1"}', "not the vocabulary"),
    "vocabulary beyond the encoder": ("tokenizer/vocab.json", '{"a": 49408}', "not the vocabulary"),
    "vocabulary below 0": ("tokenizer/vocab.json", '{"a": -1}', "not the vocabulary"),
    "tokenizer without model": ("tokenizer/tokenizer.json", "{}", "not the vocabulary"),
    "tokenizer of another kind": (
        "tokenizer/tokenizer.json",
        '{"model": {"vocab": [["a", 0.5]]}}',
        "not the vocabulary",
    ),
}


@pytest.mark.parametrize(("file", "text", "what"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_said(file: str, text: str, what: str, folder: Path) -> None:
    (folder / file).write_text(text, encoding="utf-8", errors="surrogatepass")
    message = refused(folder)
    assert str(folder / file) in message and what in message


NOISE: dict[str, tuple[dict[str, Any], str]] = {
    "10^9 timesteps": ({"num_train_timesteps": 10**9}, "num_train_timesteps is 1000000000; expected 2 to 100,000"),
    "0 timesteps": ({"num_train_timesteps": 0}, "num_train_timesteps is 0"),
    "timesteps in words": ({"num_train_timesteps": "many"}, "num_train_timesteps is many"),
    "timesteps in parts": ({"num_train_timesteps": 1000.5}, "num_train_timesteps is 1000.5"),
    "negative beta": ({"beta_start": -1}, "beta_start is -1"),
    "beta above 1": ({"beta_end": 2, "beta_schedule": "linear"}, "no rising noise levels"),
    "beta of nan": ({"beta_end": float("nan")}, "beta_end is nan"),
    "beta as a list": ({"beta_end": [1]}, "beta_end is [1]"),
    "betas in words": ({"trained_betas": "x"}, "trained_betas are not a list"),
    "betas of tables": ({"trained_betas": [{}, {}]}, ""),
    "betas of lists": ({"trained_betas": [[0.1], [0.2]]}, "trained_betas are not a list"),
    "betas of nothing": ({"trained_betas": []}, "trained_betas are not a list"),
    "many betas": ({"trained_betas": [0.1] * 100_001}, "trained_betas are not a list of 2 to 100,000 numbers"),
    "unknown betas": ({"beta_schedule": ["linear"]}, "unknown beta_schedule"),
    "flow prediction": ({"prediction_type": "flow_prediction"}, "'flow_prediction'; expected epsilon, v_prediction"),
    "unknown prediction": ({"prediction_type": ["epsilon"]}, "prediction_type is"),
    "flow sigmas": ({"use_flow_sigmas": True, "flow_shift": 0}, "flow_shift is 0; expected a number above 0"),
    "flow matching": ({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, "invert_sigmas is"),
    "consistency model": ({"_class_name": "CMStochasticIterativeScheduler"}, "no sampler here knows"),
    "edm upside down": ({"_class_name": "EDMEulerScheduler", "sigma_min": 90}, "expected sigma_min below sigma_max"),
    "edm without data": ({"_class_name": "EDMEulerScheduler", "sigma_data": 0}, "sigma_data is 0"),
}


@pytest.mark.parametrize(("values", "what"), NOISE.values(), ids=NOISE)
def test_noise_that_no_sampler_knows_is_said(values: dict[str, Any], what: str, folder: Path) -> None:
    change(folder / SCHEDULER, **values)
    message = refused(folder)
    assert str(folder / SCHEDULER) in message and what in message


PARTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "channels in words": ("unet", {"in_channels": "4"}, "in_channels is '4'; expected a whole number"),
    "no channels": ("unet", {"in_channels": 0}, "in_channels is 0"),
    "inpainting": ("unet", {"in_channels": 9}, "takes 9 channels"),
    "10^9 layers": ("unet", {"layers_per_block": 10**9}, "layers_per_block is more than 1,000"),
    "10^9 layers in a list": ("unet", {"transformer_layers_per_block": [1, 10**9]}, "is more than 1,000"),
    "infinitely many layers": ("text_encoder", {"num_hidden_layers": float("inf")}, "is more than 1,000"),
    "code of its own": ("text_encoder", {"auto_map": {"AutoModel": "a/b--c.D"}}, "auto_map asks to run code"),
    "vocabulary in words": ("text_encoder", {"vocab_size": "x"}, "vocab_size is 'x'"),
    "latents in a list": ("vae", {"latent_channels": [4]}, "latent_channels is [4]"),
    "another autoencoder": ("vae", {"_class_name": "AutoencoderTiny"}, "expected an AutoencoderKL"),
    "three means": ("vae", {"latents_mean": [1, 2, 3]}, "latents_mean is [1, 2, 3]; expected 4 numbers"),
    "mean in words": ("vae", {"latents_std": ["a"] * 4}, "expected 4 numbers"),
    "no scale": ("vae", {"scaling_factor": 0}, "scaling_factor is 0"),
}


@pytest.mark.parametrize(("part", "values", "what"), PARTS.values(), ids=PARTS)
def test_a_part_that_cannot_be_built_is_said(part: str, values: dict[str, Any], what: str, folder: Path) -> None:
    change(folder / part / "config.json", **values)
    message = refused(folder)
    assert str(folder) in message and what in message


def test_weights_are_looked_at_before_they_are_loaded(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert "not a whole .safetensors file" in refused(folder)
    weights = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    save_file(weights | {"decoder.conv_in.scale_weight": torch.ones(1)}, path)
    assert "scaled weights" in refused(folder)
    path.unlink()
    with zipfile.ZipFile(path.with_suffix(".bin"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(1 << 20))
    assert "compressed" in refused(folder)


def test_what_only_the_libraries_notice_is_said_too(folder: Path) -> None:
    change(folder / "unet" / "config.json", block_out_channels="wide")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(resolve_model(str(folder)), "cpu", "fp32")


def test_the_refiner_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["sdxl"], tmp_path / "refiner"))
    shutil.rmtree(folder / "text_encoder")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "text_encoder": [None, None],
        "tokenizer": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    assert "the SDXL refiner" in refused(folder)


def paint(folder: Path) -> torch.Tensor:
    diffuser = load_diffuser(resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True)
    return diffuser(None, frame(steps=2.0), width=32, height=32)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_one_part_in_fp16_among_plain_ones_loads(part: str, folder: Path, models: dict[str, Tiny]) -> None:
    (plain,) = (folder / part).glob("*.safetensors")
    weights = {key: value.half() if value.is_floating_point() else value for key, value in load_file(plain).items()}
    plain.unlink()
    save_file(weights, plain.with_name(plain.name.replace(".safetensors", ".fp16.safetensors")), {"format": "pt"})
    source = resolve_model(str(folder))
    assert source.fp16_parts == (part,)
    assert bool(torch.isfinite(paint(folder)).all())


@pytest.mark.parametrize("is_early", [True, False])
def test_text_encoders_of_any_age_load(is_early: bool, folder: Path) -> None:
    """Names with "text_model." in front, as all files of transformers 4 have them, and without."""
    before = paint(folder)
    (path,) = (folder / "text_encoder").glob("*.safetensors")
    bare = {key.removeprefix("text_model."): value for key, value in load_file(path).items()}
    save_file({f"text_model.{key}" if is_early else key: value for key, value in bare.items()}, path, {"format": "pt"})
    assert torch.equal(paint(folder), before)


def test_v_is_short_for_v_prediction(folder: Path) -> None:
    change(folder / SCHEDULER, prediction_type="v")
    assert load_model(resolve_model(str(folder)), "cpu", "fp32").schedule.prediction == "v_prediction"
    # The user's word counts where the folder's is not known.
    change(folder / SCHEDULER, prediction_type="flow_prediction")
    source = resolve_model(str(folder), prediction="epsilon")
    assert load_model(source, "cpu", "fp32").schedule.prediction == "epsilon"


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_trailing_spacing_visits_the_levels_of_diffusers(steps: int, folder: Path) -> None:
    change(folder / SCHEDULER, timestep_spacing="trailing")
    schedule = load_model(resolve_model(str(folder)), "cpu", "fp32").schedule
    theirs = diffusers.EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    theirs.set_timesteps(steps)
    times = [schedule.time_of(level) for level in visit(schedule, "normal", steps)[:-1]]
    # diffusers rounds to whole timesteps; the grid is that of the web UI's SGM Uniform.
    assert times == pytest.approx(theirs.timesteps.tolist(), abs=1)
    plain = NoiseSchedule(schedule.sigmas, schedule.prediction)
    assert visit(schedule, "normal", steps) == visit(plain, "sgm uniform", steps)
    assert visit(schedule, "karras", steps) == visit(plain, "karras", steps)
