"""The pixel convention: conversions that lose, shift and copy nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.errors import UserError
from deforum.pixels.image import adjust_contrast, blend, from_array, from_bytes, read, to_array, to_bytes, to_gray
from tests.helpers.pictures import flat, off, spots

RNG = np.random.default_rng(0)


def test_levels_come_back_as_they_were() -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    image = from_bytes(every)
    assert image.shape == (3, 16, 16) and float(image.max()) == 1
    assert np.array_equal(to_bytes(image), every)


def test_an_image_is_a_view_of_its_pixels() -> None:
    pixels = RNG.random((5, 7, 3), np.float32)
    image = from_array(pixels)
    assert np.shares_memory(pixels, to_array(image))
    assert np.array_equal(image[:, 4, 6].numpy(), pixels[4, 6])


def test_rounding_has_no_bias() -> None:
    pixels = RNG.random((200, 200, 3), np.float32)
    off = to_bytes(from_array(pixels)) / 255 - pixels
    assert np.abs(off).max() <= 0.501 / 255
    assert abs(off.mean()) < 0.01 / 255


@pytest.mark.parametrize(("value", "level"), [(-0.5, 0), (-1e-3, 0), (0.5 / 255 + 1e-4, 1), (1.001, 255), (9.0, 255)])
def test_values_outside_are_clipped(value: float, level: int) -> None:
    assert (to_bytes(from_array(np.full((2, 2, 3), value, np.float32))) == level).all()


def test_rounding_leaves_the_image_alone() -> None:
    pixels = np.full((2, 2, 3), 1.5, np.float32)
    to_bytes(from_array(pixels))
    assert (pixels == 1.5).all()


def test_blend() -> None:
    a, b = from_array(np.zeros((2, 2, 3), np.float32)), from_array(np.ones((2, 2, 3), np.float32))
    assert float(blend(a, b, 0).max()) == 0 and float(blend(a, b, 1).min()) == 1
    assert float(blend(a, b, 0.25).mean()) == 0.25


def test_read_keeps_colours_apart(tmp_path: Path) -> None:
    levels = np.zeros((6, 4, 3), np.uint8)
    levels[...] = 200, 100, 50
    cv2.imwrite(str(tmp_path / "ä.png"), levels[..., ::-1])
    assert np.array_equal(to_bytes(read(tmp_path / "ä.png", 4, 6)), levels)


@pytest.mark.parametrize("size", [(8, 4), (64, 48), (5, 100)])
def test_read_stretches(tmp_path: Path, size: tuple[int, int]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((24, 32, 3), 77, np.uint8))
    image = read(tmp_path / "a.png", *size)
    assert image.shape == (3, size[1], size[0])
    assert (to_bytes(image) == 77).all()


def test_read_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png: no such picture"):
        read(tmp_path / "none.png", 4, 4)
    for content, what in ((b"", "this file is empty"), (b"words, not pixels", "not a picture")):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(UserError, match=rf"a\.png: {what}"):
            read(tmp_path / "a.png", 4, 4)


@pytest.mark.parametrize(
    ("level", "contrast", "wanted"),
    [(200, 1.3, 255), (250, 1.3, 255), (100, 1.3, 130), (100, 0.5, 50), (0, 9, 0), (255, 1.001, 255), (77, 0, 0)],
)
def test_contrast_is_clipped_and_never_wraps(level: int, contrast: float, wanted: float) -> None:
    image = flat(*3 * (level / 255,))
    assert off(adjust_contrast(image, contrast), flat(*3 * (wanted / 255,))) < 1e-3


def test_contrast_of_1_gives_the_same_image() -> None:
    image = spots(1)
    assert adjust_contrast(image, 1) is image


def test_contrast_there_and_back_does_not_drift() -> None:
    start = image = spots(1).clamp(0, 0.8)
    for _ in range(50):
        image = adjust_contrast(adjust_contrast(image, 1.1), 1 / 1.1)
    assert off(image, start) < 0.01


def test_grey_is_that_of_opencv() -> None:
    image = spots(1, 0.3)
    gray = to_gray(image)
    wanted = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    assert all(np.abs(channel.numpy() - wanted).max() < 1e-6 for channel in gray)
    assert np.shares_memory(to_array(gray), gray.numpy())
