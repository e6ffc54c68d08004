"""Texts collected from a file that may be hostile, with limits on their length."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field

from deforum.limits import METADATA, METADATA_PARTS, METADATA_TEXT

LONGEST = METADATA_TEXT.most
"""Bytes of the longest text that is read or written."""
MOST = METADATA.most
"""Bytes of all texts of a file."""
MOST_PARTS = METADATA_PARTS.most
"""Chunks, segments or blocks of a file that are looked at."""


@dataclass
class Texts:
    """The texts found so far, by key; what exceeds the limits is left out."""

    found: dict[str, str] = field(default_factory=dict)
    _bytes: int = 0

    def fits(self, length: int) -> bool:
        """Return whether a part of `length` bytes may be read."""
        return length <= LONGEST and self._bytes + length <= MOST

    def add(self, key: str, text: bytes | None) -> None:
        """Add a text, UTF-8 or else Latin-1; the first of two with one key is kept, an empty one is not."""
        if text and key not in self.found and self.fits(len(text)):
            self._bytes += len(text)
            self.found[key] = decode(text)

    def add_json(self, text: bytes) -> None:
        """Add the texts of a JSON object of texts; anything else is ignored."""
        if not self.fits(len(text)) or not text.startswith(b"{"):
            return
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            return
        for key, value in values.items():
            if isinstance(value, str):
                self.add(key, value.encode(errors="replace"))


def decode(text: bytes) -> str:
    """Decode a text as UTF-8, which most programs write, else as Latin-1, which older formats prescribe."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def inflate(packed: bytes) -> bytes | None:
    """Decompress a zlib stream; None if it is damaged or longer than LONGEST."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, LONGEST + 1)
    except zlib.error:
        return None
    return text if len(text) <= LONGEST else None
