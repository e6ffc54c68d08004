"""The own pixels of clips, by frame."""

from __future__ import annotations

import torch

from deforum.finishing.own import OwnPixels


def test_in_betweens_have_the_larger_mask_of_the_frames_around() -> None:
    own = OwnPixels()
    assert own.at(0) is None
    left, right = torch.tensor([[1.0, 0.25]]), torch.tensor([[0.5, 0.75]])
    own.tell(0, left)
    assert torch.equal(own.at(0), left)  # type: ignore[arg-type]
    own.tell(3, right)  # painted before the frames between are shown
    assert torch.equal(own.at(1), torch.tensor([[1.0, 0.75]]))  # type: ignore[arg-type]
    assert torch.equal(own.at(2), torch.tensor([[1.0, 0.75]]))  # type: ignore[arg-type]
    assert torch.equal(own.at(3), right)  # type: ignore[arg-type]
    assert torch.equal(own.at(4), right)  # type: ignore[arg-type]


def test_what_is_past_is_forgotten() -> None:
    own = OwnPixels()
    for index in range(100):
        own.tell(index, torch.ones(1, 1))
        own.at(index)
    assert len(own._masks) <= 2
