"""Reading a camera file: its bytes, text or JSON within limits, and numbers that are checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from deforum.camera_files.path import Lens
from deforum.camera_files.rotations import Array, nearest_rotation
from deforum.errors import Problem, UserError
from deforum.limits import CAMERA_FILE, CAMERA_POSES
from deforum.paths import is_file
from schedules.quoting import cut, quote

LARGEST = 1e9  # of a number in a camera file; more is not a place
UNEVEN = 1e-2  # how far a matrix may be from a rotation; files of few digits are at 1e-3


@dataclass(frozen=True)
class Wanted:
    """What the user says about a camera file, beside its name."""

    fps: float | None = None
    """Frame rate at which curves of a file are sampled; None: its own, as far as it tells."""
    camera: str | None = None
    """Name of the camera, where the file has several; None: the first."""
    rotation_order: str = "ZXY"
    """Order of Euler angles, where the file does not tell: see `deforum.camera_files.rotations`."""


@dataclass(frozen=True)
class CameraFile:
    """A camera file: its path, which is a folder for COLMAP, and the first bytes of it."""

    path: Path
    head: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        return self.path.name.casefold()

    @property
    def start(self) -> str:
        """The beginning of a text file."""
        return self.head.decode("utf-8", "replace").lstrip("\ufeff")


def read_bytes(path: Path) -> bytes:
    """Read a regular file within the limit. Raises UserError."""
    try:
        if not is_file(path):
            raise UserError(f"{path}: {'this is no regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            content = file.read(CAMERA_FILE.most + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    if len(content) > CAMERA_FILE.most:
        raise UserError(f"{path}: {CAMERA_FILE.of} {CAMERA_FILE.exceeded(max(len(content), path.stat().st_size))}")
    return content


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or UTF-16, or else in Latin-1, with line breaks of any system. Raises UserError."""
    content = read_bytes(path)
    codec = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise UserError(f"{path}: this is no text; expected a file with a camera's path")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines_of(path: Path, comments: Sequence[str] = ("#", "//")) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that say something, with their numbers. Raises UserError."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.strip()
        if line and not line.startswith(tuple(comments)):
            yield number, line


def refuse(path: Path, message: str, line: int | str = 0) -> NoReturn:
    """Raise UserError at a line of a file, or at a place within its JSON."""
    raise UserError(Problem(message, f"{path}:{line}" if line else str(path)))


def number_of(text: str, path: Path, line: int | str, what: str) -> float:
    """Convert a text to a number. Raises UserError where it is none, or too large to be a place or an angle."""
    try:
        value = float(text) if len(text) < 400 and "_" not in text else math.nan
    except ValueError:
        refuse(path, f"{what}: {quote(text, 40)} is no number", line)
    return checked(value, path, line, what)


def checked(value: float, path: Path, line: int | str, what: str) -> float:
    """Return a number that is finite and not huge. Raises UserError for any other."""
    if not abs(value) <= LARGEST:
        refuse(path, f"{what}: {value:.6g} is out of range; expected a number of at most {LARGEST:.0e}", line)
    return value


def check_count(count: int, path: Path) -> None:
    """Raise UserError for a path without poses, or with too many."""
    if not count:
        refuse(path, "there is no camera pose in it")
    if count > CAMERA_POSES.most:
        refuse(path, f"{CAMERA_POSES.of} {CAMERA_POSES.exceeded(count)}")


def half_tangent(degrees: float, path: Path, line: int | str, what: str) -> float:
    """Return the tangent of half a field of view. Raises UserError for one that no lens has."""
    if not 0 < degrees < 180:
        refuse(path, f"{what} is {degrees:.6g}; expected a field of view between 0 and 180 degrees", line)
    return math.tan(math.radians(degrees) / 2)


def rotations_in(matrices: Array, path: Path, places: Sequence[int | str]) -> Array:
    """Return the rotations in matrices (F, 3, 3), which may be scaled. Raises UserError for what is no rotation."""
    if not (np.abs(matrices).max(axis=(1, 2)) > 0).all():
        refuse(path, "this matrix turns nothing: it is 0", places[int(np.argmin(np.abs(matrices).max(axis=(1, 2))))])
    rotations, apart = nearest_rotation(matrices)
    if apart.max() > UNEVEN:
        worst = int(np.argmax(apart))
        mirrored = np.linalg.det(matrices[worst]) < 0
        what = "it mirrors" if mirrored else "its axes are not at right angles, or not equally long"
        refuse(path, f"the matrix of this pose is no rotation: {what}", places[worst])
    return rotations


# --- JSON -------------------------------------------------------------------------------------------------------------


def parse_json(text: str | bytes, path: Path) -> dict[str, Any]:
    """Parse a JSON object. Raises UserError."""
    try:
        root = json.loads(text)
    except json.JSONDecodeError as error:
        refuse(path, f"this is no JSON: {error.msg}", f"{error.lineno}:{error.colno}")
    except RecursionError:
        refuse(path, "this JSON is nested too deeply")
    except (ValueError, UnicodeDecodeError) as error:
        refuse(path, f"this is no JSON: {cut(error)}")
    if not isinstance(root, dict):
        refuse(path, "expected a JSON object: { ... }")
    return root


@dataclass(frozen=True)
class Node:
    """A value in a JSON file, and where it is."""

    value: Any
    path: Path
    place: str = ""

    def refuse(self, message: str) -> NoReturn:
        refuse(self.path, f"{self.place}: {message}" if self.place else message)

    @property
    def where(self) -> str:
        """Its place as messages about a file name it, after a colon."""
        return self.place or "1"

    def get(self, name: str) -> Node | None:
        """Return what an object has by a name; None where it has none, or null."""
        if not isinstance(self.value, Mapping):
            self.refuse("expected an object: { ... }")
        found = self.value.get(name)
        return None if found is None else Node(found, self.path, f"{self.place}.{name}" if self.place else name)

    def need(self, name: str) -> Node:
        found = self.get(name)
        if found is None:
            self.refuse(f"{name} is missing")
        return found

    def items(self) -> list[Node]:
        if not isinstance(self.value, list):
            self.refuse("expected a list: [ ... ]")
        if len(self.value) > CAMERA_POSES.most:
            self.refuse(f"this list has {len(self.value):,} values; expected at most {CAMERA_POSES.most:,}")
        return [Node(value, self.path, f"{self.place}[{index}]") for index, value in enumerate(self.value)]

    def at(self, index: int) -> Node:
        """Return an item of a list by its number. Raises UserError where there is none."""
        if not isinstance(self.value, list):
            self.refuse("expected a list: [ ... ]")
        if not 0 <= index < len(self.value):
            self.refuse(f"there is no number {index} in it; it has {len(self.value)}")
        return Node(self.value[index], self.path, f"{self.place}[{index}]")

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.refuse(f"expected a number, not {quote(self.value, 40)}")
        try:
            return checked(float(self.value), self.path, self.where, "this number")
        except OverflowError:
            self.refuse("this number is out of range")

    def whole(self) -> int:
        """Return a whole number of at least 0."""
        value = self.number()
        if value < 0 or value != int(value):
            self.refuse(f"expected a whole number, not {value:g}")
        return int(value)

    def text(self) -> str:
        if not isinstance(self.value, str):
            self.refuse(f"expected a text, not {quote(self.value, 40)}")
        return self.value

    def numbers(self, count: int | None = None) -> list[float]:
        values = self.value
        if isinstance(values, list) and all(type(value) is float and abs(value) <= LARGEST for value in values):
            found = list(values)
        else:
            found = [item.number() for item in self.items()]
        if count is not None and len(found) != count:
            self.refuse(f"expected {count} numbers, not {len(found)}")
        return found


def matrix_at(node: Node) -> Array:
    """Return a pose, (3, 4): 4 x 4 or 3 x 4 numbers in rows, or all in one list."""
    items = node.items()
    rows = [item.numbers(4) for item in items] if items and isinstance(items[0].value, list) else None
    flat = node.numbers() if rows is None else [value for row in rows for value in row]
    if len(flat) not in (12, 16):
        node.refuse(f"expected a matrix of 4 x 4 or 3 x 4 numbers, not {len(flat)} numbers")
    if len(flat) == 16 and not np.allclose(flat[12:], (0, 0, 0, flat[15]), atol=1e-6):
        node.refuse("the last row of this matrix is not 0 0 0 1")
    return np.array(flat[:12]).reshape(3, 4)


# --- order of frames --------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\d+")


def times_of_names(names: Sequence[str]) -> list[float]:
    """Return times from the numbers in the names of pictures, frame_00001.png.

    Where all names are the same but for one number, that is the time, and pictures may be missing in between. Other
    names are in the order of their letters and numbers.
    """
    numbers = [[int(digits[:15]) for digits in _NUMBER.findall(name)] for name in names]
    texts = [_NUMBER.split(name) for name in names]
    if len(set(map(tuple, texts))) == 1:
        varying = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
        if len(varying) == 1 and len(set(varying[0])) == len(names):
            return [float(value) for value in varying[0]]
    keys = [list(zip(text, (*number, -1), strict=True)) for text, number in zip(texts, numbers, strict=True)]
    ranks = [0.0] * len(names)
    for rank, index in enumerate(sorted(range(len(names)), key=keys.__getitem__)):
        ranks[index] = float(rank)
    return ranks


def lens_of_focals(x: Sequence[float], y: Sequence[float], sizes: Sequence[tuple[float, float]]) -> Lens:
    """Make a lens from focal lengths along x and y in px, for pictures of sizes (width, height)."""
    size = np.asarray(sizes, np.float64)
    across, down = np.asarray(x, np.float64), np.asarray(y, np.float64)
    aspect = float(size[0, 0] / size[0, 1])
    return Lens(size[:, 0] / 2 / down / aspect, down / across, aspect)
