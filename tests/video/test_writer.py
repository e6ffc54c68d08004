"""Films are decoded again and compared with what went in."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from deforum.video.ffmpeg import VideoError, count_frames, ffmpeg_path, has_sound
from deforum.video.formats import FORMATS, exact_fps
from deforum.video.tags import read_comment
from deforum.video.writer import Soundtrack, VideoWriter, frozen, probe, to_depth
from tests.helpers import ROOT, wait_until
from tests.helpers.films import HEIGHT, WIDTH, chart, click, decode, hear

COMMENT = "# a; b=c \\ 'ärger' 港\nprompts:\n\n  0: \"x\"\n" * 3000
"""A comment with what ffmpeg escapes, longer than 64 KB."""


def centres(frame: np.ndarray) -> np.ndarray:
    """The middle of each patch, away from what chroma subsampling blurs: (12, 8, 8, 3)."""
    return frame.astype(int).reshape(3, 32, 4, 32, 3).swapaxes(1, 2).reshape(12, 32, 32, 3)[:, 12:20, 12:20]


def seen(path: Path) -> str:
    """What ffmpeg says of a file."""
    return subprocess.run([ffmpeg_path(), "-hide_banner", "-i", str(path)], capture_output=True).stderr.decode()


def write_chart(path: Path, count: int, **options) -> None:
    with VideoWriter(path, WIDTH, HEIGHT, 24, **options) as video:
        for index in range(count):
            video.write(chart(index))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_back_its_frames(name: str, tmp_path: Path) -> None:
    row = FORMATS[name]
    path = tmp_path / f"film{row.suffix}"
    probe(name, WIDTH, HEIGHT)
    write_chart(path, 7, format=name, comment=COMMENT)
    assert read_comment(path) == COMMENT
    frames = decode(path)
    assert len(frames) == 7
    worst = max(np.abs(centres(got) - centres(chart(index))).max() for index, got in enumerate(frames))
    assert worst <= {"ffv1": 1, "gif": 0, "prores4444": 2}.get(name, 7)
    if row.pixels.startswith("yuv"):
        assert "(tv, bt709" in seen(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        (None, (b"subme=1 ", b"mbtree=1 ", b"rc_lookahead=10 ")),
        ("superfast", (b"subme=1 ", b"mbtree=1 ", b"rc_lookahead=10 ")),
        ("ultrafast", (b"subme=0 ", b"mbtree=0 ")),
        ("faster", (b"subme=4 ", b"mbtree=1 ", b"rc_lookahead=20 ")),
        ("medium", (b"subme=7 ", b"mbtree=1 ", b"rc_lookahead=40 ")),
    ],
)
def test_the_default_preset_alone_has_options_of_its_own(
    preset: str | None, options: tuple[bytes, ...], tmp_path: Path
) -> None:
    write_chart(tmp_path / "film.mp4", 1, preset=preset)
    said = (tmp_path / "film.mp4").read_bytes().partition(b"x264 - core")[2][:800]  # its options, in the film
    assert all(option in said for option in options), said


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_animated_pictures_keep_soft_gradients(name: str, tmp_path: Path) -> None:
    """A sky that changes colour: 256 colours for each frame, dithered, look like it from a little further away."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 128
    skies = [
        np.stack([200 * y + 40, 90 + 100 * x * y, 60 + 12 * index + 90 * (1 - y)], -1).astype(np.uint8)
        for index in range(4)
    ]
    path = tmp_path / f"sky.{name}"
    with VideoWriter(path, WIDTH, HEIGHT, 24, format=name) as video:
        for sky in skies:
            video.write(sky)
    for got, sky in zip(decode(path), skies, strict=True):
        off = (got.astype(float) - sky).reshape(24, 4, 32, 4, 3).mean((1, 3))
        assert np.abs(off).mean() < 2


@pytest.mark.parametrize(("name", "levels"), [("ffv1", 0), ("prores4444", 80), ("h265", 200)])
def test_more_than_8_bits_survive(name: str, levels: int, tmp_path: Path) -> None:
    """A ramp over 4 of 255 levels: 8 bits would leave 5 steps, each up to 128 of 65535 levels off."""
    row = FORMATS[name]
    ramp = np.linspace(30000, 30000 + 4 * 257, 256).astype(np.uint16)
    frame = np.broadcast_to(ramp[None, :, None], (64, 256, 3))
    path = tmp_path / f"film{row.suffix}"
    with VideoWriter(path, 256, 64, 24, format=name, quality=4 if row.quality else None) as video:
        video.write(np.ascontiguousarray(frame))
    got = decode(path, 256, 64, bits=16)[0].astype(int)
    assert np.abs(got - frame)[16:48, 16:-16].max() <= levels
    assert levels == 0 or len(np.unique(got[32, :, 1])) > 8


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (24, Fraction(24)), (15.0, Fraction(15)), (12.5, Fraction(25, 2)), (0.5, Fraction(1, 2)),
        (23.976, Fraction(24000, 1001)), (23.98, Fraction(24000, 1001)), (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)), (10.1, Fraction(101, 10)), (Fraction(30000, 1001), Fraction(30000, 1001)),
    ],
)  # fmt: skip
def test_frame_rates_are_the_fractions_they_mean(fps: float, exact: Fraction) -> None:
    assert exact_fps(fps) == exact


@pytest.mark.parametrize("fps", [23.976, 10.1, 0.5, 12.5])
def test_no_frame_is_lost_or_doubled_and_times_are_exact(fps: float, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, fps) as video:
        for index in range(31):
            video.write(chart(index))
    assert count_frames(path) == len(decode(path)) == 31
    listed = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-i", str(path), "-c", "copy", "-f", "framehash", "-"], capture_output=True
    ).stdout.decode().splitlines()  # fmt: skip
    base = Fraction(next(line.split()[-1] for line in listed if line.startswith("#tb")))
    times = sorted(int(line.split(",")[2]) * base for line in listed if not line.startswith("#"))
    assert [time - times[0] for time in times] == [index / exact_fps(fps) for index in range(31)]


def test_odd_sizes_are_padded_by_repeating_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    picture = np.full((65, 67, 3), (200, 120, 80), np.uint8)
    with VideoWriter(path, 67, 65, 24) as video:
        video.write(picture)
    frame = decode(path, 68, 66)[0].astype(int)
    assert np.abs(frame - (200, 120, 80)).max() <= 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(width=0), "cannot store 0x96"),
        (dict(fps=0), "fps is 0"),
        (dict(format="h266"), "no video format; expected one of h264, h265"),
        (dict(quality=52), "quality 52: h264 knows 0 to 51"),
        (dict(preset="quick"), "'quick' is no preset of h264; it has: fast, faster, medium"),
        (dict(format="gif"), "gif is stored in a file ending in .gif"),
        (dict(path=Path("nowhere/at/all/film.mp4")), "no such folder"),
        (dict(soundtrack=Soundtrack(Path("nothing.mp3"))), "nothing.mp3: no such sound file"),
    ],
)
def test_arguments_are_checked_before_ffmpeg_starts(change: dict, message: str, tmp_path: Path) -> None:
    arguments = dict(path=tmp_path / "film.mp4", width=WIDTH, height=HEIGHT, fps=24) | change
    with pytest.raises(VideoError, match=message):
        VideoWriter(**arguments)
    assert not any(tmp_path.iterdir())


def test_all_wrong_arguments_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(VideoError) as error:
        VideoWriter(tmp_path / "film.mov", 0, 9, -1, quality=99)
    assert len(error.value.problems) == 4


def test_a_frame_of_another_kind_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", WIDTH, HEIGHT, 24) as video:
        with pytest.raises(ValueError, match=r"frame 0 is \(8, 8, 3\) uint8; expected \(96, 128, 3\) uint8 or"):
            video.write(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(ValueError, match="float32; expected"):
            video.write(chart(0).astype(np.float32))


FAILING = """#!/bin/sh
# reads two frames, then fails as ffmpeg does
head -c 70000 >/dev/null
echo "[out#0] Error writing trailer: No space left on device" >&2
exit 228
"""


@pytest.fixture
def failing_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "ffmpeg"
    script.write_text(FAILING)
    script.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    return script


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_ffmpeg_s_own_words_reach_the_user(failing_ffmpeg: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match=r"status 228 .*film.mp4 as h264:\n.*No space left on device"),
        VideoWriter(tmp_path / "film.mp4", WIDTH, HEIGHT, 24) as video,
    ):
        for index in range(50):
            video.write(chart(index))
    with pytest.raises(VideoError, match="No space left on device"):
        probe()


def test_a_missing_ffmpeg_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    with pytest.raises(VideoError, match="ffmpeg"):
        probe()


def test_an_error_in_the_block_keeps_the_frames_so_far(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with pytest.raises(ZeroDivisionError), VideoWriter(path, WIDTH, HEIGHT, 24) as video:
        for index in range(9):
            video.write(chart(index))
        print(1 / 0)
    assert count_frames(path) == 9


def frames_at_last(path: Path, most: int) -> int:
    """Count the frames of a file that ffmpeg is still completing, until it has `most` or some time has passed."""
    counts = [0]

    def are_there() -> bool:
        with contextlib.suppress(VideoError):  # not even begun
            counts.append(count_frames(path))
        return counts[-1] >= most

    wait_until(are_there, 10)
    return counts[-1]


def test_an_abort_leaves_a_playable_working_file(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    video = VideoWriter(path, WIDTH, HEIGHT, 24)
    with pytest.raises(KeyboardInterrupt), video:
        for index in range(60):
            video.write(chart(index))
        raise KeyboardInterrupt
    assert 40 <= frames_at_last(video.working_path, 40) <= 60  # what still waited may be dropped
    assert not path.exists()


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_renderer_leaves_a_playable_film(tmp_path: Path) -> None:
    script = """
        import sys, time, numpy as np
        from pathlib import Path
        from deforum.video.writer import VideoWriter
        with VideoWriter(Path(sys.argv[1]), 128, 96, 24) as video:
            for index in range(40):
                video.write(np.full((96, 128, 3), 6 * index, np.uint8))
            time.sleep(0.3)
            print("written", flush=True)
            time.sleep(60)
    """
    path = tmp_path / "film.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as renderer:
        assert renderer.stdout is not None and renderer.stdout.readline().strip() == b"written"
        renderer.send_signal(signal.SIGKILL)
    working = tmp_path / "film.mp4.partial.mp4"
    assert frames_at_last(working, 40) >= 35  # the last few may not have been in the pipe yet
    greys = [round(float(frame.mean() / 6)) for frame in decode(working)]
    assert greys == list(range(len(greys)))
    assert not path.exists()


def test_levels_keep_their_meaning_between_depths() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert (to_depth(levels, 16) == levels * np.uint16(257)).all()
    assert (to_depth(to_depth(levels, 16), 8) == levels).all()
    assert to_depth(np.array([128, 129, 65535 - 129], np.uint16), 8).tolist() == [0, 1, 254]


def test_the_caller_may_use_its_array_again(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    canvas = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    with VideoWriter(path, WIDTH, HEIGHT, 24, format="ffv1") as video:
        for index in range(5):
            canvas[:] = chart(index)
            video.write(canvas)
    assert all((got == to_depth(chart(index), 16)).all() for index, got in enumerate(decode(path, bits=16)))
    once = frozen(canvas)
    assert frozen(once) is once and not np.shares_memory(once, canvas)


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.audio])
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_sound_is_in_sync_and_as_long_as_the_film(name: str, start: float, tmp_path: Path) -> None:
    sound = click(tmp_path / "sound.wav", at=1.0, seconds=9)
    row = FORMATS[name]
    path = tmp_path / f"film{row.suffix}"
    write_chart(path, 48, format=name, soundtrack=Soundtrack(sound, start))
    assert has_sound(path) and len(decode(path)) == 48
    heard = hear(path)
    assert abs(np.argmax(np.abs(heard) > 0.2) / 48000 - (1.0 - start)) < 0.02
    assert abs(len(heard) / 48000 - 2.0) < 0.05


def test_a_short_sound_does_not_shorten_the_film(tmp_path: Path) -> None:
    sound = click(tmp_path / "sound.mp3", at=0.1, seconds=0.5)
    path = tmp_path / "film.mp4"
    write_chart(path, 48, soundtrack=Soundtrack(sound))
    assert len(decode(path)) == 48


def test_sound_that_cannot_be_used_is_refused_before_rendering(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    write_chart(silent, 2)
    with pytest.raises(VideoError, match=r"silent\.mp4: no sound that can be read"):
        VideoWriter(tmp_path / "film.mp4", WIDTH, HEIGHT, 24, soundtrack=Soundtrack(silent))
    with pytest.raises(VideoError, match="gif has no sound"):
        VideoWriter(tmp_path / "film.gif", WIDTH, HEIGHT, 24, format="gif", soundtrack=Soundtrack(silent))
