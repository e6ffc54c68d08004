"""Which LoRAs act in a frame and in its steps, and that a diffuser paints with them as with merged weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.lora.acting import ForSteps, for_text, loras_of
from deforum.diffusion.adapters.lora.load import Joined
from deforum.models.branches import NOTHING
from deforum.timeline.edits import When
from deforum.timeline.lora_words import LoraWord
from tests.diffusion.adapters.lora.files import flat, merged, write
from tests.diffusion.tiny import build, frame, picture

CPU = torch.device("cpu")
JOINED = {"a": Joined("lora0", True, True), "also a": Joined("lora0", True, True), "b": Joined("lora1", False, True)}
HALF = (When(until=0.5),)


def test_weights_of_one_file_add_up_and_zeros_are_left_out() -> None:
    words = [
        LoraWord("a", 0.5, 0.25),
        LoraWord("also a", 0.25, 0.25),
        LoraWord("b", 3.0, 0.0),
        LoraWord("b", 1, 1, HALF),
    ]
    found = loras_of(words, JOINED)
    assert [(each.key, each.text, each.network, each.when) for each in found] == [
        ("lora0", 0.75, 0.5, ()), ("lora1", 0.0, 1.0, HALF)
    ]  # fmt: skip
    assert for_text(found) == {"lora0": 0.75}
    assert loras_of([LoraWord("a", 0, 0), LoraWord("b", 5, 0)], JOINED) == ()


def test_steps_with_equal_weights_share_one_object() -> None:
    loras = loras_of([LoraWord("a", 1, 0.5), LoraWord("b", 1, 1, HALF)], JOINED)
    steps = ForSteps(loras, lambda step: (step + 1, 4), CPU)
    made = [steps.at(step) for step in range(4)]
    assert [{key: float(weight) for key, weight in each.items()} for each in made] == [
        {"lora0": 0.5, "lora1": 1.0}, {"lora0": 0.5, "lora1": 1.0}, {"lora0": 0.5}, {"lora0": 0.5}
    ]  # fmt: skip
    assert made[0] is made[1] and made[2] is made[3]
    assert ForSteps((), lambda step: (step + 1, 4), CPU).at(0) is NOTHING


def test_ranks_are_a_part_of_the_key() -> None:
    assert [each.key for each in loras_of([LoraWord("a", 1, 1, ranks=4)], JOINED)] == ["lora0:4"]


def load(folder: Path, **more: Any) -> Any:
    return load_diffuser(
        resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True, **more
    )  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """Diffusers with a LoRA beside the weights, with it merged at weight 0.8, and without it."""
    root, tiny = tmp_path_factory.mktemp("lora"), build("sd1")
    path = root / "a.safetensors"
    changes = write(path, tiny.unet, lambda name: f"lora_unet_{flat(name)}", (".lora_down.weight", ".lora_up.weight"))
    text = write(path, tiny.encoders[0], lambda name: f"lora_te_{flat(name)}", (".lora_down.weight", ".lora_up.weight"))
    plain = tiny.save_folder(root / "plain")
    tiny.unet, tiny.encoders = merged(tiny.unet, changes, 0.8), [merged(tiny.encoders[0], text, 0.8)]
    dense = tiny.save_folder(root / "dense")
    return load(plain, loras=(("a", path),)), load(dense), load(plain)


def paint(diffuser: Any, *words: LoraWord, **given: Any) -> torch.Tensor:
    return diffuser(picture(), frame(loras=words, **given), width=32, height=32)  # type: ignore[no-any-return]


@pytest.mark.parametrize("steps_cached", [False, True])
def test_a_frame_is_painted_as_with_merged_weights(loaded: tuple[Any, Any, Any], steps_cached: bool) -> None:
    beside, dense, plain = loaded
    got, want = paint(beside, LoraWord("a", 0.8, 0.8)), paint(dense)
    assert (got - want).abs().max() < 1e-4 < (got - paint(plain)).abs().max()
    for rests in ((), (LoraWord("a", 0, 0),), (LoraWord("a", 1, 1, (When(after=1.0),)),)):
        picture_at_rest = paint(beside, *rests)
        if rests and rests[0].when:  # the prompt is read with it once for all steps
            continue
        assert torch.equal(picture_at_rest, paint(plain))


def test_frames_with_other_weights_are_not_one_batch(loaded: tuple[Any, Any, Any]) -> None:
    beside, dense, plain = loaded
    words = [(), (LoraWord("a", 0.8, 0.8),), (LoraWord("a", 0.8, 0.8),), (LoraWord("a", 0.2, 0.2),)]
    frames = [frame(loras=each, index=index) for index, each in enumerate(words)]
    batch = beside.diffuse_batch([picture()] * 4, frames, width=32, height=32)
    for made, each in zip(batch, frames, strict=True):
        alone = beside(picture(), each, width=32, height=32)
        assert (made - alone).abs().max() < 1e-4
    assert (batch[0] - paint(plain)).abs().max() < 1e-4
    assert (batch[1] - paint(dense)).abs().max() < 1e-4
    assert (batch[3] - batch[1]).abs().max() > 1e-4


def test_a_lora_acts_in_its_steps_alone(loaded: tuple[Any, Any, Any]) -> None:
    beside = loaded[0]
    first, last = (LoraWord("a", 0, 1, (when,)) for when in (When(until=0.5), When(after=0.5)))
    whole, both = paint(beside, LoraWord("a", 0, 1)), paint(beside, first, last)
    assert torch.equal(whole, both)
    assert all((paint(beside, each) - whole).abs().max() > 1e-4 for each in (first, last))
