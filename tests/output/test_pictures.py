"""Pictures of every kind are written and read back with their texts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.output.pictures import PICTURES, describe, encode, label_jpeg
from deforum.timeline.prompts import Prompt
from tests.helpers.films import HEIGHT, WIDTH, chart
from tests.output.runs import PROMPT, frame


def test_blended_prompts_are_told_with_their_shares() -> None:
    both = frame(0, prompts=(Prompt("sea", "", 0.25), Prompt("land", "fog", 0.75)))
    assert describe(both)["prompt"] == "sea (0.25) | land (0.75)"


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_format_gives_back_its_pixels(kind: str, tmp_path: Path) -> None:
    from PIL import Image

    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    pixels = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (HEIGHT, WIDTH, 3)))
    path = tmp_path / f"picture{PICTURES[kind].suffix}"
    path.write_bytes(encode(pixels, kind, {"seed": "5", "prompt": PROMPT}))
    got = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert got.dtype == (np.uint16 if PICTURES[kind].bits == 16 else np.uint8)
    scale = 1 if PICTURES[kind].bits == 16 else 257
    assert np.abs(got.astype(float) * scale - pixels).max() <= {"png": 129, "png16": 0, "jpeg": 3 * 257}[kind]
    with Image.open(path) as picture:
        picture.load()
        told = json.loads(picture.info["comment"]) if kind == "jpeg" else picture.info
    assert told["prompt"] == PROMPT and told["seed"] == "5"


def test_a_long_comment_does_not_break_a_jpeg() -> None:
    jpeg = label_jpeg(encode(chart(0), "jpeg", {}), {"prompt": "x" * 100_000})
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (96, 128, 3)
