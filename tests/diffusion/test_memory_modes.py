"""The modes of memory: the same pictures, retries included, and what happens when memory runs out all the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.build import Animation
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.find import resolve_model
from deforum.diffusion.families.load import FRAME, faster, load_model
from deforum.diffusion.memory import memory_of_frame, shortage_explained
from deforum.errors import UserError
from deforum.loading import load as load_settings
from deforum.models.room import Mode, Room
from tests.diffusion.tiny import frame, picture


@pytest.fixture(autouse=True)
def plain_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a graphics card: the faster form for processors rounds differently, and is not used in every mode."""
    monkeypatch.setattr("deforum.diffusion.networks.packed.is_supported", lambda: False)


def diffuser_in(folder: Path, memory: str, *, free: int = 0, moves: bool = True, precision: str = "fp32") -> Diffuser:
    """A diffuser whose model waits on the CPU and computes there, as if that were a graphics card."""
    room = Room(torch.device("cpu"), lambda: free, moves=moves)
    model = load_model(resolve_model(str(folder)), "cpu", precision, memory=memory, room=room)
    return Diffuser(model, exact_step_count=True, vae_refinement=1, room=room)


@pytest.fixture(autouse=True)
def by_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that wait on the host run in their plain form; graphs, which others run as, differ by rounding."""
    monkeypatch.setenv("DEFORUM_OPENVINO", "off")


def show(diffuser: Diffuser, init: Any, on: Any) -> torch.Tensor:
    return diffuser(init, on, width=32, height=32)


@contextmanager
def hooked(module: torch.nn.Module, hook: Any) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.long)])
def test_every_mode_gives_the_same_picture(family: str, folders: dict[str, Path]) -> None:
    on = frame("a red house", cfg_scale=4, steps=3)
    wanted = show(diffuser_in(folders[family], "full"), picture(), on)
    for memory in ("low", "lowest"):
        diffuser = diffuser_in(folders[family], memory)
        for _ in range(2):
            assert torch.equal(show(diffuser, picture(), on), wanted)
        model = diffuser._model
        assert model.unet.device.type == ("meta" if memory == "lowest" else "cpu")
        assert all(
            hasattr(module, "_hf_hook") for module in (*model.text.modules, model.vae.encoder, model.vae.decoder)
        )
        assert diffuser.device.type == model.device.type == "cpu"


@pytest.mark.parametrize("memory", [pytest.param("low", marks=pytest.mark.long), "lowest"])
@pytest.mark.parametrize("stage", ["unet", "decoder", "encoder"])
def test_no_number_is_done_again_in_fp32_wherever_the_weights_are(
    stage: str, memory: str, folders: dict[str, Path], caplog: Any
) -> None:
    def nan_below_fp32(_module: Any, _given: Any, out: Any) -> Any:
        return out * torch.nan if out.dtype != torch.float32 else None

    made = []
    for mode in ("full", memory):
        diffuser = diffuser_in(folders["sd1"], mode, precision="fp16")
        model = diffuser._model
        part = {"unet": model.unet.conv_out, "encoder": model.vae.encoder, "decoder": model.vae.decoder}[stage]
        with caplog.at_level(logging.WARNING), hooked(part, nan_below_fp32):
            made.append(show(diffuser, picture(), frame(index=12, steps=2)))
        assert "frame 12" in caplog.text and "doing it again in fp32" in caplog.text
        made.append(show(diffuser, picture(), frame(steps=2)))
        assert model.unet.dtype == model.vae.dtype == torch.float16
    assert torch.equal(made[0], made[2]) and torch.equal(made[1], made[3])


def test_auto_keeps_a_model_on_the_device_that_fits(folders: dict[str, Path]) -> None:
    modes: dict[int, Mode] = {}
    for free in (0, FRAME, 4 * FRAME):  # 0: not known
        modes[free] = diffuser_in(folders["sd1"], "auto", free=free)._room.mode
    assert modes == {0: "full", FRAME: "low", 4 * FRAME: "full"}


def test_auto_fits_the_frame(folders: dict[str, Path]) -> None:
    diffuser = diffuser_in(folders["sd1"], "auto", free=4 * FRAME)
    diffuser.fit(512, 512)
    assert diffuser._room.mode == "full"
    diffuser.fit(8192, 8192)
    assert diffuser._room.mode == "lowest"
    assert memory_of_frame([128, 256, 512, 512], 512, 512) == pytest.approx(2**30, rel=0.1)


def test_a_frame_that_runs_out_of_memory_is_painted_in_the_next_mode(folders: dict[str, Path], caplog: Any) -> None:
    on = frame(steps=2)
    wanted = show(diffuser_in(folders["sd1"], "full"), picture(), on)
    for times, mode in ((1, "low"), (2, "lowest")):
        diffuser, left = diffuser_in(folders["sd1"], "full"), [times]

        def full(_module: Any, _given: Any, out: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        with caplog.at_level(logging.WARNING), hooked(diffuser._model.vae.decoder.conv_out, full):
            assert torch.equal(show(diffuser, picture(), on), wanted)
        assert diffuser._room.mode == mode and f"memory: {mode}" in caplog.text
        assert torch.equal(show(diffuser, picture(), on), wanted)  # it stays there


def test_several_frames_that_run_out_of_memory_are_left_to_the_loop(folders: dict[str, Path]) -> None:
    diffuser = diffuser_in(folders["sd1"], "full")

    def full(_module: Any, given: Any, _out: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    frames = [frame(steps=1, seed=seed) for seed in (1, 2)]
    with hooked(diffuser._model.unet.conv_out, full), pytest.raises(torch.OutOfMemoryError):
        diffuser.diffuse_batch([picture()] * 2, frames, width=32, height=32)
    assert diffuser._room.mode == "full"


GIVEN: dict[str, Any] = {"prompts": "sea", "width": 1024, "height": 768, "seed": 1}


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({}, ["width=704 height=512 (half of 1024x768)", "memory=lowest"]),
        ({"memory": "lowest"}, ["width=704 height=512 (half of 1024x768)"]),
        (
            {"device": "cuda", "precision": "fp32"},
            ["width=704", "memory=lowest", "precision=fp16 (half of the model's weights)"],
        ),
        ({"batch_size": 8}, ["width=704", "memory=lowest"]),  # one frame at a time in this mode
        ({"batch_size": 8, "animation_mode": "Interpolation"}, ["width=704", "memory=lowest", "batch_size=4 (now 8)"]),
    ],
)
def test_a_shortage_says_what_to_set(changes: dict[str, Any], ways: list[str]) -> None:
    settings = load_settings(GIVEN | changes).settings
    with pytest.raises(UserError) as raised, shortage_explained(settings):
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
    text = str(raised.value)
    assert text.startswith("out of memory") and "tried to allocate 2.00 GiB" in text
    assert text.count(", or ") == len(ways) - 1 and all(way in text for way in ways)
    for way in text.partition("Set ")[2].split(", or "):
        name, _, value = way.split(" ")[0].partition("=")
        assert load_settings(GIVEN | changes | {name: value}).settings  # what is proposed can be set


def test_other_errors_stay_what_they_are() -> None:
    settings = load_settings(GIVEN).settings
    with pytest.raises(RuntimeError, match="shapes"), shortage_explained(settings):
        raise RuntimeError("shapes do not match")


def test_a_run_ends_cleanly_wherever_memory_runs_out(animation: Animation) -> None:
    """Not only in the model: a filter stands for depth, flow, or a film's frame."""

    def full(image: torch.Tensor, _moment: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")

    ended = replace(animation, stages=replace(animation.stages, after=[full]))
    with pytest.raises(UserError, match=r"out of memory.*Set width=64 height=64"):
        list(ended.frames())


@pytest.fixture
def animation() -> Animation:
    from functools import partial

    from deforum.build import LoadedModel, assemble, prepare
    from deforum.models.kept import KeptModels

    settings = load_settings({"prompts": "sea", "seed": 1, "max_frames": 2, "width": 64, "height": 64}).settings

    def paint(inits: Any, frames: Any, paints: Any = None) -> list[torch.Tensor]:
        return [torch.zeros(3, 64, 64) for _ in inits]

    return assemble(prepare(settings), LoadedModel(partial(paint), torch.device("cpu"), 8), KeptModels())


def test_recorded_networks_of_a_model(folders: dict[str, Path], caplog: Any) -> None:
    """The whole way of a model on a card, with a stand-in for CUDA's recording: same pictures, and all roads."""
    recorded: list[str] = []

    def record(work: Any) -> Any:
        recorded.append("")
        result = work()

        def replay() -> None:
            again = work()
            for old, new in zip(tensors(result), tensors(again), strict=True):
                old.copy_(new)

        return replay, result

    def tensors(result: Any) -> list[torch.Tensor]:
        return [result] if isinstance(result, torch.Tensor) else [result.sample]

    on = frame(steps=3)
    wanted = show(diffuser_in(folders["sd1"], "full"), picture(), on)
    room = Room(torch.device("cpu"), lambda: 0, moves=True)
    plain = load_model(resolve_model(str(folders["sd1"])), "cpu", "fp32", room=room, memory="full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deforum.diffusion.families.load.CudaRecord", lambda: record)
        patch.setattr(room, "device", torch.device("cuda"))
        model = faster(plain, room)
    diffuser = Diffuser(model, exact_step_count=True, vae_refinement=1, room=room)
    for _ in range(3):
        assert torch.equal(show(diffuser, picture(), on), wanted)
    assert len(recorded) == 3  # UNet, encoder, decoder
    left = [2]

    def full(_module: Any, _given: Any, out: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with caplog.at_level(logging.WARNING), hooked(model.vae.decoder.conv_out, full):
        assert torch.equal(show(diffuser, picture(), on), wanted)
    assert "going on without CUDA graphs" in caplog.text and room.mode == "low"
    assert torch.equal(show(diffuser, picture(), on), wanted) and len(recorded) == 3
