"""Text chunks of PNG files: tEXt, zTXt and iTXt. Source: PNG specification, third edition, 11.3.3."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import BinaryIO

from deforum.metadata import exif
from deforum.metadata.limits import MOST_PARTS, Texts, inflate

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END_OF_HEADER = 8 + 12 + 13  # signature; length, name and checksum of IHDR; its body
_PACKED_FROM = 2000
"""Bytes from which a text is compressed."""


def label(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a PNG file with texts after its header: tEXt for ASCII, which every reader knows, else iTXt."""
    chunks = b"".join(_packed(key, text) if len(text) >= _PACKED_FROM else _chunk(key, text) for key, text in
                      texts.items())  # fmt: skip
    return png[:_END_OF_HEADER] + chunks + png[_END_OF_HEADER:]


def _chunk(key: str, text: str) -> bytes:
    if text.isascii() and "\0" not in text:
        return _seal(b"tEXt", key.encode() + b"\0" + text.encode())
    return _seal(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode(errors="replace"))


@lru_cache(maxsize=8)  # the settings of a run are the same in every frame
def _packed(key: str, text: str) -> bytes:
    return _seal(b"iTXt", key.encode() + b"\0\1\0\0\0" + zlib.compress(text.encode(errors="replace")))


def _seal(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def read(file: BinaryIO) -> Texts:
    """Read the texts of a PNG file, before and after its pixels; these are skipped."""
    texts = Texts()
    file.seek(len(SIGNATURE))
    for _ in range(MOST_PARTS):
        head = file.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            break
        if kind in _READERS and texts.fits(length):
            body = file.read(length)
            if len(body) < length:
                break
            _READERS[kind](body, texts)
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    return texts


def _read_plain(body: bytes, texts: Texts) -> None:
    key, _, text = body.partition(b"\0")
    texts.add(key.decode("latin-1"), text)


def _read_packed(body: bytes, texts: Texts) -> None:
    key, _, rest = body.partition(b"\0")
    if rest[:1] == b"\0":
        texts.add(key.decode("latin-1"), inflate(rest[1:]))


def _read_international(body: bytes, texts: Texts) -> None:
    key, _, rest = body.partition(b"\0")
    is_packed, rest = rest[:1] == b"\1", rest[2:]
    text = rest.split(b"\0", 2)[-1] if rest.count(b"\0") >= 2 else b""  # behind language and translated key
    texts.add(key.decode("latin-1"), inflate(text) if is_packed else text)


_READERS = {b"tEXt": _read_plain, b"zTXt": _read_packed, b"iTXt": _read_international, b"eXIf": exif.read}
