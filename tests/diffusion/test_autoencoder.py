"""Pictures to latents and back: what is left after many passes, with the autoencoder that ships."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

import deforum.embedded
from deforum.diffusion.autoencoder import Autoencoder, skip_silent
from deforum.pixels.image import Image, from_array, to_array
from training.world import draw

SIZE, PASSES = 128, 20


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    folder = Path(deforum.embedded.__file__).parent / "diffusion" / "vae"
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def drawn() -> list[Image]:
    """The left parts, below the middle, of two pictures."""
    whole = (draw(1234, k).image.astype(np.float32) / 255 for k in (0, 3))
    return [from_array(np.ascontiguousarray(image[-SIZE:, :SIZE])) for image in whole]


def passed(door: Autoencoder, images: list[Image], step: float = 0.0) -> list[Image]:
    """Send pictures through once, as 8-bit frames, `step` px further to the right."""
    shift = np.array([[1, 0, step], [0, 1, 0]], np.float32)
    if step:
        cubic = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
        images = [from_array(cv2.warpAffine(to_array(image), shift, (SIZE, SIZE), **cubic)) for image in images]
    with torch.inference_mode():
        made = door.decode(door.encode(images, 0), SIZE, SIZE, 0, may_be_blank=True)
    return [(image * 255).round() / 255 for image in made]


def psnr(images: list[Image], others: list[Image], margin: int = 0) -> float:
    inside = slice(margin, SIZE - margin)
    errors = [float((a - b)[..., inside].square().mean()) for a, b in zip(images, others, strict=True)]
    return float(-10 * np.log10(errors).mean())


def doors(vae: AutoencoderKL) -> dict[str, Autoencoder]:
    return {"bare": Autoencoder(vae), "refined": Autoencoder(vae, 1), "compensated": Autoencoder(vae, compensates=True)}


@pytest.mark.long
def test_corrections_keep_detail_over_many_passes(vae: AutoencoderKL, drawn: list[Image]) -> None:
    lost = {}
    for name, door in doors(vae).items():
        images = first = passed(door, drawn)
        for _ in range(PASSES - 1):
            images = passed(door, images)
        assert psnr(first, drawn) > 28
        lost[name] = psnr(first, drawn) - psnr(images, drawn)
    assert lost["refined"] < 0.8
    assert lost["compensated"] < 1.2 < 2 < lost["bare"]


@pytest.mark.long
def test_corrections_do_not_hold_what_moves(vae: AutoencoderKL, drawn: list[Image]) -> None:
    """Slow motions are told from wear: pictures come nearer to where they ought to be than without it."""
    reached = {}
    for name, door in doors(vae).items():
        images = first = passed(door, drawn)
        for _ in range(10):
            images = passed(door, images, 0.4)
        shift = np.array([[1, 0, 4.0], [0, 1, 0]], np.float32)
        wanted = [from_array(cv2.warpAffine(to_array(image), shift, (SIZE, SIZE))) for image in first]
        reached[name] = psnr(images, wanted, 16)
    assert reached["refined"] > reached["bare"] + 1.5
    assert reached["compensated"] > reached["bare"] + 1


def test_skipping_silent_branches_changes_nothing(vae: AutoencoderKL, drawn: list[Image]) -> None:
    skipping = copy.deepcopy(vae)
    blocks = (*skipping.encoder.down_blocks, skipping.encoder.mid_block)
    skip_silent(*blocks, *skipping.decoder.up_blocks)
    skipped = ["forward" in vars(resnet) for block in blocks for resnet in block.resnets]
    assert skipped == [True] * 4 + [False] * 3  # the last layers of the encoder have learned something
    with torch.inference_mode():
        one, other = (Autoencoder(each, 1).encode(drawn, 0) for each in (vae, skipping))
    # But for rounding: some versions of torch, 2.6 among them, go on in another layout, and add up in another order.
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("width", "height"), [(200, 120), (64, 40)])
def test_sizes_that_are_filled_up(vae: AutoencoderKL, width: int, height: int) -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    image, door = torch.stack([x, y, (x + y) / 2]), Autoencoder(vae, 1)
    with torch.inference_mode():
        latents = door.encode([image], 0)
        [made] = door.decode(latents, width, height, 0, may_be_blank=True)
    assert latents.shape[1:] == door.latent_shape(width, height)
    assert float((made - image).abs().mean()) < 0.05
