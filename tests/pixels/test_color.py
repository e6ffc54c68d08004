"""Colour match, contrast, grey, sharpening: table of truths, second opinions, and what 200 frames do."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.exposure import match_histograms

from deforum.pixels.color import ColorReference, Space, match_color
from deforum.pixels.image import Image, from_array, from_bytes, to_array, to_bytes
from tests.helpers.pictures import flat, off, spots

SPACES = get_args(Space)
FORWARD = {"HSV": cv2.COLOR_RGB2HSV, "LAB": cv2.COLOR_RGB2LAB}
BACK = {"HSV": cv2.COLOR_HSV2RGB, "LAB": cv2.COLOR_LAB2RGB}


def of(image: Image, space: Space, float_color: bool = True, true_channels: bool = True) -> ColorReference:
    return ColorReference.of(image, space, true_channels=true_channels, float_color=float_color)


def in_space(image: Image, space: Space) -> NDArray[np.float32]:
    """List the pixels' channels in a space: (N, 3)."""
    pixels = to_array(image)
    return np.asarray(pixels if space == "RGB" else cv2.cvtColor(pixels, FORWARD[space]), np.float32).reshape(-1, 3)


# Colour match in 8 bit


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("size", [(96, 80), (31, 57)])
def test_8_bit_match_against_scikit_image(space: Space, size: tuple[int, int]) -> None:
    image, sample = to_bytes(spots(1)), to_bytes(spots(2, 0.2, 0.4, *size))
    if space == "RGB":
        wanted = match_histograms(image, sample, channel_axis=-1)
    else:
        converted = (cv2.cvtColor(levels, FORWARD[space]) for levels in (image, sample))
        wanted = cv2.cvtColor(match_histograms(*converted, channel_axis=-1), BACK[space])
    matched = match_color(from_bytes(image), of(from_bytes(sample), space, float_color=False))
    assert np.array_equal(to_bytes(matched), wanted)


@pytest.mark.parametrize("float_color", [True, False])
@pytest.mark.parametrize("space", SPACES)
def test_exchanged_channels_are_exchanged_on_the_way_in_and_out(space: Space, float_color: bool) -> None:
    image, sample = spots(1), spots(2, 0.3)
    exchanged = match_color(image, of(sample, space, float_color, true_channels=False))
    by_hand = match_color(image.flip(0), of(sample.flip(0), space, float_color)).flip(0)
    assert off(exchanged, by_hand) < 0.1
    if space != "RGB":
        assert off(exchanged, match_color(image, of(sample, space, float_color))) > 1


# Colour match in fractions


@pytest.mark.parametrize("space", SPACES)
def test_a_picture_matched_to_itself_stays_as_it_is_for_200_frames(space: Space) -> None:
    start = image = spots(3, 0.1)
    reference = of(start, space)
    for _ in range(200):
        image = match_color(image, reference)
    assert off(image, start) < 0.1


@pytest.mark.parametrize("space", ["HSV", "LAB"])
def test_8_bit_match_to_itself_does_not(space: Space) -> None:
    image = spots(3, 0.1)
    assert off(match_color(image, of(image, space, float_color=False)), image) > 1


@pytest.mark.parametrize("space", SPACES)
def test_200_matches_to_another_picture_settle(space: Space) -> None:
    image, reference = spots(1), of(spots(2, 0.15, 0.4), space)
    means = []
    for _ in range(200):
        image = match_color(image, reference)
        means.append(255 * image.mean((1, 2)))
    assert float((means[-1] - means[49]).abs().max()) < 0.1


@pytest.mark.parametrize(
    ("space", "channels", "within"),
    [("RGB", (0, 1, 2), 0.1 / 255), ("HSV", (1, 2), 1 / 255), ("LAB", (0, 1, 2), 0.4)],  # LAB counts to 100
)
@pytest.mark.parametrize("sample", [spots(2, 0.1, 0.45), spots(5, -0.1, 0.55, 50, 200)])
def test_the_result_has_the_colours_of_the_reference(
    space: Space, channels: tuple[int, ...], within: float, sample: Image
) -> None:
    matched = match_color(spots(1), of(sample, space))
    shares = np.linspace(0.02, 0.98, 49)
    ours, theirs = (np.quantile(in_space(image, space), shares, axis=0)[:, channels] for image in (matched, sample))
    assert np.abs(ours - theirs).mean() < within


def test_levels_of_a_reference_in_8_bit_are_not_imposed() -> None:
    matched = match_color(spots(1), of(from_bytes(to_bytes(spots(2))), "RGB"))
    assert len(np.unique(to_array(matched)[..., 0])) > 3000  # of 7680 pixels


def test_between_far_colours_nothing_is_invented() -> None:
    # The picture slopes from dark to light, the sample is black below and white above.
    sample = torch.zeros(3, 64, 64)
    sample[:, 32:] = 1
    matched = match_color(spots(1), of(sample, "RGB"))
    assert float(((matched > 0.02) & (matched < 0.98)).float().mean()) == 0


def test_rgb_match_keeps_order_and_fractions() -> None:
    image, sample = spots(1), spots(2, 0.2)
    matched = to_array(match_color(image, of(sample, "RGB")))
    order = np.argsort(to_array(image)[..., 1].ravel(), kind="stable")
    assert (np.diff(matched[..., 1].ravel()[order]) > -1e-4).all()
    assert len(np.unique(matched[..., 1])) > 3000  # of 7680 pixels; 8 bit has 256 levels


def test_no_darkening() -> None:
    image = spots(4)
    for float_color, low, high in ((True, -0.02, 0.02), (False, -0.9, -0.1)):
        darker = image
        for _ in range(10):  # a new rounding in each frame, as the motion brings
            shifted = (darker + 0.3 / 255).clamp(0, 1)
            darker = match_color(shifted, of(image, "LAB", float_color))
        assert low < 255 * float((darker - image).mean()) < high, float_color


def test_hues_on_either_side_of_red_stay_together() -> None:
    # All hues of the picture lie within 10 degrees of red, those of the sample within 10 degrees of orange.
    def hues(middle: float) -> Image:
        hue = (np.linspace(middle - 10, middle + 10, 64 * 64, dtype=np.float32) % 360).reshape(64, 64)
        hsv = np.stack([hue, np.full_like(hue, 0.7), np.full_like(hue, 0.8)], axis=-1)
        return from_array(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32))

    def hue_of(image: Image) -> NDArray[np.float32]:
        return in_space(image, "HSV")[:, 0]

    turned = hue_of(match_color(hues(0), of(hues(30), "HSV")))
    assert turned == pytest.approx(np.linspace(20, 40, 64 * 64), abs=0.3)
    back = hue_of(match_color(hues(30), of(hues(0), "HSV")))
    assert (back + 180) % 360 - 180 == pytest.approx(np.linspace(-10, 10, 64 * 64), abs=0.3)


def test_grey_has_no_say_in_the_hue() -> None:
    colorful, gray = spots(6, 0.3), flat(0.5, 0.5, 0.5, 96)
    half_gray = torch.cat((colorful, gray[:, :80]), dim=2)
    # The saturation to match differs between the two, the hue does not.
    first, second = (in_space(match_color(spots(7, 0.1), of(sample, "HSV")), "HSV") for sample in (colorful, half_gray))
    apart = np.abs((first - second)[:, 0] + 180) % 360 - 180
    assert np.abs(apart)[second[:, 1] > 0.01].max() < 0.5


@pytest.mark.parametrize("float_color", [True, False])
@pytest.mark.parametrize("space", SPACES)
def test_pictures_without_variety(space: Space, float_color: bool) -> None:
    black, white, gray = flat(0, 0, 0), flat(1, 1, 1), flat(0.5, 0.5, 0.5)
    for image in (black, white, gray, spots(1)):
        for sample in (black, white, gray, flat(0.8, 0.2, 0.1)):
            matched = match_color(image, of(sample, space, float_color))
            assert bool(matched.isfinite().all())
            assert float(matched.min()) >= 0 and float(matched.max()) <= 1
            if image.shape == sample.shape and sample is not image:
                assert off(matched, sample.expand_as(matched)) < 3


@pytest.mark.parametrize("float_color", [True, False])
@pytest.mark.parametrize("space", SPACES)
def test_match_leaves_its_arguments_alone(space: Space, float_color: bool) -> None:
    image, reference = spots(1) * 1.2 - 0.1, of(spots(2), space, float_color)
    kept, counts = image.clone(), reference.counts.copy()
    matched = match_color(image, reference)
    assert torch.equal(image, kept) and np.array_equal(reference.counts, counts)
    assert matched.dtype == torch.float32 and np.shares_memory(to_array(matched), matched.numpy())
