"""Blur, sharpening, and fine detail brought to what it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deforum.pixels.image import Image, from_array, from_bytes, to_array
from deforum.pixels.sharpness import (
    AMOUNTS,
    blur,
    blur_on_device,
    fine_detail,
    laplacian_on_device,
    local_sharpness,
    match_detail,
    match_detail_on_device,
    mean_on_device,
    sharpen_to,
    unsharp_mask,
)
from tests.helpers.pictures import flat, off, spots


def grainy() -> Image:
    """A picture with fine detail, far from black and white, so that nothing is clipped."""
    grain = torch.rand(80, 96, generator=torch.Generator().manual_seed(0))
    return from_array(to_array((spots(1) * 0.5 + 0.2 + 0.1 * grain).contiguous()))


def test_detail_is_what_a_small_blur_takes() -> None:
    image = spots(1)
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
    image = spots(1)
    assert off(blur(image, kernel, sigma), blur_on_device(image, kernel, sigma)) < 1e-3


def test_sigma_0_is_derived_from_the_kernel() -> None:
    image = spots(1)
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
    image, mask = spots(1), torch.zeros(80, 96)
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


def test_a_picture_as_sharp_as_wanted_is_unchanged() -> None:
    for image in (grainy(), flat(0.2, 0.5, 0.7), spots(1)):
        assert torch.equal(sharpen_to(image, local_sharpness(image)), image)


@pytest.mark.parametrize("sigma", [0.5, 0.6])
def test_lost_sharpness_comes_back_where_it_was_lost(sigma: float) -> None:
    """Half of a picture is blurred, and the whole is asked to be as sharp as it was."""
    image = grainy()
    half = image.clone()
    half[:, :, 48:] = blur(image, 5, sigma)[:, :, 48:]
    back = sharpen_to(half, local_sharpness(image))
    blurred, kept = (slice(12, -12), slice(62, -12)), (slice(12, -12), slice(12, 34))
    assert (local_sharpness(half) / local_sharpness(image))[blurred].mean() < 0.6
    assert (local_sharpness(back) / local_sharpness(image))[blurred].mean() > 0.85
    assert torch.equal(back[:, *kept], image[:, *kept])


def test_specks_are_softened_and_flat_areas_stay_flat() -> None:
    even = torch.full((3, 48, 48), 0.4)
    specked = even.clone()
    specked[:, 20, 20] = 1
    softened = sharpen_to(specked, local_sharpness(even))
    assert softened[:, 20, 20].max() < 0.6
    assert torch.allclose(sharpen_to(even, local_sharpness(grainy())[:48, :48]), even, atol=1e-6)


def test_sharpness_on_a_device_is_that_of_the_host() -> None:
    laplacian = laplacian_on_device(grainy())
    there = mean_on_device(laplacian * laplacian)
    assert torch.allclose(there, local_sharpness(grainy()), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7, 30.0])
def test_detail_on_a_device_is_that_of_the_host(factor: float, share: float) -> None:
    """A reference without detail, a softer and a sharper one, and one that no amount of sharpening comes to."""
    for image in (grainy(), flat(0.2, 0.5, 0.7, 16)):
        wanted = factor * float(fine_detail(grainy()))
        for given in (wanted, torch.tensor(wanted, dtype=torch.float32)):
            assert off(match_detail_on_device(image, given, share), match_detail(image, wanted, share)) < 0.02
