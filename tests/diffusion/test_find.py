"""Models found and judged before anything is loaded; and real formats loaded by the real code."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.families import any_of
from deforum.diffusion.families.find import CONFIGS
from deforum.diffusion.families.stable_diffusion import look_at_prediction
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.errors import UserError
from deforum.models.hub import downloads
from tests.diffusion.tiny import Tiny, build, frame


@pytest.fixture(scope="session")
def files(models: dict[str, Tiny], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A single file of each family, in the original training code's layout."""
    root = tmp_path_factory.mktemp("files")
    return {family: model.save_file(root / f"{family}.safetensors") for family, model in models.items()}


def refuse(model: Any) -> str:
    with pytest.raises(UserError) as error:
        resolve_model(str(model), where="a.yaml:3:8")
    message = str(error.value)
    assert message.startswith("a.yaml:3:8: ")
    return message


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_folders_and_files_are_recognised(family: str, folders: dict[str, Path], files: dict[str, Path]) -> None:
    folder, file = resolve_model(str(folders[family])), resolve_model(str(files[family]))
    # The tiny sd2's text width is not the real one, by which a folder of it is told from sd1.
    assert (folder.kind, folder.family) == ("folder", "sd1" if family == "sd2" else family)
    assert (file.kind, file.family, file.config) == ("file", family, CONFIGS / family)
    assert file.prediction == ("epsilon" if family == "sd1" else None)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_file_paints_what_its_folder_paints(
    family: str, models: dict[str, Tiny], folders: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    """The file comes with the real configs, which a tiny one cannot use: it is given its own in their place."""
    config = models[family].save_configs(tmp_path / "configs")
    source = dataclasses.replace(resolve_model(str(files[family]), prediction="v_prediction"), config=config)
    folder = resolve_model(str(folders[family]), prediction="v_prediction")
    made = [
        load_diffuser(s, device="cpu", precision="fp32", exact_step_count=True)(None, frame(), width=32, height=32)
        for s in (source, folder)
    ]
    assert torch.allclose(*made, atol=1e-4)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_shipped_configs_describe_the_real_architectures(family: str) -> None:
    """Parameter counts in millions, as published."""
    import transformers
    from diffusers import AutoencoderKL, UNet2DConditionModel

    expected = {"sd1": (859.5, 83.7, 123.1), "sd2": (865.9, 83.7, 340.4), "sdxl": (2567.5, 83.7, 123.1, 694.7)}
    with torch.device("meta"):
        parts = [
            UNet2DConditionModel.from_config(json.loads((CONFIGS / family / "unet/config.json").read_text())),
            AutoencoderKL.from_config(json.loads((CONFIGS / family / "vae/config.json").read_text())),
        ]
        for path in sorted((CONFIGS / family).glob("text_encoder*")):
            config = transformers.CLIPTextConfig.from_pretrained(path)
            parts.append(getattr(transformers, config.architectures[0])(config))
    counts = [sum(weight.numel() for weight in part.parameters()) / 1e6 for part in parts]
    assert counts == pytest.approx(expected[family], abs=0.05)


def test_a_ckpt_is_read_without_running_what_is_in_it(models: dict[str, Tiny], tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": models["sd1"].ldm(), "global_step": 1}, path)
    source = dataclasses.replace(resolve_model(str(path)), config=models["sd1"].save_configs(tmp_path / "configs"))
    assert source.family == "sd1"
    diffuser = load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True)
    assert diffuser(None, frame(steps=1), width=16, height=16).shape == (3, 16, 16)


def test_a_hostile_ckpt_runs_nothing(models: dict[str, Tiny], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "caught",))

    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {**models["sd1"].ldm(), "trap": Trap()}, "callbacks": {1: Trap()}}, path)
    assert resolve_model(str(path)).family == "sd1"
    assert not (tmp_path / "caught").exists()


def test_prediction_where_a_file_says_it(models: dict[str, Tiny], tmp_path: Path) -> None:
    model = models["sd2"]
    cases = {
        "a": {"modelspec.prediction_type": "v"},
        "b": {"modelspec.architecture": "stable-diffusion-v2-768-v"},
        "c": {"modelspec.prediction_type": "epsilon"},
    }
    said = {
        name: resolve_model(str(model.save_file(tmp_path / f"{name}.safetensors", metadata))).prediction
        for name, metadata in cases.items()
    }
    assert said == {"a": "v_prediction", "b": "v_prediction", "c": "epsilon"}
    path = model.save_file(tmp_path / "d.safetensors")
    path.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert resolve_model(str(path)).prediction == "v_prediction"
    assert resolve_model(str(path), prediction="epsilon").prediction == "epsilon"
    xl = tmp_path / "xl.safetensors"
    save_file(models["sdxl"].ldm() | {"v_pred": torch.zeros(0)}, xl)
    assert resolve_model(str(xl)).prediction == "v_prediction"


def test_prediction_is_seen_in_what_a_unet_does_with_noise() -> None:
    schedule = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
    unet = build("sd2").unet
    assert look_at_prediction(unet, schedule, {}) == "v_prediction"
    handle = unet.register_forward_hook(lambda _m, given, out: setattr(out, "sample", given[0] * 0.9))
    assert look_at_prediction(unet, schedule, {}) == "epsilon"
    handle.remove()


def copy(folder: Path, to: Path, *without: str) -> Path:
    shutil.copytree(folder, to)
    for name in without:
        path = to / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return to


def test_what_a_folder_lacks_is_named_all_at_once(folders: dict[str, Path], tmp_path: Path) -> None:
    message = refuse(copy(folders["sd1"], tmp_path / "a", "tokenizer", "scheduler", "unet/config.json"))
    assert "tokenizer/ has neither tokenizer.json nor vocab.json" in message
    assert "scheduler/scheduler_config.json is missing" in message
    assert "unet/config.json is missing" in message
    assert len(message.splitlines()) == 3
    message = refuse(copy(folders["sdxl"], tmp_path / "b", "tokenizer_2", "vae/diffusion_pytorch_model.safetensors"))
    assert "tokenizer_2/ has neither" in message and "vae/ has no weights" in message


def test_a_folder_of_fp16_files_alone_is_taken(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["sd1"], tmp_path / "half")
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    source = resolve_model(str(folder))
    assert source.fp16_parts == ("unet", "vae", "text_encoder")
    diffuser = load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True)
    assert diffuser(None, frame(steps=1), width=16, height=16).shape == (3, 16, 16)


def test_other_kinds_of_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "no model_index.json" in refuse(folders["sd1"] / "unet")
    other = copy(folders["sd1"], tmp_path / "other")
    (other / "model_index.json").write_text('{"_class_name": "KolorsPipeline"}')
    assert f"a KolorsPipeline; expected {any_of()}" in refuse(other)
    (other / "model_index.json").write_text("{")
    assert "cannot be read as JSON" in refuse(other)
    painter = copy(folders["sd1"], tmp_path / "inpainting")
    config = json.loads((painter / "unet/config.json").read_text())
    (painter / "unet/config.json").write_text(json.dumps(config | {"in_channels": 9}))
    assert "takes 9 channels" in refuse(painter)


OTHER_FILES = {
    "lora_unet_down_blocks_0.lora_up.weight": "a LoRA",
    "control_model.input_blocks.0.0.weight": "a ControlNet",
    "model.diffusion_model.double_blocks.0.img_attn.qkv.weight": "a transformer like that of Flux.1",
    "model.diffusion_model.joint_blocks.0.x.weight": "a transformer like that of Stable Diffusion 3.x",
    "down_blocks.0.resnets.0.conv1.weight": "one part of a diffusers model",
    "first_stage_model.decoder.conv_in.weight": "an autoencoder alone",
    "something": "no UNet, no text encoder, no autoencoder",
}


@pytest.mark.parametrize(("key", "what"), OTHER_FILES.items())
def test_other_kinds_of_file(key: str, what: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros(1)}, tmp_path / "x.safetensors")
    message = refuse(tmp_path / "x.safetensors")
    assert what in message and f"expected a {any_of()} checkpoint" in message


def test_files_with_parts_missing_or_of_another_shape(models: dict[str, Tiny], tmp_path: Path) -> None:
    weights = models["sd1"].ldm()
    path = tmp_path / "x.safetensors"
    save_file({key: value for key, value in weights.items() if not key.startswith("first_stage")}, path)
    assert "the file has no autoencoder" in refuse(path)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(weights | {first: torch.zeros(32, 9, 3, 3)}, path)
    assert "an inpainting model (its UNet takes 9 channels" in refuse(path)
    refiner = {key: value for key, value in models["sdxl"].ldm().items() if "embedders.1" not in key}
    refiner["conditioner.embedders.0.model.ln_final.bias"] = torch.zeros(1)
    save_file(refiner, path)
    assert "the SDXL refiner" in refuse(path)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_weight_that_is_missing_is_not_made_up(
    part: str, models: dict[str, Tiny], folders: dict[str, Path], tmp_path: Path
) -> None:
    keys = {
        "unet": ("conv_out.weight", "model.diffusion_model.out.2.weight"),
        "vae": ("decoder.conv_out.weight", "first_stage_model.decoder.conv_out.weight"),
        "text_encoder": (
            "final_layer_norm.weight",
            "cond_stage_model.transformer.text_model.final_layer_norm.weight",
        ),
    }
    ours, theirs = keys[part]
    folder = copy(folders["sd1"], tmp_path / "folder")
    file = next((folder / part).glob("*.safetensors"))
    weights = load_file(file)
    save_file({key: value for key, value in weights.items() if not key.endswith(ours)}, file, {"format": "pt"})
    with pytest.raises(UserError, match=rf"{part}/ lacks 1 weights, among them .*{ours}"):
        load_diffuser(resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True)
    file = tmp_path / "file.safetensors"
    save_file({key: value for key, value in models["sd1"].ldm().items() if key != theirs}, file)
    source = dataclasses.replace(resolve_model(str(file)), config=models["sd1"].save_configs(tmp_path / "configs"))
    with pytest.raises(UserError, match="weights"):
        load_diffuser(source, device="cpu", precision="fp32", exact_step_count=True)


def test_damaged_files(files: dict[str, Path], tmp_path: Path) -> None:
    whole = files["sd1"].read_bytes()
    path = tmp_path / "x.safetensors"
    for broken in (whole[:-1000], whole[:5], b"", b"\xff" * 64, (8).to_bytes(8, "little") + b"notjson!"):
        path.write_bytes(broken)
        assert "not a whole .safetensors file" in refuse(path)
    (tmp_path / "x.ckpt").write_bytes(b"old pickle")
    assert "not a .ckpt that can be read safely" in refuse(tmp_path / "x.ckpt")
    (tmp_path / "x.png").write_bytes(b"")
    assert "a model file must be .safetensors" in refuse(tmp_path / "x.png")


def test_names_that_lead_nowhere() -> None:
    assert "no such model file or folder" in refuse("nowhere.safetensors")
    assert "no such model file or folder" in refuse("/no/such/folder")
    message = refuse("nobody/nothing")
    assert "neither a folder here nor in the local hub cache" in message
    assert "--allow-download" in message and "hf download nobody/nothing" in message
    with pytest.raises(UserError, match="prediction is 'x'; expected one of epsilon"):
        resolve_model("embedded", prediction="x")


def test_a_hub_model_in_the_cache_is_its_folder(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository = tmp_path / "models--owner--name"
    shutil.copytree(folders["sd1"], repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    source = resolve_model("owner/name")
    assert (source.kind, source.name) == ("folder", "owner/name")


def test_a_hub_model_not_downloaded_yet_has_the_size_of_its_configurations(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def download(name: str, file: str, **_: Any) -> str:
        asked.append(file)
        return str(folders["sdxl"] / file)

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with downloads(allowed=True):
        source = resolve_model("owner/name")
    assert (source.kind, source.size) == ("hub", (32, 32))
    assert asked == ["model_index.json", "unet/config.json", "vae/config.json"]  # no weights yet
