"""Pictures of every kind are written and read back with their texts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.metadata import read_texts
from deforum.output.pictures import PICTURES, encode, is_complete
from tests.helpers.films import HEIGHT, WIDTH, chart
from tests.output.runs import PROMPT


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_format_gives_back_its_pixels(kind: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    pixels = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (HEIGHT, WIDTH, 3)))
    path = tmp_path / f"picture{PICTURES[kind].suffix}"
    path.write_bytes(encode(pixels, kind, {"seed": "5", "parameters": PROMPT}))
    got = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert got.dtype == (np.uint16 if PICTURES[kind].bits == 16 else np.uint8)
    scale = 1 if PICTURES[kind].bits == 16 else 257
    assert np.abs(got.astype(float) * scale - pixels).max() <= {"png": 129, "png16": 0}.get(kind, 3 * 257)
    assert read_texts(path) == {"seed": "5", "parameters": PROMPT}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_cut_short_is_noticed(kind: str) -> None:
    whole = encode(chart(0), kind, {"parameters": PROMPT})
    assert is_complete(whole) and is_complete(encode(chart(0), kind, {}))
    assert not any(is_complete(whole[:length]) for length in (0, 3, 40, len(whole) // 2, len(whole) - 1))
