"""Comments in GIF files. Source: GIF89a specification, 24."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from deforum.metadata.limits import LONGEST, MOST_PARTS, Texts

_EXTENSION, _COMMENT, _TRAILER = b"\x21", b"\xfe", b"\x3b"
_BLOCK = 253  # not 254, which after a "!" would look like the start of a comment


def label_file(path: Path, text: str) -> None:
    """Add a comment to the end of a GIF file in place; ffmpeg's muxer has none."""
    with path.open("r+b") as file:
        file.seek(-1, 2)
        if file.read(1) == _TRAILER:
            file.seek(-1, 2)
            file.write(_pack(text.encode(errors="replace")) + _TRAILER)


def _pack(text: bytes) -> bytes:
    blocks = (text[at : at + _BLOCK] for at in range(0, len(text), _BLOCK))
    return _EXTENSION + _COMMENT + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"


def read(file: BinaryIO) -> Texts:
    """Read the comment at the end of a GIF file, as `label_file` writes it, and those before its first picture."""
    texts = Texts()
    texts.add("comment", _at_end(file))
    file.seek(10)
    packed = file.read(1)
    if not packed:
        return texts
    file.seek(2 + (3 << (packed[0] & 7) + 1 if packed[0] & 0x80 else 0), 1)
    parts = 0
    while parts < MOST_PARTS and file.read(1) == _EXTENSION:
        is_comment, text = file.read(1) == _COMMENT, bytearray()
        while parts < MOST_PARTS and (length := file.read(1)) not in (b"", b"\0"):
            block = file.read(length[0])
            text += block if is_comment else b""
            parts += 1
        if is_comment:
            texts.add("comment", bytes(text))
        parts += 1
    return texts


def _at_end(file: BinaryIO) -> bytes | None:
    """Return the comment right before the trailer. Pictures before it are not decoded: each possible start is tried."""
    size = file.seek(0, 2)
    file.seek(max(0, size - LONGEST))
    tail = file.read(LONGEST)
    at = tail.rfind(_EXTENSION + _COMMENT)
    for _ in range(100):
        if at < 0:
            return None
        text, place = [], at + 2
        while place < len(tail) and tail[place]:
            text.append(tail[place + 1 : place + 1 + tail[place]])
            place += 1 + tail[place]
        if tail[place:] == b"\0" + _TRAILER:
            return b"".join(text)
        at = tail.rfind(_EXTENSION + _COMMENT, 0, at)
    return None
