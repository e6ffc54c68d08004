"""Painting anew what the camera did not see before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.depth_camera import DepthCamera
from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.parts import Moment
from deforum.depth import Gives
from deforum.diffusion.pixel_strength import Paint
from deforum.features.disocclusion import Repaint, saving_uncovered, uncovered, with_repainting
from deforum.features.feature import save
from deforum.features.saver import PictureSaver
from deforum.features.table import timeline_of as sample
from deforum.motion.surface import DepthWarp, warp_physical
from deforum.pixels.image import CPU, Image
from deforum.settings.options import Settings
from deforum.settings.params import Params, default_params
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from schedules import parse_number
from tests.helpers import RecordingPainter, params_of

SIZE = 128
NEAR, FAR = 1.0, 5.0
LEFT, RIGHT, TOP = 70, 90, 30  # the near post, in px


def post() -> torch.Tensor:
    depth = torch.full((SIZE, SIZE), FAR)
    depth[TOP:, LEFT:RIGHT] = NEAR
    return depth


def numbers(**given: float) -> Params[float]:
    plain = {"fov": 60.0, "aspect_ratio": 1.0, "strength": 0.7, "disocclusion_strength": 0.3}
    return params_of(**(plain | given))


def settings(**more: object) -> Settings:
    plain = Settings(
        width=SIZE, height=SIZE, animation_mode="3D", disocclusion="repaint", max_frames=5, cadence=2, seed=1,
        color_coherence="None",
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def sideways(x: float, depth: torch.Tensor | None = None) -> DepthWarp:
    return warp_physical(post() if depth is None else depth, numbers(translation_x=x), SIZE, SIZE)


def moment(warp: DepthWarp | None, params: Params[float]) -> Moment:
    frame = replace(sample(settings())[2], params=params)
    camera = DepthCamera(settings(), PROFILES["corrected"], CPU, None, False)
    return Moment(frame, None, camera, warp)


def test_what_is_uncovered_lies_behind_the_near_thing_and_beyond_the_edge() -> None:
    """A post at 1 and a wall at 5 move by f * 0.1 / z px to the left: the difference is uncovered, on the right."""
    focal = SIZE / 2 / np.tan(np.radians(30))
    by_near, by_far = focal * 0.1 / NEAR, focal * 0.1 / FAR
    mask = uncovered(sideways(20.0))
    row = mask[SIZE - 10]
    expected = torch.zeros(SIZE)
    expected[round(RIGHT - by_near) : round(RIGHT - by_far)] = 1
    expected[round(SIZE - by_far) :] = 1
    assert (row != expected).sum() <= 3
    assert mask[10, : SIZE - 5].sum() == 0  # above the post there is but the edge


def test_such_places_keep_less_and_others_as_much_as_ever() -> None:
    repaint, params = Repaint(settings()), numbers()
    strength = repaint.strength(moment(sideways(20.0), params))
    assert strength is not None
    hole = uncovered(sideways(20.0)) == 1
    assert ((strength[hole] - 0.3).abs() < 0.02).float().mean() > 0.98  # all but corners
    distance = cv2.distanceTransform((~hole).numpy().astype(np.uint8), cv2.DIST_L2, 5)
    assert (strength[torch.from_numpy(distance) > 13] == 0.7).all()
    beside = torch.from_numpy((distance > 0) & (distance < 2))
    assert strength[beside].median() < 0.45  # what is sampled there has something of the hole


def test_cracks_count_little_and_stillness_nothing() -> None:
    repaint = Repaint(settings())
    crack = torch.zeros(SIZE, SIZE)
    crack[:, 64] = 1

    @dataclass(frozen=True)
    class Cracked:
        def coverage(self) -> torch.Tensor:
            return 1 - crack

    mask = repaint.mask(replace(moment(None, numbers()), warp=Cracked()))  # type: ignore[arg-type]
    assert mask is not None
    assert 0.1 < mask.max() < 0.35
    assert repaint.mask(moment(None, numbers())) is None
    assert repaint.mask(moment(sideways(0.0), numbers())) is None
    assert repaint.strength(moment(sideways(0.0), numbers())) is None


def test_it_never_keeps_more_than_the_frame_does() -> None:
    strength = Repaint(settings()).strength(moment(sideways(20.0), numbers(strength=0.2, disocclusion_strength=0.9)))
    assert strength is not None
    assert strength.unique().tolist() == [pytest.approx(0.2)]


def test_noise_is_put_there_only() -> None:
    repaint, image = Repaint(settings()), torch.full((3, SIZE, SIZE), 0.5)
    here = moment(sideways(20.0), numbers(disocclusion_noise=0.4))
    noisy = repaint.noise(image, here)
    mask = repaint.mask(here)
    assert mask is not None
    assert torch.equal(noisy[:, mask == 0], image[:, mask == 0])
    changed = (noisy - image)[:, uncovered(sideways(20.0)) == 1]
    assert changed.std() == pytest.approx(0.2, rel=0.15)
    assert changed.mean().abs() < 0.02
    assert torch.equal(repaint.noise(image, here), noisy)  # it follows from the seed and the frame
    assert repaint.noise(image, moment(sideways(20.0), numbers())) is image


class Post:
    """The depth of the post where it stands in each frame."""

    gives: Gives = "depth"

    def __init__(self, step: float) -> None:
        self.step = step

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return sideways(index * self.step).depth


class Painter(RecordingPainter):
    """Paints green where strength is low, as a model would paint something of its own there."""

    def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
        if init is None:
            near = (post() == NEAR).float()
            return torch.stack((near, torch.zeros_like(near), 1 - near))  # a red post before blue
        if paint is None:
            return init
        green = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
        return torch.lerp(green.expand_as(init), init, (paint.strength >= 0.6).float())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("choice", ["stretch", "far", "repaint"])
def test_in_an_animation(choice: str, profile: str, tmp_path: Path) -> None:
    step = 8.0
    schedules = {"translation_x": str(step), "translation_z": "0", "fov": "60", "far": "1000", "noise": "0",
                 "antiblur_amount": "0"}  # fmt: skip
    params = replace(default_params(), **{name: parse_number(text, name=name) for name, text in schedules.items()})
    chosen = settings(disocclusion=choice, profile=profile, params=params)
    painter = Painter()
    stages = stages_of(chosen, painter, CPU, Post(step))
    stages = with_repainting(stages, chosen) if choice == "repaint" else stages
    with PictureSaver(save, lambda path: None) as saver:
        stages = replace(stages, around=[lambda diffuse: saving_uncovered(diffuse, tmp_path, saver)])
        pictures = [image for _, image in animate(stages, sample(chosen).spans())]
    assert len(pictures) == 5
    assert painter.paints[0] is None  # painted whole
    assert all((paint is not None) == (choice == "repaint") for paint in painter.paints[1:])
    saved = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(tmp_path.glob("*.png"))]
    assert [path.stem for path in sorted(tmp_path.glob("*.png"))] == ["000000002", "000000004"]
    assert all(mask.dtype == np.uint8 and 0.01 < (mask > 0).mean() < 0.3 for mask in saved)
    if profile == "corrected":
        # What was behind the post and is not any more: red is the post's smear, green is new, blue the wall.
        hole = uncovered(sideways(4 * step))[:, : SIZE - 12] == 1
        red, green, blue = (channel[:, : SIZE - 12][hole].mean() for channel in pictures[4])
        assert max((red, "stretch"), (green, "repaint"), (blue, "far"))[1] == choice
