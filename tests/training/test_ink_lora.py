"""The LoRA of an ink look: drawings keep the picture and lose its colours; the file is one that the renderer reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from deforum.diffusion.adapters.lora.file import read_file
from deforum.embedded import LORAS
from training import progress
from training.ink_lora import RANK, VERMILION, Branch, branches, draw_in_ink, export, find_sun


def sunset() -> np.ndarray:
    """A bright disc in an orange sky over a dark sea."""
    y, x = np.mgrid[0:256, 0:256]
    picture = np.where((y < 160)[..., None], [0.85, 0.45, 0.2], [0.1, 0.12, 0.3]).astype(np.float32)
    picture[np.hypot(x - 128, y - 90) < 28] = [1.0, 0.97, 0.85]
    return picture


def test_a_drawing_has_paper_ink_and_a_red_sun() -> None:
    drawn = draw_in_ink(sunset(), True, np.random.default_rng(0))
    plain = draw_in_ink(sunset(), False, np.random.default_rng(0))
    assert np.abs(drawn[90, 128] - VERMILION).max() < 0.05
    away = np.hypot(*(np.mgrid[0:256, 0:256] - np.array([90, 128])[:, None, None])) > 40
    assert np.abs(drawn - plain)[away].max() < 1e-6 and np.ptp(plain[away], axis=-1).max() < 0.1
    assert plain[30, 30].mean() > plain[220, 30].mean() + 0.3


def test_a_sun_is_round() -> None:
    luma = sunset().mean(axis=2)
    sun = find_sun(luma)
    assert sun is not None and 0.9 < sun.sum() / (np.pi * 28**2) < 1.3
    luma[:] = 0.2
    luma[100:110, 20:220] = 1.0  # a bright cloud
    assert find_sun(luma) is None


def test_the_file_is_a_lora(tmp_path: Path) -> None:
    net = torch.nn.ModuleDict(
        {"down_blocks": torch.nn.ModuleList([torch.nn.Conv2d(4, 6, 3)]), "conv_in": torch.nn.Conv2d(4, 4, 1)}
    )
    model = branches(net)
    assert list(model) == ["down_blocks_0"] and isinstance(model["down_blocks_0"], Branch)
    progress.save(model.state_dict(), tmp_path / "lora.ckpt")
    export(tmp_path, tmp_path / "a.safetensors")
    [layer] = read_file(tmp_path / "a.safetensors").layers
    assert (layer.name, layer.kind) == ("lora_unet_down_blocks_0", "lora")
    weights = load_file(tmp_path / "a.safetensors")
    assert float(weights["lora_unet_down_blocks_0.alpha"]) == RANK


def test_the_shipped_one_is_small() -> None:
    path = LORAS / "ink.safetensors"
    assert path.stat().st_size < 2e6 and len(read_file(path).layers) > 80
