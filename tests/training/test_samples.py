"""What the text-to-image model is shown: the loop's pictures only where there is little noise."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

import deforum.embedded
from training.loop_pairs import AT_LIGHT, NEAREST, far, view
from training.samples import LOOP_LEVEL, MIXED, Samples
from training.tokenizer import tokenise

COUNT = 200
LITTLE, MUCH = torch.full((COUNT,), LOOP_LEVEL - 0.1), torch.full((COUNT,), LOOP_LEVEL + 0.1)


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Eight drawn pictures of value 0..7, views of the last two at 20 and 21, pairs of picture 3: 30, degraded 33."""
    shape = (4, 2, 2)
    drawn = np.broadcast_to(np.arange(8, dtype=np.float16)[:, None, None, None], (8, *shape))
    np.save(tmp_path / "latents.npy", np.stack([drawn, drawn]))
    (tmp_path / "captions.json").write_text(json.dumps([[f"picture {'abcdefgh'[k]}"] for k in range(8)]))
    views = np.stack([np.full(shape, 20.0), np.full(shape, 21.0)]).astype(np.float16)
    np.savez(tmp_path / "views.npz", index=np.array([6, 7]), latents=views)
    pair = {"clean": np.full((1, *shape), 30.0, np.float16), "degraded": np.full((1, *shape), 33.0, np.float16)}
    np.savez(tmp_path / "loop.npz", index=np.array([3]), **pair)
    folder = Path(deforum.embedded.__file__).parent / "diffusion" / "tokenizer"
    return Samples(tmp_path, CLIPTokenizer.from_pretrained(folder))


def _captions(samples: Samples, tokens: torch.Tensor) -> set[int]:
    """The drawn pictures whose caption is among ``tokens``; -1 is the empty one."""
    known = {tuple(samples.tokens[k, 0].tolist()): k for k in range(8)} | {tuple(samples.empty.tolist()): -1}
    return {known[tuple(row)] for row in tokens.tolist()}


def test_from_much_noise_only_drawn_pictures_come(samples: Samples) -> None:
    clean, shown, tokens = samples.batch(np.random.default_rng(0), MUCH, view_share=0.5, loop_share=0.5)
    assert set(clean[:, 0, 0, 0].tolist()) == set(range(8))
    assert torch.equal(clean, shown)
    assert _captions(samples, tokens) == {-1, *range(8)}


def test_views_keep_their_picture_s_caption(samples: Samples) -> None:
    clean, shown, tokens = samples.batch(np.random.default_rng(0), LITTLE, view_share=1.0)
    assert set(clean[:, 0, 0, 0].tolist()) == {20, 21}
    assert torch.equal(clean, shown)
    assert _captions(samples, tokens) == {-1, 6, 7}


def test_of_pairs_the_degraded_one_is_shown_and_some_have_another_picture_in_them(samples: Samples) -> None:
    clean, shown, tokens = samples.batch(np.random.default_rng(0), LITTLE, loop_share=1.0)
    assert set(clean[:, 0, 0, 0].tolist()) == {30}
    mixed = shown[:, 0, 0, 0] != 33
    assert 0.5 * MIXED < float(mixed.float().mean()) < 1.5 * MIXED
    assert shown[mixed].max() < 33 - 0.1 * (33 - 7)  # a tenth of the way to the nearest of the others, at least
    assert _captions(samples, tokens) == {-1, 3}


def test_shares_are_of_those_with_little_noise(samples: Samples) -> None:
    levels = torch.cat([LITTLE, MUCH])
    clean, _, _ = samples.batch(np.random.default_rng(0), levels, view_share=0.3, loop_share=0.2)
    values = clean[:COUNT, 0, 0, 0]
    assert float((values >= 30).float().mean()) == pytest.approx(0.2, abs=0.08)
    assert float(((values >= 20) & (values < 30)).float().mean()) == pytest.approx(0.3, abs=0.08)
    assert clean[COUNT:].max() < 8


def test_tokens_of_the_shipped_tokenizer_are_77(samples: Samples) -> None:
    folder = Path(deforum.embedded.__file__).parent / "diffusion" / "tokenizer"
    assert tokenise(CLIPTokenizer.from_pretrained(folder), ["the sea", ""]).shape == (2, 77)


def _waves() -> np.ndarray:
    """Slow waves, 256x256 px, so that moving them costs next to nothing."""
    y, x = np.mgrid[0:256, 0:256] / 256
    gray = 127 + 60 * np.sin(2 * np.pi * (2 * x + y)) + 50 * np.cos(2 * np.pi * 1.5 * y)
    return np.repeat(gray[..., None], 3, 2).round().astype(np.uint8)


def test_steps_lead_from_afar_to_the_picture_as_it_is() -> None:
    image, steps = _waves(), []
    for factor, turn in ((1.2, 2.0), (1.1, -3.0), (1.3, 1.0)):
        steps.append(np.vstack([cv2.getRotationMatrix2D((127.5, 127.5), turn, factor), [0, 0, 1]]))
    worn = far(image, steps)
    assert np.abs(worn.astype(int) - image).mean() > 20
    for step in steps:
        worn = cv2.warpAffine(worn, step[:2], (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    assert np.abs(worn.astype(int) - image)[8:-8, 8:-8].max() <= 4


def test_a_view_is_a_part_of_the_picture_enlarged_and_as_sharp() -> None:
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, 2)
    slopes = []
    for seed in range(20):
        row = view(ramp, np.random.default_rng(seed))[128, 10:-10, 0].astype(float)
        slopes.append((row[-1] - row[0]) / (len(row) - 1))
        assert 0 <= row.min() <= row.max() <= 255
    assert 1 / NEAREST - 0.01 < min(slopes) < 0.75 < max(slopes) <= 1.01


def test_views_mostly_hold_the_brightest_place() -> None:
    night = np.zeros((256, 256, 3), np.uint8)
    cv2.circle(night, (40, 60), 12, (255, 240, 200), -1)
    held = [view(night, np.random.default_rng(seed)).max() > 200 for seed in range(120)]
    parts = [view(night.transpose(1, 0, 2), np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean(held) > AT_LIGHT + 0.1  # and some of the others by chance
    assert not all(held)
    assert len({part.tobytes() for part in parts}) > 20
