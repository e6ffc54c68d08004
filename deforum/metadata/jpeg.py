"""Texts of JPEG files: EXIF, and comment segments. Source: ITU-T T.81, annex B."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import BinaryIO

from deforum.metadata import exif
from deforum.metadata.limits import MOST_PARTS, Texts

_SOI, _EOI, _SOS, _APP0, _APP1, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xFE
_LARGEST = 65533
"""Bytes in one segment."""


def label(jpeg: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a JPEG file with texts: `parameters` as EXIF, the others as JSON in comment segments.

    `parameters` that are too long for a segment (about 32,000 letters) are left out.
    """
    others = {key: text for key, text in texts.items() if key != "parameters"}
    head = 4 + struct.unpack(">H", jpeg[4:6])[0] if jpeg[3] == _APP0 else 2  # JFIF has to come first
    parts = []
    if "parameters" in texts:
        tags = exif.PREFIX + exif.write(texts["parameters"], software=texts.get("Software", ""))
        parts += [_segment(_APP1, tags)] if len(tags) <= _LARGEST else []
    body = json.dumps(others, ensure_ascii=False).encode(errors="replace") if others else b""
    parts += [_segment(_COM, body[at : at + _LARGEST]) for at in range(0, len(body), _LARGEST)]
    return jpeg[:head] + b"".join(parts) + jpeg[head:]


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def read(file: BinaryIO) -> Texts:
    """Read the texts of a JPEG file, up to its pixels."""
    texts = Texts()
    comments: list[bytes] = []
    file.seek(2)
    for _ in range(MOST_PARTS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (_SOS, _EOI):
            break
        length = struct.unpack(">H", head[2:])[0] - 2
        if length < 0:
            break
        if head[1] == _COM and texts.fits(length + sum(map(len, comments[-64:]))) and len(comments) < 64:
            comments.append(file.read(length))
        elif head[1] == _APP1:
            body = file.read(length)
            if body.startswith(exif.PREFIX) and len(body) == length:
                exif.read(body, texts)
        else:
            file.seek(length, 1)
    whole, before = b"".join(comments), len(texts.found)
    texts.add_json(whole)
    if len(texts.found) == before:
        texts.add("comment", whole)
    return texts
