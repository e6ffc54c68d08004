"""Files that settings name: where they are looked for, and what is said of those that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


def is_url(text: str) -> bool:
    """Whether a text names something on a network."""
    return text.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Lookup:
    """Finds files by the paths in a settings file: in the file's own folder, then in the current one."""

    folder: Path

    def find(self, text: str) -> Path | None:
        """Give the first place where there is something of this name; None where there is nothing."""
        return next((path for path in (self.folder / text, Path(text)) if path.exists()), None) if text else None

    def find_file(self, text: str) -> Path | None:
        """Find as `find` does, files alone."""
        return next((path for path in (self.folder / text, Path(text)) if path.is_file()), None) if text else None

    def missing(self, text: str) -> str:
        """Say that something is not there, and what to do."""
        if not text:
            return "this has to name a file"
        if is_url(text):
            return f"{text} is not fetched; download it and give the file"
        looked = " and ".join(dict.fromkeys((str(self.folder.resolve()), str(Path.cwd()))))
        return f"there is no file {text!r} (looked in {looked})"
