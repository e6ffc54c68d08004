"""EXIF with a UserComment, where A1111 and its relatives keep `parameters` in JPEG and WebP.

The few tags are read here, not by a library: values of a hostile file may overlap, and copying all of them takes memory
many times the file's size. Source: Exif 2.32, 4.6; TIFF 6.0.
"""

from __future__ import annotations

import struct

from deforum.metadata.limits import Texts

PREFIX = b"Exif\0\0"
_SOFTWARE, _EXIF, _MAKER_NOTE, _USER_COMMENT = 0x0131, 0x8769, 0x927C, 0x9286
_MAKE, _MODEL = 0x010F, 0x0110
_ASCII, _LONG, _UNDEFINED = 2, 4, 7
_SIZES = {1: 1, _ASCII: 1, 3: 2, _LONG: 4, 5: 8, _UNDEFINED: 1}
_OURS = b"deforum\0"

Entry = tuple[int, int, bytes]
"""Tag, type, value."""


def write(parameters: str, more: bytes = b"", software: str = "") -> bytes:
    """Return EXIF (a TIFF structure, big-endian) with `parameters` as UserComment and `more` in a MakerNote."""
    comment = b"UNICODE\0" + parameters.encode("utf-16-be", "replace")
    inner: list[Entry] = [(_MAKER_NOTE, _UNDEFINED, _OURS + more)] if more else []
    inner += [(_USER_COMMENT, _UNDEFINED, comment)] if parameters else []
    outer: list[Entry] = [(_SOFTWARE, _ASCII, software.encode("ascii", "replace") + b"\0")] if software else []
    start = 8 + _length([*outer, (_EXIF, _LONG, bytes(4))])
    outer.append((_EXIF, _LONG, struct.pack(">I", start)))
    return b"MM\0*" + struct.pack(">I", 8) + _directory(outer, 8) + _directory(inner, start)


def _length(entries: list[Entry]) -> int:
    return 2 + 12 * len(entries) + 4 + sum(len(value) + len(value) % 2 for *_, value in entries if len(value) > 4)


def _directory(entries: list[Entry], at: int) -> bytes:
    """Return a directory that begins at byte `at`, followed by its long values."""
    rows, values = struct.pack(">H", len(entries)), b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        rows += struct.pack(">HHI", tag, kind, len(value) // _SIZES[kind])
        if len(value) <= 4:
            rows += value.ljust(4, b"\0")
        else:
            rows += struct.pack(">I", after + len(values))
            values += value + b"\0" * (len(value) % 2)
    return rows + bytes(4) + values


def read(exif: bytes, texts: Texts) -> None:
    """Add the texts of EXIF: UserComment as `parameters`, our MakerNote, and ComfyUI's texts in Make and Model."""
    exif = exif.removeprefix(PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return
    outer = _entries(exif, order, exif[4:8], (_EXIF, _MAKE, _MODEL))
    inner = _entries(exif, order, outer.get(_EXIF, b""), (_MAKER_NOTE, _USER_COMMENT))
    if inner.get(_MAKER_NOTE, b"").startswith(_OURS):
        texts.add_json(inner[_MAKER_NOTE].removeprefix(_OURS))
    if _USER_COMMENT in inner:
        texts.add("parameters", _comment(inner[_USER_COMMENT], order).encode(errors="replace"))
    for tag in (_MAKE, _MODEL):
        key, colon, text = outer.get(tag, b"").rstrip(b"\0").partition(b":")
        if colon and key in (b"prompt", b"workflow"):
            texts.add(key.decode(), text)


def _entries(exif: bytes, order: str, pointer: bytes, wanted: tuple[int, ...]) -> dict[int, bytes]:
    """Return the values of the wanted tags of the directory that `pointer` leads to."""
    found: dict[int, bytes] = {}
    if len(pointer) != 4:
        return found
    at = int(struct.unpack(f"{order}I", pointer)[0])
    count = int(struct.unpack(f"{order}H", exif[at : at + 2])[0]) if at + 2 <= len(exif) else 0
    for row in range(at + 2, min(at + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, number = struct.unpack(f"{order}HHI", exif[row : row + 8])
        if tag in wanted and tag not in found:
            size = number * _SIZES.get(kind, 1)
            place = row + 8 if size <= 4 else int(struct.unpack(f"{order}I", exif[row + 8 : row + 12])[0])
            found[tag] = exif[place : place + size]
    return found


def _comment(value: bytes, order: str) -> str:
    """Decode a UserComment: eight bytes that name the code, then the text."""
    code, text = value[:8], value[8:]
    if code == b"UNICODE\0":
        # The standard leaves the byte order open, and programs differ: zeros are where ASCII letters have none.
        big = text[::2].count(0) - text[1::2].count(0)
        little = big < 0 or (big == 0 and order == "<")
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
    return text.decode("utf-8", "replace").rstrip("\0 ")
