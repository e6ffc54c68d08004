"""The embedded network: its size, its shapes, and, where its weights are, what it has learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deforum.depth import DepthSource, load_depth
from deforum.depth.embedded import SmallDepth
from deforum.errors import UserError
from deforum.image import CPU


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
