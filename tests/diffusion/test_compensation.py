"""Correction of decoded pictures for what the encoder will lose of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.build import _loading, prepare
from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.compensation import REACH, linear_path
from deforum.diffusion.networks import read_part
from deforum.embedded import DIFFUSION
from deforum.loading import load
from deforum.models.edges import Tiling, wrap_edges

CELLS, CELL = 7, 16


@pytest.fixture(scope="module")
def vae() -> Any:
    network = read_part(Path(DIFFUSION) / "vae", "AutoencoderKL", torch.float32, None)
    assert network is not None
    return network.eval().requires_grad_(False)


def latents(scale: float) -> torch.Tensor:
    return scale * torch.randn(2, 16, CELLS, CELLS, generator=torch.Generator().manual_seed(0))


def test_the_linear_path_is_the_decoder_without_branches(vae: Any) -> None:
    linear = copy.deepcopy(vae)
    for part in (linear.decoder.mid_block, *linear.decoder.up_blocks):
        for resnet in part.resnets:
            torch.nn.init.zeros_(resnet.conv2.weight)
            torch.nn.init.zeros_(resnet.conv2.bias)
    path, given = linear_path(vae), latents(0.05)
    assert path is not None
    with torch.inference_mode():
        drawn = linear.decode(given).sample - linear.decode(0 * given).sample
        made = path(given)
    edge = 2 * REACH * CELL  # the decoder fills up with zeros at each of its levels
    inner = slice(edge, -edge)
    error = (made - drawn)[..., inner, inner]
    # What is drawn farther than one cell away is left out.
    assert made.shape == drawn.shape
    assert float(error.square().mean() / drawn[..., inner, inner].square().mean()) < 0.08


@pytest.mark.parametrize(("tiling", "down", "across"), [("both", 2, 3), ("x", 0, 3), ("y", 2, 0)])
def test_pictures_that_tile_are_corrected_across_their_edges(vae: Any, tiling: Tiling, down: int, across: int) -> None:
    wrapping = copy.deepcopy(vae)
    wrap_edges(wrapping, tiling)
    path, given = linear_path(wrapping), latents(1)
    assert path is not None
    shifted = path(given.roll((down, across), (2, 3)))
    torch.testing.assert_close(shifted, path(given).roll((down * CELL, across * CELL), (2, 3)))


def test_what_is_encoded_comes_nearer_to_what_was_decoded(vae: Any) -> None:
    given, size = latents(0.6), CELLS * CELL
    lost = []
    for compensates in (False, True):
        door = Autoencoder(vae, compensates=compensates)
        with torch.inference_mode():
            pictures = door.decode(given, size, size, 0, may_be_blank=True)
            lost.append(float((door.encode(pictures, 0) - given).square().mean().sqrt()))
    assert lost[1] < 0.9 * lost[0]


def test_other_autoencoders_have_no_linear_path(vae: Any, folders: dict[str, Path]) -> None:
    other = read_part(folders["sd1"] / "vae", "AutoencoderKL", torch.float32, None)
    assert linear_path(other) is None
    assert Autoencoder(other, 1, compensates=True)._refinement == 1
    trained = copy.deepcopy(vae)
    torch.nn.init.ones_(trained.encoder.down_blocks[1].resnets[0].conv2.weight)
    assert linear_path(trained) is None
    assert linear_path(torch.nn.Linear(1, 1)) is None  # a tiny autoencoder has other parts


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", (1, True)),
        ("animation_mode: 3D", (1, True)),
        ("profile: deforum", (0, False)),
        ("animation_mode: Interpolation", (0, False)),
        ("vae_refinement: 0", (0, False)),
        ("vae_refinement: 2", (2, False)),
        ("animation_mode: Interpolation\nvae_refinement: 1", (1, False)),
    ],
)
def test_the_setting_chooses(lines: str, expected: tuple[int, bool], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"prompts: {{0: a}}\nmax_frames: 2\nmodel: embedded\n{lines}\n")
    prepared = prepare(load(tmp_path / "a.yaml").settings)
    given = _loading(prepared, prepared.timeline.models[0]).keywords
    assert (given["vae_refinement"], given["compensates"]) == expected
