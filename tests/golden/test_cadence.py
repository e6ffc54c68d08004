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

from deforum.animate import Camera, Warp, animate
from deforum.build import each, stages_of
from deforum.depth import Gives
from deforum.image import CPU, Image, from_bytes, to_bytes
from deforum.modes import MODES
from deforum.settings import Settings, load
from deforum.timeline import Frame, Timeline, sample

from .conftest import load_cases
from .pictures import load_array, load_picture

CASES = load_cases("cadence")


def strip(name: str, height: int = 96) -> NDArray[np.uint8]:
    """Cut a strip of pictures one below the other into (N, H, W, 3)."""
    pixels = load_picture(name)
    return pixels.reshape(-1, height, *pixels.shape[1:])


def settings_of(case: dict[str, Any], folder: Path) -> Settings:
    """Load a case through the door that a user's file goes through."""
    if case["settings"]["animation_mode"] not in MODES:
        pytest.skip(f"mode {case['settings']['animation_mode']} is not there yet")
    if case["settings"]["optical_flow_cadence"] != "None":
        pytest.skip("optical-flow cadence is not there yet")
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
class CutOffCamera:
    """A 3D camera whose pictures are cut off to whole levels, as the recorded ones are; ours keep their fractions."""

    camera: Camera

    def look(self, scene: Image, frame: Frame) -> CutOffCamera:
        return CutOffCamera(self.camera.look(scene, frame))

    def move(self, frame: Frame) -> tuple[Warp, CutOffCamera]:
        warp, camera = self.camera.move(frame)
        cut = cast(Warp, lambda image: (warp(image) * 255).floor() / 255)
        return cut, CutOffCamera(camera)


def run(settings: Settings) -> tuple[NDArray[np.uint8], StandIn, Timeline]:
    stand_in, timeline = StandIn(), sample(settings)
    stages = stages_of(settings, each(stand_in), CPU, StandInDepth() if settings.use_depth_warping else None)
    if settings.animation_mode == "3D":
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
    frames, stand_in, timeline = run(settings_of(case, tmp_path))
    saved = case["saved_frame_indices"]
    spread = case["library_spread"].get("frames", case["library_spread"])["mean"]
    assert len(frames) == len(timeline) == case["settings"]["max_frames"]
    assert_near(frames[saved], strip(case["frames"]), spread)
    calls = [(call["frame"], call["seed"], call["strength"]) for call in case["generator_calls"]]
    assert stand_in.calls == calls


@pytest.mark.parametrize("case", [case for case in CASES if "init_images" in case], ids=lambda case: case["name"])
def test_init_pictures(case: dict[str, Any], tmp_path: Path) -> None:
    _, stand_in, _ = run(settings_of(case, tmp_path))
    assert_near(np.stack(stand_in.inits), strip(case["init_images"]), case["library_spread"]["init_images"]["mean"])
