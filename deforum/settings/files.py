"""Lookup of the files that settings name, and the error message for missing ones."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.errors import UserError
from deforum.models.library import look_up
from deforum.models.places import Kind, roots_of
from deforum.paths import is_file, is_folder, to_path
from schedules import nearest
from schedules.quoting import cut, quote


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
        return next((path for path in self._places(text) if is_file(path) or is_folder(path)), None)

    def find_file(self, text: str) -> Path | None:
        """Return the first existing file of this name; None if there is none."""
        return next((path for path in self._places(text) if is_file(path)), None)

    def find_model(self, kind: Kind | None, text: str, models_dir: str | None) -> Path | None:
        """Return the model of a kind that has this name under `models_dir`; None if none has it.

        Raises UserError where several have it.
        """
        try:
            roots = roots_of(models_dir)
        except UserError:
            return None  # what is wrong with models_dir is told of where models are looked for
        return look_up(kind, text, roots) if kind is not None and text else None

    def _places(self, text: str) -> tuple[Path, ...]:
        """Return where a file of this name may be; nowhere for a text that cannot be a path."""
        with contextlib.suppress(UserError):
            path = to_path(text)
            return (self.folder / path, path) if text else ()
        return ()

    def missing(self, text: str, words: Sequence[str] = ()) -> str:
        """Return the error message for a missing file, with a remedy; `words` are what may stand in its place."""
        if not text:
            return "this has to name a file"
        if is_url(text):
            return f"{cut(text)} is not fetched; download it and give the file"
        try:
            to_path(text)
        except UserError as error:
            return str(error)
        if words and not re.search(r"[/\\.]", text):
            meant = nearest(text, words)
            hint = f"; did you mean {meant}?" if meant else ""
            return f"{quote(text)} is neither one of {', '.join(words)} nor a file{hint}"
        looked = " and ".join(dict.fromkeys((str(self.folder.resolve()), str(Path.cwd()))))
        return f"there is no file {quote(text)} (looked in {looked})"
