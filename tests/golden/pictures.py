"""Reading the recorded pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.golden.conftest import FOLDER


def load_picture(name: str) -> NDArray[np.uint8]:
    """Read a recorded picture: (H, W, 3) RGB, or (H, W) where it is grey. Skips the test where there is none."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{path} is not among the recorded values")
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None and pixels.dtype == np.uint8
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels


def load_array(name: str) -> NDArray[np.generic]:
    """Read a recorded array, named 'file.npz:array'. Skips the test where there is no such file."""
    file, _, array = name.partition(":")
    if not (FOLDER / file).is_file():
        pytest.skip(f"{FOLDER / file} is not among the recorded values")
    with np.load(FOLDER / file) as arrays:
        values: NDArray[np.generic] = arrays[array]
    return values
