"""Sizes of pictures on the way to a frame; without torch."""

from __future__ import annotations

CELL = 8
"""px; the sides of a smaller first picture are multiples of this, and at least 8 times as long."""

Size = tuple[int, int]
"""Width and height, px."""


def first_size(hires_scale: float, width: int, height: int) -> Size | None:
    """Return the size of the first pass of a frame of width x height px; None where it is painted once."""
    if hires_scale <= 1:
        return None
    size = tuple(max(8 * CELL, round(side / hires_scale / CELL) * CELL) for side in (width, height))
    return None if size[0] >= width and size[1] >= height else (min(size[0], width), min(size[1], height))
