"""Texts of WebP files, still or animated: the EXIF chunk. Source: WebP container specification."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from deforum.metadata import exif
from deforum.metadata.limits import MOST_PARTS, Texts

_HAS_EXIF = 0x08


def label(webp: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a still WebP file (without transparency) with texts in EXIF."""
    others = {key: text for key, text in texts.items() if key != "parameters"}
    more = json.dumps(others, ensure_ascii=False).encode(errors="replace") if others else b""
    tags = exif.write(texts.get("parameters", ""), more, texts.get("Software", ""))
    width, height = _size(webp)
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + _chunk(b"VP8X", bytes((_HAS_EXIF, 0, 0, 0)) + canvas) + webp[12:] + _chunk(b"EXIF", tags)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _size(webp: bytes) -> tuple[int, int]:
    """Return width and height of a simple file: one chunk VP8 (lossy) or VP8L (lossless)."""
    if webp[12:16] == b"VP8L":
        bits = struct.unpack("<I", webp[21:25])[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", webp[26:30])
    return width & 0x3FFF, height & 0x3FFF


def label_file(path: Path, texts: Mapping[str, str]) -> None:
    """Add texts to an animated WebP file in place; ffmpeg's muxer has none."""
    tags = _chunk(b"EXIF", exif.write("", json.dumps(dict(texts), ensure_ascii=False).encode(errors="replace")))
    with path.open("r+b") as file:
        head = file.read(21)
        if head[12:16] != b"VP8X":
            return
        file.seek(0, 2)
        end = file.tell()
        file.write(tags)
        file.seek(4)
        file.write(struct.pack("<I", end + len(tags) - 8))
        file.seek(20)
        file.write(bytes((head[20] | _HAS_EXIF,)))


def read(file: BinaryIO) -> Texts:
    """Read the texts of a WebP file; pixels are skipped."""
    texts = Texts()
    file.seek(12)
    for _ in range(MOST_PARTS):
        head = file.read(8)
        if len(head) < 8:
            break
        kind, length = struct.unpack("<4sI", head)
        if kind == b"EXIF" and texts.fits(length):
            body = file.read(length)
            if len(body) == length:
                exif.read(body, texts)
            file.seek(length % 2, 1)
        else:
            file.seek(length + length % 2, 1)
    return texts
