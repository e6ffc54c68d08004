"""Frames as a stream for another program: raw levels, or YUV4MPEG2, which players read from a pipe.

Source of the format: yuv4mpeg(5) of mjpegtools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

import numpy as np
from numpy.typing import NDArray

from deforum.preview.choices import Stream

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB levels."""


@dataclass(frozen=True)
class StreamFormat:
    """One way to write frames into a pipe: a row of FORMATS."""

    title: str
    header: Callable[[int, int, Fraction], bytes]
    """Of (width, height, frames/s); before the first frame."""
    frame: Callable[[Pixels], bytes]
    player: Callable[[int, int, Fraction], str]
    """The command that shows the stream."""


def _planes(pixels: Pixels) -> bytes:
    """Convert to planes of luma and halved chroma, BT.601 in limited range; odd sides grow by their last pixels."""
    import cv2

    high, wide = pixels.shape[:2]
    if high % 2 or wide % 2:
        pixels = np.pad(pixels, ((0, high % 2), (0, wide % 2), (0, 0)), mode="edge")
    return b"FRAME\n" + np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420)).tobytes()


def _y4m_header(width: int, height: int, fps: Fraction) -> bytes:
    size = f"W{width + width % 2} H{height + height % 2}"
    return f"YUV4MPEG2 {size} F{fps.numerator}:{fps.denominator} Ip A1:1 C420jpeg\n".encode()


FORMATS: Mapping[Stream, StreamFormat] = {
    "y4m": StreamFormat(
        "YUV4MPEG2, which ffplay and mpv read from a pipe", _y4m_header, _planes, lambda *_: "ffplay -"
    ),
    "raw": StreamFormat(
        "RGB levels of 8 bits, frame after frame", lambda *_: b"", lambda pixels: pixels.tobytes(),
        lambda width, height, fps: (
            f"ffplay -f rawvideo -pixel_format rgb24 -video_size {width}x{height} -framerate {fps} -"
        ),
    ),
}  # fmt: skip


def write_stream(pictures: Iterable[Pixels], format: Stream, fps: Fraction, target: IO[bytes]) -> bool:
    """Write frames as they come. Returns False where the reader of the pipe has closed it."""
    row = FORMATS[format]
    try:
        for number, pixels in enumerate(pictures):
            if number == 0:
                target.write(row.header(pixels.shape[1], pixels.shape[0], fps))
            target.write(row.frame(np.ascontiguousarray(pixels)))
            target.flush()
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
