"""Noise that moves with the picture: that it stays noise, that it moves as the picture does, and what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Moment
from deforum.build import build
from deforum.diffusion.noise import noise_at
from deforum.features.masks.follow import FollowedCamera
from deforum.features.moving_noise import with_map, with_moving_noise
from deforum.features.redo import redo_diffusion
from deforum.features.table import switched_on
from deforum.features.table import timeline_of as sample
from deforum.motion.flat import FlatWarp
from deforum.motion.matrices import rotation, translation
from deforum.motion.noise_map import NoiseMap
from deforum.motion.positions import Chart
from deforum.pixels.image import CPU, Image, to_bytes
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, settings_maker
from training.stability import growth

SIZE, FACTOR = 256, 8
SHAPE = (4, SIZE // FACTOR, SIZE // FACTOR)
ZOOM, TURN = rotation(0, 1.015, SIZE / 2, SIZE / 2), rotation(1, 1, SIZE / 2, SIZE / 2)
MOTIONS = {"zoom": ZOOM, "out": np.linalg.inv(ZOOM), "turn": TURN, "slide": translation(0.7, -1.9)}


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    small = {"width": 64, "height": 64, "cadence": 1, "max_frames": 7, "seed_behavior": "fixed"}
    return settings_maker(tmp_path, STILL | small)


def came(matrix: NDArray[np.float64]) -> Chart:
    return FlatWarp(matrix, SIZE, SIZE, "replicate", CPU).charts()[0]


def after(matrix: NDArray[np.float64], times: int) -> NoiseMap:
    chart, places = came(matrix), NoiseMap.of(SIZE, SIZE, FACTOR)
    for index in range(1, times + 1):
        places = places.moved(chart, index)
    return places


def noise(noise_map: NoiseMap, seed: int = 7, turn: int = 0) -> NDArray[np.float32]:
    return noise_at(noise_map, seed, turn, SHAPE, FACTOR)


def alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float((a * b).mean())


@pytest.mark.parametrize("name", MOTIONS)
def test_it_stays_white_noise_however_long_it_moves(name: str) -> None:
    places = after(MOTIONS[name], 120)
    assert len(np.unique(places.numbers)) == places.numbers.size
    made = noise(places)
    error = made.size**-0.5  # of a mean of products of independent unit numbers
    assert abs(made.mean()) < 4 * error
    assert alike(made, made) == pytest.approx(1, abs=4 * 2**0.5 * error)
    assert (made**4).mean() == pytest.approx(3, abs=4 * 96**0.5 * error)  # Gaussian
    assert abs(alike(made[:, 1:], made[:, :-1])) < 5 * error
    assert abs(alike(made[..., 1:], made[..., :-1])) < 5 * error
    for a, b in itertools.combinations(made, 2):
        assert abs(alike(a, b)) < 5 * 2 * error  # a quarter of the numbers


def test_seeds_and_turns_have_noise_of_their_own() -> None:
    places = NoiseMap.of(SIZE, SIZE, FACTOR)
    drawn = [noise(places, seed, turn) for seed in (0, 1, 2**32, 2**53) for turn in (0, 1)]
    for a, b in itertools.combinations(drawn, 2):
        assert abs(alike(a, b)) < 5 * a.size**-0.5
    assert np.array_equal(noise(places, 2**53, 1), drawn[-1])


def test_it_moves_where_the_picture_moves() -> None:
    first = noise(NoiseMap.of(SIZE, SIZE, FACTOR))
    right = noise(NoiseMap.of(SIZE, SIZE, FACTOR).moved(came(translation(2 * FACTOR, 0)), 1))
    assert np.array_equal(right[..., 2:], first[..., :-2])
    assert abs(alike(right[..., :2], first[..., :2])) < 0.2  # new there
    up = noise(after(translation(0, -2), 3 * FACTOR // 2))  # in steps of one place
    assert np.array_equal(up[:, :-3], first[:, 3:])


@pytest.mark.parametrize("step", [0.1, 0.3, 0.9])
def test_a_slow_motion_is_not_lost(step: float) -> None:
    """A tenth of a pixel is a twentieth of a place: rounded in each frame, it would never come to anything."""
    first, cells = noise(NoiseMap.of(SIZE, SIZE, FACTOR)), 3
    moved = noise(after(translation(step, 0), round(cells * FACTOR / step)))
    assert alike(moved[..., cells:], first[..., :-cells]) > 0.9


def test_a_still_camera_keeps_every_place() -> None:
    places = after(np.eye(3), 20)
    assert np.array_equal(places.numbers, NoiseMap.of(SIZE, SIZE, FACTOR).numbers)


@pytest.mark.parametrize(("name", "share"), [("zoom", 0.9), ("out", 0.88), ("turn", 0.9), ("slide", 0.95)])
def test_most_places_come_along_in_each_frame(name: str, share: float) -> None:
    """Where 1.5 % come nearer, 3 % have to be new; the rest are those that had no room, and edges."""
    before = after(MOTIONS[name], 60)
    stayed = np.isin(before.moved(came(MOTIONS[name]), 61).numbers, before.numbers)
    assert stayed.mean() > share


def test_what_was_hidden_has_new_places() -> None:
    chart = came(np.eye(3))
    covers = chart.covers.clone()
    covers[64:128, 32:96] = 0
    places, first = (
        NoiseMap.of(SIZE, SIZE, FACTOR).moved(Chart(chart.positions, covers), 3),
        NoiseMap.of(SIZE, SIZE, FACTOR),
    )
    new = ~np.isin(places.numbers, first.numbers)
    assert new[32:64, 16:48].all() and new.sum() == 32 * 32


@pytest.mark.parametrize(("width", "height", "factor"), [(200, 120, 16), (64, 40, 8), (33, 17, 8), (24, 24, 2)])
def test_any_size_of_picture_and_cell(width: int, height: int, factor: int) -> None:
    shape = (5, -(-height // factor), -(-width // factor))
    drawn = [noise_at(NoiseMap.of(width, height, factor), seed, 0, shape, factor) for seed in range(40)]
    assert drawn[0].shape == shape
    assert np.std(drawn) == pytest.approx(1, abs=0.1)


class Log:
    """A painter that leaves pictures as they are, and remembers the frames that it was told of."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def __call__(self, init: Image | None, frame: Frame) -> Image:
        self.frames.append(frame)
        return torch.zeros(3, 64, 64) if init is None else init

    @property
    def numbers(self) -> list[NDArray[np.int64]]:
        found = [frame.noise_map for frame in self.frames]
        return [places.numbers for places in found if places is not None]


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("cadence", [1, 2, 3])
def test_places_are_at_every_diffused_frame_where_the_picture_is(profile: str, cadence: int, settings: Make) -> None:
    chosen, log = settings(profile=profile, cadence=cadence, translation_x=2), Log()
    stages = with_moving_noise(stages_of(chosen, each(log), CPU), NoiseMap.of(64, 64, FACTOR))
    list(animate(stages, sample(chosen).spans()))
    keys, first = [frame.index for frame in log.frames], NoiseMap.of(64, 64, FACTOR).numbers
    assert keys == list(range(0, 7, cadence))
    assert log.frames[0].noise_map is None  # the first picture is that of its seed
    for key, numbers in zip(keys[1:], log.numbers, strict=True):
        assert np.array_equal(numbers[:, key:], first[:, : first.shape[1] - key])


def test_every_pass_over_a_frame_is_told_and_so_are_masks_that_follow(settings: Make) -> None:
    log, camera = Log(), with_moving_noise(stages_of(settings(), each(Log()), CPU), NoiseMap.of(64, 64, FACTOR)).camera

    def diffuse(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return [log(init, moment.frame) for init, moment in zip(inits, moments, strict=True)]

    warp, moved = FollowedCamera(camera).move(sample(settings(translation_x=2))[1])
    moment = Moment(sample(settings())[1], None, moved, warp)
    with_map(redo_diffusion(diffuse, 2))([torch.zeros(3, 64, 64)], [moment])
    assert len(log.numbers) == 3
    assert all(np.array_equal(numbers, log.numbers[0]) for numbers in log.numbers)
    assert len({frame.seed for frame in log.frames}) == 3


@pytest.mark.parametrize(
    ("changes", "on"),
    [
        ({}, False),
        ({"seed_behavior": "fixed"}, True),
        ({"seed_behavior": "fixed", "animation_mode": "3D"}, True),
        ({"seed_behavior": "fixed", "animation_mode": "Interpolation"}, False),
        ({"seed_behavior": "fixed", "profile": "deforum"}, False),
        ({"seed_behavior": "fixed", "model": "another/model"}, False),
        ({"seed_behavior": "fixed", "noise_follows_camera": False}, False),
        ({"noise_follows_camera": True}, True),
        ({"model": "another/model", "profile": "deforum", "noise_follows_camera": True}, True),
    ],
    ids=str,
)
def test_when_it_is_on(changes: dict[str, Any], on: bool) -> None:
    chosen = replace(Settings(), **{"model": "embedded", "animation_mode": "2D", **changes})
    assert any(feature.name == "moving noise" for feature in switched_on(chosen)) == on


@pytest.mark.long
def test_a_fixed_seed_no_longer_holds_the_picture(settings: Make) -> None:
    """The embedded model, under noise that is nailed to the screen and noise that is not."""

    def grows(follows: bool) -> float:
        chosen = settings(
            width=192, height=192, max_frames=24, zoom=1.03, strength=0.55, steps=6, cfg_scale=4,
            prompts={0: "snowy mountains with a calm lake, on a clear day"}, noise_follows_camera=str(follows).lower(),
            latent_grid="fixed",
        )  # fmt: skip
        shown = [to_bytes(image) for _, image in build(chosen).frames()]
        return float(np.median([growth(*pair) for pair in itertools.pairwise(shown)]))

    assert grows(True) > 2 * grows(False)
