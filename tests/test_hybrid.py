"""Hybrid video: masks and composites computed by hand, clips of known motion, and whole small runs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from deforum.hybrid.masks import (
    Equalize,
    MaskTone,
    auto_contrast,
    blend_mask,
    difference_mask,
    equalize,
    nearness_mask,
    stretch_contrast,
)
from deforum.hybrid.motion import Kind, find_matrix
from deforum.image import Image, from_array
from deforum.warp import Matrix, rotation, translation, warp_flat


def gray(*levels: float) -> Image:
    """A grey picture, one pixel high."""
    return torch.tensor(levels).expand(3, 1, -1)


def mask(*levels: float) -> torch.Tensor:
    return torch.tensor([levels])


def texture(seed: int, width: int = 192, height: int = 128, softness: float = 2) -> Image:
    """A soft random picture."""
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    return from_array(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), softness), None, 0, 1, cv2.NORM_MINMAX))


# Masks.


def test_blend_mask_goes_from_one_brightness_to_the_other() -> None:
    image, clip = gray(0, 0.2, 1), gray(1, 0.6, 0)
    for alpha, wanted in ((0, (0, 0.2, 1)), (0.25, (0.25, 0.3, 0.75)), (1, (1, 0.6, 0))):
        torch.testing.assert_close(blend_mask(image, clip, alpha), mask(*wanted))


def test_difference_mask_is_the_distance_in_brightness() -> None:
    red, green = torch.tensor([[[1.0]], [[0]], [[0]]]), torch.tensor([[[0.0]], [[1]], [[0]]])
    torch.testing.assert_close(difference_mask(red, green), mask(0.587 - 0.299))
    assert not difference_mask(red, red).any()


@pytest.mark.parametrize(("gives", "wanted"), [("inverse depth", (0, 0.25, 1)), ("depth", (1, 0.75, 0))])
def test_nearest_is_white(gives: str, wanted: tuple[float, ...]) -> None:
    torch.testing.assert_close(nearness_mask(mask(2, 3, 6), gives), mask(*wanted))  # type: ignore[arg-type]


def test_flat_depth_and_no_numbers_show_the_clip() -> None:
    assert not nearness_mask(mask(3, 3), "depth").any()
    assert not nearness_mask(mask(3, float("nan")), "depth").any()


def test_contrast_is_about_the_mean() -> None:
    torch.testing.assert_close(stretch_contrast(mask(0.2, 0.4, 0.6), 2), mask(0, 0.4, 0.8))
    torch.testing.assert_close(stretch_contrast(mask(0.2, 0.4, 0.6), 0), mask(0.4, 0.4, 0.4))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 100, (0, 0.25, 0.5, 0.75, 1)),
        (25, 100, (0, 0, 1 / 3, 2 / 3, 1)),
        (0, 50, (0, 0.5, 1, 1, 1)),
        (12.5, 100, (0, 1 / 7, 3 / 7, 5 / 7, 1)),  # between two pixels
        (50, 50, (0.2, 0.3, 0.4, 0.5, 0.6)),  # no range is left
    ],
)
def test_automatic_contrast_reaches_black_and_white_at_its_cutoffs(
    low: float, high: float, wanted: tuple[float, ...]
) -> None:
    torch.testing.assert_close(auto_contrast(mask(0.2, 0.3, 0.4, 0.5, 0.6), low, high), mask(*wanted))


def test_equalising_counts_the_darker_pixels() -> None:
    torch.testing.assert_close(equalize(mask(0.1, 0.1, 0.1, 0.5, 0.9)), mask(0, 0, 0, 0.75, 1))
    assert torch.equal(equalize(mask(0.3, 0.3)), mask(0.3, 0.3))


@pytest.mark.parametrize(
    ("when", "wanted"),
    [("None", (1, 0.9, 0)), ("Before", (1, 0.5, 0)), ("After", (1, 0.5, 0)), ("Both", (1, 0.5, 0))],
)
def test_tone_is_made_in_order(when: Equalize, wanted: tuple[float, ...]) -> None:
    """A mask of 0, 0.04 and 0.4 with automatic contrast and inverted."""
    tone = MaskTone(equalize=when, cutoffs=(0, 100), inverse=True)
    torch.testing.assert_close(tone(mask(0, 0.04, 0.4)), mask(*wanted))


# The motion of whole pictures.

MOTIONS: dict[str, Matrix] = {
    "shift": translation(3, -2),
    "fraction": translation(-4.4, 1.7),
    "turn": rotation(3, 1.02, 96, 64) @ translation(1, 2),
}


@pytest.mark.parametrize("kind", ["Affine", "Perspective"])
@pytest.mark.parametrize("name", MOTIONS)
def test_a_known_motion_is_found(kind: Kind, name: str) -> None:
    image, matrix = texture(1), MOTIONS[name]
    moved = warp_flat(image, matrix, border="reflect", sampling="bicubic")
    assert np.hypot(*(corners(find_matrix(image, moved, kind)) - corners(matrix))).max() < 0.3


def test_a_known_homography_is_found() -> None:
    matrix = np.array([[1.02, 0.03, -4], [-0.01, 0.98, 3], [2e-4, -1e-4, 1]])
    moved = warp_flat(texture(1), matrix, border="reflect", sampling="bicubic")
    assert np.hypot(*(corners(find_matrix(texture(1), moved, "Perspective")) - corners(matrix))).max() < 0.5


def corners(matrix: Matrix) -> np.ndarray:
    x, y, w = matrix @ np.array([[0, 191, 0, 191], [0, 0, 127, 127], [1, 1, 1, 1]])
    return np.array((x / w, y / w))


@pytest.mark.parametrize("kind", ["Affine", "Perspective"])
def test_pictures_with_nothing_in_common_do_not_move(kind: Kind) -> None:
    for a, b in (
        (torch.zeros(3, 64, 64), texture(1, 64, 64)),
        (torch.zeros(3, 64, 64), torch.zeros(3, 64, 64)),
        (texture(1, softness=1), texture(2, softness=1)),
    ):
        assert np.array_equal(find_matrix(a, b, kind), np.eye(3))
