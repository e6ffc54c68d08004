"""Small good files of every kind, made once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.video.ffmpeg import ffmpeg_path
from tests.security.fuzz import Corpus


def film(path: Path, *options: str, seconds: float = 1) -> Path:
    """Encode a small film or sound with ffmpeg."""
    command = [ffmpeg_path(), "-v", "error", "-y", *options, "-t", str(seconds), str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good pictures, films and sounds, called good.SUFFIX."""
    folder = tmp_path_factory.mktemp("good")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for suffix in ("png", "jpg", "webp", "bmp", "tiff", "gif"):
        cv2.imencode(f".{suffix}", pixels)[1].tofile(folder / f"good.{suffix}")
    test = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=25")
    for suffix in ("mp4", "mkv", "avi", "webm"):
        film(
            folder / f"good.{suffix}", *test, "-pix_fmt", "yuv420p", *(["-movflags", "+faststart"] * (suffix == "mp4"))
        )
    for suffix in ("wav", "mp3", "flac", "ogg"):
        film(folder / f"sound.{suffix}", "-f", "lavfi", "-i", "sine", seconds=4)
    return folder


@pytest.fixture
def corpus(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pictures = tuple(
        sorted(path for path in good.iterdir() if path.suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff"))
    )
    clips = tuple(sorted(path for path in good.iterdir() if path.suffix in (".mp4", ".mkv", ".avi", ".webm")))
    return Corpus(tmp_path, pictures, clips)
