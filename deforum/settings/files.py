"""Lookup of the files that settings name, and the error message for missing ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


def is_url(text: str) -> bool:
    """Whether a text is an http or https address."""
    return text.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Lookup:
    """Finds files by the paths in a settings file: first in the file's own folder, then in the current folder.

    A path that begins with ~/ starts from the home folder.
    """

    folder: Path

    def find(self, text: str) -> Path | None:
        """Return the first existing file or folder of this name; None if there is none."""
        return next((path for path in self._places(text) if path.exists()), None) if text else None

    def find_file(self, text: str) -> Path | None:
        """Return the first existing file of this name; None if there is none."""
        return next((path for path in self._places(text) if path.is_file()), None) if text else None

    def _places(self, text: str) -> tuple[Path, Path]:
        path = Path(text)
        if path.parts[:1] == ("~",):
            path = path.expanduser()
        return self.folder / path, path

    def missing(self, text: str) -> str:
        """Return the error message for a missing file, with a remedy."""
        if not text:
            return "this has to name a file"
        if is_url(text):
            return f"{text} is not fetched; download it and give the file"
        looked = " and ".join(dict.fromkeys((str(self.folder.resolve()), str(Path.cwd()))))
        return f"there is no file {text!r} (looked in {looked})"
