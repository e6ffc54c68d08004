"""Sounds and tables as a stranger might send them: refused with a message, or heard as finite numbers."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from deforum import limits
from deforum.audio import hear
from deforum.audio.decode import SoundError
from deforum.errors import UserError
from deforum.limits import Limit, Patience
from deforum.settings.options import VariableUnit
from deforum.timeline.tables import read_table


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wav(
    samples: bytes, *, channels: int = 1, rate: int = 8000, kind: int = 3, bits: int = 32, claims: int = -1
) -> bytes:
    """Return a WAV file; it may claim other sizes than it has."""
    size = len(samples) if claims < 0 else claims
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    return (b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<I", 16) + head
            + b"data" + struct.pack("<I", size & 0xFFFFFFFF) + samples)  # fmt: skip


TONE = np.sin(np.arange(8000) * 0.3).astype("<f4").tobytes()

REFUSED = {
    "empty": b"",
    "a text that ffmpeg might draw": b"user=alice password=HUNTER2\n" * 50,
    "a playlist that names another file": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a list of files to join": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a session that names a server": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    "an archive": b"PK\x03\x04" + bytes(200),
    "a head alone": wav(b""),
    "one sample": wav(TONE[:4]),
    "no channels": wav(TONE, channels=0),
    "65535 channels": wav(TONE, channels=65535),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_sound_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(REFUSED[what])
    with pytest.raises(SoundError) as caught:
        hear(path)
    assert "HUNTER2" not in str(caught.value) and "root:" not in str(caught.value)


HEARD = {
    "infinite and undefined samples": wav(np.array([np.inf, -np.inf, np.nan, 3e38] * 3000, "<f4").tobytes()),
    "a claim of 4 GB": wav(TONE, claims=0xFFFFFFFE),
    "cut off within a sample": wav(TONE[:-3]),
    "a very high rate": wav(TONE * 8, rate=768_000),
}


@pytest.mark.parametrize("what", HEARD)
def test_what_is_odd_is_heard_as_finite_numbers(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(HEARD[what])
    sound = hear(path)
    assert 0 <= sound.seconds < 3
    for curve in (*sound.levels.values(), sound.onset, sound.envelope, sound.beats):
        assert np.isfinite(curve).all()


def test_a_sound_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deforum.audio.decode.SOUND_SECONDS", Limit(30, "seconds", "a sound that is listened to"))
    (tmp_path / "a.wav").write_bytes(wav(bytes(4 * 8000 * 70)))
    with pytest.raises(SoundError, match="a sound that is listened to has 40 seconds; expected at most 30 seconds"):
        hear(tmp_path / "a.wav")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and shell scripts")
def test_pipes_and_an_ffmpeg_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(SoundError, match="there is no file"):
        hear(tmp_path / "a.wav")
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\nsleep 1000\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("deforum.video.ffmpeg.ffmpeg_path", lambda: str(script))
    monkeypatch.setattr(limits, "DECODING", Patience(0.6, 0.6, ""))
    (tmp_path / "b.wav").write_bytes(wav(TONE))
    with pytest.raises(SoundError, match=r"did nothing for 0\.6 seconds while reading the sound"):
        hear(tmp_path / "b.wav")


def test_what_is_kept_is_no_program(tmp_path: Path, cache: Path) -> None:
    """A file in the cache that another user wrote is read as numbers alone."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(TONE))
    first = hear(path)
    [kept] = cache.rglob("*.npz")
    np.savez(kept, beats=np.array([{"a": 1}], dtype=object))
    other = tmp_path / "b.wav"
    other.write_bytes(path.read_bytes())
    assert hear(other).seconds == first.seconds


@pytest.mark.parametrize(
    ("limit", "most", "text"),
    [("TABLE_FILE", 20, "a\n" + "1\n" * 20), ("TABLE_ROWS", 5, "a\n1\n2\n3\n4\n5\n6\n7\n"),
     ("TABLE_ROWS", 5, "[1, 2, 3, 4, 5, 6]")],
)  # fmt: skip
def test_tables_have_limits(limit: str, most: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"deforum.timeline.tables.{limit}", Limit(most, "bytes or rows", "a table"))
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=f"expected at most {most}"):
        read_table(VariableUnit(name="a", file=str(tmp_path / "a.csv")))
