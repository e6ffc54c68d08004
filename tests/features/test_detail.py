"""The detail pass: what is under a mask is painted once more, enlarged, and pasted back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum.build import build, prepare
from deforum.diffusion.pixel_strength import Paint
from deforum.errors import UserError
from deforum.reports.edit import Part, compare
from deforum.settings.read import dump
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, assembled, settings_maker

SIDE = 256
SPOT = slice(96, 160)
"""Rows and columns that are white in the mask."""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    spot = np.zeros((SIDE, SIDE), np.uint8)
    spot[SPOT, SPOT] = 255
    cv2.imwrite(str(tmp_path / "spot.png"), spot)
    cv2.imwrite(str(tmp_path / "black.png"), spot * 0)
    return settings_maker(tmp_path, STILL | {"width": SIDE, "height": SIDE, "cadence": 1, "max_frames": 2})


class Seen:
    """A painter that keeps what it is given, and paints a brightness that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Frame, Paint | None]] = []

    def __call__(
        self, inits: Sequence[Any], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[torch.Tensor]:
        [init], [frame], [paint] = inits, frames, [None] if paints is None else paints
        self.calls.append((init, frame, paint))
        return [torch.full((3, SIDE, SIDE), len(self.calls) / 10)]


PASS = {"detail_mask": "'[spot.png]'", "detail_padding": 16, "detail_strength": '"0: (0.4), 1: (0.8)"'}


def test_the_spot_is_painted_again_and_nothing_else(make: Make) -> None:
    seen = Seen()
    on = {"detail_steps": 7, "hires_scale": 2, "prompts": "{0: a sea}", "detail_prompt": "'a face, `t`'"}
    pictures = [shown.clone() for _, shown in assembled(make(**PASS, **on), seen).frames()]
    assert len(seen.calls) == 4
    for index in range(2):
        (_, first, _), (init, again, paint) = seen.calls[2 * index : 2 * index + 2]
        assert again.params.strength == pytest.approx((0.4, 0.8)[index]) and again.params.steps == 7
        assert again.seed != first.seed and again.params.hires_scale == 0
        assert [prompt.positive for prompt in again.prompts] == [f"a face, {index}"]
        assert [prompt.positive for prompt in first.prompts] == ["a sea"]
        assert init.shape == (3, SIDE, SIDE) and torch.allclose(init, torch.tensor((2 * index + 1) / 10), atol=1e-4)
        assert paint is not None
        share = (paint.strength < 1).float().mean()  # 64 of the 96 px of the enlarged part, in both directions
        assert share == pytest.approx((64 / 96) ** 2, abs=0.02)
        shown, before, after = pictures[index], (2 * index + 1) / 10, (2 * index + 2) / 10
        far = torch.ones(SIDE, SIDE, dtype=torch.bool)
        far[SPOT.start - 16 : SPOT.stop + 16, SPOT.start - 16 : SPOT.stop + 16] = False
        assert torch.equal(shown[:, far], torch.full_like(shown[:, far], before))
        assert torch.allclose(shown[:, 128, 128], torch.tensor(after), atol=1e-3)
        edge = shown[0, 128, SPOT.stop - 2 : SPOT.stop + 4]  # soft: it falls, and more than once
        assert (edge.diff() <= 1e-6).all() and (edge.diff().abs() > 1e-3).sum() > 1


def test_the_frames_own_prompt_and_steps(make: Make) -> None:
    seen = Seen()
    list(assembled(make(**PASS, steps=11), seen).frames())
    first, again = (frame for _, frame, _ in seen.calls[:2])
    assert again.prompts == first.prompts and again.params.steps == first.params.steps == 11


def test_off_and_on_black_nothing_changes(make: Make) -> None:
    seen = Seen()
    list(assembled(make(detail_strength=0.1), seen).frames())
    assert len(seen.calls) == 2
    real = {"device": "cpu", "steps": 2, "finish": "none", "max_frames": 1}

    def frame(**given: Any) -> torch.Tensor:
        [(_, shown)] = build(prepare(make(**real, **given))).frames()
        return shown.clone()

    plain = frame()
    assert torch.equal(frame(detail_mask="'[black.png]'"), plain)
    changed = frame(detail_mask="'[spot.png]'", detail_padding=16) != plain
    assert changed.any(0)[SPOT, SPOT].float().mean() > 0.9 and not changed[:, :80].any()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"detail_mask": "'{dept}'"}, r"unknown mask \{dept\}"),
        ({"detail_mask": "'[lost.png]'"}, r"detail_mask.*there is no file 'lost\.png'"),
        ({"detail_mask": "'{everywhere}'", "detail_prompt": "'a `sinn(t)`'"}, "sinn"),
        ({"detail_mask": "'{everywhere}'", "detail_prompt": "'a <lora:ink:1>'"}, "not in detail_prompt"),
        ({"detail_mask": "'{everywhere}'", "detail_strength": 2}, "detail_strength"),
    ],
)
def test_what_cannot_be_read_is_said(make: Make, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        prepare(make(**given))
    assert "detail_" in str(error.value) and "region" not in str(error.value)


def test_written_and_edited(make: Make, tmp_path: Path) -> None:
    settings = make(**PASS)
    assert settings.detail_mask == f"[{(tmp_path / 'spot.png').resolve()}]" and "detail_mask" in dump(settings)
    then = prepare(settings)
    later = prepare(make(**PASS | {"detail_strength": '"0: (0.4), 1: (0.5)"'}))
    edit = compare([Part(then, 0, 2)], later, 2)
    assert edit.first == 1 and [reason.name for reason in edit.reasons] == ["detail_strength"]
    assert compare([Part(then, 0, 2)], prepare(make()), 2).first == 0
    assert compare([Part(prepare(make()), 0, 2)], prepare(make(detail_strength=0.1)), 2).is_empty


def test_a_wildcard_in_its_prompt(make: Make, tmp_path: Path) -> None:
    (tmp_path / "mood.txt").write_text("calm\n")
    seen = Seen()
    given = PASS | {"detail_prompt": "a __mood__ face", "wildcards_dir": str(tmp_path), "max_frames": 1}
    list(assembled(make(**given), seen).frames())
    assert [prompt.positive for prompt in seen.calls[1][1].prompts] == ["a calm face"]
