"""The autoencoder by keyframe: each painted frame has its own, and one model is in memory at a time."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deforum.build import build, prepare
from deforum.diffusion.diffuser import Diffuser
from deforum.embedded import DIFFUSION
from deforum.errors import UserError
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.reports.edit import Part, compare

SMALL = {
    "max_frames": 4, "cadence": 1, "seed": 1, "width": 64, "height": 64, "steps": 2, "device": "cpu", "finish": "none",
    "animation_mode": "Interpolation", "prompts": {0: "a sea"}, "batch_size": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model's autoencoder, whose decoder adds a tenth."""
    folder = tmp_path_factory.mktemp("vae") / "brighter"
    shutil.copytree(DIFFUSION / "vae", folder)
    [file] = folder.glob("*.safetensors")
    weights = load_file(file)
    weights["decoder.conv_out.bias"] = weights["decoder.conv_out.bias"] + 0.2
    save_file(weights, file, {"format": "pt"})
    return str(folder)


def prepared(**given: Any) -> Any:
    return prepare(load(SMALL | given).settings)


def frames(models: KeptModels, **given: Any) -> list[torch.Tensor]:
    return [picture.clone() for _, picture in build(prepared(**given), models).frames()]


def diffusers() -> int:
    gc.collect()
    return sum(type(each) is Diffuser for each in gc.get_objects())


@pytest.mark.long
def test_each_frame_is_decoded_by_its_own(brighter: str) -> None:
    others = diffusers()
    models = KeptModels()
    plain = frames(models)
    switched = frames(models, vae={0: "", 1: brighter, 3: ""})
    assert all(torch.equal(switched[index], plain[index]) for index in (0, 3))
    for index in (1, 2):
        inner = plain[index] < 0.8
        assert (switched[index] - plain[index])[inner].mean() == pytest.approx(0.1, abs=0.03)
    assert diffusers() <= others + 1  # the one that is kept


def test_what_is_not_there_is_told_before_a_frame(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.safetensors"):
        prepared(vae={0: "", 2: "nothing.safetensors"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not an autoencoder"):
        prepared(vae={0: str(tmp_path / "other")})


def test_an_edit_counts_from_the_frame_that_it_changes(brighter: str) -> None:
    then, now = prepared(), prepared(vae={0: "", 2: brighter})
    edit = compare([Part(then, 0, 4)], now, 4)
    assert edit.first == 2 and [reason.name for reason in edit.reasons] == ["vae"]
    assert compare([Part(then, 0, 4)], prepared(vae=""), 4).is_empty
