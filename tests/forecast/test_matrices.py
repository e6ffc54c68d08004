"""The matrices of many frames are those of each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.forecast.matrices import (
    Lenses,
    Poses,
    flat_matrices,
    inverses,
    perspective_flips,
    reprojections,
    turns,
)
from deforum.forecast.motion import DEEP, FLAT, FLIP
from deforum.motion.matrices import flat_matrix, inverse, perspective_flip, turn
from deforum.motion.pose import Lens, Pose, reprojection
from deforum.settings.params import Params

WIDTH, HEIGHT, COUNT = 192, 128, 5
ABOUT = {"zoom": 1, "transform_center_x": 0.5, "transform_center_y": 0.4, "perspective_flip_fv": 53, "fov": 70,
         "aspect_ratio": 1, "near": 200, "far": 10000}  # fmt: skip


def params() -> Params[NDArray[np.float64]]:
    """Values that differ from frame to frame."""
    random = np.random.default_rng(1)
    values = {name: random.normal(0, 3, COUNT) for name in (*FLAT, *DEEP, *FLIP)}
    values |= {name: value * random.uniform(0.8, 1.2, COUNT) for name, value in ABOUT.items()}
    return cast("Params[NDArray[np.float64]]", SimpleNamespace(**values))


MANY = params()
EACH: list[Params[float]] = [
    cast("Params[float]", SimpleNamespace(**{name: float(values[k]) for name, values in vars(MANY).items()}))
    for k in range(COUNT)
]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
def test_flat_motions(flip: bool, keeps: bool) -> None:
    found = flat_matrices(MANY, WIDTH, HEIGHT, flip=flip, flip_keeps_translation=keeps)
    one = [flat_matrix(each, WIDTH, HEIGHT, flip=flip, flip_keeps_translation=keeps) for each in EACH]
    assert found == pytest.approx(np.array(one), rel=1e-12, abs=1e-12)
    assert inverses(found) == pytest.approx(np.array([inverse(each) for each in one]), rel=1e-9, abs=1e-9)


def test_perspective_flips() -> None:
    one = [
        perspective_flip(
            each.perspective_flip_theta, each.perspective_flip_phi, each.perspective_flip_gamma,
            each.perspective_flip_fv, WIDTH, HEIGHT,
        )
        for each in EACH
    ]  # fmt: skip
    assert perspective_flips(MANY, WIDTH, HEIGHT) == pytest.approx(np.array(one), rel=1e-12, abs=1e-12)


def test_turns_are_of_all_axes() -> None:
    x, y, z = np.array([[0.1, 0.4], [-0.7, 0.2], [0.3, 1.5]])
    one = [turn(*map(float, each)) for each in zip(x, y, z, strict=True)]
    assert turns(x, y, z) == pytest.approx(np.array(one), abs=1e-15)


@pytest.mark.parametrize("vertical", [False, True])
def test_views_of_a_camera(vertical: bool) -> None:
    size = WIDTH, HEIGHT
    old = Lenses.of(MANY.fov, MANY.aspect_ratio, *size, fov_is_vertical=vertical)
    new = Lenses.of(MANY.fov + 3, MANY.aspect_ratio, *size, fov_is_vertical=vertical)
    there, back = (
        reprojections(Poses.of(MANY), old, new, *size),
        reprojections(Poses.of(MANY).inverse(), new, old, *size),
    )
    for k, each in enumerate(EACH):
        before = Lens.of(each.fov, each.aspect_ratio, *size, fov_is_vertical=vertical)
        after = Lens.of(each.fov + 3, each.aspect_ratio, *size, fov_is_vertical=vertical)
        assert there[k] == pytest.approx(np.array(reprojection(Pose.of(each), before, after, *size)), abs=1e-10)
        expected = np.array(reprojection(Pose.of(each).inverse(), after, before, *size))
        assert back[k] == pytest.approx(expected, abs=1e-10)


def test_a_picture_seen_edge_on_has_an_inverse() -> None:
    singular = np.array([np.diag([1.0, 0, 1]), np.eye(3)])
    assert inverses(singular) == pytest.approx(singular)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flat_matrices(_with(zoom=0), WIDTH, HEIGHT, flip=False, flip_keeps_translation=True), "zoom is 0"),
        (lambda: Lenses.of(np.array([70.0, 180]), np.ones(2), WIDTH, HEIGHT, fov_is_vertical=False), "fov is 180;"),
        (lambda: Lenses.of(np.array([70.0, -5]), np.ones(2), WIDTH, HEIGHT, fov_is_vertical=True), "fov is -5;"),
    ],
)
def test_what_cannot_be_seen_is_refused_as_in_a_render(call: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


def _with(**values: float) -> Params[NDArray[np.float64]]:
    changed = {name: np.full(COUNT, value, np.float64) for name, value in values.items()}
    return cast("Params[NDArray[np.float64]]", SimpleNamespace(**vars(MANY) | changed))
