"""Depth maps that the user gives, and those that are written."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.depth import DepthSource, load_depth, map_files
from deforum.depth.maps import to_exr, to_levels, to_png
from deforum.errors import UserError
from deforum.pixels.image import CPU

PICTURE = torch.zeros(3, 24, 32)


def ramp(bits: int, height: int = 24, width: int = 32) -> np.ndarray:
    row = np.linspace(0, 2**bits - 1, width).astype(np.uint16 if bits == 16 else np.uint8)
    return np.tile(row, (height, 1))


def test_a_folder_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"depth{number}.png"), np.full((24, 32), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a map")
    assert [path.stem for path in map_files(tmp_path)] == ["depth1", "depth2", "depth10"]
    maps = load_depth(DepthSource("maps", tmp_path), CPU)
    assert maps.gives == "inverse depth"
    assert [float(maps(PICTURE, index).mean()) for index in (0, 1, 2, 3, 0)] == [1, 2, 10, 10, 1]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_keeps_its_fineness(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"a{suffix}"), ramp(16))
    depth = load_depth(DepthSource("maps", tmp_path), CPU)(PICTURE, 0)
    np.testing.assert_array_equal(depth, ramp(16).astype(np.float32))


def test_colour_maps_and_other_sizes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.repeat(ramp(8, 48, 64)[..., None], 3, axis=2))
    depth = load_depth(DepthSource("maps", tmp_path), CPU)(PICTURE, 0)
    assert depth.shape == (24, 32)
    assert (depth.diff(dim=1) > 0).all()


def test_a_video(tmp_path: Path) -> None:
    from deforum.video.ffmpeg import ffmpeg_path

    film = tmp_path / "depth.mkv"
    levels = np.stack([np.full((24, 32), level, np.uint16) for level in (1000, 30000, 65000)])
    encode = [ffmpeg_path(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray16le", "-s", "32x24"]
    encode += ["-r", "10", "-i", "-", "-c:v", "ffv1", str(film)]
    subprocess.run(encode, input=levels.tobytes(), check=True)
    maps = load_depth(DepthSource("maps", film), CPU)
    assert [round(float(maps(PICTURE, index).mean())) for index in (0, 0, 2, 7, 1)] == [1000, 1000, 65000, 65000, 30000]


def test_what_is_no_map(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a\.png: not a picture that can be read"):
        load_depth(DepthSource("maps", tmp_path), CPU)
    (tmp_path / "b.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match=r"b\.mp4 is no clip that ffmpeg can read"):
        load_depth(DepthSource("maps", tmp_path / "b.mp4"), CPU)


def test_written_maps_can_be_given_again(tmp_path: Path) -> None:
    depth = 1 / torch.linspace(1, 0.1, 24 * 32).view(24, 32)
    levels = to_levels(depth, 1.0, 10.0)
    assert levels[0, 0] == 65535
    assert levels[-1, -1] == 0
    assert (to_levels(depth * 100, 1.0, 10.0) == 0).all()
    (tmp_path / "a.png").write_bytes(to_png(levels))
    read = load_depth(DepthSource("maps", tmp_path), CPU)(PICTURE, 0)
    torch.testing.assert_close(read / 65535 * 0.9 + 0.1, 1 / depth, atol=1e-5, rtol=0)


def test_exr_has_its_lines_where_it_says() -> None:
    depth = torch.rand(5, 7) * 100
    content = to_exr(depth)
    assert struct.unpack_from("<i", content) == (20000630,)
    table = content.index(b"screenWindowWidth\0float\0") + len("screenWindowWidth_float_") + 8 + 1
    for y, place in enumerate(struct.unpack_from("<5Q", content, table)):
        assert struct.unpack_from("<2i", content, place) == (y, 28)
        assert struct.unpack_from("<7f", content, place + 8) == tuple(depth[y].tolist())
    assert len(content) == table + 5 * 8 + 5 * (8 + 28)


def test_exr_as_its_own_library_reads_it(tmp_path: Path) -> None:
    library = pytest.importorskip("OpenEXR")
    depth = torch.rand(5, 7) * 100
    (tmp_path / "a.exr").write_bytes(to_exr(depth))
    np.testing.assert_array_equal(library.File(str(tmp_path / "a.exr")).channels()["Z"].pixels, depth.numpy())
