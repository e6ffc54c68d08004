"""Noise that moves with the picture: a map of which noise cell is where.

The noise of a seed is fixed to the screen. With a fixed seed the same noise falls on a picture that has moved on, and
diffusion paints from it what was there before: the picture holds still, or boils. Here the noise consists of numbered
places, a few px apart, that move with the picture; the noise of a place follows from its number and the seed. Newly
visible regions get new places.

Source of the idea: P. Chang et al., "How I Warped Your Noise" (ICLR 2024), which moves noise by integration. Here
places are moved whole, which keeps the noise white under any motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deforum.motion.positions import Chart


PER_CELL = 4  # places per latent cell, along each axis
BESIDE = 1.5  # spacings; farthest that a place may be from the grid position it is assigned to
UNEVEN = 0.004  # spacings; breaks ties between equally near positions, the same way all over the picture
ROUNDS = 3  # of assignment: the place that a position chose may have gone to another


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """The noise places of one frame: a grid (rows, columns) that covers the picture."""

    spacing: int
    """px between neighbouring grid positions."""
    numbers: NDArray[np.int64]
    """(rows, columns): the number of the place at each grid position, from 0, each number once."""
    beside: NDArray[np.float32]
    """(2, rows, columns), x then y, in spacings: offset of each place's true position from its grid position.

    Places move in whole steps; the remainder is kept here, so that slow motion is not lost.
    """

    @staticmethod
    def of(width: int, height: int, factor: int) -> NoiseMap:
        """Number the places of the first frame, width x height px, with latent cells of `factor` x `factor` px."""
        spacing = max(1, factor // PER_CELL)
        rows, columns = -(-height // spacing), -(-width // spacing)
        numbers = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
        return NoiseMap(spacing, numbers, np.zeros((2, rows, columns), np.float32))

    def within(self, left: int, top: int, width: int, height: int) -> NoiseMap:
        """Return the map of a larger picture of width x height px, in which this one's begins at (left, top) px.

        The places around it have negative numbers, and do not move. `left` and `top` are whole spacings.
        """
        rows, columns = -(-height // self.spacing), -(-width // self.spacing)
        numbers = -1 - np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
        beside = np.zeros((2, rows, columns), np.float32)
        down, across = (slice(at // self.spacing, at // self.spacing + count)
                        for at, count in zip((top, left), self.numbers.shape, strict=True))  # fmt: skip
        numbers[down, across], beside[:, down, across] = self.numbers, self.beside
        return NoiseMap(self.spacing, numbers, beside)

    def moved(self, came: Chart, index: int) -> NoiseMap:
        """Move the places to frame `index`; `came` maps its pixels to the frame before, with their coverage.

        Disoccluded positions, and those left without a free place, get new places.
        """
        rows, columns = self.numbers.shape
        count, every = rows * columns, slice(None, None, self.spacing)
        # One transfer for both.
        known = came.both()[:, every, every].cpu().numpy().reshape(3, count)
        at, seen = known[:2] / self.spacing, known[2] > 0.5
        middle = np.rint(at.clip(-2, max(rows, columns) + 1)).astype(np.int64)
        # The 3 x 3 candidate places of each grid position.
        column, row = (middle[:, None] + np.mgrid[-1:2, -1:2].reshape(2, 9, 1)).reshape(2, 9, count)
        place = row.clip(0, rows - 1) * columns + column.clip(0, columns - 1)
        off = np.stack((column, row)).astype(np.float32) + self.beside.reshape(2, count)[:, place] - at[:, None]
        far = np.square(off + UNEVEN).sum(0)
        far[(column < 0) | (column >= columns) | (row < 0) | (row >= rows) | ~seen | (far > BESIDE**2)] = np.inf
        chosen = _share_out(place, far)
        kept = np.flatnonzero(chosen >= 0)
        chosen = chosen[kept]
        numbers, beside = index * count + np.arange(count), np.zeros((2, count), np.float32)
        numbers[kept], beside[:, kept] = self.numbers.ravel()[place[chosen, kept]], off[:, chosen, kept]
        return NoiseMap(self.spacing, numbers.reshape(rows, columns), beside.reshape(2, rows, columns))


def _share_out(place: NDArray[np.int64], far: NDArray[np.float32]) -> NDArray[np.int64]:
    """Assign to each position one of its candidates (9, N), nearest first, each place once: (N,) row, -1 for none.

    `far` (9, N) is their squared distance in spacings, infinite for candidates that are ruled out.
    """
    chosen = np.full(place.shape[1], -1, np.int64)
    free = np.ones(place.max() + 1, bool)
    for _ in range(ROUNDS):
        empty = np.flatnonzero(chosen < 0)
        open_far = np.where(free[place[:, empty]], far[:, empty], np.inf)
        best = open_far.argmin(0)
        distance = open_far.min(0)
        order = distance.argsort(kind="stable")[: np.count_nonzero(distance < np.inf)]
        empty, best = empty[order], best[order]
        taken, first = np.unique(place[best, empty], return_index=True)  # `order` puts the nearest first
        chosen[empty[first]] = best[first]
        free[taken] = False
    return chosen
