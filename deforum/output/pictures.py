"""Frames as picture files with texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from deforum.metadata import jpeg, png, webp
from deforum.pixels.png import encode_png
from deforum.video.writer import Pixels, to_depth


@dataclass(frozen=True)
class Picture:
    """One way to store a frame: a row of PICTURES."""

    title: str
    suffix: str
    bits: Literal[8, 16]
    encode: Callable[[Pixels], bytes]
    """Encodes (H, W, 3) RGB levels of these bits."""
    label: Callable[[bytes, Mapping[str, str]], bytes]
    """Adds texts to the encoded picture."""
    is_exact: bool
    """Whether the pixels are read back as they were."""
    end: bytes
    """Last bytes of a complete file; empty: its header has its length."""


_IEND = b"IEND\xaeB`\x82"


def _by_opencv(pixels: Pixels, suffix: str, **options: int) -> bytes:
    """Encode by cv2.imencode; `options` by the names of its constants."""
    import cv2

    given = [part for name, value in options.items() for part in (getattr(cv2, name), value)]
    done, encoded = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), given)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of {pixels.shape} as {suffix}")
    return bytes(encoded)


_jpeg = partial(_by_opencv, suffix=".jpg", IMWRITE_JPEG_QUALITY=95)
_webp = partial(_by_opencv, suffix=".webp", IMWRITE_WEBP_QUALITY=95)

PICTURES: dict[str, Picture] = {
    "png": Picture("PNG, 8 bits", ".png", 8, encode_png, png.label, True, _IEND),
    "png16": Picture("PNG, 16 bits", ".png", 16, encode_png, png.label, True, _IEND),
    "jpeg": Picture("JPEG, quality 95", ".jpg", 8, _jpeg, jpeg.label, False, b"\xff\xd9"),
    "webp": Picture("WebP, quality 95", ".webp", 8, _webp, webp.label, False, b""),
}


def encode(pixels: Pixels, kind: str, texts: Mapping[str, str]) -> bytes:
    """Encode (H, W, 3) RGB levels as a picture file of a `kind` in PICTURES; `texts` by key, {} for none."""
    row = PICTURES[kind]
    encoded = row.encode(to_depth(pixels, row.bits))
    return row.label(encoded, texts) if texts else encoded


def is_complete(picture: bytes) -> bool:
    """Whether a picture file ends as its kind does: a file whose writing was cut short does not."""
    if picture[:4] == b"RIFF":
        return len(picture) >= 8 + int.from_bytes(picture[4:8], "little")
    return any(row.end and picture.endswith(row.end) for row in PICTURES.values())
