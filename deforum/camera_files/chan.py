"""Nuke's .chan: a line for each frame, of the frame's number, place, Euler angles and vertical field of view.

    frame tx ty tz rx ry rz vfov

Convention: degrees; y up, the camera looks along -z. The file does not tell the order of its angles; Nuke's own is ZXY.
The field of view may be missing. A first line of these names gives columns in another order.
Source: Nuke's and Blender's manuals on the format.
"""

from __future__ import annotations

import numpy as np

from deforum.camera_files.path import CameraPath, Lens, path_of
from deforum.camera_files.reading import (
    CameraFile,
    Wanted,
    check_count,
    half_tangent,
    lines_of,
    number_of,
    read_text,
    refuse,
)
from deforum.camera_files.rotations import of_euler, to_euler
from deforum.camera_files.writing import digits

COLUMNS = ("frame", "tx", "ty", "tz", "rx", "ry", "rz", "vfov")
MOST_COLUMNS = 100  # more than a line may have, read or not


def recognises(file: CameraFile) -> bool:
    return file.name.endswith(".chan")


def read(file: CameraFile, wanted: Wanted) -> CameraPath:
    path = file.path
    columns = _header(read_text(path)) or COLUMNS
    rows: list[list[float]] = []
    tangents: list[float] = []
    known: dict[float, int] = {}
    width = 0
    for number, line in lines_of(path):
        words = line.partition("#")[0].replace(",", " ").split(maxsplit=MOST_COLUMNS)
        if not rows and set(map(str.casefold, words)) <= set(COLUMNS):
            continue
        if not 7 <= len(words) <= MOST_COLUMNS:
            refuse(path, f"this line has {len(words)} columns; expected {' '.join(COLUMNS)}", number)
        width = width or min(len(words), len(columns))
        if len(words) < width:
            refuse(path, f"this line has {len(words)} columns, and the lines before have {width}", number)
        named = {name: number_of(word, path, number, name) for name, word in zip(columns[:width], words, strict=False)}
        row = [named.get(name, 0.0) for name in COLUMNS]
        if row[0] in known:
            refuse(path, f"frame {row[0]:g} is given twice; first in line {known[row[0]]}", number)
        known[row[0]] = number
        check_count(len(rows) + 1, path)
        rows.append(row)
        if "vfov" in named:
            tangents.append(half_tangent(row[7], path, number, "vfov"))
    check_count(len(rows), path)
    values = np.array(rows)
    rotation = of_euler(values[:, 4:7], wanted.rotation_order)
    lens = Lens(np.array(tangents), np.ones(len(rows))) if tangents else None
    return path_of(values[:, 0], rotation, values[:, 1:4], lens)


def _header(text: str) -> tuple[str, ...] | None:
    """Return the names in the first line that has words of the columns, in a comment or not; None without one."""
    for line in text.split("\n", 20)[:20]:
        words = tuple(line.casefold().lstrip("#/ \t").replace(",", " ").split())
        if {"frame", "tx", "rz"} <= set(words) <= set(COLUMNS) and len(set(words)) == len(words):
            return words
    return None


def write(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    angles = to_euler(path.rotation, wanted.rotation_order)
    columns = [path.position, angles]
    if path.lens is not None:
        columns.append(2 * np.degrees(np.arctan(path.lens.vertical))[:, None])
    rows = np.concatenate(columns, axis=1)
    lines = ("\t".join((digits(time), *map(digits, row))) for time, row in zip(path.times, rows.tolist(), strict=True))
    return {"": "".join(f"{line}\n" for line in lines).encode("ascii")}
