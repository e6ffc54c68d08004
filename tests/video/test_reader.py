"""Clips: every frame of a clip carries its own number, so that which one is given can be read off it."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deforum.pixels.image import Image, to_bytes
from deforum.video import ClipError, ClipSource, VideoFile, fit_into, open_clip, resolve_clip
from deforum.video.ffmpeg import ffmpeg_path
from deforum.video.reader import _AHEAD, _Ahead
from deforum.video.writer import VideoWriter
from tests.helpers import wait_until

WIDTH, HEIGHT = 64, 32
BITS = 10


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Draw a number as 2 rows of 5 blocks, white for 1."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8).reshape(2, 5) * 255
    return np.repeat(cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST)[..., None], 3, axis=2)


def number_in(image: Image) -> int:
    """Read the number in the middles of the blocks."""
    _, height, width = image.shape
    rows, columns = (np.arange(2) + 0.5) / 2 * height, (np.arange(5) + 0.5) / 5 * width
    bits = image.mean(0).numpy()[np.ix_(rows.astype(int), columns.astype(int))].ravel() > 0.5
    return int(sum(1 << bit for bit, on in enumerate(bits) if on))


def encode(path: Path, frames: Sequence[NDArray[np.uint8]], *output: str, rate: str = "25") -> Path:
    height, width, channels = frames[0].shape
    command = [
        ffmpeg_path(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgba" if channels == 4 else "rgb24",
        "-s", f"{width}x{height}", "-r", rate, "-i", "-", *output, str(path),
    ]  # fmt: skip
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
    return path


def ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *arguments], check=True)


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, with frames that are stored out of order (B) and three that can be started from."""
    return encode(tmp_path_factory.mktemp("clips") / "film.mp4", [numbered(i) for i in range(60)], *X264)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    return encode(path, [numbered(i) for i in range(600)], *X264, "-g", "125")


def numbers(source: ClipSource, frames: Sequence[int], width: int = WIDTH, height: int = HEIGHT) -> list[int]:
    with open_clip(source, width, height) as clip:
        return [number_in(clip(t)) for t in frames]


# --- which frame ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nth", "first", "last", "expected"),
    [
        (1, 0, -1, range(60)),
        (1, 0, 59, range(60)),
        (1, 20, 29, range(20, 30)),
        (3, 0, -1, range(0, 60, 3)),
        (3, 5, 20, range(5, 21, 3)),
        (7, 59, -1, [59]),
        (100, 10, -1, [10]),
        (2, 0, 1000, range(0, 60, 2)),
    ],
)
def test_frame_t_is_first_plus_t_times_nth(
    film: Path, nth: int, first: int, last: int, expected: Sequence[int]
) -> None:
    source = resolve_clip(film, nth=nth, first=first, last=last)
    assert len(source) == len(expected)
    assert numbers(source, range(len(source))) == list(expected)


def test_a_folder_of_pictures_is_a_clip_of_the_same_frames(tmp_path: Path) -> None:
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), numbered(i))
    (tmp_path / "notes.txt").write_text("not a picture")
    source = resolve_clip(tmp_path, nth=2, first=1)
    assert numbers(source, range(6)) == [1, 3, 5, 7, 9, 11], "in the order of the numbers, 9 before 11"


def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), numbered(77))
    source = resolve_clip(tmp_path / "still.png", end="hold")
    assert len(source) == 1
    assert numbers(source, [0, 1, 500, 0]) == [77] * 4


@pytest.mark.parametrize("order", [[59, 0, 30, 29, 28, 31, 2, 58], [5, 4, 5, 6, 5, 50, 6], list(range(59, -1, -7))])
def test_any_order(film: Path, order: list[int]) -> None:
    assert numbers(resolve_clip(film), order) == order


def test_the_last_frames_stay_at_hand(film: Path) -> None:
    with open_clip(resolve_clip(film), WIDTH, HEIGHT) as clip:
        kept = [clip(t) for t in range(10)]
        reading = clip._ahead
        assert clip(8) is kept[8] and clip(9) is kept[9] and number_in(clip(10)) == 10
        assert clip._ahead is reading, "going on from there starts nothing anew"


def test_after_the_end(film: Path) -> None:
    chosen = dict(nth=2, first=50)  # 50 52 54 56 58
    asked = [3, 4, 5, 6, 9, 10, 4, 14]
    assert numbers(resolve_clip(film, end="hold", **chosen), asked) == [56, 58, 58, 58, 58, 58, 58, 58]
    assert numbers(resolve_clip(film, end="loop", **chosen), asked) == [56, 58, 50, 52, 58, 50, 58, 58]
    with open_clip(resolve_clip(film, end="stop", **chosen), WIDTH, HEIGHT) as clip:
        assert number_in(clip(4)) == 58
        with pytest.raises(IndexError, match=r"frame 5 of film.mp4, of which 5 frames are used"):
            clip(5)
        with pytest.raises(IndexError):
            clip(-1)


def test_far_into_a_file_reading_starts_near_by(long_film: Path) -> None:
    source = resolve_clip(long_film, first=3)
    assert isinstance(source.media, VideoFile) and source.media.seekable
    order = [590, 126, 125, 124, 500, 0, 597 - 1, 249 - 3, 250 - 3]
    assert numbers(source, order) == [t + 3 for t in order]
    assert numbers(resolve_clip(long_film, nth=4, first=301), range(70)) == list(range(301, 581, 4))


CONTAINERS = {
    "matroska.mkv": X264,
    "long_groups.mov": (*X264, "-g", "600"),
    "transport.ts": X264,
    "windows.avi": ("-c:v", "mpeg4", "-q:v", "3", "-bf", "2"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-b:v", "200k", "-deadline", "realtime", "-cpu-used", "8"),
    "vp8.webm": ("-c:v", "libvpx", "-b:v", "200k", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-cpu-used", "5"),
    "animation.gif": (),
    "prores.mov": ("-c:v", "prores_ks"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_kind_of_file_gives_its_frames_in_order(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, [numbered(i) for i in range(150)], *CONTAINERS[name])
    source = resolve_clip(path)
    assert len(source) == 150 and source.rate == 25
    assert numbers(source, range(0, 150)) == list(range(150))
    assert numbers(source, [140, 20, 21, 130]) == [140, 20, 21, 130]


def test_what_an_edit_list_cuts_away_is_not_there(film: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.8", "-i", str(film), "-c", "copy", str(cut))  # frames 0..19 are in the file, but not shown
    source = resolve_clip(cut)
    assert len(source) == 40
    assert numbers(source, range(40)) == list(range(20, 60))


# --- time -------------------------------------------------------------------------------------------------------------


def with_times(path: Path, count: int, seconds: str) -> Path:
    """Store numbered frames, number N at the time that an expression of ffmpeg's gives."""
    at = f"settb=1/1000,setpts='({seconds})/TB'"
    exact = ("-vf", at, "-fps_mode", "vfr", "-enc_time_base", "1/1000")
    return encode(path, [numbered(i) for i in range(count)], "-c:v", "ffv1", *exact, rate="10")


def test_a_variable_frame_rate_becomes_the_average(tmp_path: Path) -> None:
    """Frames at 0.0, 0.1, 0.2, 0.3, and from then on every 0.2 s: one every 0.1636 s on average."""
    source = resolve_clip(with_times(tmp_path / "slow.mkv", 12, "if(lt(N,4),N*0.1,0.4+(N-4)*0.2)"))
    assert len(source) == 12 and source.rate == Fraction(11 * 10, 18)
    # Shown at 0.082, 0.245, 0.409, 0.573, 0.736, 0.9, 1.064, ...
    assert numbers(source, range(12)) == [0, 2, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11]


def test_times_that_tremble_lose_no_frame(tmp_path: Path) -> None:
    path = with_times(tmp_path / "camera.mkv", 40, "(N+0.3*sin(N*2.1))/30")
    assert numbers(resolve_clip(path), range(40)) == list(range(40))


def test_times_of_the_sound(long_film: Path) -> None:
    source = resolve_clip(long_film, nth=3, first=50)
    assert source.start == 2.0
    assert source.rate == Fraction(25, 3), "played at this rate the clip keeps its speed"


# --- how it looks -----------------------------------------------------------------------------------------------------

COLORS = np.array([[200, 40, 30], [20, 180, 60], [40, 60, 220], [240, 240, 240], [15, 15, 15]], np.uint8)


def test_colours_are_those_of_the_film(tmp_path: Path) -> None:
    path = tmp_path / "colors.mp4"
    with VideoWriter(path, 64, 48, 25, quality=1) as video:
        for color in COLORS:
            video.write(np.broadcast_to(color, (48, 64, 3)).copy())
    for size in ((64, 48), (32, 24), (160, 120)):
        with open_clip(resolve_clip(path), *size) as clip:
            for t, color in enumerate(COLORS):
                off = to_bytes(clip(t)).astype(int) - color
                assert abs(off).max() <= 2 and abs(off.mean()) < 0.7, (size, t)


@pytest.mark.parametrize(
    ("fit", "placement"),
    [("stretch", (40, 40, 0, 0)), ("fill", (80, 40, -20, 0)), ("fit", (40, 20, 0, 10))],
)
@pytest.mark.parametrize("kind", ["film", "pictures"])
def test_another_shape(tmp_path: Path, kind: str, fit: str, placement: tuple[int, ...]) -> None:
    """A picture of 2:1 in a square: red left quarter, blue right quarter, green between."""
    assert tuple(vars(fit_into((80, 40), (40, 40), fit)).values()) == placement  # type: ignore[arg-type]
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :20, 0], picture[:, 20:60, 1], picture[:, 60:, 2] = 255, 255, 255
    if kind == "film":
        path = encode(tmp_path / "bars.mkv", [picture] * 2, "-c:v", "ffv1", "-pix_fmt", "gbrp")
    else:
        path = tmp_path / "bars.png"
        cv2.imwrite(str(path), picture[..., ::-1])
    with open_clip(resolve_clip(path), 40, 40, fit=fit) as clip:  # type: ignore[arg-type]
        seen = to_bytes(clip(0))
    middle = {
        "stretch": "RRRRRRRRRRGGGGGGGGGGGGGGGGGGGGBBBBBBBBBB",
        "fill": "G" * 40,
        "fit": "R" * 10 + "G" * 20 + "B" * 10,
    }
    names = {(255, 0, 0): "R", (0, 255, 0): "G", (0, 0, 255): "B", (0, 0, 0): "-"}
    assert "".join(names[tuple(pixel)] for pixel in seen[20].tolist()) == middle[fit]
    assert (seen[:8].max() == 0) == (fit == "fit"), "bars above"


@pytest.mark.parametrize(("degrees", "brightest"), [(90, "left"), (180, "bottom"), (-90, "right")])
def test_rotation_tags(tmp_path: Path, degrees: int, brightest: str) -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:8] = 255
    upright = encode(tmp_path / "upright.mp4", [picture] * 3, *X264)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", str(upright), "-c", "copy", str(turned))
    source = resolve_clip(turned)
    assert isinstance(source.media, VideoFile)
    assert (source.media.width, source.media.height) == ((64, 32) if degrees == 180 else (32, 64))
    with open_clip(source, source.media.width, source.media.height) as clip:
        seen = to_bytes(clip(0)).mean(2)
    sides = {"left": seen[:, :4], "right": seen[:, -4:], "bottom": seen[-4:]}
    assert {side for side, pixels in sides.items() if pixels.mean() > 200} == {brightest}


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "wide.mp4", [numbered(3)] * 2, *X264, "-vf", "setsar=2/1")
    media = resolve_clip(path).media
    assert isinstance(media, VideoFile) and (media.width, media.height) == (128, 32)
    with open_clip(resolve_clip(path), 128, 32, fit="fit") as clip:
        assert number_in(clip(0)) == 3, "it fills the frame"


@pytest.mark.parametrize("size", [(33, 17), (63, 31), (2, 2), (1, 1)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = [np.full((size[1], size[0], 3), level, np.uint8) for level in (30, 200)]
    path = encode(tmp_path / "odd.mkv", frames, "-c:v", "ffv1", "-pix_fmt", "gbrp")
    for fit in ("fill", "fit", "stretch"):
        with open_clip(resolve_clip(path), 50, 21, fit=fit) as clip:  # type: ignore[arg-type]
            assert clip(1).shape == (3, 21, 50)
            assert to_bytes(clip(1))[10, 25].tolist() == [200, 200, 200]


def with_alpha(width: int = 64, height: int = 32) -> NDArray[np.uint8]:
    """Draw a red picture that is there on the right more than on the left."""
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., 0] = 220
    picture[..., 3] = np.linspace(0, 255, width).astype(np.uint8)
    return picture


ALPHA = {
    "vp9.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", "5", "-b:v", "0", "-cpu-used", "8"),
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"),
    "animation.mov": ("-c:v", "qtrle",),
    "folder": (),
}  # fmt: skip


@pytest.mark.parametrize("name", ALPHA)
def test_alpha(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        for i in range(3):
            cv2.imwrite(str(path / f"{i}.png"), cv2.cvtColor(with_alpha(), cv2.COLOR_RGBA2BGRA))
    else:
        encode(path, [with_alpha()] * 3, *ALPHA[name])
    source = resolve_clip(path)
    assert source.alpha
    with open_clip(source, 64, 32) as clip:
        mask = clip.alpha(1)
        assert mask is not None and mask.shape == (32, 64)
        assert abs(mask.numpy() - with_alpha()[..., 3] / 255).max() < 0.03
        assert abs(to_bytes(clip(1))[:, 40:].astype(int) - (220, 0, 0)).max() < 10
    with open_clip(source, 64, 64, fit="fit") as clip:
        mask = clip.alpha(1)
        assert mask is not None and mask[:12].max() == 0 and mask[52:].max() == 0, "the bars are not there"


def test_a_clip_without_alpha_has_none(film: Path) -> None:
    with open_clip(resolve_clip(film), 16, 16) as clip:
        assert clip.alpha(0) is None


# --- what it takes ----------------------------------------------------------------------------------------------------


def test_reading_ahead_is_bounded() -> None:
    drawn = 0

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield numbered(0)

    ahead = _Ahead(frames(), 5)
    for _ in range(3):
        ahead.get()
    assert wait_until(lambda: drawn == 3 + 5 + 1), "five wait, and one is at hand"
    time.sleep(0.1)  # in which a thread that did not wait would draw thousands
    assert drawn == 3 + 5 + 1
    ahead.close()


def test_nothing_goes_on_after_closing(long_film: Path) -> None:
    def reading(wanted: int) -> bool:
        """Wait until so many threads read clips."""
        return wait_until(lambda: sum(thread.name == "clip" for thread in threading.enumerate()) == wanted)

    assert reading(0), "those of other tests have ended"
    clip = open_clip(resolve_clip(long_film, end="loop"), 256, 128)
    assert number_in(clip(5)) == 5 and reading(1)
    clip.close()
    assert reading(0)
    assert number_in(clip(300)) == 300, "it opens again"
    del clip
    assert reading(0), "a clip that is forgotten closes itself"


def test_looping_keeps_no_more_than_a_few_frames(film: Path) -> None:
    with open_clip(resolve_clip(film, last=4, end="loop"), WIDTH, HEIGHT) as clip:
        assert [number_in(clip(t)) for t in range(_AHEAD + 40)] == [t % 5 for t in range(_AHEAD + 40)]
        assert len(clip._kept) <= 4


def test_a_clip_that_breaks_off_is_held(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "whole.mp4"
    encode(path, [numbered(i) for i in range(100)], *X264, "-g", "5", "-bf", "0", "-movflags", "+faststart")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    source = resolve_clip(broken)
    with caplog.at_level(logging.WARNING), open_clip(source, WIDTH, HEIGHT) as clip:
        seen = [number_in(clip(t)) for t in range(len(source))]
    assert seen[:20] == list(range(20))
    assert len(source) < 100 or seen[-1] == seen[-5], "the last frame that is there"


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes_name_the_setting(film: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "text.png").write_text("this is no picture")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", str(tmp_path / "sound.m4a"))
    for path, says in [
        ("", r"^video_init_path: this has to name a clip: a video, a folder of pictures, or a picture$"),
        (
            "https://a.org/a.mp4",
            r"^video_init_path: https://a.org/a.mp4 is not fetched; download it and give the file$",
        ),
        (tmp_path / "none.mp4", r"^video_init_path: there is no file '.*none.mp4'$"),
        (tmp_path / "empty", r"^video_init_path: .*empty has no pictures in it; expected files ending in one of \.png"),
        (
            tmp_path / "text.mp4",
            r"^video_init_path: .* is no clip that ffmpeg can read \(.+\); expected a",
        ),
        (tmp_path / "text.png", r"^video_init_path: .*text.png: not a picture that can be read"),
        (tmp_path / "sound.m4a", r"^video_init_path: .*sound.m4a has no pictures in it; expected a video, a folder of"),
    ]:
        with pytest.raises(ClipError, match=says):
            resolve_clip(path)
    with pytest.raises(ClipError, match=r"^video_mask_path: there is no file"):
        resolve_clip(tmp_path / "none.mp4", name="video_mask_path")
    for chosen, says in [
        (dict(first=60), r"^extract_from_frame: there is no frame 60; film.mp4 has 60 frames, 0..59$"),
        (dict(first=9, last=8), r"^extract_to_frame: 8 is before extract_from_frame, 9; nothing is left of the clip$"),
        (dict(nth=0), r"^extract_nth_frame: is 0; expected at least 1$"),
    ]:
        with pytest.raises(ClipError, match=says):
            resolve_clip(film, **chosen)  # type: ignore[arg-type]


def test_cover_art_is_no_clip(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cover.png"), numbered(1))
    song = tmp_path / "song.mp3"
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.3", "-i", str(tmp_path / "cover.png"), "-map", "0:a", "-map", "1:v",
           "-disposition:v", "attached_pic", str(song))  # fmt: skip
    with pytest.raises(ClipError, match="has no pictures in it"):
        resolve_clip(song)
