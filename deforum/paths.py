"""Paths that a user or a file gives: what the operating system would refuse is a UserError, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

from deforum.errors import UserError


def to_path(text: str | Path) -> Path:
    """Convert a text to a path, with `~` replaced by the home folder.

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
    return os.path.exists(path)


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False for a path that cannot be one, for pipes and for devices."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False for a path that cannot be one."""
    return os.path.isdir(path)
