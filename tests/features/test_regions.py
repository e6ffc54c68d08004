"""Regions of the frame with prompts of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum.build import prepare
from deforum.errors import UserError
from deforum.settings.declare import Region
from deforum.settings.read import dump
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, assembled, settings_maker


@pytest.fixture
def make(tmp_path: Path) -> Make:
    left = np.zeros((32, 32), np.uint8)
    left[:, :16] = 255
    cv2.imwrite(str(tmp_path / "left.png"), left)
    return settings_maker(tmp_path, STILL | {"width": 32, "height": 32, "cadence": 1, "max_frames": 3})


FORMS = {
    "'[{mask: \"[left.png]\", prompt: a cat}]'": "a text",
    "{'[left.png]': a cat}": "",
    "[{mask: '[left.png]', prompt: a cat}]": "",
    "[{prompt: a cat, mask: '[left.png]'}]": "",
}


@pytest.mark.parametrize("form", [form for form, wrong in FORMS.items() if not wrong])
def test_forms(make: Make, tmp_path: Path, form: str) -> None:
    settings = make(regions=form)
    assert settings.regions == (Region(f"[{(tmp_path / 'left.png').resolve()}]", "a cat"),)
    again = tmp_path / "again.yaml"
    again.write_text(dump(settings))
    from deforum.loading import load

    assert load(again).settings.regions == settings.regions


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("a cat", "'a cat' is no region"),
        ("[a cat]", "expected a list such as"),
        ("[{mask: '{everywhere}'}]", "a region without a prompt"),
        ("[{mask: '{everywhere}', prompt: a, weight: 2}]", "unknown part 'weight' of a region"),
        ("[{mask: '{everywhere}', prompt: [a]}]", "a text was expected here"),
        ("[{mask: '{everywhere}', prompt: a}, {mask: '{everywhere}', prompt: b}]", "stands there twice"),
        ("{'{dept}': a}", r"unknown mask \{dept\}"),
        ("{'[lost.png]': a}", "there is no file 'lost.png'"),
        ("{'{everywhere}': 'a `sinn(t)`'}", "sinn"),
        ("{'{everywhere}': 'a <lora:ink:1>'}", "a LoRA acts on the whole frame"),
    ],
)
def test_what_cannot_be_read_is_said(make: Make, form: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        prepare(make(regions=form))
    assert "regions" in str(error.value)


class Seen:
    """A painter that keeps the frames it is given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def __call__(self, inits: Sequence[Any], frames: Sequence[Frame], *, paints: Any = None) -> list[torch.Tensor]:
        self.frames += frames
        return [torch.full((3, 32, 32), 0.5) for _ in frames]


def test_frames_have_their_regions(make: Make) -> None:
    regions = "[{mask: '[left.png]', prompt: 'a cat, `t` --neg fur'}, {mask: '![left.png]', prompt: a dog}]"
    seen = Seen()
    list(assembled(make(regions=regions, positive_prompt="ink,", invert_mask="true"), seen).frames())
    assert [[region.prompt.positive for region in frame.regions] for frame in seen.frames] == [
        [f"ink, a cat, {t}", "ink, a dog"] for t in range(3)
    ]
    assert seen.frames[0].regions[0].prompt.negative == "fur"
    for frame in seen.frames:
        left, right = (region.mask for region in frame.regions)
        assert torch.equal(left, (torch.arange(32) < 16).float().expand(32, 32)) and torch.equal(right, 1 - left)


def test_a_mask_that_looks_at_the_picture_waits_for_one(make: Make) -> None:
    seen = Seen()
    list(assembled(make(regions="{'{depth}': a wall}", depth_algorithm="embedded"), seen).frames())
    assert [len(frame.regions) for frame in seen.frames] == [0, 1, 1]


def test_a_masked_part_at_full_resolution_has_its_part_of_the_regions(make: Make, tmp_path: Path) -> None:
    corner = np.zeros((32, 32), np.uint8)
    corner[:8, 8:24] = 255
    cv2.imwrite(str(tmp_path / "corner.png"), corner)
    seen, settings = Seen(), make(
        regions="{'[left.png]': a cat}", use_mask="true", mask_file="corner.png", full_res_mask_padding=0,
        width=256, height=256,
    )  # fmt: skip

    def paint(inits: Sequence[Any], frames: Sequence[Frame], *, paints: Any = None) -> list[torch.Tensor]:
        seen(inits, frames)
        return [torch.full((3, 256, 256), 0.5) for _ in frames]

    list(assembled(settings, paint).frames())
    mask = seen.frames[-1].regions[0].mask
    assert mask.shape == (256, 256)
    assert float(mask[:, :90].min()) == 1 and float(mask[:, 166:].max()) == 0  # between, the file's edge is soft
