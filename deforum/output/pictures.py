"""Frames as picture files with texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from deforum.metadata import jpeg, png, webp
from deforum.video.writer import Pixels, to_depth


@dataclass(frozen=True)
class Picture:
    """One way to store a frame: a row of PICTURES."""

    title: str
    suffix: str
    bits: Literal[8, 16]
    options: tuple[tuple[str, int], ...]
    """Options of cv2.imencode, as names of its constants and values."""
    label: Callable[[bytes, Mapping[str, str]], bytes]
    """Adds texts to the encoded picture."""
    is_exact: bool
    """Whether the pixels are read back as they were."""
    end: bytes
    """Last bytes of a complete file; empty: its header has its length."""


_IEND = b"IEND\xaeB`\x82"

PICTURES: dict[str, Picture] = {
    # OpenCV's default compression is its fastest; level 1 is three times slower.
    "png": Picture("PNG, 8 bits", ".png", 8, (), png.label, True, _IEND),
    "png16": Picture("PNG, 16 bits", ".png", 16, (), png.label, True, _IEND),
    "jpeg": Picture("JPEG, quality 95", ".jpg", 8, (("IMWRITE_JPEG_QUALITY", 95),), jpeg.label, False, b"\xff\xd9"),
    "webp": Picture("WebP, quality 95", ".webp", 8, (("IMWRITE_WEBP_QUALITY", 95),), webp.label, False, b""),
}


def encode(pixels: Pixels, kind: str, texts: Mapping[str, str]) -> bytes:
    """Encode (H, W, 3) RGB levels as a picture file of a `kind` in PICTURES; `texts` by key, {} for none."""
    import cv2

    row = PICTURES[kind]
    options = [part for name, value in row.options for part in (getattr(cv2, name), value)]
    done, encoded = cv2.imencode(row.suffix, cv2.cvtColor(to_depth(pixels, row.bits), cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of {pixels.shape} as {kind}")
    return row.label(encoded.tobytes(), texts) if texts else encoded.tobytes()


def is_complete(picture: bytes) -> bool:
    """Whether a picture file ends as its kind does: a file whose writing was cut short does not."""
    if picture[:4] == b"RIFF":
        return len(picture) >= 8 + int.from_bytes(picture[4:8], "little")
    return any(row.end and picture.endswith(row.end) for row in PICTURES.values())
