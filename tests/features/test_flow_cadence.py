"""In-betweens that follow the optical flow between painted pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.stages import Stages
from deforum.features.flow_cadence import with_flow
from deforum.features.table import timeline_of as sample
from deforum.flow import FlowSource, load_flow
from deforum.pixels.image import CPU, Image, to_array
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, SameDepth, keeping, settings_maker
from tests.helpers.pictures import INNER, WAVES, levels_apart, waves

DRIFT = (1.8, -1.1)  # px per frame that the painted world moves beside the camera


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    """Make settings of a small 2D run with flow cadence and no filters that differs as the test says."""
    return settings_maker(tmp_path, STILL | {"width": WAVES, "height": WAVES, "cadence": 4, "max_frames": 9})


def world(zoom: float, frame: Frame) -> Image:
    """What is to be seen at a frame: it drifts, and the camera has zoomed in."""

    def moved(x: Any, y: Any) -> tuple[Any, Any]:
        scale, middle = zoom**frame.index, WAVES / 2
        return (x - middle) / scale + middle - DRIFT[0] * frame.index, (y - middle) / scale + middle - DRIFT[
            1
        ] * frame.index

    return waves(moved)


def run(settings: Settings, change: Callable[[Stages], Stages] = lambda stages: stages) -> list[Image]:
    """Render with a diffusion that paints the world as it is, whatever it is given."""
    timeline, zoom = sample(settings), float(sample(settings).curves.zoom[0])
    stages = change(stages_of(settings, each(lambda init, frame: world(zoom, frame)), CPU))
    return [image for _, image in animate(stages, timeline.spans())]


def by_flow(stages: Stages) -> Stages:
    return with_flow(stages, load_flow(FlowSource("DIS Fine"), CPU))


@pytest.mark.parametrize("zoom", [1, 1.03])
def test_details_move_where_a_fade_would_show_them_twice(settings: Make, zoom: float) -> None:
    made = settings(zoom=zoom)
    truth = [world(zoom, frame) for frame in sample(made)]
    followed, faded = run(made, by_flow), run(made)
    for index in (1, 2, 3, 5, 6, 7):
        assert levels_apart(followed[index], truth[index]).mean() < 4
        assert levels_apart(faded[index], truth[index]).mean() > 3 * levels_apart(followed[index], truth[index]).mean()
    assert all(torch.equal(followed[index], truth[index]) for index in (0, 4, 8))


def test_in_betweens_keep_nine_tenths_of_the_sharpness(settings: Make) -> None:
    made = settings(zoom=1.01)
    for image, frame in zip(run(made, by_flow), sample(made), strict=True):
        assert sharpness(image) >= 0.9 * sharpness(world(1.01, frame))


def sharpness(image: Image) -> float:
    gray = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F)[INNER].var())


@pytest.mark.parametrize("cadence", [2, 3, 4])
def test_deforums_cadence_goes_the_way_of_the_details(settings: Make, cadence: int) -> None:
    """There a picture painted at k is whole C - 1 frames later, when its details are where they were painted."""
    made = settings(profile="deforum", cadence=cadence, max_frames=3 * cadence)
    followed, faded = run(made, by_flow), run(made)
    for index in range(cadence, 3 * cadence):
        key, fade = index // cadence * cadence, (index % cadence + 1) / cadence
        painted = world(1, sample(made)[key])
        behind = (fade - 1) * cadence * np.array(DRIFT)
        truth = waves(lambda x, y, d=behind, k=key: (x - d[0] - DRIFT[0] * k, y - d[1] - DRIFT[1] * k))  # type: ignore[misc]
        assert levels_apart(followed[index], truth).mean() < 5
        if fade < 1:
            assert levels_apart(faded[index], truth).mean() > 2 * levels_apart(followed[index], truth).mean()
        else:
            assert levels_apart(followed[index], painted).mean() < 5


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_without_a_factor_or_after_a_cut_pictures_fade(settings: Make, profile: str) -> None:
    for changes in ({"cadence_flow_factor": 0}, {"strength": 0}):
        made = settings(profile=profile, zoom=1, **changes)
        for followed, faded in zip(run(made, by_flow), run(made), strict=True):
            assert torch.allclose(followed, faded, atol=1e-5)


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_what_only_the_camera_moves_is_left_to_the_camera(settings: Make, profile: str) -> None:
    made = settings(profile=profile, zoom=1.02, max_frames=5)
    stages = stages_of(made, each(keeping(waves())), CPU)
    spans = list(sample(made).spans())
    followed, faded = ([image for _, image in animate(each_, spans)] for each_ in (by_flow(stages), stages))
    assert max(levels_apart(a, b).mean() for a, b in zip(followed, faded, strict=True)) < 2.5


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_in_space_details_move_too(settings: Make, profile: str) -> None:
    """What the camera moves in space is taken out of a world that drifts on the screen, and the rest is followed."""
    made = settings(animation_mode="3D", profile=profile, translation_z=3, rotation_3d_z=0.5, max_frames=9)
    slope = SameDepth(torch.linspace(0.2, 1, WAVES)[:, None].expand(WAVES, WAVES).contiguous())  # near below
    followed, faded = [], []
    for change, shown in ((by_flow, followed), (lambda stages: stages, faded)):
        stages = change(stages_of(made, each(lambda init, frame: world(1, frame)), CPU, slope))
        shown += [image for _, image in animate(stages, sample(made).spans())]
    for index in (5, 6):
        if profile == "corrected":
            truth = world(1, sample(made)[index])
            assert levels_apart(faded[index], truth).mean() > 3 * levels_apart(followed[index], truth).mean()
        else:  # details lag behind, and in-betweens are not sharpened
            assert sharpness(followed[index]) > 1.2 * sharpness(faded[index])
