"""Training for motion: pairs are a step of the camera apart, their noise moves along, and the loss sees what moves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

import deforum.embedded
from training.motion import Pairs, compare
from training.motion_pairs import about_centre, draw_part, first_view, moved_places, step_of_camera, warp
from training.samples import Samples
from training.text_to_image import Noise

SIZE, CHANNELS = 256, 4
STILL = np.eye(3)


def test_places_of_the_noise_move_with_the_camera() -> None:
    still = moved_places(STILL, SIZE)
    assert np.array_equal(still, np.arange(64 * 64).reshape(64, 64))
    right = moved_places(about_centre(SIZE, 1, shift=(8, 0)), SIZE)  # two places of 4 px
    assert np.array_equal(right[:, 2:], still[:, :-2]) and (right[:, :2] == -1).all()
    nearer = moved_places(about_centre(SIZE, 1.03), SIZE)
    known = nearer[nearer >= 0]
    assert len(np.unique(known)) == len(known) and 0.9 < len(known) / nearer.size < 1


def test_steps_are_those_of_cameras() -> None:
    rng = np.random.default_rng(0)
    corner = np.array([0, 0, 1.0])
    moved = [step_of_camera(SIZE, rng) @ corner for _ in range(300)]
    far = [np.hypot(*(at[:2] / at[2])) for at in moved]
    assert 1 < np.median(far) < 6 and max(far) < 25  # px


def test_views_of_a_pair_are_the_same_place_a_step_apart(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8), (0, 0), 6)
    low, high = int(smooth.min()), int(smooth.max())
    pictures = ((smooth.astype(np.float32) - low) * 255 / (high - low)).astype(np.uint8)[None]
    np.save(tmp_path / "pictures.npy", pictures)
    (first, second), places = draw_part((tmp_path / "pictures.npy", [0, 0, 0], 5))
    assert first.shape == second.shape == (3, SIZE, SIZE, 3) and places.shape == (3, 64, 64)
    rng = np.random.default_rng([5, 0])
    for a, b in zip(first, second, strict=True):
        first_view(SIZE, rng)
        moved = warp(a, step_of_camera(SIZE, rng), 1.0)
        inner = np.s_[24:-24, 24:-24]
        apart, still = (np.abs(one[inner].astype(float) - b[inner]).mean() for one in (moved, a))
        assert apart < 0.3 * still


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    """Twenty pairs of latents that move by half a cell."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(20, CHANNELS, 16, 16)).astype(np.float16)
    second = (0.5 * first + 0.5 * np.roll(first, 1, 3)).astype(np.float16)
    places = np.broadcast_to(moved_places(about_centre(SIZE, 1, shift=(8, 0)), SIZE), (20, 64, 64))
    np.savez(tmp_path / "motion.npz", index=np.zeros(20, int), first=first, second=second, places=places)
    np.save(tmp_path / "latents.npy", first[None].repeat(2, 0))
    (tmp_path / "captions.json").write_text(json.dumps([["the sea"]] * 20))
    tokenizer = CLIPTokenizer.from_pretrained(Path(deforum.embedded.__file__).parent / "diffusion" / "tokenizer")
    return Pairs(tmp_path, Samples(tmp_path, tokenizer))


def test_noise_stays_or_moves_and_stays_noise(pairs: Pairs) -> None:
    torch.manual_seed(0)
    which = torch.arange(20)
    stays, moves = pairs.noise(which, which < 10)
    assert torch.equal(stays[10:], moves[10:])
    for noise in (stays, moves):
        assert float(noise.std()) == pytest.approx(1, abs=0.02) and abs(float(noise.mean())) < 0.02
    here = float((stays[:10] * moves[:10]).mean())
    beside = float((stays[:10, ..., :-1] * moves[:10, ..., 1:]).mean())
    assert here == pytest.approx(0.5, abs=0.03) and beside == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("share", "gain"), [(1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_the_loss_sees_how_much_of_the_motion_a_model_shows(pairs: Pairs, share: float, gain: float) -> None:
    """A model that knows the first picture of each pair, and shows a share of the way to the second."""
    noise, which = Noise(), torch.arange(20)
    steps = torch.full((20,), 300)
    first, second = pairs.first.float(), pairs.second.float()

    def unet(noisy: torch.Tensor, times: torch.Tensor, texts: torch.Tensor) -> SimpleNamespace:
        alpha, sigma = noise.alpha[times].view(-1, 1, 1, 1), noise.sigma[times].view(-1, 1, 1, 1)
        shown = torch.cat([first, torch.lerp(first, second, share)]).repeat(2, 1, 1, 1)
        return SimpleNamespace(sample=(alpha * noisy - shown) / sigma)

    texts = torch.zeros(20, 77, 8), torch.zeros(20, 77, 8)
    found = compare(unet, noise, pairs, texts, which, steps, which < 10, torch.full((20, 1, 1, 1), 4.0))  # type: ignore[arg-type]
    assert float(found.gain.mean()) == pytest.approx(gain, abs=0.01)
    assert (float(found.change) < 1e-6) == (share == 1)
