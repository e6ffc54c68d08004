"""The encoder's last layers learn what the decoder has changed, and drawn pictures keep their latents."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from training.autoencoder import encode, evaluate
from training.linear_pair import LinearPair, fit_pca, start_pair, to_float
from training.way_back import ANCHOR, branches, front, head, set_out, silenced, soften, train, travel
from training.written_pair import build, write

WIDTHS = (8, 16, 24, 32, 48)


def _pictures(count: int) -> np.ndarray:
    """Soft discs of random colours and places: (N, 64, 64, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    left, top, radius = (rng.uniform(*ends, (count, 1, 1)) for ends in ((10, 54), (10, 54), (8, 20)))
    share = (1 / (1 + np.exp((np.hypot(x - left, y - top) - radius) / 2)))[..., None]
    one, other = rng.uniform(20, 230, (2, count, 1, 1, 3))
    return (one * share + other * (1 - share)).round().astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pictures, and a linear pair as an autoencoder that leaves them off by a fixed amount: trips shift latents."""
    for part, count in (("train", 40), ("heldout", 16)):
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "pictures.npy", _pictures(count))
    torch.manual_seed(0)
    pca = fit_pca(_pictures(40), 8)
    torch.save({"filters": pca.filters, "synthesis": pca.synthesis, "mean": pca.mean}, tmp_path / "pca.pt")
    pair, vae = LinearPair(8, WIDTHS), build(8, WIDTHS, 64)
    start_pair(pair, pca, to_float(_pictures(40)))
    write(vae, pair)
    with torch.no_grad():
        vae.decoder.conv_out.bias += torch.tensor([0.06, 0.0, -0.04])
    vae.save_pretrained(tmp_path / "vae")
    return tmp_path


def _load(data: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(data / "vae").requires_grad_(False)


def test_front_and_head_are_the_encoder(data: Path) -> None:
    vae, images = _load(data), to_float(_pictures(4))
    with torch.no_grad():
        branches(vae)[1].conv2.weight[0, 0, 1, 1] = 0.5
        assert torch.allclose(head(vae, front(vae, images)), encode(vae, images), atol=1e-4)
        whole, none = encode(vae, images), encode(silenced(vae), images)
        assert not torch.allclose(none, whole, atol=1e-3)
        soften(vae, 0.5)
        assert torch.allclose(encode(vae, images), (none + whole) / 2, atol=2e-3)


def test_lessons_say_what_is_to_be_read(data: Path) -> None:
    vae, images = _load(data), to_float(_pictures(8))
    drawn, read = set_out(vae, silenced(vae), images)
    assert torch.allclose(drawn.latents, read, atol=1e-4), "a silent encoder is the linear one"
    decoded, arrived = travel(vae, read)
    assert decoded.weights.tolist() == [1] * 8 and drawn.weights.tolist() == pytest.approx([ANCHOR] * 8)
    assert float((arrived - decoded.latents).square().mean().sqrt()) > 0.02, "the decoder's shift is read back"
    both = drawn.followed_by(decoded, most=10)
    assert len(both.features) == len(both.latents) == len(both.weights) == 10
    assert torch.equal(both.latents[-8:], decoded.latents)


@pytest.mark.long
def test_a_shift_that_comes_with_every_trip_is_taken_back(data: Path) -> None:
    before, pca, pictures = _load(data), fit_pca(_pictures(40), 8), _pictures(16)
    train(data, 60, 0.004, 1e-3, 16, 400, steps=60)
    after = _load(data)
    worn, mended = (evaluate(vae, pca, pictures, (1, 5)) for vae in (before, after))
    assert mended["psnr_after_5"] > worn["psnr_after_5"] + 3, json.dumps([worn, mended])
    images = to_float(pictures)
    with torch.no_grad():
        moved = encode(after, images) - encode(before, images)
    assert float(moved.square().mean().sqrt()) < 0.15
    assert torch.equal(after.encoder.conv_in.weight, before.encoder.conv_in.weight)
