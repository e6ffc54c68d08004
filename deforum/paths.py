"""Paths that a user or a file gives: what the operating system would refuse is a UserError, with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from deforum.errors import UserError

_FOLDERS: ContextVar[tuple[Path, ...] | None] = ContextVar("folders", default=None)
"""The folders that settings may name files in; None: all."""


@contextmanager
def only_in(folders: Sequence[Path] | None) -> Iterator[None]:
    """Within the block, let settings name files in these folders and below them alone, with all links followed.

    None allows all. For settings from another computer. What lies elsewhere is refused by `to_path`, and not there for
    `exists`, `is_file` and `is_folder`.
    """
    token = _FOLDERS.set(None if folders is None else tuple(folder.resolve() for folder in folders))
    try:
        yield
    finally:
        _FOLDERS.reset(token)


def cache_folder() -> Path:
    """Return the folder for what can be made again. Raises RuntimeError where the user has no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deforum"


def is_allowed(path: Path) -> bool:
    """Whether settings may name a file: see `only_in`."""
    folders = _FOLDERS.get()
    if folders is None:
        return True
    try:
        real = path.resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    return any(real.is_relative_to(folder) for folder in folders)


def to_path(text: str | Path) -> Path:
    """Convert a text of a user's or a file's to a path, with `~` replaced by the home folder.

    Raises UserError for what no file can be called, see `as_path`, and for what `only_in` does not allow.
    """
    from schedules.quoting import quote

    path = as_path(text)
    if ".." in path.parts and _FOLDERS.get() is not None:
        raise UserError(f"{quote(text)}: .. is not allowed in paths of settings from another computer")
    if not is_allowed(path):
        raise UserError(f"{quote(text)} is not in a folder that settings from another computer may name files in")
    return path


def as_path(text: str | Path) -> Path:
    """Convert a text to a path, with `~` replaced by the home folder, wherever it is.

    Raises UserError for what no file can be called: character 0, more bytes than a file system takes, the home of an
    unknown user, and addresses of computers on a network.
    """
    from deforum.limits import PATH, PATH_NAME
    from schedules.quoting import quote

    words = str(text)
    if "\0" in words:
        raise UserError(f"{quote(words)} is no path; character 0 (NUL) is not allowed in it")
    try:
        os.fsencode(words)
    except UnicodeEncodeError:
        raise UserError(f"{quote(words)} is no path; it has half of a character, such as of a cut emoji") from None
    if words.startswith(("\\\\", "//")):
        raise UserError(f"{quote(words)} is on a network and is not fetched; copy it here and give the file")
    if _size(words) > PATH.most:
        raise UserError(f"{quote(words)} is no path: it {PATH.exceeded(_size(words))}")
    longest = max(map(_size, Path(words).parts), default=0)
    if longest > PATH_NAME.most:
        raise UserError(f"{quote(words)} is no path: a name in it {PATH_NAME.exceeded(longest)}")
    try:
        return Path(words).expanduser()
    except RuntimeError:
        raise UserError(f"{quote(words)}: there is no user of this name here; write the path in full") from None


def _size(text: str) -> int:
    """Return the bytes of a name; names that are not UTF-8 are held as lone surrogates in Python."""
    return len(text.encode("utf-8", "surrogatepass"))


def stays_inside(text: str) -> bool:
    """Whether a path lies in the current folder or below it, with all links followed; False for what is no path."""
    try:
        return to_path(text).resolve().is_relative_to(Path.cwd().resolve())
    except (UserError, OSError, RuntimeError):
        return False


def exists(path: Path) -> bool:
    """Whether there is a file or folder; False for a path that cannot be one, or that may not be looked at."""
    return os.path.exists(path) and is_allowed(path)


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False for a path that cannot be one, for pipes and for devices."""
    return os.path.isfile(path) and is_allowed(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False for a path that cannot be one."""
    return os.path.isdir(path) and is_allowed(path)
