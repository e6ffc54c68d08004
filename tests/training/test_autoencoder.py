"""The linear pair, and that an AutoencoderKL holds exactly it."""

import numpy as np
import pytest
import torch

from deforum.diffusion.autoencoder import skip_silent
from training.autoencoder import CHANGE, Travellers, encode, find_growing, flatness, psnr, settle_colours
from training.linear_pair import LinearPair, PatchPCA, channel_weights, fit_pca, start_pair, to_float
from training.written_pair import build, write

WIDTHS = (8, 16, 24, 32, 48)


def _pictures(count: int = 8) -> np.ndarray:
    """Slopes of random colours, with a soft edge: (N, 64, 64, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    turn, place = rng.uniform(0, 6.3, (2, count, 1, 1))
    across = np.cos(turn) * (x - 0.5) + np.sin(turn) * (y - 0.5)
    share = 1 / (1 + np.exp(-8 * (across + 0.2 * np.sin(place))))[..., None]
    one, other = rng.uniform(20, 230, (2, count, 1, 1, 3))
    return (one * share + other * (1 - share)).round().astype(np.uint8)


@pytest.fixture(scope="module")
def pca() -> PatchPCA:
    return fit_pca(_pictures(), 8)


def test_pca_decodes_what_it_encodes(pca: PatchPCA) -> None:
    latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pca.encode(pca.decode(latents)), latents, atol=1e-3)


def test_the_pair_starts_at_the_pca_and_finds_the_way_back(pca: PatchPCA) -> None:
    torch.manual_seed(0)
    pair, images = LinearPair(8, WIDTHS), to_float(_pictures())
    start_pair(pair, pca, images)
    with torch.no_grad():
        latents, wanted = pair.encode(images), pca.encode(images)
        made = pair.decode(wanted)
    # Few directions fit through the narrow first levels of these small widths, and taps start slightly off zero.
    assert float((latents - wanted).square().mean().sqrt()) < 0.1 * float(wanted.std())
    assert float(psnr(made, images).mean()) > 24


@pytest.mark.parametrize("contrast", [1.0, 0.3])
def test_an_autoencoder_is_written_to_be_the_pair_at_any_contrast(pca: PatchPCA, contrast: float) -> None:
    torch.manual_seed(0)
    pair, vae, images = LinearPair(8, WIDTHS), build(8, WIDTHS, 64), to_float(_pictures()) * contrast
    start_pair(pair, pca, images)
    write(vae, pair)
    with torch.no_grad():
        latents = pair.encode(images)
        assert torch.allclose(encode(vae, images), latents, atol=2e-3)
        assert torch.allclose(vae.decode(latents).sample, pair.decode(latents), atol=2e-3)


def test_wide_channels_weigh_more_and_narrow_ones_are_not_forgotten() -> None:
    torch.manual_seed(0)
    weights = channel_weights(torch.randn(50, 4, 8, 8) * torch.tensor([3.0, 1.0, 1.0, 0.1]).view(1, 4, 1, 1)).flatten()
    assert weights.mean() == pytest.approx(1) and weights[0] > 4 * weights[1] and weights[3] > 0.29


def test_only_silent_branches_are_skipped(pca: PatchPCA) -> None:
    torch.manual_seed(0)
    pair, vae, images = LinearPair(8, WIDTHS), build(8, WIDTHS, 64), to_float(_pictures())
    start_pair(pair, pca, images)
    write(vae, pair)
    speaking = vae.encoder.down_blocks[2].resnets[0]
    with torch.no_grad():
        silent = encode(vae, images)
        speaking.conv2.weight[0, 0, 1, 1] = 1.0
        latents = encode(vae, images)
        skip_silent(*vae.encoder.down_blocks, vae.encoder.mid_block)
        assert torch.allclose(encode(vae, images), latents, atol=1e-4)
    assert not torch.allclose(latents, silent, atol=1e-3)
    assert "forward" in vars(vae.encoder.down_blocks[1].resnets[0])
    assert "forward" not in vars(speaking)


def test_what_grows_most_is_found() -> None:
    gains = torch.ones(1, 8, 1, 1) * 0.8
    gains[0, 5] = 1.05
    torch.manual_seed(0)
    growing = find_growing(torch.empty(0, 8, 0, 0), (4, 6), 3)
    assert growing.shape == (3, 8, 4, 6)
    for _ in range(40):
        growing = find_growing(gains * growing, (4, 6), 3)
        assert growing.square().mean((1, 2, 3)).sqrt().tolist() == pytest.approx([CHANGE] * 3)
    shares = growing.square().mean((0, 2, 3))
    assert float(shares[5] / shares.sum()) > 0.8
    assert find_growing(growing, (8, 8), 3).shape == (3, 8, 8, 8)


def test_widths_that_cannot_hold_the_code_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 5"):
        build(30, WIDTHS)


def test_travellers_go_on_and_make_room() -> None:
    rng = np.random.default_rng(0)
    travellers = Travellers(2)
    which, moved, homes = travellers.draw(rng, 2, 8)
    assert which == [] and moved.shape == homes.shape == (0, 3, 8, 8)
    first = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 8, 8)
    travellers.arrive([], first, first + 100, rng)
    which, moved, homes = travellers.draw(rng, 9, 8)
    # Twice as many as go at once found room, and each lies where it is said to lie.
    assert sorted(which) == [0, 1, 2, 3] and torch.equal(homes, moved + 100)
    assert len(moved.mean((1, 2, 3)).unique()) == 4
    travellers.arrive(which[:2], moved[:2] + 10, homes[:2], rng)
    places, again, still = travellers.draw(rng, 9, 8)
    for k, now, home in zip(places, again, still, strict=True):
        assert float((home - now).mean()) == (90 if k in which[:2] else 100)
    # A new one takes the place of one that stops.
    travellers.arrive(which[:1], torch.full((2, 3, 8, 8), 99.0), torch.zeros(2, 3, 8, 8), rng, stop=1.0)
    assert travellers.draw(rng, 9, 16)[0] == [], "crops of another size are let go"


def test_slopes_are_flat_and_edges_are_not() -> None:
    slope = torch.linspace(-0.3, 0.3, 64).expand(1, 3, 64, 64)
    edge = slope.clone()
    edge[..., 40:] -= 0.5
    assert float(flatness(slope).mean()) > 0.9
    found = flatness(edge)
    assert float(found[..., 34:46].max()) < 0.1 and float(found[..., :28].min()) > 0.5


def test_colours_that_move_are_settled(pca: PatchPCA) -> None:
    torch.manual_seed(0)
    pair, vae, pictures = LinearPair(8, WIDTHS), build(8, WIDTHS, 64), _pictures()
    start_pair(pair, pca, to_float(pictures))
    write(vae, pair)
    settle_colours(vae, pictures)
    with torch.no_grad():
        vae.decoder.conv_out.bias += torch.tensor([2.0, 0.0, -1.0]) / 127.5
    red, _, blue = settle_colours(vae, pictures)
    assert red > 1 and blue < -0.5, "what is put out too bright comes back brighter each time"
    assert max(abs(level) for level in settle_colours(vae, pictures)) < 0.4 * red
