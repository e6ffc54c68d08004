"""Errors that are the user's to mend: they end with exit status 2 and never with a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where: `where` is 'file:line:column' or as much of it as is known."""

    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UserError(Exception):
    """Something the user asked for cannot be done; carries every problem found, not only the first."""

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


_DISK = {
    errno.ENOSPC: "the disk is full; make room, or choose another folder with -o",
    errno.EDQUOT: "your share of the disk is used up; make room, or choose another folder with -o",
    errno.EROFS: "this disk can only be read; choose another folder with -o",
    errno.EACCES: "writing here is not allowed; choose another folder with -o",
    errno.EPERM: "writing here is not allowed; choose another folder with -o",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter batch_name or output",
}


def disk_error(error: OSError, path: Path) -> UserError:
    """Say why nothing can be written, and what helps; `path` is named where the error names no file."""
    reason = _DISK.get(error.errno or 0, error.strerror or str(error))
    return UserError(f"{error.filename or path}: cannot be written: {reason}")
