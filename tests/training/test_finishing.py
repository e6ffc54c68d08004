"""The finishing network's data and losses: targets lie where frames do, and frames that follow each other agree."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import finishing_pairs
from training.finishing import CROP, PAIRS, Batches, Critic, agreement, losses, steady_loss, to_tensor
from training.finishing_pairs import SIZE, PairSet


def disc(x: float, y: float, side: int) -> np.ndarray:
    """Return a white disc of a quarter of the side at (x, y), in shares of the side: (side, side, 3) uint8."""
    drawn = np.zeros((side, side, 3), np.uint8)
    centre = [round((k * side - 0.5) * 16) for k in (x, y)]
    return cv2.circle(drawn, centre, round(side / 8 * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of two runs in which a disc moves right by 4 px a frame, and a drawn picture."""
    for part in ("train", "heldout"):
        pairs = PairSet(tmp_path / part, create=8)
        for k in range(8):
            moved = 0.4 + (k % 4) * 4 / SIZE
            step = torch.zeros(2, SIZE, SIZE)
            step[0] = -4.0 * (k % 4 > 0)
            target = torch.from_numpy(disc(moved, 0.5, 2 * SIZE)).permute(2, 0, 1) / 255
            pairs.add(disc(moved, 0.5, SIZE), target, torch.ones(SIZE, SIZE), step, {"run": k // 4, "frame": k % 4})
        pairs.save()
        np.save(tmp_path / part / "firm.npy", pairs.targets)
    np.save(tmp_path / "drawn.npy", disc(0.5, 0.5, 2 * SIZE)[None])
    return tmp_path


@pytest.mark.parametrize("taught", [False, True])
def test_a_batch_is_of_frames_that_follow_each_other(folder: Path, taught: bool) -> None:
    batches = Batches(folder, 0, taught)
    frames, targets, seen, moves, firm = batches.draw()
    assert frames.shape == (2 * PAIRS, 3, CROP, CROP) and targets.shape == (2 * PAIRS, 3, 2 * CROP, 2 * CROP)
    assert seen.shape == (2 * PAIRS, 1, CROP, CROP) and moves.shape == (2 * PAIRS, 2, CROP, CROP)
    assert (firm is None) != taught and batches.drawn().shape == targets.shape
    reduced = torch.nn.functional.avg_pool2d(targets, 2)
    assert (reduced - frames).abs().mean() < 0.02 and agreement(frames, targets).min() > 0.9
    made, loss = losses(
        lambda x: torch.nn.functional.interpolate(x, scale_factor=2.0), (frames, targets, seen, moves, firm)
    )  # type: ignore[arg-type]
    assert made.shape == targets.shape and loss.isfinite()


def test_frames_that_move_with_the_camera_are_steady(folder: Path) -> None:
    pairs = PairSet(folder / "train")
    before, after = (to_tensor(pairs.targets[k : k + 1]) for k in (1, 2))
    moves, seen = torch.from_numpy(pairs.steps[2:3].astype(np.float32)), torch.ones(1, 1, SIZE, SIZE)
    still = torch.zeros_like(moves)
    assert steady_loss(before, after, moves, seen) < 0.1 * steady_loss(before, after, still, seen)


def test_what_shows_something_else_is_not_compared() -> None:
    frames = to_tensor(np.zeros((1, 64, 64, 3), np.uint8))
    targets = torch.zeros(1, 3, 128, 128)
    targets[..., 64:] = 0.5
    same = agreement(frames, targets)
    assert same[..., :48].min() == 1 and same[..., 80:].max() == 0


def test_the_critic_sees_details_alone() -> None:
    pictures, critic = torch.rand(1, 3, 64, 64), Critic()
    assert torch.allclose(critic(pictures), critic(pictures + 0.2), atol=1e-4)


def test_real_loops_give_targets_that_moved_as_the_camera_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run at full strength keeps its picture: the target, moved by the recorded motions, is what it shows."""
    run: dict[str, object] = {
        "animation_mode": "2D", "zoom": 1.03, "angle": 2, "translation_x": 4, "border": "reflect", "strength": 1,
        "init_strength": 1, "steps": 4, "cadence": 1, "noise": 0, "antiblur_amount": 0, "color_coherence": "None",
        "seed": 1, "max_frames": 3,
    }  # fmt: skip

    def settings(rng: np.random.Generator, prompt: str, picture: Path) -> dict[str, object]:
        return finishing_pairs.STYLE | run | {"prompts": {0: prompt}, "init_image": str(picture)}

    monkeypatch.setattr(finishing_pairs, "draw_settings", settings)
    pairs = finishing_pairs.make_pairs(tmp_path, 1, 5.0, start=3)
    assert len(pairs) == 3 and [facts["frame"] for facts in pairs.facts] == [0, 1, 2]
    for k in range(3):
        shown = cv2.resize(pairs.targets[k], (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(float)
        inner = (slice(24, -24), slice(24, -24))
        still = cv2.resize(pairs.targets[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(float)
        moved, unmoved = (np.abs(one - pairs.inputs[k])[inner].mean() for one in (shown, still))
        assert moved < 6 and (k == 0 or moved < 0.8 * unmoved)
    assert pairs.seen[0].min() == 255 and pairs.seen[2].min() == 0
