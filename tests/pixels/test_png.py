"""PNG files by ISA-L and by OpenCV: every reader gives back the same levels."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image as PillowImage
from skimage.data import astronaut

from deforum.pixels import png
from deforum.pixels.png import Levels, encode_png

SHAPES = [(48, 64, 3), (48, 64), (1, 1, 3), (1, 7), (5, 1, 3), (33, 17, 3)]


@pytest.fixture(params=["ISA-L", "OpenCV"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "OpenCV":
        monkeypatch.setattr(png, "find_isal", lambda: None)
    return str(request.param)


def test_isa_l_is_used_where_it_is_installed() -> None:
    pytest.importorskip("isal")
    assert png.find_isal() is not None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_levels_are_read_back_by_opencv_and_pillow(encoder: str, shape: tuple[int, ...], kind: type) -> None:
    levels = np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    encoded = encode_png(levels)
    read = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read.dtype == kind
    assert np.array_equal(read if levels.ndim == 2 else read[..., ::-1], levels)
    with PillowImage.open(io.BytesIO(encoded)) as picture:
        picture.load()  # checks the sums of all chunks
        assert picture.size == shape[1::-1]
        seen = np.asarray(picture)
    if kind is np.uint16 and levels.ndim == 3:
        assert np.array_equal(seen, levels >> 8)  # Pillow shows 16-bit RGB in 8 bits
    else:
        assert np.array_equal(seen, levels)


@pytest.mark.parametrize(("kind", "layout"), [(np.uint8, "rgb24"), (np.uint16, "rgb48le")])
def test_levels_are_read_back_by_ffmpeg(encoder: str, kind: type, layout: str, tmp_path: Path) -> None:
    levels = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (48, 64, 3), kind, endpoint=True)
    (tmp_path / "frame.png").write_bytes(encode_png(levels))
    read = subprocess.run(
        [get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "frame.png", "-f", "rawvideo", "-pix_fmt", layout, "-"],
        capture_output=True,
        check=True,
    ).stdout
    assert np.array_equal(np.frombuffer(read, kind).reshape(levels.shape), levels)


@pytest.mark.parametrize(
    "change",
    [
        lambda levels: levels,
        lambda levels: levels[::-1],
        lambda levels: levels[:, ::2],
        lambda levels: levels[..., ::-1],
    ],
    ids=["as it is", "upside down", "every second column", "channels swapped"],
)
def test_views_are_encoded_as_they_are_seen(change: object) -> None:
    assert callable(change)
    levels: Levels = change(astronaut()[:40, :60])  # type: ignore[no-untyped-call]
    read = cv2.imdecode(np.frombuffer(encode_png(levels), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read[..., ::-1], levels)


@pytest.mark.parametrize("bits", [8, 16])
def test_files_are_about_as_small_as_those_of_opencv(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: Levels = astronaut()  # type: ignore[no-untyped-call]
    if bits == 16:
        levels = cv2.GaussianBlur(levels.astype(np.uint16) * 257, (3, 3), 0.5)
    ours = len(encode_png(levels))
    monkeypatch.setattr(png, "find_isal", lambda: None)
    assert ours < 1.1 * len(encode_png(levels))
