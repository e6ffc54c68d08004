"""Picture and sound stay together: within a frame after ten minutes, and where a clip's sound begins late."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from deforum.audio import hear
from deforum.video.ffmpeg import ffmpeg_path
from deforum.video.writer import Soundtrack, VideoWriter
from tests.helpers import films


def clicks(path: Path, times: list[float], rate: int = 44_100) -> Path:
    """Write a sound file with a short burst at each time, to its end at the last second."""
    samples = np.zeros(int((max(times) + 2) * rate), "<i2")
    for at in times:
        samples[round(at * rate) : round(at * rate) + 900] = 20_000 * np.sin(np.arange(900) * 0.4)
    raw = path.with_suffix(".raw")
    raw.write_bytes(samples.tobytes())
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", str(raw),
                    str(path)], check=True)  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("seconds", "fps", "name", "format"),
    [
        (40, 23.976, "a.mp3", "h264"),
        pytest.param(600, 12, "a.mp3", "h264", marks=pytest.mark.long),
        pytest.param(600, 23.976, "a.flac", "h264", marks=pytest.mark.long),
        pytest.param(600, 29.97, "a.ogg", "webm", marks=pytest.mark.long),
    ],
)
def test_within_a_frame_to_the_end(seconds: int, fps: float, name: str, format: str, tmp_path: Path) -> None:
    times = [1.0, seconds / 2, seconds - 1.0]
    sound = clicks(tmp_path / name, times)
    path = tmp_path / ("film.mp4" if format == "h264" else "film.webm")
    count = int(seconds * fps)
    lit = {round(at * fps) for at in times}
    preset = "ultrafast" if format == "h264" else None
    with VideoWriter(path, 16, 16, fps, format=format, preset=preset, soundtrack=Soundtrack(sound)) as video:
        for index in range(count):
            video.write(np.full((16, 16, 3), 255 if index in lit else 0, np.uint8))
    shown = films.decode(path, 16, 16).mean(axis=(1, 2, 3))
    seen = np.flatnonzero(shown > 128) / fps
    heard = np.flatnonzero(np.abs(films.hear(path)) > 0.2) / 48_000
    for at, picture in zip(times, seen, strict=True):
        first = heard[heard > at - 0.5][0]
        assert abs(first - picture) < 1 / fps, at
        assert abs(first - at) < 0.02, at


def test_a_clip_whose_sound_begins_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sound, clip = clicks(tmp_path / "a.wav", [0.5]), tmp_path / "clip.mp4"
    subprocess.run(
        [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", "color=black:s=32x32:d=4", "-itsoffset", "1",
         "-i", str(sound), str(clip)], check=True,
    )  # fmt: skip
    assert np.argmax(hear(clip).envelope > 0.2) / 100 == pytest.approx(1.5, abs=0.02)
    for start in (0.0, 0.7, 1.2):
        with VideoWriter(tmp_path / "film.mp4", 16, 16, 10, soundtrack=Soundtrack(clip, start)) as video:
            for _ in range(25):
                video.write(np.zeros((16, 16, 3), np.uint8))
        heard = np.flatnonzero(np.abs(films.hear(tmp_path / "film.mp4")) > 0.2) / 48_000
        assert heard[0] == pytest.approx(1.5 - start, abs=0.02)
