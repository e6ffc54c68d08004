"""What pictures say they were made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deforum.loading import load
from deforum.metadata.infotext import parse
from deforum.output.labels import Label, model_name, prompts_of, without_home
from deforum.timeline.prompts import Prompt
from tests.helpers import params_of
from tests.output.runs import frame

BLEND = (Prompt("sea", "", 0.25), Prompt("land", "fog", 0.75))


def parameters(index: int, prompts: tuple[Prompt, ...] = (Prompt("sea", "fog"),), **settings: object) -> dict[str, str]:
    """Return the pairs of a frame's `parameters`, with prompt and negative prompt."""
    label = Label.of(load({"seed": 3, "width": 128, "height": 64} | settings, to_render=False).settings)
    params = params_of(strength=0.65, steps=25, cfg_scale=7, image_strength=0.75)
    text = parse(label.texts(replace(frame(index, prompts=prompts), params=params))["parameters"])
    return {"prompt": text.prompt, "negative": text.negative, **text.pairs}


def test_parameters_are_those_of_the_frame() -> None:
    said = parameters(3)
    assert said.pop("Version").startswith("deforum ")
    assert said == {
        "prompt": "sea", "negative": "fog", "Steps": "25", "Sampler": "Euler a", "CFG scale": "7", "Seed": "1003",
        "Size": "128x64", "Model": "embedded", "Denoising strength": "0.35", "Frame": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("index", "settings", "denoise"),
    [
        (0, {}, None),  # from noise alone
        (0, {"init_image": "a.png"}, "0.35"),
        (5, {}, "0.35"),
        (5, {"animation_mode": "Interpolation"}, None),
        (0, {"animation_mode": "Video Input"}, "0.35"),
        (5, {"use_looper": True, "init_images": {0: "a.png"}}, "0.25"),
    ],
)
def test_denoising_strength_is_told_where_a_frame_starts_from_a_picture(
    index: int, settings: dict[str, object], denoise: str | None
) -> None:
    assert parameters(index, **settings).get("Denoising strength") == denoise


def test_a_variation_is_told_where_it_acts() -> None:
    label = Label.of(load({"seed": 3}).settings)
    one = frame(1)
    varied = replace(one, params=replace(one.params, subseed_strength=0.1, clip_skip=2.0))
    assert "Variation seed: 7, Variation seed strength: 0.1" in label.texts(varied)["parameters"]
    assert "Clip skip: 2" in label.texts(varied)["parameters"]


def test_blended_prompts() -> None:
    assert prompts_of(frame(0, prompts=BLEND)) == ("sea (0.25) | land (0.75)", " (0.25) | fog (0.75)")
    said = parameters(0, BLEND)
    assert (said["prompt"], said["negative"]) == ("sea :0.25 AND land :0.75", "fog")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("embedded", "embedded"),
        ("/models/sd-v1.5.safetensors", "sd-v1.5"),
        ("C:\\models\\dream.ckpt", "dream"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "stable-diffusion-v1-5"),
        ("models/sd-v1.5/", "sd-v1.5"),
    ],
)
def test_the_model_is_told_without_its_folders(model: str, name: str) -> None:
    assert model_name(model) == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: /home/ann/a.safetensors", "model: ~/a.safetensors"),
        ('init_image: "/home/ann/my pictures/a.png"', 'init_image: "~/my pictures/a.png"'),
        ('mask: "[/home/ann/a.png] & <sky>"', 'mask: "[~/a.png] & <sky>"'),
        ("model: /home/anna/a.safetensors", "model: /home/anna/a.safetensors"),
        ("model: /disk/home/ann/a", "model: /disk/home/ann/a"),
    ],
)
def test_paths_do_not_tell_the_users_name(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERPROFILE", "/home/ann")
    assert without_home(text) == told


def test_paths_in_the_home_folder_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2
    import numpy as np

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    settings = load({"init_image": str(tmp_path / "a.png"), "seed": 3}).settings
    label = Label.of(settings)
    assert str(tmp_path) not in label.text
    (tmp_path / "b.yaml").write_text(label.text)
    assert load(tmp_path / "b.yaml").settings == settings


def test_settings_of_a_megabyte_are_not_written_into_frames() -> None:
    settings = load({"prompts": {frame: "x" * 1000 for frame in range(1100)}, "max_frames": 1100}).settings
    label = Label.of(settings, "a.yaml")
    assert "deforum_settings" not in label.texts(frame(0)) and label.comment == label.text.partition("\n")[0]
