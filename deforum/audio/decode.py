"""Samples of a sound file, by ffmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deforum import limits
from deforum.audio.spectra import SAMPLE_RATE, Block
from deforum.errors import UserError
from deforum.limits import SOUND_SECONDS
from deforum.video.ffmpeg import AT_ITS_TIMES, REFUSED, VideoError, input_of, pipe_from

SECONDS = 20
"""Length of a block."""
LOUDEST = 8.0
"""Samples of files in floating point are cut off here: 1 is full scale."""


class SoundError(UserError):
    """A sound that is missing or cannot be read."""


def decode(path: Path) -> Iterator[Block]:
    """Yield the sound of a file in blocks (N, C) at SAMPLE_RATE: mono as one channel, everything else as two.

    Raises SoundError where there is none, where it is longer than SOUND_SECONDS, and where ffmpeg cannot read it.
    """
    arguments = [
        *input_of(path), "-map", "0:a:0", "-vn", "-sn", "-dn",
        "-af", f"{AT_ITS_TIMES},aformat=sample_fmts=flt:channel_layouts=mono|stereo", "-ar", str(SAMPLE_RATE),
        "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip
    rest, channels, heard = b"", 0, 0
    try:
        for chunk in pipe_from(arguments, f"reading the sound of {path}", limits.DECODING):
            rest += chunk
            if not channels:
                if len(rest) < 24:
                    continue
                begin, channels = int.from_bytes(rest[4:8], "big"), int.from_bytes(rest[20:24], "big")
                rest = rest[begin:]
            whole = SAMPLE_RATE * SECONDS * channels * 4
            while len(rest) >= whole:
                yield _block(rest[:whole], channels)
                rest = rest[whole:]
                heard += SECONDS
                if heard > SOUND_SECONDS.most:
                    raise SoundError(f"{path}: {SOUND_SECONDS.of} {SOUND_SECONDS.exceeded(heard)}")
    except VideoError as error:
        raise SoundError(f"{path}: {_reason(str(error))}") from None
    if channels and len(rest) >= 4 * channels:
        yield _block(rest[: len(rest) // (4 * channels) * 4 * channels], channels)
    elif not heard:
        raise SoundError(f"{path}: no sound in it; expected a file with sound that ffmpeg can read")


def _block(samples: bytes, channels: int) -> Block:
    found: Block = np.frombuffer(samples, ">f4").reshape(-1, channels).astype(np.float32)
    return np.nan_to_num(np.clip(found, -LOUDEST, LOUDEST), copy=False)


def _reason(said: str) -> str:
    if "not on whitelist" in said or "Invalid data found when processing input" in said:
        return f"{REFUSED}; expected a file with sound"
    if "matches no streams" in said:
        return "no sound in it; expected a file with sound"
    lines = said.splitlines()
    return f"no sound that ffmpeg can read; {lines[min(1, len(lines) - 1)].strip()}"
