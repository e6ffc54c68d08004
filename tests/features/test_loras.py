"""LoRAs of a run: found by name, checked before the first frame, and at weight 0 without a trace in the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deforum.build import build, prepare
from deforum.errors import UserError
from deforum.loading import load
from deforum.models.kept import KeptModels

LAYER = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
SMALL = {
    "max_frames": 2,
    "seed": 1,
    "cadence": 1,
    "width": 64,
    "height": 64,
    "steps": 3,
    "device": "cpu",
    "finish": "none",
}


def lora(path: Path, width: int = 192, metadata: dict[str, str] | None = None, layer: str = LAYER) -> Path:
    torch.manual_seed(0)
    weights = {f"{layer}.lora_down.weight": torch.randn(4, width), f"{layer}.lora_up.weight": torch.randn(192, 4)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, metadata)
    return path


def prepared(**settings: Any) -> Any:
    return prepare(load(SMALL | settings).settings)


@pytest.mark.parametrize("name", ["mine", "sub/mine", "mine.safetensors", "My Title"])
def test_found_in_a_folder_of_models(tmp_path: Path, name: str) -> None:
    path = lora(tmp_path / "models" / "Lora" / "sub" / "mine.safetensors", metadata={"ss_output_name": "My Title"})
    for given in ({"loras": [name]}, {"prompts": {0: f"a sea <lora:{name}:0.5>"}}):
        found = prepared(models_dir=str(tmp_path), **given).found["LoRAs"]
        assert found.paths == ((name, path),)


def test_a_path_starts_at_the_settings_file(tmp_path: Path) -> None:
    lora(tmp_path / "mine.safetensors")
    (tmp_path / "a.yaml").write_text("loras: [mine.safetensors]\n")
    [unit] = load(tmp_path / "a.yaml").settings.loras
    assert unit.lora == str(tmp_path / "mine.safetensors")


FAULTS = {
    "a name that is not there": ({"loras": ["nothing"]}, "loras: there is no LoRA 'nothing'"),
    "in a prompt": ({"prompts": {0: "a <lora:nothing:1>"}}, "prompts, <lora:nothing>: there is no LoRA"),
    "another family": ({"loras": ["xl"]}, "xl.safetensors is made for Stable Diffusion XL; the model is of the family"),
    "a transformer's": ({"loras": ["flux"]}, "flux.safetensors is made for Flux; the model is of the family"),
    "not a LoRA": ({"loras": ["other"]}, "other.safetensors: not a LoRA"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_found_before_a_frame(case: str, tmp_path: Path) -> None:
    lora(tmp_path / "Lora" / "xl.safetensors", 2048)
    lora(tmp_path / "Lora" / "flux.safetensors", layer="lora_unet_double_blocks_0_img_attn_qkv")
    save_file({"model.x": torch.ones(1)}, tmp_path / "Lora" / "other.safetensors")
    settings, says = FAULTS[case]
    with pytest.raises(UserError) as caught:
        prepared(models_dir=str(tmp_path), **settings)
    assert says in str(caught.value)


def test_the_profile_of_deforum_goes_without_what_is_not_there() -> None:
    given = {"profile": "deforum", "loras": ["nothing"], "prompts": {0: "a <lora:gone:1> sea <lora:ink:0.5>"}}
    loaded = load(SMALL | given)
    assert loaded.settings.loras == () and loaded.settings.prompts[0][1] == "a  sea <lora:ink:0.5>"
    assert sum("is not there; the animation goes without it" in note for note in loaded.report) == 2


def test_words_that_it_asks_for_are_told(tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", metadata={"modelspec.trigger_phrase": "Ink Style"})
    assert any("with the words 'Ink Style'" in note for note in prepared(loras=[str(path)]).notes)
    assert not any("words" in note for note in prepared(loras=[str(path)], prompts={0: "a sea, ink style"}).notes)


def test_weight_0_leaves_the_pictures_bit_for_bit(tmp_path: Path) -> None:
    models, path = KeptModels(), str(lora(tmp_path / "a.safetensors"))

    def pictures(**settings: Any) -> list[torch.Tensor]:
        return [picture.clone() for _, picture in build(prepared(**settings), models).frames()]

    plain = pictures()
    rising = pictures(loras={path: "0: (0), 1: (4)"})
    assert torch.equal(rising[0], plain[0]) and (rising[1] - plain[1]).abs().max() > 1e-3
    assert all(map(torch.equal, pictures(loras={path: 0}), plain))
    assert torch.equal(pictures(prompts={0: f"<lora:{path}:`4*t`>"})[1], rising[1])
