"""Pictures, depth maps, clips and sounds as a stranger might send them, and an ffmpeg that dies or hangs."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum import limits
from deforum.depth import DepthSource
from deforum.depth.maps import load as load_maps
from deforum.errors import UserError
from deforum.limits import Patience
from deforum.loading import load
from deforum.pixels.files import decode, read_header
from deforum.pixels.image import CPU, read
from deforum.rendering import check
from deforum.video import ClipError, open_clip, resolve_clip
from deforum.video.ffmpeg import VideoError, has_sound, sound_cut_off
from deforum.video.find import ClipSource
from deforum.video.writer import VideoWriter
from tests.security.fuzz import MOST_CPU, limited

SMALL = {"prompts": "a", "max_frames": 2, "width": 64, "height": 64, "skip_video_creation": True}


def checked(**settings: object) -> str:
    """Check settings; return the error, or the notes."""
    try:
        return "\n".join(check(load({**SMALL, **settings}).settings).notes)
    except UserError as error:
        return str(error)


# --- pictures ---------------------------------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """Return a PNG of some bytes that claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GIANTS = {
    "png": png_of(40000, 40000),
    "jpg": b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 40000, 40000) + b"\x03" + bytes(9)
           + b"\xff\xda\xff\xd9",
    "webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\x3f\x9c\x00" * 2,
    "bmp": b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 40000, -40000, 1, 24, 0) + bytes(20),
    "gif": b"GIF89a" + struct.pack("<HH", 40000, 40000) + b"\0\0\0;",
    "tiff": b"II*\0" + struct.pack("<IH", 8, 2)
            + struct.pack("<HHII", 256, 4, 1, 40000) + struct.pack("<HHII", 257, 4, 1, 40000),
}  # fmt: skip


@pytest.mark.parametrize("suffix", GIANTS)
def test_a_picture_of_giant_size_is_refused_before_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(GIANTS[suffix])
    with pytest.raises(UserError, match=r"40000x40000 px has 1,600,000,000 pixels; expected at most 67,108,864 pixels"):
        decode(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
def test_the_header_has_the_size_and_a_cut_off_picture_is_found(good: Path, tmp_path: Path, suffix: str) -> None:
    whole = (good / f"good.{suffix}").read_bytes()
    found = read_header(whole, Path("a"))
    assert (found.width, found.height, found.whole) == (32, 24, True)
    assert decode(good / f"good.{suffix}").shape == (24, 32, 3)
    for share in (0.95, 0.5, 0.1):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert cut.name in checked(init_image=str(cut)), share


OTHER_FILES = [
    (b"", "empty"),
    (b"user=alice password=HUNTER2\n" * 50, "not a picture"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
    (b"\x89PNG\r\n\x1a\n", "not a picture"),
    (b"\xff\xd8\xff", "not a picture"),
    (b"II*\0\xff\xff\xff\xff", "not a picture"),
    (png_of(0, 5), "at least one pixel"),
    (png_of(64, 64), "damaged"),
]


@pytest.mark.parametrize(("data", "says"), OTHER_FILES, ids=[f"{n}" for n in range(len(OTHER_FILES))])
def test_check_opens_every_picture(tmp_path: Path, data: bytes, says: str) -> None:
    """All settings that name pictures: the file's contents are never shown."""
    path = tmp_path / "a.png"
    path.write_bytes(data)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "1.png").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    (tmp_path / "maps" / "2.png").write_bytes(data[:-1])
    use: list[dict[str, object]] = [
        {"init_image": str(path)},
        {"use_mask": True, "mask_file": str(path)},
        {"use_mask": True, "mask": f"[{path}]"},
        {"use_alpha_as_mask": True, "init_image": str(path)},
        {"use_looper": True, "init_images": {0: str(path)}},
        {"color_coherence": "Image", "color_coherence_image_path": str(path)},
        {"animation_mode": "Video Input", "video_init_path": str(path)},
        {"use_mask_video": True, "video_mask_path": str(path)},
        {"hybrid_motion": "Affine", "video_init_path": str(path)},
    ]
    for settings in use:
        found = checked(**settings)
        assert says in found and "HUNTER2" not in found, settings
    for settings in ({"animation_mode": "Video Input", "video_init_path": str(tmp_path / "maps")},
                     {"animation_mode": "3D", "depth_algorithm": str(tmp_path / "maps")}):  # fmt: skip
        assert "2.png" in checked(**settings), settings


def test_a_picture_of_one_line_cannot_fill_a_frame(tmp_path: Path) -> None:
    """60000x1 px, scaled to the height of a frame, would have gigabytes."""
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((1, 60000, 3), np.uint8))[1].tobytes())
    with (
        limited(MOST_CPU),
        open_clip(resolve_clip(path), 512, 512) as clip,
        pytest.raises(ClipError, match="too large"),
    ):
        clip(0)
    assert read(path, 64, 64).shape == (3, 64, 64)  # stretched


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_depth_maps_have_numbers(tmp_path: Path, value: float) -> None:
    levels = np.zeros((8, 8), np.float32)
    levels[3, 3] = value
    for name in ("1.tiff", "2.tiff"):
        cv2.imencode(".tiff", levels if name == "2.tiff" else np.zeros((8, 8), np.float32))[1].tofile(tmp_path / name)
    maps = load_maps(DepthSource("maps", tmp_path), CPU)
    with pytest.raises(UserError, match=r"2\.tiff: this depth map has values that are not numbers"):
        maps(torch.zeros(3, 8, 8), 1)


# --- films and sound --------------------------------------------------------------------------------------------------

TEXTS = {
    "secret.txt": "user=alice password=HUNTER2\n" * 50,
    "a.srt": "1\n00:00:00,000 --> 00:00:02,000\nhello\n",
    "a.ass": "[Script Info]\nScriptType: v4.00+\n",
    "a.vtt": "WEBVTT\n\n00:00.000 --> 00:02.000\nhello\n",
    "a.ans": "\x1b[31mred\x1b[0m" * 100,
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:4,\n{film}\n#EXT-X-ENDLIST\n",
    "a.ffconcat": "ffconcat version 1.0\nfile '{film}'\n",
    "a.mpd": "<?xml version='1.0'?><MPD><Period><AdaptationSet><Representation><BaseURL>{film}</BaseURL>"
             "</Representation></AdaptationSet></Period></MPD>",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
             "a=rtpmap:96 H264/90000\n",
    "a.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "a.pgm": "P2\n2 2\n255\n0 0 0 0\n",
}  # fmt: skip
"""Files that ffmpeg would draw, or follow to other files and to the network."""


@pytest.mark.parametrize("name", TEXTS)
def test_a_film_is_a_film(good: Path, tmp_path: Path, name: str) -> None:
    text = TEXTS[name].replace("{film}", str(good / "good.mp4"))
    for path in (tmp_path / name, tmp_path / "a.mp4"):
        path.write_text(text)
        with limited(MOST_CPU), pytest.raises(ClipError, match="expected a video") as caught:
            resolve_clip(path)
        assert "HUNTER2" not in str(caught.value)
        assert not has_sound(path)
        with pytest.raises(UserError):
            load_maps(DepthSource("maps", path.rename(tmp_path / "maps.mp4")), CPU)


@pytest.mark.parametrize(
    "name", ["concat:{film}", "subfile,,start,0,end,0,,:{film}", "file:{film}", "http://127.0.0.1:1/a"]
)
def test_a_path_is_no_protocol(good: Path, name: str) -> None:
    """ffmpeg reads more than files: a path is never a command for it."""
    with pytest.raises(ClipError, match=r"there is no file|not fetched|on a network"):
        resolve_clip(name.replace("{film}", str(good / "good.mp4")))


def test_good_films_and_sounds_are_whole(good: Path) -> None:
    for suffix in ("mp4", "mkv", "avi", "webm"):
        assert resolve_clip(good / f"good.{suffix}").notes == []
    for suffix in ("wav", "mp3", "flac", "ogg"):
        assert has_sound(good / f"sound.{suffix}") and sound_cut_off(good / f"sound.{suffix}") == ""


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_film_that_is_cut_off_is_said_with_what_is_there(good: Path, tmp_path: Path, suffix: str) -> None:
    whole = (good / f"good.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: len(whole) * 19 // 20])
    found = checked(animation_mode="Video Input", video_init_path=str(path), max_frames=1)
    assert f"video_init_path: cut.{suffix} is cut off: " in found and " frames can be used" in found


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg"])
def test_a_sound_that_is_cut_off_is_said(good: Path, tmp_path: Path, suffix: str) -> None:
    whole = (good / f"sound.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    found = checked(add_soundtrack="File", soundtrack_path=str(path), skip_video_creation=False)
    assert f"add_soundtrack: cut.{suffix} is cut off: " in found


def test_a_film_without_width_is_refused(good: Path, tmp_path: Path) -> None:
    """PixelWidth (0xB0) of Matroska set to 0."""
    data = bytearray((good / "good.webm").read_bytes())
    at = data.index(b"\xb0\x81\x40") + 2
    data[at] = 0
    path = tmp_path / "a.webm"
    path.write_bytes(data)
    with pytest.raises(ClipError, match=r"a\.webm"):
        resolve_clip(path)


def test_a_pipe_is_no_clip(tmp_path: Path) -> None:
    """Opening a pipe waits for its other end."""
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(ClipError, match="no regular file"):
        resolve_clip(tmp_path / "a.mp4")
    assert "there is no file" in checked(init_image=str(tmp_path / "a.mp4"))


# --- an ffmpeg that dies, or hangs ------------------------------------------------------------------------------------

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the ffmpeg that hangs is a shell script")


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ffmpeg that the test writes, with little patience for it."""
    path = tmp_path / "ffmpeg"
    for name in ("LOOKING", "DECODING", "ENCODING"):
        monkeypatch.setattr(limits, name, Patience(0.6, 0.6, ""))
    monkeypatch.setattr("deforum.video.ffmpeg.ffmpeg_path", lambda: str(path))
    monkeypatch.setattr("deforum.video.reader.ffmpeg_path", lambda: str(path))
    monkeypatch.setattr("deforum.video.writer.ffmpeg_path", lambda: str(path))
    return path


def pretend(ffmpeg: Path, script: str) -> None:
    ffmpeg.write_text(f"#!/bin/sh\n{script}\n")
    ffmpeg.chmod(ffmpeg.stat().st_mode | stat.S_IXUSR)


HANG = "sleep 1000"  # a child of the script: it has to be stopped with it


def test_an_ffmpeg_that_hangs_while_it_looks_is_stopped(good: Path, ffmpeg: Path) -> None:
    pretend(ffmpeg, HANG)
    other = shutil.copy(good / "good.mp4", ffmpeg.with_name("other.mp4"))  # what was found of the good one is kept
    with pytest.raises(ClipError, match=r"did nothing for 0\.6 seconds while reading .*other\.mp4, and was stopped"):
        resolve_clip(other)
    assert not has_sound(good / "sound.wav")


def test_an_ffmpeg_that_hangs_while_it_decodes_is_stopped(good: Path, ffmpeg: Path) -> None:
    source = _look(good / "good.mp4", ffmpeg)
    pretend(ffmpeg, f"head -c {64 * 64 * 3} /dev/zero; {HANG}")
    with open_clip(source, 64, 64) as clip:
        assert float(clip(0).max()) == 0
        with pytest.raises(ClipError, match=r"did nothing for 0\.6 seconds while decoding .*good\.mp4"):
            clip(1)


def test_a_decoder_that_dies_holds_the_last_frame_and_says_so(
    good: Path, ffmpeg: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = _look(good / "good.mp4", ffmpeg)
    pretend(ffmpeg, f"head -c {64 * 64 * 3} /dev/zero; echo broken >&2; kill -9 $$")
    with open_clip(source, 64, 64) as clip:
        assert float(clip(0).max()) == float(clip(5).max()) == 0
    assert "it ends at frame 0, which is held" in caplog.text and "signal 9" in caplog.text


def test_a_decoder_that_dies_at_once_ends_in_a_message(good: Path, ffmpeg: Path) -> None:
    source = _look(good / "good.mp4", ffmpeg)
    pretend(ffmpeg, "echo broken >&2; exit 1")
    with open_clip(source, 64, 64) as clip, pytest.raises(ClipError, match=r"gives no frame 0:\n +broken"):
        clip(0)


@pytest.mark.parametrize("script", [HANG, f"head -c 100 > /dev/null; {HANG}", f"cat > /dev/null; {HANG}"])
def test_an_encoder_that_hangs_is_stopped(ffmpeg: Path, tmp_path: Path, script: str) -> None:
    """It never reads; it reads a little; it reads all and never ends."""
    pretend(ffmpeg, script)
    with (
        pytest.raises(VideoError, match=r"did nothing for 0\.6 seconds while encoding .*a\.mp4"),
        VideoWriter(tmp_path / "a.mp4", 256, 256, 25) as video,
    ):
        for _ in range(3):
            video.write(np.zeros((256, 256, 3), np.uint8))


def test_an_ffmpeg_that_rests_while_we_do_is_left_alone(good: Path, ffmpeg: Path) -> None:
    """A decoder waits where nobody takes its frames; that is no hanging."""
    pretend(ffmpeg, f'exec {_real()} "$@"')
    source = resolve_clip(good / "good.mp4")
    with open_clip(source, 64, 64) as clip:
        clip(0)
        subprocess.run(["sleep", "1.5"], check=True)
        assert clip(20).shape == (3, 64, 64)


def _real() -> str:
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _look(path: Path, ffmpeg: Path) -> ClipSource:
    pretend(ffmpeg, f'exec {_real()} "$@"')
    return resolve_clip(path)
