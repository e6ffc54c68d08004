"""The depth of every frame, saved while a run renders."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.depth import DepthSource, load_depth
from deforum.depth.maps import to_levels
from deforum.features.depth_record import DepthRecord
from deforum.pixels.image import CPU
from deforum.video.ffmpeg import VideoError, count_frames, ffmpeg_path
from deforum.video.writer import VideoWriter

ENDS = (0.5, 10.0)


def flat(z: float) -> torch.Tensor:
    return torch.full((16, 24), z)


def read(path: Path) -> np.ndarray:
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert levels is not None
    return levels


def film(folder: Path) -> VideoWriter:
    return VideoWriter(folder / "depth.mkv", 24, 16, 10, format="ffv1")


def decoded(path: Path) -> list[int]:
    command = [ffmpeg_path(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray16le", "-"]
    levels = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint16)
    return [int(level) for level in levels.reshape(-1, 16 * 24).mean(1)]


def test_a_level_means_the_same_distance_in_every_frame(tmp_path: Path) -> None:
    with DepthRecord(tmp_path, ENDS, format="png", film=None) as record:
        for index, z in enumerate((0.5, 2.0, 10.0, 2.0, 99.0)):
            record(index, flat(z))
    levels = [int(read(tmp_path / f"{index:09d}.png")[0, 0]) for index in range(5)]
    assert levels == [65535, round((1 / 2 - 1 / 10) / (1 / 0.5 - 1 / 10) * 65535), 0, levels[1], 0]


def test_what_is_found_anew_takes_the_place_of_what_was_carried_along(tmp_path: Path) -> None:
    with DepthRecord(tmp_path, ENDS, format="png", film=film(tmp_path)) as record:
        for index, z in ((0, 1.0), (1, 2.0), (2, 3.0), (2, 4.0), (3, 5.0)):
            record(index, flat(z))
    assert [path.stem[-1] for path in sorted(tmp_path.glob("0*.png"))] == ["0", "1", "2", "3"]
    expected = [int(to_levels(flat(z), *ENDS)[0, 0]) for z in (1, 2, 4, 5)]
    assert [int(read(path)[0, 0]) for path in sorted(tmp_path.glob("0*.png"))] == expected
    assert decoded(tmp_path / "depth.mkv") == pytest.approx(expected, abs=150)
    assert not list(tmp_path.glob("*.part*"))


def test_a_video_alone_in_which_a_frame_without_depth_has_that_before(tmp_path: Path) -> None:
    with DepthRecord(None, None, format="png", film=film(tmp_path)) as record:
        record(0, torch.linspace(1, 3, 16 * 24).view(16, 24))  # ends: 0.5 (a half of the nearest) and 4
        record(3, flat(2.0))
    assert count_frames(tmp_path / "depth.mkv") == 4
    levels = decoded(tmp_path / "depth.mkv")
    assert levels[0] == levels[1] == levels[2]
    assert levels[3] == pytest.approx(int(to_levels(flat(2.0), 0.5, 4)[0, 0]), abs=150)
    assert list(tmp_path.iterdir()) == [tmp_path / "depth.mkv"]


def test_exr_has_the_distances_themselves(tmp_path: Path) -> None:
    with DepthRecord(tmp_path, ENDS, format="exr", film=None) as record:
        record(7, flat(3.25))
    assert np.frombuffer((tmp_path / "000000007.exr").read_bytes()[-4:], "<f4") == 3.25


def test_saved_maps_can_be_given_again(tmp_path: Path) -> None:
    depth = 1 / torch.linspace(0.2, 1.5, 16 * 24).view(16, 24)
    with DepthRecord(tmp_path, ENDS, format="png", film=None) as record:
        record(0, depth)
    given = load_depth(DepthSource("maps", tmp_path), CPU)(torch.zeros(3, 16, 24), 0)
    inverse = given / 65535 * (1 / ENDS[0] - 1 / ENDS[1]) + 1 / ENDS[1]
    torch.testing.assert_close(inverse, 1 / depth, atol=2e-5, rtol=0)


def test_an_interrupted_run_keeps_what_was_finished(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="stop"),
        DepthRecord(tmp_path, ENDS, format="png", film=film(tmp_path)) as record,
    ):
        record(0, flat(1.0))
        record(1, flat(2.0))
        raise ValueError("stop")
    assert len(list(tmp_path.glob("0*.png"))) == 2
    assert count_frames(tmp_path / "depth.mkv") == 2


def test_a_video_that_fails_does_not_stop_the_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(writer: VideoWriter, pixels: object) -> None:
        raise VideoError("ffmpeg has stopped")

    monkeypatch.setattr(VideoWriter, "write", fail)
    with (
        pytest.raises(VideoError, match="stopped"),
        DepthRecord(tmp_path, ENDS, format="png", film=film(tmp_path)) as record,
    ):
        for index in range(3):
            record(index, flat(1.0))
    assert len(list(tmp_path.glob("0*.png"))) == 3
