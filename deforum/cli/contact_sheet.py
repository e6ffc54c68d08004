"""Contact sheets: frames of the runs of a sweep in a grid, labelled with the swept values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deforum.cli.sweep import Axis
    from deforum.events import RunResult

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB

LARGEST_CELL = 256
LARGEST_SHEET = 8000
"""Approximate limit of the longer side, in px; cells shrink to stay below it."""
GAP, TEXT_HEIGHT, MARGIN = 6, 26, 12
PAPER, INK, NOTHING = 255, (40, 40, 40), 225


@dataclass(frozen=True)
class Grid:
    """Pictures in rows and columns, with row and column labels; None for a missing picture."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Pixels | None, ...], ...]


def lay_out(axes: Sequence[Axis], results: Mapping[tuple[str, ...], RunResult]) -> Grid:
    """Arrange the runs of a sweep in a grid; the keys of `results` are the labels of the swept values.

    One axis: a row per value, with the first, middle and last frame. Several axes: the last one across, all others
    down, with the middle frame of each run.
    """
    *down, across = [[(axis.name, value.label) for value in axis.values] for axis in axes]
    if not down:
        moments = ("first frame", "middle frame", "last frame")
        cells = tuple(_moments(results.get((label,))) for _, label in across)
        return Grid(tuple(f"{name}={label}" for name, label in across), moments, cells)
    rows = list(product(*down))
    labels = tuple(" ".join(f"{name}={label}" for name, label in row) for row in rows)
    keys = [[(*(label for _, label in row), label) for _, label in across] for row in rows]
    cells = tuple(tuple(_moments(results.get(key))[1] for key in line) for line in keys)
    return Grid(labels, tuple(f"{name}={label}" for name, label in across), cells)


def _moments(result: RunResult | None) -> tuple[Pixels | None, ...]:
    if result is None or not result.frames:
        return None, None, None
    return tuple(read_frame(result, index) for index in (0, result.frames // 2, result.frames - 1))


def read_frame(result: RunResult, index: int) -> Pixels | None:
    """Read a frame of a finished run from its picture file, else from its video; None if neither can be read."""
    import cv2

    for path in sorted((result.folder / "frames").glob(f"{index:09}.*")):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is not None:
            return np.asarray(picture[..., ::-1], np.uint8)
    if result.video is None:
        return None
    clip = cv2.VideoCapture(str(result.video))
    try:
        for _ in range(index):
            clip.grab()
        done, picture = clip.read()
    finally:
        clip.release()
    return np.asarray(picture[..., ::-1], np.uint8) if done else None


def compose(grid: Grid, title: str) -> Pixels:
    """Draw a grid with a title as a picture, (H, W, 3) RGB."""
    import cv2

    def width_of(text: str) -> int:
        return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0])

    def write(text: str, x: int, y: int, room: int) -> None:
        text = text.encode("ascii", "replace").decode()  # OpenCV's fonts have ASCII only
        while text and width_of(text) > room:
            text = text.removesuffix("...")[:-1] + "..." if len(text) > 4 else ""
        cv2.putText(sheet, text, (x, y + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)

    sizes = [picture.shape[:2] for line in grid.cells for picture in line if picture is not None] or [(64, 64)]
    tallest, widest = max(height for height, _ in sizes), max(width for _, width in sizes)
    most = min(LARGEST_CELL, LARGEST_SHEET // max(len(grid.rows), len(grid.columns)))
    scale = min(1.0, most / max(tallest, widest))
    # At least as high as a label, and wide enough for a readable one.
    cell_h, cell_w = max(round(tallest * scale), TEXT_HEIGHT), max(round(widest * scale), 96)
    label_w = min(max(map(width_of, grid.rows)), 3 * LARGEST_CELL) + GAP
    left, top = MARGIN + label_w, MARGIN + 2 * TEXT_HEIGHT
    width = left + len(grid.columns) * (cell_w + GAP) + MARGIN
    height = top + len(grid.rows) * (cell_h + GAP) + MARGIN
    sheet: Pixels = np.full((height, width, 3), PAPER, np.uint8)
    write(title, MARGIN, MARGIN, width - 2 * MARGIN)
    for column, label in enumerate(grid.columns):
        write(label, left + column * (cell_w + GAP), MARGIN + TEXT_HEIGHT, cell_w)
    for row, label in enumerate(grid.rows):
        y = top + row * (cell_h + GAP)
        write(label, MARGIN, y + (cell_h - TEXT_HEIGHT) // 2, label_w)
        for column, picture in enumerate(grid.cells[row]):
            x = left + column * (cell_w + GAP)
            if picture is None:
                sheet[y : y + cell_h, x : x + cell_w] = NOTHING
                write("no picture", x + GAP, y + (cell_h - TEXT_HEIGHT) // 2, cell_w - 2 * GAP)
                continue
            small = _fit(picture, cell_w, cell_h)
            dy, dx = (cell_h - small.shape[0]) // 2, (cell_w - small.shape[1]) // 2
            sheet[y + dy : y + dy + small.shape[0], x + dx : x + dx + small.shape[1]] = small
    return sheet


def _fit(picture: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture down to fit into width x height; a smaller one is returned unchanged."""
    import cv2

    scale = min(1.0, width / picture.shape[1], height / picture.shape[0])
    size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    return picture if scale == 1 else np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_sheet(path: Path, title: str, axes: Sequence[Axis], results: Mapping[tuple[str, ...], RunResult]) -> Path:
    """Write the contact sheet of a sweep as PNG and return its path. Raises UserError if it cannot be written."""
    from deforum.errors import UserError
    from deforum.output.pictures import encode

    png = encode(compose(lay_out(axes, results), title), "png", {"Title": title})
    try:
        path.write_bytes(png)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return path
