"""Models that change from frame to frame."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.build import build, prepare
from deforum.errors import UserError
from deforum.models.kept import KeptModels
from deforum.settings.options import Settings
from tests.diffusion.tiny import build as build_tiny
from tests.helpers import STILL, settings_maker


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("pair")
    return build_tiny("sd1").save_folder(root / "a"), build_tiny("sd1", seed=7).save_folder(root / "b")


def settings_of(folder: Path, **changes: Any) -> Settings:
    usual = STILL | {"width": 32, "height": 32, "steps": 1, "cadence": 1, "sampler": "Euler", "prompts": "a hill"}
    return settings_maker(folder, usual)(**changes)


def by_turns(pair: tuple[Path, Path], count: int) -> str:
    return "{" + ", ".join(f'{i}: "{pair[i % 2]}"' for i in range(count)) + "}"


def live_bytes() -> int:
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Parameter)  # not those that other tests pretend
    tensors = [thing for thing in gc.get_objects() if type(thing) in kinds]
    packed = sum(each.numel() * each.element_size() for each in tensors if each.is_mkldnn)
    plain = [each.untyped_storage() for each in tensors if not each.is_mkldnn]
    return packed + sum({storage.data_ptr(): storage.nbytes() for storage in plain}.values())


def test_each_frame_is_painted_by_its_checkpoint(pair: tuple[Path, Path], tmp_path: Path) -> None:
    changing = settings_of(tmp_path, model=pair[0], max_frames=4, checkpoint=f"{{0: '', 1: {pair[1]}, 3: {pair[0]}}}",
                           animation_mode="Interpolation")  # fmt: skip
    models = KeptModels()
    mixed = [picture for _, picture in build(changing, models).frames()]
    for which, frames in ((0, (0, 3)), (1, (1, 2))):
        plain = settings_of(tmp_path, model=pair[which], max_frames=4, animation_mode="Interpolation")
        alone = [picture for _, picture in build(plain, models).frames()]
        for index in frames:
            assert torch.allclose(mixed[index], alone[index], atol=1e-4)  # in a batch of another size
    assert not torch.allclose(mixed[0], mixed[1], atol=1e-2)
    assert changing.checkpoint.sample(4, prepare(changing).timeline.variables)[3] == str(pair[0].resolve())


@pytest.mark.long
def test_changes_leave_no_memory_behind(pair: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, model=pair[0], max_frames=21, checkpoint=by_turns(pair, 21))
    used: dict[int, int] = {}
    for frame, _ in build(settings, KeptModels()).frames():
        if frame.index in (2, 20):
            used[frame.index] = live_bytes()
    assert used[20] <= used[2] * 1.05


def test_a_checkpoint_that_is_missing_is_known_before_frame_0(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        prepare(settings_of(tmp_path, model=pair[0], max_frames=4, checkpoint="{0: '', 2: nowhere.safetensors}"))
    prepare(settings_of(tmp_path, model=pair[0], max_frames=2, checkpoint="{0: '', 2: nowhere.safetensors}"))


def test_checkpoints_of_other_latents_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = build_tiny("sd1", vae_blocks=3).save_folder(tmp_path / "c")
    settings = settings_of(tmp_path, model=pair[0], max_frames=2, checkpoint=f"{{0: '', 1: {other}}}")
    with pytest.raises(
        UserError, match=r"checkpoint: frame 1 changes to .*, whose latents have 4 px a cell; expected 2"
    ):
        list(build(settings).frames())
