"""Models and passes that do not go together are found before the first frame."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deforum.build import prepare
from deforum.embedded import DIFFUSION
from deforum.errors import UserError
from deforum.features.fitting import misfits
from deforum.loading import load

SMALL = {"max_frames": 3, "cadence": 1, "seed": 1, "width": 64, "height": 64, "device": "cpu", "finish": "none"}
INIT = {"reference": [{"picture": "init"}]}
HALF = {"mask": "{depth}", "prompt": "a cat"}
EVERYWHERE = {"mask": "{everywhere}", "prompt": "a cat"}


def settings(**given: Any) -> Any:
    return load(SMALL | given).settings


@pytest.fixture
def wider(tmp_path: Path) -> str:
    """A model like the embedded one, whose UNet takes wider tokens; its weights are not read."""
    folder = tmp_path / "wider"
    shutil.copytree(DIFFUSION, folder, copy_function=lambda source, to: Path(to).symlink_to(Path(source).resolve()))
    config = folder / "unet" / "config.json"
    changed = json.loads(config.read_text()) | {"cross_attention_dim": 256}
    config.unlink()
    config.write_text(json.dumps(changed))
    return str(folder)


REFERENCES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "alone": (INIT, ()),
    "regions": (INIT | {"regions": [EVERYWHERE]}, ("with regions, as at frame 1",)),
    "regions that look": (INIT | {"regions": [HALF]}, ("with regions, as at frame 1",)),
    "pag": (INIT | {"pag_scale": "0: (0), 2: (3)"}, ("with pag_scale, as at frame 1",)),
    "rescale": (INIT | {"guidance_rescale": "0.7"}, ("with guidance_rescale, as at frame 1",)),
    "sampler": (INIT | {"sampler": {0: "Euler", 2: "Euler CFG++"}}, ("with sampler Euler CFG++, as at frame 2",)),
    "several": (INIT | {"pag_scale": 2, "guidance_rescale": 0.7}, ("with pag_scale", "with guidance_rescale")),
    "only at frame 0, which has no init": (INIT | {"pag_scale": "0: (2), 1: (0)"}, ()),
    "where the reference is off": (
        {
            "reference": [{"picture": "init", "strength": "0: (1), 1: (1), 2: (0)"}],
            "sampler": {0: "Euler", 2: "Euler CFG++"},
        },
        (),
    ),
    "no init at all": (INIT | {"animation_mode": "Interpolation", "pag_scale": 2}, ()),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCES)
def test_what_does_not_act_together_with_a_reference(case: str) -> None:
    given, says = REFERENCES[case]
    if not says:
        prepare(settings(**given))
        return
    with pytest.raises(UserError) as caught:
        prepare(settings(**given))
    found = [problem.message for problem in caught.value.problems if problem.message.startswith("reference: does not")]
    assert len(found) == len(says)
    assert all(part in message for part, message in zip(says, found, strict=True))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, ""),
        ({"freeu_b1": "0: (1), 2: (1.2)"}, "freeu_b1 is 1.1 at frame 1: it changes a UNet, and the model (Flux.1)"),
        ({"freeu_s2": "0.2"}, "freeu_s2 is 0.2 at frame 0"),
        ({"pag_scale": "0: (0), 2: (3)"}, "pag_scale is 1.5 at frame 1"),
    ],
)
def test_what_needs_a_unet(given: dict[str, Any], says: str) -> None:
    ready = prepare(settings(**given))  # the embedded model has a UNet
    flux = {("", ""): replace(ready.model, family="flux")}
    told = list(misfits(ready.settings, ready.timeline, flux, {}, starts_from_picture=False))
    assert len(told) == bool(says) and all(says in message for message in told)


def test_only_the_frames_of_a_model_without_a_unet_count() -> None:
    ready = prepare(settings(pag_scale="0: (3), 1: (0)"))
    timeline = replace(ready.timeline, checkpoints=("", "other", "other"))
    models = {("", ""): ready.model, ("other", ""): replace(ready.model, family="flux")}
    assert not list(misfits(ready.settings, timeline, models, {}, starts_from_picture=False))


def test_adapters_have_to_fit_every_checkpoint(wider: str, tmp_path: Path) -> None:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    path = tmp_path / "mine.safetensors"
    save_file({f"{layer}.lora_down.weight": torch.ones(4, 192), f"{layer}.lora_up.weight": torch.ones(192, 4)}, path)
    prepare(settings(loras=[str(path)]))
    with pytest.raises(UserError, match="made for a model whose prompts have 192") as caught:
        prepare(settings(loras=[str(path)], checkpoint={0: "", 2: wider}))
    assert "checkpoint" in str(caught.value) and "wider" in str(caught.value)


def test_control_units_have_to_fit_every_checkpoint(wider: str) -> None:
    unit = {"control": [{"model": "embedded", "image": "previous", "preprocessor": "canny"}]}
    prepare(settings(**unit))
    with pytest.raises(UserError, match="cn_1_model"):
        prepare(settings(**unit, checkpoint={0: "", 2: wider}))
