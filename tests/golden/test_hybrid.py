"""The motion of whole pictures, found from matched features, against recorded matrices and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deforum.features.hybrid.match import find_matrix
from deforum.motion.flat import warp_flat
from deforum.pixels.image import Image, from_bytes, to_bytes
from tests.golden.conftest import load_cases
from tests.golden.pictures import load_picture

CASES = [case for case in load_cases("hybrid") if case["kind"] == "ransac"]


def picture(name: str) -> Image:
    return from_bytes(load_picture(name))


def recorded_matrix(case: dict[str, Any]) -> NDArray[np.float64]:
    matrix = np.array(case["matrix"])
    return matrix if len(matrix) == 3 else np.vstack((matrix, (0, 0, 1)))


def corners(matrix: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    x, y, w = matrix @ np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    return np.array((x / w, y / w))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_matrix(case: dict[str, Any], golden: Path) -> None:
    a, b = picture(case["image1"]), picture(case["image2"])
    found = find_matrix(a, b, case["motion"])
    height, width = a.shape[1:]
    off = corners(found, width, height) - corners(recorded_matrix(case), width, height)
    assert np.hypot(*off).max() <= 1.5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_picture(case: dict[str, Any], golden: Path) -> None:
    moved = warp_flat(picture(case["image1"]), recorded_matrix(case), border="mirror")
    error = np.abs(to_bytes(moved).astype(float) - load_picture(case["warped"]))
    assert error.mean() <= 0.4
    assert np.quantile(error, 0.99) <= 4
