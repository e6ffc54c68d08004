"""The own pixels of clips, by frame."""

from __future__ import annotations

import torch

from deforum.finishing.own import OwnPixels


def test_in_betweens_have_the_mask_of_the_frame_painted_last() -> None:
    own = OwnPixels()
    assert own.at(0) is None
    first, second = torch.tensor([[1.0, 0.25]]), torch.tensor([[0.5, 0.75]])
    own.tell(0, first)
    assert own.at(0) is first
    own.tell(3, second)  # painted before the frames between are shown
    assert [own.at(index) is second for index in (1, 2, 3, 4)] == [True] * 4


def test_frames_painted_at_once_have_their_own() -> None:
    own, masks = OwnPixels(), [torch.full((1, 1), 0.1 * k) for k in range(4)]
    for index, mask in enumerate(masks):
        own.tell(index, mask)
    assert [own.at(index) is mask for index, mask in enumerate(masks)] == [True] * 4


def test_what_is_past_is_forgotten() -> None:
    for step in (0, 1):
        own = OwnPixels()
        for index in range(0, 300, 3):
            own.tell(index, torch.ones(1, 1))
            own.at(index + step)
        assert len(own._masks) == 1
