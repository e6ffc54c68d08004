"""The cameras in an animation: what is shown moves as the geometry of the scene says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.depth_camera import DepthCamera, keeping_depth
from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Camera
from deforum.depth import Gives
from deforum.features.table import timeline_of as sample
from deforum.motion.pose import Lens
from deforum.pixels.image import CPU, Image, to_bytes
from deforum.settings.options import Settings
from deforum.settings.params import default_params
from deforum.settings.profiles import PROFILES
from schedules import parse_number
from tests.helpers import keeping
from tests.helpers.pictures import TRACED, trace

NEUTRAL = {"translation_z": "0", "noise": "0", "antiblur_amount": "0", "near": "400", "far": "1200"}
NEAR, FAR = 2.0, 6.0  # scene units, of the traced scene's box and wall


class Scene:
    """Knows the depth of the traced scene from wherever the camera is by then."""

    gives: Gives = "depth"

    def __init__(self, step: float) -> None:
        self.step = step

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return trace({"translation_x": self.step * index})[1]


def settings_for(cadence: int = 2, profile: str = "corrected", **schedules: str) -> Settings:
    texts = NEUTRAL | schedules
    params = replace(default_params(), **{name: parse_number(text, name=name) for name, text in texts.items()})
    return Settings(
        params=params, width=TRACED, height=TRACED, animation_mode="3D", max_frames=7, cadence=cadence, seed=1,
        color_coherence="None", profile=profile,
    )  # type: ignore[arg-type]  # fmt: skip


def rendered(settings: Settings, step: float) -> list[Image]:
    """Render with a painter that leaves pictures as they are, from the traced scene on."""
    stages = stages_of(settings, each(keeping(trace({})[0])), CPU, Scene(step))
    return [image for _, image in animate(stages, sample(settings).spans())]


@pytest.mark.parametrize("cadence", [1, 2, 3])
def test_flow_from_frame_to_frame_is_that_of_the_geometry(cadence: int) -> None:
    """Estimated from the pictures alone: within 0.5 px at the median, for near and for far things."""
    step, margin = 12.0, slice(14, -14)
    frames = rendered(settings_for(cadence, translation_x=str(step)), step)
    estimate = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for index in range(6):
        grey = [cv2.cvtColor(to_bytes(frames[at]), cv2.COLOR_RGB2GRAY) for at in (index, index + 1)]
        flow = estimate.calc(*grey, None)[margin, margin]
        depth = trace({"translation_x": step * index})[1].numpy()[margin, margin]
        expected = -step / 200 * Lens.of(70, 1, TRACED, TRACED).x / depth
        error = np.hypot(flow[..., 0] - expected, flow[..., 1])
        assert np.median(error) < 0.5
        for things in (depth < 3, depth > 3):
            assert np.median(flow[things][:, 0]) == pytest.approx(np.median(expected[things]), abs=0.5)


def test_frames_are_those_that_a_camera_there_would_take() -> None:
    step = 12.0
    frames = rendered(settings_for(translation_x=str(step)), step)
    expected = trace({"translation_x": 6 * step})[0]
    inner = slice(TRACED // 4, -TRACED // 4)
    error = (frames[6] - expected).abs().amax(0)[:, inner]
    assert error.median() < 0.01
    assert (error > 0.1).float().mean() < 0.06  # outlines, and the fill behind the box


SIDE = 48


class Renewed:
    """Sees the same scene from everywhere, as painting renews what a flight comes to, on a scale that wavers."""

    gives: Gives = "inverse depth"

    def __init__(self, scene: str) -> None:
        y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
        # Of these a flight forward changes nothing, but for their far end.
        self.seen = {"tunnel": x.hypot(y).clamp(0.1, 1.2), "ground": (0.9 * y + 0.1).clamp(min=0.05)}[scene]

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return self.seen * (3 + 0.5 * np.sin(index)) + 0.3 * np.cos(2 * index)


@pytest.mark.parametrize(
    ("scene", "cadence", "motion"),
    [
        ("ground", 1, {"translation_z": "5"}),
        ("ground", 6, {"translation_z": "10"}),
        ("tunnel", 6, {"translation_z": "10"}),
        ("tunnel", 2, {"translation_z": "-6"}),
        ("tunnel", 2, {"translation_x": "10"}),
    ],
)
def test_a_long_flight_keeps_its_speed(scene: str, cadence: int, motion: dict[str, str]) -> None:
    """Settings are constant, so what is seen moves as far in the last frames as in the first one."""
    settings = settings_for(cadence, near="200", far="1000", **motion)
    settings = replace(settings, width=SIDE, height=SIDE, max_frames=61)
    camera: Camera = DepthCamera(settings, PROFILES["corrected"], CPU, Renewed(scene), False)
    speeds, at = list[float](), sample(settings)[0]
    for span in [*sample(settings).spans()][1:]:
        camera = camera.look(torch.zeros(3, SIDE, SIDE), at)
        for at in span.frames:
            warp, camera = camera.move(at)
            here, _ = warp.charts()
            x, y = here.positions.numpy() - np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
            speeds.append(float(np.average(np.hypot(x, y), weights=here.covers.numpy())))
    assert np.array(speeds).reshape(-1, 12).mean(1) == pytest.approx(speeds[0], rel=0.08)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_camera_that_stands_still_changes_no_pixel(profile: str) -> None:
    frames = rendered(settings_for(profile=profile), 0)
    start = trace({})[0]
    assert all(torch.equal(frame, start) for frame in frames)


def test_a_lens_that_widens_from_the_first_frame_on_is_seen_from_there_on() -> None:
    """A wider lens shrinks what it sees: the picture moves in the very first step already."""
    frames = rendered(settings_for(cadence=1, fov="0: (70), 6: (82)"), 0)
    changes = [float((after - before).abs().mean()) for before, after in pairwise(frames)]
    assert min(changes) > 0.5 * max(changes)


def test_the_depth_of_every_frame_is_told() -> None:
    step = 12.0
    settings = settings_for(cadence=3, translation_x=str(step))
    told: list[tuple[int, torch.Tensor]] = []
    camera = keeping_depth(
        DepthCamera(settings, PROFILES["corrected"], CPU, Scene(step), False),
        lambda index, depth: told.append((index, depth)),
    )
    stages = stages_of(settings, each(lambda init, frame: trace({})[0]), CPU, Scene(step))
    assert len(list(animate(replace(stages, camera=camera), sample(settings).spans()))) == 7
    assert [index for index, _ in told] == [0, 1, 2, 3, 3, 4, 5, 6]
    for index, depth in told:
        expected = trace({"translation_x": step * index})[1]
        assert ((depth / expected - 1).abs()[:, 40:-40] > 0.05).float().mean() < 0.1
