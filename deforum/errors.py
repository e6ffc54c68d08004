"""Errors that the user can fix: the program ends with exit status 2, without a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One problem and its place: `where` is 'file:line:column', or the known part of it.

    Both may hold texts of a stranger: control characters are escaped, overlong lines are cut.
    """

    message: str
    where: str = ""

    def __post_init__(self) -> None:
        from schedules.quoting import cut, printable  # here: `--help` needs this module, and no schedules

        object.__setattr__(self, "message", printable(self.message))
        object.__setattr__(self, "where", cut(self.where, 400))

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UserError(Exception):
    """A request of the user's that cannot be done; holds every problem found, not only the first."""

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
    """Return the UserError for a failed write: the reason and a remedy; `path` is used where `error` names no file."""
    reason = _DISK.get(error.errno or 0, error.strerror or str(error))
    return UserError(f"{error.filename or path}: cannot be written: {reason}")
