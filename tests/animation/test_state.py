"""The state of a run as data: written, read back, gone on from, and what becomes of folders that are damaged."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from safetensors import safe_open

from deforum.animation.loop import apart
from deforum.animation.parts import Memory
from deforum.animation.state import State, write_state
from deforum.build import Animation
from deforum.depth.network import Network
from deforum.diffusion.pixel_strength import Paint
from deforum.errors import UserError
from deforum.models.kept import KeptModels
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame
from tests.animation.scenarios import (
    ALL,
    CELL,
    CLIP,
    FRAMES,
    ROOT,
    Run,
    animation_of,
    begin,
    cuts_of,
    gone_on,
    settings_of,
    some,
    stand_in,
)
from tests.helpers import assembled, recording

FILES = {"state.json", "state.safetensors"}
MODELS = KeptModels()


# --- Going on ---------------------------------------------------------------------------------------------------------


def differences(run: Run) -> list[str]:
    """List which frames and states differ from those of the run that was not cut."""
    cuts, frames = cuts_of(FRAMES), gone_on(run)
    assert set(frames) == {(cut, index) for cut in cuts for index in range(cut + 1, FRAMES)}
    wrong = [
        f"from {cut}: frame {index} by {float((frame - run.frames[str(index)]).abs().max()):.1e}"
        for (cut, index), frame in frames.items()
        if not torch.equal(frame, run.frames[str(index)])
    ]
    return wrong + [
        f"from {cut}: {name} of {index}"
        for cut in cuts
        for index in cuts
        for name in FILES
        if cut < index and (run.state(cut) / name).is_file()
        if (run.state(index) / name).read_bytes() != (run.state(index, since=cut) / name).read_bytes()
    ]


def go_on_in_another_process(names: Sequence[str], folder: Path) -> None:
    runs = begin(names, folder)
    assert all(len(run.frames) == FRAMES for run in runs.values())
    subprocess.run([sys.executable, "-m", "tests.animation.scenarios", str(folder)], cwd=ROOT, check=True)
    wrong = {name: differences(run) for name, run in runs.items()}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_frames_and_states_are_the_same_from_every_state_in_another_process(tmp_path: Path) -> None:
    go_on_in_another_process(some()[::2], tmp_path)  # the long form has all


@pytest.mark.long
def test_every_combination_goes_on_alike(tmp_path: Path) -> None:
    go_on_in_another_process(list(ALL), tmp_path)


def test_the_stand_in_paints_from_all_that_it_is_told(tmp_path: Path) -> None:
    """Otherwise frames would be alike that should not be."""
    frame = assembled(settings_of("2D corrected/1 moving noise", tmp_path), stand_in).timeline[1]
    camera: Any = animation_of("2D corrected/1 moving noise", tmp_path, MODELS).stages.camera
    init = torch.full((3, 64, 64), 0.5)
    half = Paint(torch.linspace(0, 1, 64).expand(64, 64))
    told: list[tuple[Image | None, Frame, Paint | None]] = [
        (None, frame, None),
        (init, frame, None),
        (init / 2, frame, None),
        (init, frame, half),
        (init, replace(frame, seed=frame.seed + 1), None),
        (init, replace(frame, noise_map=camera.noise_map), None),
        (init, replace(frame, noise_map=replace(camera.noise_map, numbers=camera.noise_map.numbers + 1)), None),
    ]
    pictures = [stand_in([init], [frame], paints=[paint])[0] for init, frame, paint in told]
    assert all(not torch.equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


# --- What a state is --------------------------------------------------------------------------------------------------

NESTED = (
    "2D corrected/1 plain", "2D deforum/3 everything", "3D corrected/3 everything", "3D deforum/1 hybrid flow",
    "3D corrected/1 repaint", "3D deforum/3 moving noise", "2D corrected/3 mask", "Interpolation", "Video Input",
    "Video Input with feedback",
)  # fmt: skip


def values(memory: Memory, path: str = "") -> Iterable[tuple[str, object]]:
    """List what a memory holds, with where it is."""
    for name, value in memory.items():
        assert isinstance(name, str)
        if isinstance(value, Mapping):
            yield from values(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def assert_same(a: Memory, b: Memory) -> None:
    """Compare memories: the same names, kinds and values, and tensors that lie in the memory alike."""
    first, second = dict(values(a)), dict(values(b))
    assert list(first) == list(second)
    for name, value in first.items():
        other = second[name]
        assert type(value) is type(other), name
        if isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor):
            assert (value.dtype, value.shape, value.stride()) == (other.dtype, other.shape, other.stride()), name
            assert torch.equal(value, other), name
        else:
            assert value == other, name


@pytest.mark.parametrize("name", NESTED)
def test_a_state_is_data_and_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    animation, count = animation_of(name, tmp_path, MODELS), 0
    for state in animation.states():
        at = state.boundary
        if at is None:
            continue
        for memory in (at.camera.memory(), at.trails):
            for where, value in values(memory):
                assert type(value) in (torch.Tensor, float, int, str, type(None)), where
        write_state(state, tmp_path / "state")
        back = animation.read_state(tmp_path / "state")
        assert (back.frame, back.is_boundary) == (state.frame, state.is_boundary)
        known = back.boundary
        assert known is not None and known.begun is None and known.frame == at.frame
        assert_same(known.camera.memory(), at.camera.memory())
        assert_same(known.trails, at.trails)
        assert_same({"shown": known.shown, "newer": known.newer}, {"shown": at.shown, "newer": at.newer})
        assert (known.palette is None) == (at.palette is None)
        if known.palette is not None and at.palette is not None:
            assert known.palette.counts.dtype == at.palette.counts.dtype
            assert known.palette.counts.tobytes() == at.palette.counts.tobytes()
            for name in {each.name for each in fields(at.palette)} - {"counts"}:
                assert getattr(known.palette, name) == getattr(at.palette, name)
        count += 1
    assert count >= FRAMES - 3


def test_a_folder_holds_json_and_safetensors_alone(tmp_path: Path) -> None:
    animation = animation_of("3D corrected/3 everything", tmp_path, MODELS)
    state = list(animation.states())[-1]
    write_state(state, tmp_path / "deep" / "state")
    assert {path.name for path in (tmp_path / "deep" / "state").iterdir()} == FILES
    assert isinstance(json.loads((tmp_path / "deep" / "state" / "state.json").read_text("utf-8")), dict)
    with safe_open(tmp_path / "deep" / "state" / "state.safetensors", "pt") as tensors:
        assert {"shown", "picture", "palette.counts", "camera.camera.numbers"} <= set(tensors.keys())
        assert "trails.glow" not in set(tensors.keys())  # the picture that was shown, which is there once


def test_a_state_that_was_read_can_be_written_over(tmp_path: Path) -> None:
    """What was read does not lie in the file."""
    animation = animation_of("2D corrected/1 plain", tmp_path, MODELS)
    frames = [state.shown for state in animation.states()]
    first, second = list(animation.states())[:2]
    write_state(first, tmp_path / "state")
    back = animation.read_state(tmp_path / "state")
    write_state(second, tmp_path / "state")
    assert torch.equal(back.shown, frames[0])
    for state in animation.states(back):
        assert torch.equal(state.shown, frames[state.frame.index])
        write_state(state, tmp_path / "state")
    assert animation.read_state(tmp_path / "state").frame.index == FRAMES - 1


def test_pictures_come_back_on_the_device(tmp_path: Path) -> None:
    animation = animation_of("3D corrected/3 everything", tmp_path, MODELS)
    *_, state = animation.states()
    write_state(state, tmp_path / "state")
    back = replace(animation, device=torch.device("meta")).read_state(tmp_path / "state")
    glow = back.trails["glow"]
    assert isinstance(glow, torch.Tensor)
    assert {back.shown.device.type, back.newer.device.type, glow.device.type} == {"meta"}
    assert back.shown.stride() == state.shown.stride()


@pytest.mark.parametrize("name", ["2D corrected/3 plain", "3D deforum/3 everything", "Video Input", "Interpolation"])
def test_a_state_does_not_keep_the_run_before_it_alive(name: str, tmp_path: Path) -> None:
    shown: list[weakref.ref[State]] = []
    most = 0
    for state in animation_of(name, tmp_path, MODELS).states():
        shown.append(weakref.ref(state))
        most = max(most, sum(each() is not None for each in shown))
        assert state.begun is None or (not state.is_boundary and state.begun.begun is None)
    assert most <= 3  # this one, the one at the last boundary, and the one that is on its way out


def test_frames_apart_go_on_behind_a_group_that_was_cut_by_the_memory(tmp_path: Path) -> None:
    """Frames that were too many for the graphics card are painted in halves; a state may be between them."""
    animation = animation_of("Interpolation", tmp_path, MODELS)
    asked: list[list[int]] = []

    def painter(
        inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        if len(frames) > 2:
            raise torch.OutOfMemoryError
        asked.append([frame.index for frame in frames])
        return stand_in(inits, frames, paints=paints)

    painting = replace(animation.stages.painting, painter=painter)
    animation = replace(animation, stages=replace(animation.stages, painting=painting, pace=apart(4)))
    states = list(animation.states())
    assert asked == [[0, 1], [2, 3], [4, 5], [6]]
    for cut, groups in ((1, [[2, 3], [4, 5], [6]]), (2, [[2, 3], [4, 5], [6]])):
        asked.clear()
        write_state(states[cut], tmp_path / "state")
        rest = list(animation.states(animation.read_state(tmp_path / "state")))
        assert asked == groups
        assert [state.frame.index for state in rest] == list(range(cut + 1, FRAMES))
        assert all(torch.equal(a.shown, b.shown) for a, b in zip(rest, states[cut + 1 :], strict=True))


# --- Folders that cannot be read --------------------------------------------------------------------------------------


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "state.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")

    return edit


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tensors": (lambda folder: (folder / "state.safetensors").unlink(), "no such file"),
    "no document": (lambda folder: (folder / "state.json").unlink(), "no such file"),
    "cut-off tensors": (lambda folder: _cut_off(folder / "state.safetensors"), "damaged"),
    "no bytes of tensors": (lambda folder: (folder / "state.safetensors").write_bytes(b""), "damaged"),
    "noise for tensors": (lambda folder: (folder / "state.safetensors").write_bytes(bytes(range(256)) * 9), "damaged"),
    "cut-off document": (lambda folder: _cut_off(folder / "state.json"), "damaged"),
    "another document": (lambda folder: (folder / "state.json").write_text("[1, 2]"), "damaged"),
    "no text": (lambda folder: (folder / "state.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
    "another format": (_edit(format=99), "format 99; this version reads format 1"),
    "no format": (_edit(format=None), "format None"),
    "no frame": (_edit(frame=None), "does not fit"),
    "a frame beyond the run": (_edit(frame=10**6), "does not fit"),
    "no memory": (_edit(boundary={"frame": 3}), "does not fit"),
    "memory of another kind": (_edit(boundary={"frame": 3, "memory": {"shown": {"value": 3}}}), "does not fit"),
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Animation, State]:
    animation = animation_of("3D corrected/3 everything", tmp_path_factory.mktemp("run"), MODELS)
    return animation, next(state for state in animation.states() if state.frame.index == 3)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_named(damage: str, stopped: tuple[Animation, State], tmp_path: Path) -> None:
    (animation, state), (make, reason) = stopped, DAMAGES[damage]
    folder = tmp_path / "state"
    write_state(state, folder)
    make(folder)
    with pytest.raises(UserError) as error:
        animation.read_state(folder)
    assert str(folder) in str(error.value) and reason in str(error.value)
    assert "Error" not in str(error.value)
    assert error.value.__cause__ is None and (error.value.__suppress_context__ or error.value.__context__ is None)


def test_a_folder_that_is_not_there_is_named(stopped: tuple[Animation, State], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        stopped[0].read_state(tmp_path / "nowhere")


@pytest.mark.parametrize("other", ["2D corrected/1 plain", "3D corrected/3 moving noise", "3D corrected/3 mask"])
def test_the_state_of_other_settings_is_refused(other: str, stopped: tuple[Animation, State], tmp_path: Path) -> None:
    """What this camera carries that one does not."""
    write_state(list(animation_of(other, tmp_path, MODELS).states())[3], tmp_path / "state")
    with pytest.raises(UserError, match="does not fit the settings"):
        stopped[0].read_state(tmp_path / "state")


def test_a_write_that_broke_off_leaves_no_state(
    stopped: tuple[Animation, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the tensors of one state beside the document of another."""
    animation, state = stopped
    write_state(state, tmp_path / "state")

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            write_state(state, tmp_path / "state")
    with pytest.raises(UserError, match="no such file"):
        animation.read_state(tmp_path / "state")
    write_state(state, tmp_path / "state")
    assert animation.read_state(tmp_path / "state").frame == state.frame


# --- An outer camera answers for what is inside it --------------------------------------------------------------------

WHITE: dict[str, object] = {
    "use_mask": True, "mask_file": "white.png", "mask_follows_camera": True, "full_res_mask": False,
    "overlay_mask": False,
}  # fmt: skip
OUTER: dict[str, dict[str, object]] = {
    "alone": {},
    "noise": {"noise_follows_camera": True},
    "masks": WHITE,
    "both": WHITE | {"noise_follows_camera": True},
}


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_hybrids_depth_mask_asks_the_camera_whatever_is_around_it(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The depth model is asked once for each picture that the camera looks at, and not again for the mask."""
    asked: list[int] = []
    find = Network.__call__

    def counted(network: Network, image: Image, index: int) -> torch.Tensor:
        asked.append(index)
        return find(network, image, index)

    def painter(
        inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        """Paint alike wherever noise is, and whatever mask there is."""
        return stand_in(inits, [replace(frame, noise_map=None) for frame in frames])

    monkeypatch.setattr(Network, "__call__", counted)
    masks: dict[str, list[bytes]] = {}
    cv2.imwrite(str(tmp_path / "white.png"), cv2.UMat(64, 64, cv2.CV_8U, 255).get())
    for outer, changes in OUTER.items():
        settings = settings_of(
            f"3D {profile}/1 plain", tmp_path, **changes, strength=0.5, noise=0, antiblur_amount=0, max_frames=3,
            video_init_path=CLIP, extract_to_frame=2, hybrid_composite="Normal", hybrid_comp_mask_type="Depth",
            hybrid_comp_save_extra_frames=True, hybrid_use_first_frame_as_init_image=False,
        )  # fmt: skip
        asked.clear()
        with ExitStack() as beside:
            animation = assembled(settings, painter, MODELS, CELL)
            frames = dict(animation.recorded(recording(animation, tmp_path / outer, beside)).frames())
        assert len(frames) == 3
        looks = [0, 1] if profile == "corrected" else [0, 0, 1, 1, 2]
        assert sorted(asked) == looks, outer
        masks[outer] = [path.read_bytes() for path in sorted((tmp_path / outer / "hybrid").glob("*_mask.png"))]
    assert len(masks["alone"]) == len(set(masks["alone"])) == 2
    assert all(found == masks["alone"] for found in masks.values())
