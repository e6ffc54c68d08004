"""Picture files: their kind, size and completeness, read from the bytes before anything is decoded.

A file of a few hundred bytes may claim 40000 x 40000 px, and a picture whose download broke off still has its first
bytes: both are found here, without decoding. This module imports neither torch nor OpenCV until a picture is decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.limits import PICTURE_FILE, PIXELS
from deforum.paths import is_file

KINDS = "PNG, JPEG, WebP, BMP, TIFF and GIF can"


@dataclass(frozen=True)
class Header:
    """What the bytes of a picture file say of it."""

    kind: str
    width: int
    height: int
    whole: bool = True
    """False where the file ends before its picture does."""


class _NotAPicture(Exception):
    """The bytes are not those of a picture."""


def read_bytes(path: Path) -> bytes:
    """Read a picture file. Raises UserError where there is none, or where it is larger than any picture."""
    if not is_file(path):
        raise UserError(f"{path}: no such picture")
    try:
        with path.open("rb") as file:
            encoded = file.read(PICTURE_FILE.most + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(encoded) > PICTURE_FILE.most:
        raise UserError(f"{path}: {PICTURE_FILE.exceeded(max(path.stat().st_size, len(encoded)))}")
    return encoded


def read_header(encoded: bytes, path: Path) -> Header:
    """Read the size of a picture from its bytes; `path` is for messages.

    Raises UserError for what is no picture, for one with more pixels than are decoded, and for one that is cut off.
    """
    if not encoded:
        raise UserError(f"{path}: this file is empty; expected a picture")
    try:
        header = next(read(encoded) for magic, read in _READERS.items() if encoded.startswith(magic))
    except (StopIteration, _NotAPicture, struct.error, IndexError):
        raise UserError(f"{path}: not a picture that can be read ({KINDS})") from None
    size = f"{header.width}x{header.height} px"
    if not header.width > 0 or not header.height > 0:
        raise UserError(f"{path}: a {header.kind} of {size}; expected at least one pixel")
    if header.width * header.height > PIXELS.most:
        raise UserError(f"{path}: a {header.kind} of {size} {PIXELS.exceeded(header.width * header.height)}")
    if not header.whole:
        raise UserError(f"{path}: this {header.kind} of {size} is damaged or cut off after {len(encoded):,} bytes")
    return header


def decode(path: Path, *, unchanged: bool = False) -> NDArray[Any]:
    """Decode a picture file: (H, W, 3) BGR uint8, or with `unchanged` as it is stored, with alpha and in its depth.

    Raises UserError.
    """
    import cv2

    encoded = read_bytes(path)
    header = read_header(encoded, path)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it writes its own messages to stderr
    try:
        flags = cv2.IMREAD_UNCHANGED if unchanged else cv2.IMREAD_COLOR
        levels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        levels = None
    if levels is None or not levels.size:
        raise UserError(f"{path}: this {header.kind} of {header.width}x{header.height} px is damaged")
    return levels


MOST_COMPLAINTS = 5


def check_pictures(paths: Iterable[Path], name: str, *, decoded: bool = True) -> list[Problem]:
    """Return a problem for each picture that cannot be read; `name` is the setting.

    Without `decoded` only their bytes are checked, which finds other files, wrong sizes and what is cut off.
    """
    problems: list[Problem] = []
    for path in dict.fromkeys(paths):
        try:
            stat = path.stat()
        except (OSError, ValueError):
            problems.append(Problem(f"{name}: {path}: no such picture"))
        else:
            fault = _fault(path, decoded, stat.st_mtime_ns, stat.st_size)
            problems += [Problem(f"{name}: {fault}")] if fault else []
        if len(problems) > MOST_COMPLAINTS:
            return [*problems[:MOST_COMPLAINTS], Problem(f"{name}: and more pictures that cannot be read")]
    return problems


@lru_cache(maxsize=100_000)
def _fault(path: Path, decoded: bool, mtime: int, size: int) -> str:
    """Return what is wrong with a picture file; "" if nothing is. Its time and size are part of the cache key."""
    try:
        if decoded:
            decode(path)
        else:
            read_header(read_bytes(path), path)
    except UserError as error:
        return str(error)
    return ""


# --- formats ----------------------------------------------------------------------------------------------------------


def _png(encoded: bytes) -> Header:
    length, kind, width, height = struct.unpack(">I4sII", encoded[8:24])
    if kind != b"IHDR" or length != 13:
        raise _NotAPicture
    at, whole = 8, False
    while at + 12 <= len(encoded):
        length, kind = struct.unpack(">I4s", encoded[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(encoded):
            break
        if zlib.crc32(encoded[at + 4 : end]) != int.from_bytes(encoded[end : end + 4]):
            break
        if kind == b"IEND":
            whole = True
            break
        at = end + 4
    return Header("PNG", width, height, whole)


_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame header, which holds the size."""


def _jpeg(encoded: bytes) -> Header:
    at, size = 2, None
    while encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _SIZES:
            size = struct.unpack(">HH", encoded[at + 5 : at + 9])
        if marker == 0xDA:  # the picture begins; its end is the last marker of the file
            break
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4])
    if size is None:
        raise _NotAPicture
    return Header("JPEG", size[1], size[0], encoded.rfind(b"\xff\xd9") > at)


def _webp(encoded: bytes) -> Header:
    if encoded[8:12] != b"WEBP":
        raise _NotAPicture
    whole = struct.unpack("<I", encoded[4:8])[0] + 8 <= len(encoded)
    kind, body = encoded[12:16], encoded[20:30]
    if kind == b"VP8X":
        width, height = (int.from_bytes(part, "little") + 1 for part in (body[4:7], body[7:10]))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    else:
        raise _NotAPicture
    return Header("WebP", width, height, whole)


def _bmp(encoded: bytes) -> Header:
    start, header = struct.unpack("<II", encoded[10:18])
    if header == 12:
        width, height, _, bits = struct.unpack("<HHHH", encoded[18:26])
        packed = 0
    else:
        width, height, _, bits, packed = struct.unpack("<iiHHI", encoded[18:34])
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    return Header("BMP", width, abs(height), packed in (1, 2) or start + rows <= len(encoded))


def _gif(encoded: bytes) -> Header:
    width, height = struct.unpack("<HH", encoded[6:10])
    return Header("GIF", width, height, encoded.rstrip(b"\0").endswith(b";"))


def _tiff(encoded: bytes) -> Header:
    order = "<" if encoded[:2] == b"II" else ">"
    magic, first = struct.unpack(f"{order}HI", encoded[2:8])
    if magic == 43:  # BigTIFF: counts and places have 8 bytes
        first = struct.unpack(f"{order}Q", encoded[8:16])[0]
        count, entry = struct.unpack(f"{order}Q", encoded[first : first + 8])[0], f"{order}HHQ"
        at, step = first + 8, 20
    else:
        count, entry = struct.unpack(f"{order}H", encoded[first : first + 2])[0], f"{order}HHI"
        at, step = first + 2, 12
    sides: dict[int, int] = {}
    for number in range(min(count, 4096)):
        place = at + number * step
        tag, kind, _ = struct.unpack(entry, encoded[place : place + struct.calcsize(entry)])
        if tag in (256, 257):
            place += struct.calcsize(entry)
            form = {3: "H", 4: "I", 16: "Q"}.get(kind, "H")
            value = encoded[place : place + struct.calcsize(f"{order}{form}")]
            sides[tag] = struct.unpack(f"{order}{form}", value)[0]
    if sides.keys() != {256, 257}:
        raise _NotAPicture
    return Header("TIFF", sides[256], sides[257])


_READERS: Mapping[bytes, Callable[[bytes], Header]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8\xff": _jpeg,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"GIF8": _gif,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
}
"""Readers of a header by the bytes that a file begins with."""
