"""Texts in picture files: what was rendered with which settings, written into frames and read back from them.

Every picture kind carries three texts: `parameters`, which the tools of A1111 and others show; the settings of the run
as YAML; and the values of the frame as JSON.

| kind | `parameters` | settings and frame |
|---|---|---|
| PNG | tEXt or iTXt `parameters` | tEXt or iTXt `deforum_settings`, `deforum_frame` |
| JPEG | EXIF UserComment | comment segments, JSON |
| WebP | EXIF UserComment | EXIF MakerNote, JSON |
| GIF | | comment extension: the settings |

Files are read with limits, as they may come from strangers: no text longer than LONGEST, at most MOST in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from deforum.errors import UserError
from deforum.metadata.limits import Texts

SOFTWARE, PARAMETERS, SETTINGS, FRAME = "Software", "parameters", "deforum_settings", "deforum_frame"


@dataclass(frozen=True)
class Kind:
    """A kind of picture file, known by its first bytes: a row of KINDS."""

    name: str
    begins: bytes
    and_then: bytes = b""
    """Bytes from the ninth on."""

    def matches(self, head: bytes) -> bool:
        return head.startswith(self.begins) and head[8:].startswith(self.and_then)

    @property
    def read(self) -> Callable[[BinaryIO], Texts]:
        reader: Callable[[BinaryIO], Texts] = import_module(f"deforum.metadata.{self.name.lower()}").read
        return reader


KINDS = (
    Kind("PNG", b"\x89PNG\r\n\x1a\n"),
    Kind("JPEG", b"\xff\xd8\xff"),
    Kind("WebP", b"RIFF", b"WEBP"),
    Kind("GIF", b"GIF8"),
)


def kind_of(head: bytes) -> Kind | None:
    """Return the kind of picture that begins with `head` (12 bytes or more); None for other files."""
    return next((kind for kind in KINDS if kind.matches(head)), None)


def read_texts(path: Path) -> Mapping[str, str] | None:
    """Return the texts in a picture file by key; None if it is no PNG, JPEG, WebP or GIF.

    A damaged or cut file gives the texts before the damage. Raises UserError where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(12))
            if kind is None:
                return None
            file.seek(0)
            return kind.read(file).found
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
