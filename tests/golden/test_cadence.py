"""Whole runs of the loop against the recorded ones, with their stand-in for diffusion: init and texture halved."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.animation.loop import animate
from deforum.animation.mix import CrossFade
from deforum.animation.modes import MODES, stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Between, Camera, Pair
from deforum.depth import Gives
from deforum.features.table import timeline_of as sample
from deforum.flow import FlowModel, load_flow, resolve_flow
from deforum.loading import load
from deforum.motion.flow_warp import Flow
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Image, from_bytes, to_bytes
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline
from tests.golden.conftest import load_cases
from tests.golden.pictures import load_array, load_picture
from tests.helpers import move_by_flow

CASES = load_cases("cadence")


def strip(name: str, height: int = 96) -> NDArray[np.uint8]:
    """Cut a strip of pictures one below the other into (N, H, W, 3)."""
    pixels = load_picture(name)
    return pixels.reshape(-1, height, *pixels.shape[1:])


def settings_of(case: dict[str, Any], folder: Path) -> Settings:
    """Load a case through the door that a user's file goes through."""
    if case["settings"]["animation_mode"] not in MODES:
        pytest.skip(f"mode {case['settings']['animation_mode']} is not there yet")
    path = folder / "case.txt"
    path.write_text(json.dumps({"prompts": {"0": "a"}, "legacy_colormatch": False, **case["settings"]}))
    return load(path).settings


class StandIn:
    """The recorded stand-in: the mean of init and the frame's texture, rounded down; it remembers its calls."""

    def __init__(self) -> None:
        self.textures = strip("cadence/textures_rgb.png")
        self.calls: list[tuple[int, int, float | None]] = []
        self.inits: list[NDArray[np.uint8]] = []

    def __call__(self, init: Image | None, frame: Frame) -> Image:
        texture = self.textures[frame.index]
        self.calls.append((frame.index, frame.seed, None if init is None else frame.params.strength))
        if init is None:
            return from_bytes(self.textures[0])
        self.inits.append(to_bytes(init))
        return from_bytes(((self.inits[-1].astype(np.uint16) + texture) // 2).astype(np.uint8))


class StandInDepth:
    """The recorded stand-in for the depth network: always the same map."""

    gives: Gives = "inverse depth"

    def __init__(self) -> None:
        self.depth = torch.from_numpy(load_array("cadence.npz:depth").astype(np.float32))

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return self.depth


@dataclass(frozen=True)
class CutOffWarp:
    """A motion whose pictures are cut off to whole levels, as the recorded ones are; ours keep their fractions."""

    warp: Warp

    def __call__(self, image: Image) -> Image:
        return (self.warp(image) * 255).floor() / 255


@dataclass(frozen=True)
class CutOffCamera:
    """A 3D camera with such motions."""

    camera: Camera

    def look(self, scene: Image, frame: Frame) -> CutOffCamera:
        return CutOffCamera(self.camera.look(scene, frame))

    def move(self, frame: Frame) -> tuple[Warp, CutOffCamera]:
        warp, camera = self.camera.move(frame)
        return cast(Warp, CutOffWarp(warp)), CutOffCamera(camera)


@dataclass(frozen=True)
class RecordedMix:
    """Flow cadence as it was recorded, faults and all: what is proven with it is which pictures meet, when and where.

    Its faults, which `FollowFlow` has not: the flow holds the camera's motion too. In each frame
    it is made relative, by its largest component and the picture's size, is moved as if it were a picture, in which 3D
    cuts off what is negative, and only the size is taken out of it again: so nothing moves by more than 1 px, and next
    time the size is in it twice. The steps follow the fade, not its growth: from cadence 3 on they add up to more than
    the half of the flow by which the newer picture was moved back. Only a flow so small hides that.
    """

    model: FlowModel
    in_space: bool
    plain = CrossFade()

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        raise AssertionError("recorded runs have Deforum's cadence")

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        if pair.older is None:
            return self.plain.step(pair, warp, key, fade)
        begins = pair.fade == 0
        flow, newer = pair.flow, pair.newer
        if begins or flow is None:
            flow = self.model(pair.older, newer) / 2
            newer = move_by_flow(newer, -flow)
        size = torch.tensor((flow.shape[1], flow.shape[0]))
        relative = flow / (flow.abs().max() * size)
        relative = self.move_as_picture(warp, relative)
        on = relative * size * fade * key.params.cadence_flow_factor
        older = None if fade == 1 else move_by_flow(warp(pair.older), on)
        return Pair(older, newer if begins else move_by_flow(warp(newer), on), fade, relative)

    def move_as_picture(self, warp: Warp, flow: Flow) -> Flow:
        inner = warp.warp if isinstance(warp, CutOffWarp) else warp
        moved = inner(flow.permute(2, 0, 1).contiguous())
        return (moved.clamp(min=0) if self.in_space else moved).permute(1, 2, 0).contiguous()


def flow_model_of(case: dict[str, Any]) -> FlowModel | None:
    """Load the estimator of a case, or make one that always finds the same."""
    if case.get("flow_field_override"):
        always = torch.from_numpy(load_array(case["flow_field_override"]).astype(np.float32))
        return lambda a, b: always
    source = resolve_flow(case["settings"]["optical_flow_cadence"])
    return None if source is None else load_flow(source, CPU)


def run(case: dict[str, Any], folder: Path) -> tuple[NDArray[np.uint8], StandIn, Timeline]:
    settings = settings_of(case, folder)
    stand_in, timeline = StandIn(), sample(settings)
    stages = stages_of(settings, each(stand_in), CPU, StandInDepth() if settings.use_depth_warping else None)
    in_space = settings.animation_mode == "3D"
    if (model := flow_model_of(case)) is not None:
        stages = replace(stages, mix=RecordedMix(model, in_space))
    if in_space:
        stages = replace(stages, camera=CutOffCamera(stages.camera))
    frames = [to_bytes(image) for _, image in animate(stages, timeline.spans())]
    return np.stack(frames), stand_in, timeline


def assert_near(got: NDArray[np.uint8], want: NDArray[np.uint8], spread: float) -> None:
    """The recorded tolerance: mean over the strip 2 x library spread + 0.15, and no frame above twice that."""
    error = np.abs(got.astype(np.float64) - want).mean(axis=(1, 2, 3))
    allowed = 2 * spread + 0.15
    assert error.mean() <= allowed, f"mean {error.mean():.3f} above {allowed:.3f}; per frame {error.round(3)}"
    assert error.max() <= 2 * allowed, f"frame {error.argmax()} is off by {error.max():.3f}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cadence(case: dict[str, Any], tmp_path: Path) -> None:
    frames, stand_in, timeline = run(case, tmp_path)
    saved = case["saved_frame_indices"]
    spread = case["library_spread"].get("frames", case["library_spread"])["mean"]
    assert len(frames) == len(timeline) == case["settings"]["max_frames"]
    assert_near(frames[saved], strip(case["frames"]), spread)
    calls = [(call["frame"], call["seed"], call["strength"]) for call in case["generator_calls"]]
    assert stand_in.calls == calls


@pytest.mark.parametrize("case", [case for case in CASES if "init_images" in case], ids=lambda case: case["name"])
def test_init_pictures(case: dict[str, Any], tmp_path: Path) -> None:
    _, stand_in, _ = run(case, tmp_path)
    assert_near(np.stack(stand_in.inits), strip(case["init_images"]), case["library_spread"]["init_images"]["mean"])
