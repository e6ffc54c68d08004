"""Shapes of masks, against OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from deforum.pixels.morphology import close, distance_to_zero
from tests.helpers.pictures import texture

MASKS = {
    "blobs": texture(1, 70, 50)[0] > 0.4,
    "gaps": texture(2, 40, 64, 0.5)[0] > 0.3,
    "all": torch.ones(20, 30, dtype=torch.bool),
    "none": torch.zeros(20, 30, dtype=torch.bool),
}


@pytest.mark.parametrize("name", MASKS)
def test_close(name: str) -> None:
    levels = MASKS[name].numpy().astype(np.uint8)
    closed = cv2.morphologyEx(levels, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE)
    assert np.array_equal(close(MASKS[name], 5).numpy(), closed > 0)


@pytest.mark.parametrize("name", MASKS)
def test_distance(name: str) -> None:
    exact = cv2.distanceTransform(MASKS[name].numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    found = distance_to_zero(MASKS[name], 8).numpy()
    near = exact < 8
    assert np.abs(found - exact)[near].max(initial=0) < 1e-3 and (found[~near] >= 8).all()
