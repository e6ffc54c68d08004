"""The sampling that a model was made for: by its name, its family, and what its network takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deforum import check, load
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.usual import few_step_note, networks_in, usual_of
from deforum.settings.options import Settings
from deforum.settings.params import default_params
from schedules import parse_text
from tests.helpers.headers import write_header


def source(name: str, family: str, path: Path | None = None) -> ModelSource:
    return ModelSource(name, "file", path, family, None, None, (512, 512))


USUAL: dict[str, tuple[str, str, tuple[int, float, str] | None]] = {
    "any": ("dreamshaper_8.safetensors", "sd1", None),
    "turbo": ("sd_xl_turbo_1.0_fp16.safetensors", "sdxl", (4, 1.0, "Euler a SGM Uniform")),
    "a hub name": ("stabilityai/sd-turbo", "sd2", (4, 1.0, "Euler a SGM Uniform")),
    "only the name of the file counts": ("turbo/dreamshaper_8.safetensors", "sd1", None),
    "lightning": ("sdxl_lightning_8step.safetensors", "sdxl", (8, 1.0, "Euler SGM Uniform")),
    "lightning, merged": ("juggernautXL_v9Lightning.safetensors", "sdxl", (4, 1.0, "Euler SGM Uniform")),
    "hyper": ("Hyper-SDXL-4steps.safetensors", "sdxl", (4, 1.0, "TCD")),
    "no hyper": ("hyperrealism_v3.safetensors", "sd1", None),
    "lcm": ("LCM_Dreamshaper_v7.safetensors", "sd1", (6, 1.5, "LCM")),
    "no lcm": ("filmcmix.safetensors", "sd1", None),
    "dmd": ("realvis_dmd2_4step.safetensors", "sdxl", (4, 1.0, "LCM")),
    "sd3": ("sd3_medium.safetensors", "stable_diffusion_3", (28, 4.5, "Euler")),
    "sd3 turbo": ("sd3.5_large_turbo.safetensors", "stable_diffusion_3", (4, 1.0, "Euler")),
    "flux": ("flux1-dev.safetensors", "flux", (28, 3.5, "Euler")),
    "schnell": ("flux1-schnell.safetensors", "flux", (4, 1.0, "Euler")),
    "z-image": ("z_image_turbo_bf16.safetensors", "z_image", (9, 1.0, "Euler")),
    "lumina": ("lumina_2.safetensors", "lumina_2", (30, 4.0, "Euler")),
}


@pytest.mark.parametrize("name, family, right", USUAL.values(), ids=USUAL)
def test_models_are_known_by_their_names(name: str, family: str, right: tuple[int, float, str] | None) -> None:
    usual = usual_of(source(name, family))
    assert (None if usual is None else (usual.steps, usual.cfg_scale, usual.sampler)) == right


def test_models_are_known_by_what_their_networks_take(tmp_path: Path) -> None:
    schnell = write_header(tmp_path / "a.safetensors", {"double_blocks.0.x": (1,)})
    dev = write_header(tmp_path / "b.safetensors", {"double_blocks.0.x": (1,), "guidance_in.in_layer.weight": (1,)})
    lcm = write_header(tmp_path / "c.safetensors", {"model.diffusion_model.time_embed.cond_proj.weight": (1,)})
    titles = [
        usual.title if (usual := usual_of(source(path.name, family, path))) else None
        for path, family in ((schnell, "flux"), (dev, "flux"), (lcm, "sd1"), (schnell, "sd1"))
    ]
    assert titles == ["schnell", "", "LCM", None]
    for guided in (True, False):
        folder = tmp_path / str(guided) / "transformer"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"guidance_embeds": guided}))
        usual = usual_of(source("mine", "flux", folder.parent))
        assert usual is not None and (usual.title == "schnell") is not guided


def test_a_few_step_model_with_many_steps_gets_a_line() -> None:
    model = source("sdxl_lightning_4step.safetensors", "sdxl")
    note = few_step_note(model, [], 25, 7)
    assert note == (
        "this is a Lightning model, made for about 4 steps and CFG 1, and gets 25 steps and CFG 7: set steps=4 "
        'cfg_scale=1 "sampler=Euler SGM Uniform"'
    )
    assert few_step_note(model, [], 4, 7) and few_step_note(model, [], 25, 1)
    assert not few_step_note(model, [], 4, 1) and not few_step_note(source("x", "sd1"), [], 25, 7)
    assert "LoRA (lcm-lora-sdv1-5)" in few_step_note(source("x", "sd1"), ["ink", "lcm-lora-sdv1-5"], 25, 7)
    assert networks_in(["a <lora:ink:1> b <lyco: lcm :0.5:0.3>", "<hypernet:x:1>"]) == ["ink", "lcm"]


def test_what_a_file_does_not_say_is_as_the_model_was_made_for(folders: dict[str, Path], tmp_path: Path) -> None:
    """In a run's settings, with a line; what is said stays."""
    model = tmp_path / "my-lightning-2step"
    shutil.copytree(folders["sd1"], model)
    loaded = load({"model": str(model), "prompts": {"0": "a sea"}, "steps": 25, "max_frames": 2})
    settings = loaded.settings
    assert (settings.params.steps.text, settings.params.cfg_scale.text) == ("0: (25)", "0: (1)")
    assert settings.sampler.text == parse_text("Euler SGM Uniform", name="sampler").text
    assert any(
        "cfg_scale 1, sampler Euler SGM Uniform: not given, and usual for my-lightning-2step" in n
        for n in loaded.report
    )
    assert any("this is a Lightning model" in note for note in check(settings).notes)
    same = load({"model": str(folders["sd1"]), "prompts": {"0": "a sea"}})
    assert same.settings.sampler == Settings.sampler
    old = load({"model": str(model), "profile": "deforum", "prompts": {"0": "a sea"}})
    assert old.settings.params.cfg_scale == default_params().cfg_scale
