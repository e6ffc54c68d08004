"""Tiles cover a picture, fade into each other without seams, and give nearly what the whole gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deforum.diffusion import tiles
from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.families.find import resolve_model
from deforum.diffusion.families.load import load_model
from deforum.diffusion.tiles import in_tiles, starts
from deforum.pixels.image import from_array
from training.world import draw

CELL = 8


@pytest.mark.parametrize(
    ("length", "side", "overlap", "wanted"),
    [
        (64, 64, 16, [0]),
        (10, 64, 16, [0]),
        (65, 64, 16, [0, 1]),
        (112, 64, 16, [0, 48]),
        (113, 64, 16, [0, 24, 49]),
        (160, 64, 16, [0, 48, 96]),
    ],
)
def test_where_tiles_begin(length: int, side: int, overlap: int, wanted: list[int]) -> None:
    assert starts(length, side, overlap) == wanted
    covered = {cell for start in wanted for cell in range(start, start + side)}
    assert covered >= set(range(length))
    assert all(b - a <= side - overlap for a, b in pairwise(wanted))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(tiles, "OVERLAP", 16)


def pooled(x: torch.Tensor) -> torch.Tensor:
    """An encoder whose cells do not look beyond their own pixels: the whole and its tiles agree."""
    return F.avg_pool2d(x, CELL)


def grown(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=CELL)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 64), (64, 200), (136, 120), (8, 8)])
@pytest.mark.parametrize("encodes", [True, False])
def test_what_is_local_is_exact(height: int, width: int, encodes: bool, small: None) -> None:
    work, scale = (pooled, 1) if encodes else (grown, CELL)
    given = torch.randn(2, 3, height // scale, width // scale, generator=torch.Generator().manual_seed(0))
    sizes = []

    def run(part: torch.Tensor) -> torch.Tensor:
        sizes.append(part.shape)
        return work(part)

    made = in_tiles(run, given, cell=CELL, encodes=encodes)
    torch.testing.assert_close(made, work(given), atol=1e-6, rtol=1e-6)
    assert all(shape[0] == 1 and max(shape[-2:]) <= 64 // scale for shape in sizes)


def test_neighbours_fade_into_each_other(small: None) -> None:
    """Tiles of different brightness, as norms make them, have no edge between them."""
    numbers = iter(range(100))
    made = in_tiles(lambda part: torch.full_like(part, next(numbers)), torch.zeros(1, 1, 64, 160), cell=1, encodes=True)
    steps = made[0, 0, 0].diff()
    assert made[0, 0, 0, 0] == 0 and made[0, 0, 0, -1] == 2
    assert float(steps.min()) >= 0 and float(steps.max()) < 0.1


@pytest.fixture(scope="module")
def vae() -> torch.nn.Module:
    model: torch.nn.Module = load_model(resolve_model("embedded"), "cpu", "fp32").vae
    return model


@torch.inference_mode()
def test_the_embedded_autoencoder_in_tiles(vae: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The norms of a tile differ from the whole picture's: by about a level, and nowhere by an edge."""
    monkeypatch.setattr(tiles, "SIDE", 256)
    image = from_array(np.ascontiguousarray(draw(1234, 0).image.astype(np.float32) / 255))[:, :192, :]
    image = F.interpolate(image[None], (192, 384), mode="bilinear")[0]
    whole, tiled = Autoencoder(vae), Autoencoder(vae, tiled=lambda: True)
    latents, others = (door.encode([image], 0) for door in (whole, tiled))
    assert float((latents - others).square().mean().sqrt()) < 0.03 * float(latents.std())
    [one], [other] = (door.decode(latents, 384, 192, 0, may_be_blank=False) for door in (whole, tiled))
    difference = (one - other) * 255
    assert float(difference.square().mean().sqrt()) < 2 and abs(float(difference.mean())) < 0.5
    assert float(difference.diff(dim=-1).abs().max()) < 8


@torch.inference_mode()
def test_a_picture_within_one_tile_is_exact(vae: torch.nn.Module) -> None:
    images = list(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    whole, tiled = Autoencoder(vae, 1), Autoencoder(vae, 1, tiled=lambda: True)
    torch.testing.assert_close(whole.encode(images, 0), tiled.encode(images, 0), atol=1e-5, rtol=0)
