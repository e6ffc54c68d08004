"""Pictures in between by optical flow, against scenes whose every moment is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from deforum.interpolation import Interpolator, load_interpolator, resolve_interpolator
from deforum.interpolation.by_flow import ByFlow, mix
from deforum.interpolation.match import match
from deforum.pixels.image import CPU, Image, for_channels
from tests.helpers.pictures import flat, off, texture, waves


@pytest.fixture(scope="module")
def engine() -> Interpolator:
    return load_interpolator(resolve_interpolator("flow"), CPU)


def disc_over_ground(time: float, size: int = 160) -> Image:
    """Return a disc that moves 16 px to the right over a ground that moves 4 px down, at a time 0..1."""
    y, x = torch.meshgrid(torch.arange(size) * 1.0, torch.arange(size) * 1.0, indexing="ij")
    ground = waves(lambda x, y: (x, y - 4 * time), size=size)
    disc = 1 - waves(lambda x, y: (y + 31, x - 16 * time), size=size)
    covers = (size / 5 - torch.hypot(x - size / 2 - 16 * (time - 0.5), y - size / 2)).clamp(0, 1)
    return torch.lerp(ground, disc, for_channels(covers))


def psnr(a: Image, b: Image, where: torch.Tensor) -> float:
    return float(-10 * (a - b).square().mean(0)[where].mean().log10())


@pytest.mark.parametrize("time", [0.25, 0.5, 0.8])
def test_what_hides_and_what_appears_is_taken_from_where_it_is_seen(engine: Interpolator, time: float) -> None:
    first, last, true = disc_over_ground(0), disc_over_ground(1), disc_over_ground(time)
    [found] = engine(first, last, [time])
    moving = torch.maximum((true - first).abs().amax(0), (true - last).abs().amax(0)) > 10 / 255
    assert psnr(found, true, moving) > psnr(torch.lerp(first, last, time), true, moving) + 5


@pytest.mark.parametrize(
    "moved",
    [
        lambda x, y, t: (x - 12 * t, y + 7 * t),
        lambda x, y, t: (x * (1 - 0.06 * t), y * (1 - 0.06 * t)),
        lambda x, y, t: (x + 0.08 * t * (y - 48), y - 0.08 * t * (x - 48)),
    ],
)
def test_a_picture_that_moves_as_a_whole(engine: Interpolator, moved) -> None:  # type: ignore[no-untyped-def]
    first, true, last = (waves(partial(moved, t=time), size=96) for time in (0, 0.5, 1))
    [found] = engine(first, last, [0.5])
    assert psnr(found, true, torch.ones(96, 96, dtype=torch.bool)) > 30


def test_surfaces_of_one_brightness_are_told_apart_by_their_colour(engine: Interpolator) -> None:
    """A disc moves over a ground of its brightness, each with a fine texture."""

    def scene(time: float, size: int = 128) -> Image:
        y, x = torch.meshgrid(torch.arange(size) * 1.0, torch.arange(size) * 1.0, indexing="ij")
        covers = (30 - torch.hypot(x - 50 - 20 * time, y - 64)).clamp(0, 1)
        ground, disc = waves(lambda x, y: (x + 6 * time, y), size=size), waves(lambda x, y: (y + 31, x), size=size)
        disc = disc.roll(round(20 * time), 2)
        blue, orange = torch.tensor((0.35, 0.5, 0.7)), torch.tensor((0.7, 0.42, 0.2))
        ground, disc = (
            color[:, None, None] * (1 + 0.4 * (image - 0.5)) for color, image in ((blue, ground), (orange, disc))
        )
        return torch.lerp(ground, disc, covers)

    first, last = scene(0), scene(1)
    assert isinstance(engine, ByFlow)
    there, back = match(engine.model, first, last)
    assert np.abs(there.flow[50:78, 36:64] - (20, 0)).max(-1).mean() < 1
    assert np.abs(back.flow[50:78, 56:84] - (-20, 0)).max(-1).mean() < 1
    assert (engine.model(first, last)[50:78, 36:64] - torch.tensor((20.0, 0.0))).abs().amax(-1).mean() > 5


@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_of_unlike_shapes_one_is_shown(time: float) -> None:
    """A mix of two bars side by side shows both at half their strength: a ghost."""
    first, last = (np.full((64, 64, 3), 0.8, np.float32) for _ in range(2))
    first[:, 28:31], last[:, 33:36] = 0.1, 0.1
    mixed = mix(first, last, np.full((64, 64), time, np.float32))[32, :, 0]
    shown, other = (slice(28, 31), slice(33, 36)) if time <= 0.5 else (slice(33, 36), slice(28, 31))
    assert mixed[shown].max() < 0.3 and mixed[other].min() > 0.6


def test_light_changes_in_time(engine: Interpolator) -> None:
    first, last = waves(size=96) * 0.9, waves(size=96) * 0.6
    for time, image in zip((0.25, 0.5, 0.75), engine(first, last, (0.25, 0.5, 0.75)), strict=True):
        assert (image - torch.lerp(first, last, time)).abs().mean() < 0.01


@pytest.mark.parametrize("size", [4, 15, 16, 17, 33])
@pytest.mark.parametrize("image", [texture(1, 48, 48), flat(0.2, 0.5, 0.7, 48)])
def test_a_picture_at_rest_stays(engine: Interpolator, image: Image, size: int) -> None:
    image = image[:, :size, : size + 3]
    [found] = engine(image, image, [0.5])
    assert found.shape == image.shape and off(found, image) < 0.5
