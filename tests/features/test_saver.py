"""Masks and pictures that features save beside the renderer."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.errors import UserError
from deforum.features.feature import save
from deforum.features.saver import PictureSaver


def full() -> PictureSaver:
    def refuse(path: Path, index: int, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    return PictureSaver(refuse, lambda path: None)


def test_pictures_and_masks_are_saved_as_they_are_at_the_call(tmp_path: Path) -> None:
    picture, mask = torch.rand(3, 20, 30), torch.rand(20, 30)
    levels, grey = (picture * 255).round(), (mask * 255).round()
    expected: list[Path] = []
    with PictureSaver(save, expected.append) as saves:
        for index in range(40):  # more than the queue holds
            saves(tmp_path / "new" / f"{index}.png", 0, picture)
            saves(tmp_path / "new" / f"{index}_mask.png", 0, mask)
        picture.zero_()
        mask.zero_()
    read = cv2.imread(str(tmp_path / "new" / "39.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert np.array_equal(read, levels.permute(1, 2, 0).numpy())
    assert np.array_equal(cv2.imread(str(tmp_path / "new" / "0_mask.png"), cv2.IMREAD_UNCHANGED), grey.numpy())
    assert {path.suffix for path in (tmp_path / "new").iterdir()} == {".png"}
    assert sorted(expected) == sorted((tmp_path / "new").iterdir()) and len(expected) == 80


def test_a_full_disk_is_an_error_with_its_place_in_the_next_call(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0\.png: cannot be written: the disk is full"), full() as saves:
        for index in range(1000):
            saves(tmp_path / f"{index}.png", 0, torch.zeros(4, 4))
        pytest.fail("no call said so")


def test_a_full_disk_at_the_end_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"last\.png: cannot be written: the disk is full"), full() as saves:
        saves(tmp_path / "last.png", 0, torch.zeros(4, 4))


def test_an_error_of_the_renderer_gets_a_note_of_the_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its own") as caught, full() as saves:
        saves(tmp_path / "a.png", 0, torch.zeros(4, 4))
        raise ValueError("its own")
    assert "the disk is full" in caught.value.__notes__[0]
