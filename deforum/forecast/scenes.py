"""The depth that a forecast assumes where no network may be asked: of a typical picture of the embedded model.

Measured with the embedded depth model on pictures of the embedded model, of twelve prompts and two seeds: landscapes,
a sea, a city, an apple (open), and forests with a path (enclosed). Values are means over 8 x 8 parts of the picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]
"""(rows, columns), a value for each part of the picture."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A kind of scene: how near things are in each part of its pictures."""

    name: str
    nearness: Grid
    """Inverse depth from 0, the far end of the camera's range, to 1, its near end."""
    slab: Grid
    """Inverse depth of Deforum's slab, whose depths are equalised to 1..2."""
    edges: tuple[float, float]
    """How much nearness changes at sharp edges of things, in sum along a row and along a column."""
    slab_edges: tuple[float, float]
    spread: float
    """By which share the nearness of most pictures lies around this, on average over each."""
    slab_spread: float = 0.05
    """Likewise of Deforum's slab."""

    def nearer(self, way: float) -> Scene:
        """Return the nearest scene of the usual ones at 1, the farthest one at -1."""
        nearness, slab = self.nearness * (1 + way * self.spread), self.slab * (1 + way * self.slab_spread)
        return replace(self, nearness=nearness, slab=slab)


def _mirrored(left_half: list[list[float]]) -> Grid:
    half = np.array(left_half)
    return np.hstack((half, half[:, ::-1]))


def _even(rows: list[float]) -> Grid:
    return np.repeat(np.array(rows)[:, None], 8, 1)


OPEN = Scene(
    "an open scene, near below and far above",
    _even([0.0, 0.01, 0.02, 0.07, 0.19, 0.39, 0.66, 0.91]),
    _even([0.62, 0.63, 0.64, 0.66, 0.7, 0.75, 0.84, 0.93]),
    (0.05, 0.07),
    (0.03, 0.03),
    0.2,
)
ENCLOSED = Scene(
    "an enclosed scene, near all around",
    _mirrored([
        [0.85, 0.83, 0.85, 0.82],
        [0.80, 0.67, 0.71, 0.59],
        [0.69, 0.55, 0.45, 0.33],
        [0.59, 0.52, 0.31, 0.02],
        [0.62, 0.55, 0.32, 0.05],
        [0.68, 0.61, 0.45, 0.27],
        [0.77, 0.71, 0.64, 0.53],
        [0.91, 0.87, 0.83, 0.79],
    ]),
    _mirrored([
        [0.81, 0.80, 0.82, 0.80],
        [0.77, 0.70, 0.72, 0.68],
        [0.72, 0.67, 0.64, 0.58],
        [0.69, 0.66, 0.60, 0.51],
        [0.71, 0.67, 0.60, 0.52],
        [0.72, 0.68, 0.61, 0.56],
        [0.74, 0.71, 0.66, 0.62],
        [0.86, 0.82, 0.79, 0.76],
    ]),
    (2.8, 0.33),
    (1.25, 0.15),
    0.15,
)  # fmt: skip
AROUND = re.compile(
    r"\b(?:forest|woods?|jungle|tunnel|cave|cavern|corridor|hallway|room|interior|library|church|cathedral|alley)s?\b",
    re.IGNORECASE,
)
"""Words of prompts for enclosed scenes."""


def scene_of(prompts: Iterable[str]) -> Scene:
    """Choose the kind of scene that most of the prompts name."""
    texts = list(prompts)
    named = sum(bool(AROUND.search(text)) for text in texts)
    return ENCLOSED if texts and 2 * named > len(texts) else OPEN


def at_grid(values: Grid, rows: int, columns: int) -> Grid:
    """Read a grid at rows x columns points, evenly spaced over the picture, linearly: (rows, columns)."""
    high, wide = values.shape
    y = np.clip((np.arange(rows) + 0.5) * high / rows - 0.5, 0, high - 1)
    x = np.clip((np.arange(columns) + 0.5) * wide / columns - 0.5, 0, wide - 1)
    down = np.array([np.interp(y, np.arange(high), column) for column in values.T]).T
    return np.array([np.interp(x, np.arange(wide), row) for row in down])
