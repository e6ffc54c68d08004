"""The embedded network: its size, its shapes, and, where its weights are, what it has learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deforum.depth import DepthSource, load_depth, resolve_depth
from deforum.depth.embedded import SmallDepth
from deforum.errors import UserError
from deforum.pixels.image import CPU, from_bytes
from training import layouts, world
from training.depth import ordered
from training.draw import HELDOUT_SEED


def save(folder: Path) -> DepthSource:
    """Random weights as training writes them."""
    torch.manual_seed(0)
    weights = {key: weight.half() if weight.is_floating_point() else weight
               for key, weight in SmallDepth().state_dict().items()}  # fmt: skip
    save_file(weights, folder / "depth.safetensors")
    return DepthSource("embedded", folder / "depth.safetensors")


def test_it_is_small_and_takes_pictures_of_any_shape(tmp_path: Path) -> None:
    source = save(tmp_path)
    assert source.path is not None
    assert source.path.stat().st_size < 10e6
    model = load_depth(source, CPU)
    assert model.gives == "inverse depth"
    for height, width in ((256, 256), (90, 161), (300, 120)):
        depth = model(torch.rand(3, height, width), 0)
        assert depth.shape == (height, width)
        assert 0 <= depth.min() < depth.max() <= 1


def test_damaged_weights(tmp_path: Path) -> None:
    source = save(tmp_path)
    assert source.path is not None
    source.path.write_bytes(source.path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_depth(source, CPU)


@pytest.mark.parametrize(
    ("draw", "of_all", "of_level"),
    [
        # What "lower is nearer" alone gets is 88 and 72 % of all pairs, and of those at one height half.
        pytest.param(world.draw, 0.93, 0.85, id="landscapes"),
        pytest.param(layouts.draw, 0.90, 0.85, id="caves, things, views from above"),
    ],
)
def test_what_is_nearer_is_mostly_found_nearer(
    draw: Callable[[int, int], world.Picture], of_all: float, of_level: float
) -> None:
    """Of pairs of points a tenth or more apart in depth, in pictures that it has not seen; chance is one half."""
    source = resolve_depth("embedded")
    assert source is not None
    model, generator = load_depth(source, CPU), torch.Generator().manual_seed(0)
    right = torch.zeros(2, 2, dtype=torch.float64)
    for index in range(16):
        picture = draw(HELDOUT_SEED, index)
        found = model(from_bytes(picture.image), 0)[None]
        true = torch.from_numpy(picture.inverse_depth.astype(np.float32))[None]
        for row, level in zip(right, (False, True), strict=True):
            row += ordered(found, true, level, generator).sum(0)
    all_pairs, level_pairs = (float(good / count) for good, count in right)
    assert all_pairs > of_all
    assert level_pairs > of_level
