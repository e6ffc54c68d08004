"""Noise: any size and number of octaves, the same numbers everywhere, and what mixing it in does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deforum.pixels.image import Image, from_array, to_array
from deforum.pixels.noise import add_noise, perlin, perlin_noise, uniform_noise


def flat(value: float, width: int = 64, height: int = 48) -> Image:
    return from_array(np.full((height, width, 3), value, np.float32))


def perlin_by_pixel(
    generator: torch.Generator, width: int, height: int, across: int, down: int, octaves: int, persistence: float
) -> torch.Tensor:
    """Sum gradient noise pixel by pixel, the four corners of its cell one after the other."""
    total = torch.zeros(height, width, dtype=torch.float64)
    for octave in range(octaves):
        columns, rows = across * 2**octave, down * 2**octave
        angles = 2 * math.pi * torch.rand(rows + 1, columns + 1, generator=generator).double()
        y = (torch.arange(height).double() * rows / height)[:, None].expand(height, width)
        x = (torch.arange(width).double() * columns / width).expand(height, width)
        top, left = y.floor().long(), x.floor().long()
        for below in (0, 1):
            for right in (0, 1):
                angle = angles[top + below, left + right]
                dy, dx = y - top - below, x - left - right
                slope = dy * angle.cos() + dx * angle.sin()
                fade_y, fade_x = (1 - 6 * d.abs() ** 5 + 15 * d.abs() ** 4 - 10 * d.abs() ** 3 for d in (dy, dx))
                total += math.sqrt(2) * persistence**octave * fade_y * fade_x * slope
    return total


@pytest.mark.parametrize(
    ("width", "height", "across", "down", "octaves", "persistence"),
    [(256, 192, 8, 8, 4, 0.5), (128, 128, 4, 4, 5, 0.9), (200, 77, 3, 7, 3, 0.5), (64, 64, 1, 1, 1, 0.5)],
)
def test_the_matrix_product_is_gradient_noise(
    width: int, height: int, across: int, down: int, octaves: int, persistence: float
) -> None:
    ours, plain = (
        make(torch.Generator().manual_seed(5), width, height, across, down, octaves, persistence)
        for make in (perlin, perlin_by_pixel)
    )
    assert float((ours - plain).abs().max()) < 1e-5
    assert float(plain.std()) > 0.1


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (7, 5), (63, 64), (65, 64), (100, 37), (640, 360), (2048, 3)])
def test_any_size(size: tuple[int, int]) -> None:
    width, height = size
    for field in (uniform_noise(1, width, height), perlin_noise(1, width, height)):
        assert field.shape == (3, height, width) and field.dtype == torch.float32
        assert bool(field.isfinite().all()) and float(field.abs().max()) > 0


@pytest.mark.parametrize("octaves", [1, 4, 5, 6, 7, 12, 40])
@pytest.mark.parametrize("size", [(64, 64), (192, 128), (576, 320), (30, 20)])
def test_any_number_of_octaves(octaves: int, size: tuple[int, int]) -> None:
    field = perlin_noise(1, *size, octaves=octaves)
    assert bool(field.isfinite().all()) and 0.4 < float(field.std()) < 0.7


@pytest.mark.parametrize("grid", [(0.1, 16), (16, 0.1), (8, 8), (3.9, 5)])
def test_any_grid(grid: tuple[float, float]) -> None:
    field = perlin_noise(1, 128, 64, grid=grid)
    assert bool(field.isfinite().all()) and 0.4 < float(field.std()) < 0.7


def test_the_grid_counts_across_and_down() -> None:
    def turns(values: torch.Tensor) -> float:
        """How fast values change along the last axis."""
        return float((values[..., 1:] - values[..., :-1]).abs().mean())

    wide = perlin(torch.Generator().manual_seed(1), 256, 256, 16, 2, 1, 0.5)
    assert turns(wide) > 4 * turns(wide.T)


def test_octaves_finer_than_pixels_change_nothing() -> None:
    # 8 cells doubled three times are as many as there are pixels.
    assert torch.equal(perlin_noise(3, 64, 64, octaves=4), perlin_noise(3, 64, 64, octaves=9))


def test_the_seed_is_all_that_counts() -> None:
    state = torch.random.get_rng_state()
    for make in (uniform_noise, perlin_noise):
        first = make(11, 70, 50)
        torch.rand(3)
        assert torch.equal(make(11, 70, 50), first)
        assert not torch.equal(make(12, 70, 50), first)
        assert make(2**32 + 11, 70, 50).shape == first.shape  # seeds run past 2**32
    torch.random.set_rng_state(state)
    uniform_noise(1, 64, 64)
    perlin_noise(1, 64, 64)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_statistics() -> None:
    uniform, strong = uniform_noise(1, 512, 384), perlin_noise(1, 512, 384)
    assert abs(float(uniform.mean())) < 0.01 and abs(float(uniform.std()) - 1) < 0.01
    assert abs(float(strong.mean())) < 0.01 and 0.5 < float(strong.std()) < 0.6
    # Perlin noise is strong in some places: block by block its strength differs, that of uniform noise does not.
    spread = [field[0].unfold(0, 32, 32).unfold(1, 32, 32).std((2, 3)).std() for field in (uniform, strong)]
    assert float(spread[1]) > 3 * float(spread[0])


# Mixing it in


def test_mixing_replaces_a_share_by_grey_and_half_the_field() -> None:
    field = torch.zeros(3, 48, 64)
    field[0], field[1] = 0.6, -5
    noisy = add_noise(flat(0.9), field, 0.25)
    assert noisy[:, 0, 0].tolist() == pytest.approx([0.9 + 0.25 * (0.8 - 0.9), 0.9 - 0.25 * 0.9, 0.9 - 0.25 * 0.4])


def test_no_amount_gives_the_same_image_and_the_whole_gives_the_noise() -> None:
    image, field = flat(0.2), uniform_noise(1, 64, 48)
    assert add_noise(image, field, 0) is image
    assert torch.allclose(add_noise(image, field, 1), (field / 2 + 0.5).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("zero_mean", [False, True])
def test_outside_the_mask_nothing_changes(zero_mean: bool) -> None:
    image, mask = from_array(np.random.default_rng(0).random((48, 64, 3), np.float32)), torch.zeros(48, 64)
    mask[:, 20:40], mask[:, 40:] = 0.5, 1
    field = uniform_noise(1, 64, 48)
    after_20 = noisy = add_noise(image, field, 0.3, mask, zero_mean=zero_mean)
    for _ in range(20):
        after_20 = add_noise(after_20, field, 0.3, mask, zero_mean=zero_mean)
    assert torch.equal(after_20[..., :20], image[..., :20])
    for share, part in ((0.5, slice(20, 40)), (1, slice(40, 64))):
        whole = add_noise(image[..., part], field[..., part], 0.3 * share, zero_mean=zero_mean)
        assert torch.allclose(noisy[..., part], whole, atol=1e-6)


def test_zero_mean_noise_does_not_pull_to_grey() -> None:
    blended = added = flat(0.8)
    for frame in range(40):
        field = perlin_noise(frame, 64, 48)
        blended, added = add_noise(blended, field, 0.065), add_noise(added, field, 0.02, zero_mean=True)
    assert float(blended.mean()) < 0.56
    assert float(added.mean()) == pytest.approx(0.8, abs=0.005)


def test_noise_leaves_its_arguments_alone_and_stays_in_range() -> None:
    image, field = flat(0.99), uniform_noise(1, 64, 48)
    kept, drawn = image.clone(), field.clone()
    for zero_mean in (False, True):
        noisy = add_noise(image, field, 0.9, zero_mean=zero_mean)
        assert torch.equal(image, kept) and torch.equal(field, drawn)
        assert float(noisy.min()) >= 0 and float(noisy.max()) <= 1
        assert np.shares_memory(to_array(noisy), noisy.numpy())
