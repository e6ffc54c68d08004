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
from deforum.pixels.image import Image, adjust_contrast, from_array, from_bytes, to_array, to_bytes, to_gray
from deforum.pixels.sharpness import AMOUNTS, blur, blur_on_device, fine_detail, match_detail, unsharp_mask

SPACES = get_args(Space)
FORWARD = {"HSV": cv2.COLOR_RGB2HSV, "LAB": cv2.COLOR_RGB2LAB}
BACK = {"HSV": cv2.COLOR_HSV2RGB, "LAB": cv2.COLOR_LAB2RGB}


def scene(seed: int, warmth: float = 0, light: float = 0.5, width: int = 96, height: int = 80) -> Image:
    """Draw soft spots of many colours over a slope from dark to light."""
    rng = np.random.default_rng(seed)
    spots = cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 4)
    spots = (spots - spots.mean((0, 1))) / spots.std((0, 1)) * 0.12
    slope = np.linspace(-0.25, 0.25, height, dtype=np.float32)[:, None, None]
    pixels = spots + slope + light + np.array([warmth, 0, -warmth], np.float32)
    return from_array(np.ascontiguousarray(pixels.clip(0, 1), np.float32))


def of(image: Image, space: Space, float_color: bool = True, true_channels: bool = True) -> ColorReference:
    return ColorReference.of(image, space, true_channels=true_channels, float_color=float_color)


def flat(red: float, green: float, blue: float, size: int = 8) -> Image:
    return from_array(np.full((size, size, 3), (red, green, blue), np.float32))


def off(a: Image, b: Image) -> float:
    """The largest difference, in levels."""
    return 255 * float((a - b).abs().max())


def in_space(image: Image, space: Space) -> NDArray[np.float32]:
    """List the pixels' channels in a space: (N, 3)."""
    pixels = to_array(image)
    return np.asarray(pixels if space == "RGB" else cv2.cvtColor(pixels, FORWARD[space]), np.float32).reshape(-1, 3)


# Colour match in 8 bit


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("size", [(96, 80), (31, 57)])
def test_8_bit_match_against_scikit_image(space: Space, size: tuple[int, int]) -> None:
    image, sample = to_bytes(scene(1)), to_bytes(scene(2, 0.2, 0.4, *size))
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
    image, sample = scene(1), scene(2, 0.3)
    exchanged = match_color(image, of(sample, space, float_color, true_channels=False))
    by_hand = match_color(image.flip(0), of(sample.flip(0), space, float_color)).flip(0)
    assert off(exchanged, by_hand) < 0.1
    if space != "RGB":
        assert off(exchanged, match_color(image, of(sample, space, float_color))) > 1


# Colour match in fractions


@pytest.mark.parametrize("space", SPACES)
def test_a_picture_matched_to_itself_stays_as_it_is_for_200_frames(space: Space) -> None:
    start = image = scene(3, 0.1)
    reference = of(start, space)
    for _ in range(200):
        image = match_color(image, reference)
    assert off(image, start) < 0.1


@pytest.mark.parametrize("space", ["HSV", "LAB"])
def test_8_bit_match_to_itself_does_not(space: Space) -> None:
    image = scene(3, 0.1)
    assert off(match_color(image, of(image, space, float_color=False)), image) > 1


@pytest.mark.parametrize("space", SPACES)
def test_200_matches_to_another_picture_settle(space: Space) -> None:
    image, reference = scene(1), of(scene(2, 0.15, 0.4), space)
    means = []
    for _ in range(200):
        image = match_color(image, reference)
        means.append(255 * image.mean((1, 2)))
    assert float((means[-1] - means[49]).abs().max()) < 0.1


@pytest.mark.parametrize(
    ("space", "channels", "within"),
    [("RGB", (0, 1, 2), 0.1 / 255), ("HSV", (1, 2), 1 / 255), ("LAB", (0, 1, 2), 0.4)],  # LAB counts to 100
)
@pytest.mark.parametrize("sample", [scene(2, 0.1, 0.45), scene(5, -0.1, 0.55, 50, 200)])
def test_the_result_has_the_colours_of_the_reference(
    space: Space, channels: tuple[int, ...], within: float, sample: Image
) -> None:
    matched = match_color(scene(1), of(sample, space))
    shares = np.linspace(0.02, 0.98, 49)
    ours, theirs = (np.quantile(in_space(image, space), shares, axis=0)[:, channels] for image in (matched, sample))
    assert np.abs(ours - theirs).mean() < within


def test_levels_of_a_reference_in_8_bit_are_not_imposed() -> None:
    matched = match_color(scene(1), of(from_bytes(to_bytes(scene(2))), "RGB"))
    assert len(np.unique(to_array(matched)[..., 0])) > 3000  # of 7680 pixels


def test_between_far_colours_nothing_is_invented() -> None:
    # The picture slopes from dark to light, the sample is black below and white above.
    sample = torch.zeros(3, 64, 64)
    sample[:, 32:] = 1
    matched = match_color(scene(1), of(sample, "RGB"))
    assert float(((matched > 0.02) & (matched < 0.98)).float().mean()) == 0


def test_rgb_match_keeps_order_and_fractions() -> None:
    image, sample = scene(1), scene(2, 0.2)
    matched = to_array(match_color(image, of(sample, "RGB")))
    order = np.argsort(to_array(image)[..., 1].ravel(), kind="stable")
    assert (np.diff(matched[..., 1].ravel()[order]) > -1e-4).all()
    assert len(np.unique(matched[..., 1])) > 3000  # of 7680 pixels; 8 bit has 256 levels


def test_no_darkening() -> None:
    image = scene(4)
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
    colorful, gray = scene(6, 0.3), flat(0.5, 0.5, 0.5, 96)
    half_gray = torch.cat((colorful, gray[:, :80]), dim=2)
    # The saturation to match differs between the two, the hue does not.
    first, second = (in_space(match_color(scene(7, 0.1), of(sample, "HSV")), "HSV") for sample in (colorful, half_gray))
    apart = np.abs((first - second)[:, 0] + 180) % 360 - 180
    assert np.abs(apart)[second[:, 1] > 0.01].max() < 0.5


@pytest.mark.parametrize("float_color", [True, False])
@pytest.mark.parametrize("space", SPACES)
def test_pictures_without_variety(space: Space, float_color: bool) -> None:
    black, white, gray = flat(0, 0, 0), flat(1, 1, 1), flat(0.5, 0.5, 0.5)
    for image in (black, white, gray, scene(1)):
        for sample in (black, white, gray, flat(0.8, 0.2, 0.1)):
            matched = match_color(image, of(sample, space, float_color))
            assert bool(matched.isfinite().all())
            assert float(matched.min()) >= 0 and float(matched.max()) <= 1
            if image.shape == sample.shape and sample is not image:
                assert off(matched, sample.expand_as(matched)) < 3


@pytest.mark.parametrize("float_color", [True, False])
@pytest.mark.parametrize("space", SPACES)
def test_match_leaves_its_arguments_alone(space: Space, float_color: bool) -> None:
    image, reference = scene(1) * 1.2 - 0.1, of(scene(2), space, float_color)
    kept, counts = image.clone(), reference.counts.copy()
    matched = match_color(image, reference)
    assert torch.equal(image, kept) and np.array_equal(reference.counts, counts)
    assert matched.dtype == torch.float32 and np.shares_memory(to_array(matched), matched.numpy())


# Contrast and grey


@pytest.mark.parametrize(
    ("level", "contrast", "wanted"),
    [(200, 1.3, 255), (250, 1.3, 255), (100, 1.3, 130), (100, 0.5, 50), (0, 9, 0), (255, 1.001, 255), (77, 0, 0)],
)
def test_contrast_is_clipped_and_never_wraps(level: int, contrast: float, wanted: float) -> None:
    image = flat(*3 * (level / 255,))
    assert off(adjust_contrast(image, contrast), flat(*3 * (wanted / 255,))) < 1e-3


def test_contrast_of_1_gives_the_same_image() -> None:
    image = scene(1)
    assert adjust_contrast(image, 1) is image


def test_contrast_there_and_back_does_not_drift() -> None:
    start = image = scene(1).clamp(0, 0.8)
    for _ in range(50):
        image = adjust_contrast(adjust_contrast(image, 1.1), 1 / 1.1)
    assert off(image, start) < 0.01


def test_grey_is_that_of_opencv() -> None:
    image = scene(1, 0.3)
    gray = to_gray(image)
    wanted = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    assert all(np.abs(channel.numpy() - wanted).max() < 1e-6 for channel in gray)
    assert np.shares_memory(to_array(gray), gray.numpy())


# Detail


def grainy() -> Image:
    """A picture with fine detail, far from black and white, so that nothing is clipped."""
    grain = torch.rand(80, 96, generator=torch.Generator().manual_seed(0))
    return from_array(to_array((scene(1) * 0.5 + 0.2 + 0.1 * grain).contiguous()))


def test_detail_is_what_a_small_blur_takes() -> None:
    image = scene(1)
    assert fine_detail(flat(0.2, 0.5, 0.7)) < 1e-6
    assert fine_detail(blur(image, 5, 1.0)) < fine_detail(image) < fine_detail(unsharp_mask(image, 0.5))
    assert fine_detail(image * 0.5) == pytest.approx(fine_detail(image) / 2, rel=1e-4)


@pytest.mark.parametrize("factor", [0.7, 0.95, 1.0, 1.1, 1.6])
def test_detail_comes_to_what_is_wanted_or_a_share_of_the_way(factor: float) -> None:
    image = grainy()
    now = fine_detail(image)
    for share in (0.25, 0.5, 1.0):
        matched = match_detail(image, factor * now, share)
        assert fine_detail(matched) == pytest.approx(now * factor**share, rel=1e-3)
    assert off(match_detail(image, now), image) < 0.05


def test_detail_that_is_not_there_is_not_made_up() -> None:
    image = grainy()
    assert off(match_detail(image, 10 * fine_detail(image)), unsharp_mask(image, AMOUNTS[1])) < 0.05
    assert off(match_detail(image, fine_detail(image) / 10), unsharp_mask(image, AMOUNTS[0])) < 0.05
    even = flat(0.2, 0.5, 0.7)
    assert match_detail(even, 0.1) is even and match_detail(image, 0.1, 0) is image
    assert match_detail(image, 0.0) is image  # to an even picture, such as a blank init image, nothing is softened


def test_matching_detail_clips_and_leaves_its_argument_alone() -> None:
    image = from_bytes(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    kept = image.clone()
    matched = match_detail(image, 2 * fine_detail(image))
    assert float(matched.min()) == 0 and float(matched.max()) == 1
    assert torch.equal(image, kept)


# Sharpening


def test_sharpening_of_a_step() -> None:
    step = torch.where(torch.arange(20) < 10, 0.25, 0.75).expand(3, 20, 20)
    sharpened = to_array(unsharp_mask(step, 1.0, 5, 1.0))[10, :, 0]
    assert sharpened[:8] == pytest.approx(0.25) and sharpened[12:] == pytest.approx(0.75)
    assert sharpened[9] < 0.15 and sharpened[10] > 0.85


@pytest.mark.parametrize("kernel", [1, 3, 5, 9, 31])
@pytest.mark.parametrize("sigma", [0.0, 0.8, 3.0])
def test_blur_is_the_same_on_every_device(kernel: int, sigma: float) -> None:
    image = scene(1)
    assert off(blur(image, kernel, sigma), blur_on_device(image, kernel, sigma)) < 1e-3


def test_sigma_0_is_derived_from_the_kernel() -> None:
    image = scene(1)
    assert off(unsharp_mask(image, 0.7, 11, 0.0), unsharp_mask(image, 0.7, 11, 0.3 * (5 - 1) + 0.8)) < 1e-3


def test_the_threshold_spares_the_darker_and_the_brighter_alike() -> None:
    pixels = np.full((9, 9, 3), 100 / 255, np.float32)
    pixels[2, 2], pixels[6, 6] = 110 / 255, 90 / 255
    image = from_array(pixels)
    assert torch.equal(unsharp_mask(image, 1.0, 3, 0.8, threshold=9), image)
    sharpened = to_array(unsharp_mask(image, 1.0, 3, 0.8, threshold=5)) * 255
    assert sharpened[2, 2, 0] > 115 and sharpened[6, 6, 0] < 85
    assert sharpened[2, 2, 0] - 100 == pytest.approx(100 - sharpened[6, 6, 0], abs=1e-3)
    assert sharpened[2, 3, 0] == pytest.approx(100)


def test_sharpening_under_a_mask() -> None:
    image, mask = scene(1), torch.zeros(80, 96)
    mask[:, 40:60], mask[:, 60:] = 0.5, 1
    ours, whole = unsharp_mask(image, 2.0, mask=mask), unsharp_mask(image, 2.0)
    assert torch.equal(ours[..., :40], image[..., :40])
    assert off(ours[..., 60:], whole[..., 60:]) < 1e-3
    assert off(ours[..., 40:60], (image + whole)[..., 40:60] / 2) < 1e-3


def test_sharpening_clips_and_leaves_its_argument_alone() -> None:
    image = from_bytes(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    kept = image.clone()
    sharpened = unsharp_mask(image, 5.0)
    assert float(sharpened.min()) == 0 and float(sharpened.max()) == 1
    assert torch.equal(image, kept) and np.shares_memory(to_array(sharpened), sharpened.numpy())
    assert unsharp_mask(image, 0.0) is image
