"""Frames as picture files, with their seed, prompt and parameters as text metadata."""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deforum.timeline.prompts import negatives, positives
from deforum.version import __version__
from deforum.video.writer import Pixels, to_depth

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame


@dataclass(frozen=True)
class Picture:
    """One way to store a frame: a row of PICTURES."""

    title: str
    suffix: str
    bits: Literal[8, 16]
    options: tuple[tuple[str, int], ...]
    """Options of cv2.imencode, as names of its constants and values."""
    label: Callable[[bytes, Mapping[str, str]], bytes]
    """Adds text metadata to the encoded picture."""


def label_png(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Add text chunks after the header: tEXt for ASCII, which every reader supports, else iTXt."""
    chunks = bytearray()
    for key, text in texts.items():
        if text.isascii():
            kind, body = b"tEXt", key.encode() + b"\0" + text.encode()
        else:
            kind, body = b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode()
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = 8 + 12 + 13  # signature; length, name and checksum of IHDR; its body
    return png[:header] + bytes(chunks) + png[header:]


def label_jpeg(jpeg: bytes, texts: Mapping[str, str]) -> bytes:
    """Add one comment segment after the start marker: the texts as JSON, cut to 65533 bytes."""
    body = json.dumps(dict(texts), ensure_ascii=False).encode()[:65533]
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


PICTURES: dict[str, Picture] = {
    # OpenCV's default compression is its fastest; level 1 is three times slower.
    "png": Picture("PNG, 8 bits", ".png", 8, (), label_png),
    "png16": Picture("PNG, 16 bits", ".png", 16, (), label_png),
    "jpeg": Picture("JPEG, quality 95", ".jpg", 8, (("IMWRITE_JPEG_QUALITY", 95),), label_jpeg),
}


def encode(pixels: Pixels, kind: str, texts: Mapping[str, str]) -> bytes:
    """Encode (H, W, 3) RGB levels as a picture file of a `kind` in PICTURES, with `texts` as metadata."""
    import cv2

    row = PICTURES[kind]
    options = [part for name, value in row.options for part in (getattr(cv2, name), value)]
    done, encoded = cv2.imencode(row.suffix, cv2.cvtColor(to_depth(pixels, row.bits), cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of {pixels.shape} as {kind}")
    return row.label(encoded.tobytes(), texts)


def _known(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def describe(frame: Frame) -> dict[str, str]:
    """Return the text metadata of a frame: seed, prompts, parameters."""

    def blended(texts: tuple[tuple[str, float], ...]) -> str:
        return texts[0][0] if len(texts) == 1 else " | ".join(f"{text} ({weight:.4g})" for text, weight in texts)

    return {
        "Software": f"deforum {__version__}",
        "frame": str(frame.index),
        "seed": str(frame.seed),
        "prompt": blended(positives(frame.prompts)),
        "negative_prompt": blended(negatives(frame.prompts)),
        "settings": json.dumps(
            {
                "frame": frame.index,
                "seed": frame.seed,
                "subseed": frame.subseed,
                "sampler": frame.sampler,
                "checkpoint": frame.checkpoint,
                "prompts": [_known(dataclasses.asdict(prompt)) for prompt in frame.prompts],
                "params": dict(frame.params.items()),
            },
            ensure_ascii=False,
        ),
    }
