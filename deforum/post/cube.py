"""Tables of colours in .cube files. Source: Adobe, "Cube LUT specification", version 1.0, 2013."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.limits import COLOR_TABLE

LARGEST = {"LUT_1D_SIZE": 65_536, "LUT_3D_SIZE": 129}


@dataclass(frozen=True, eq=False)
class Table:
    """Colours by colour: (N, 3) for each channel by itself, or (N, N, N, 3) by blue, green and red."""

    values: NDArray[np.float32]
    domain: tuple[tuple[float, float, float], tuple[float, float, float]]
    """The colours of the first and the last entry."""


def read_cube(path: Path) -> Table:
    """Read a .cube file. Raises UserError with file and line where it is none."""
    try:
        COLOR_TABLE.check(path.stat().st_size, f"{path}: the table")
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    kind, size, rows = "", 0, list[tuple[float, float, float]]()
    domain = {"DOMAIN_MIN": (0.0, 0.0, 0.0), "DOMAIN_MAX": (1.0, 1.0, 1.0)}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words or words[0] == "TITLE":
            continue
        try:
            if words[0] in LARGEST:
                kind, size = words[0], int(words[1])
                if not 2 <= size <= LARGEST[kind]:
                    raise UserError(f"{path}:{number}: {kind} is {size}; expected 2 to {LARGEST[kind]}")
            elif words[0] in domain:
                domain[words[0]] = _three(words[1:])
            elif words[0][:1].isalpha():
                continue  # a word of another program's
            else:
                rows.append(_three(words))
        except (ValueError, IndexError):
            raise UserError(f"{path}:{number}: {line[:80]!r} is no line of a .cube table") from None
    if not kind:
        raise UserError(f"{path}: has neither LUT_3D_SIZE nor LUT_1D_SIZE; expected a .cube table")
    expected = size**3 if kind == "LUT_3D_SIZE" else size
    if len(rows) != expected:
        raise UserError(f"{path}: has {len(rows)} colours; {kind} {size} needs {expected}")
    low, high = domain["DOMAIN_MIN"], domain["DOMAIN_MAX"]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise UserError(f"{path}: DOMAIN_MIN is not below DOMAIN_MAX")
    values = np.array(rows, np.float32)
    return Table(values.reshape(size, size, size, 3) if kind == "LUT_3D_SIZE" else values, (low, high))


def _three(words: list[str]) -> tuple[float, float, float]:
    red, green, blue = map(float, words)
    if not np.isfinite([red, green, blue]).all():
        raise ValueError
    return red, green, blue
