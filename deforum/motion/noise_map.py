"""Noise that moves with the picture: which piece of a seed's noise is where.

A seed stands for noise that is nailed to the screen. Under a fixed seed the same noise falls on a picture that has
moved on, and diffusion paints from it what was there before: the picture holds still, or boils. Here the noise is made
of numbered places, a few px apart, which travel with the picture; what noise a place has follows from its number and
the seed. What comes into view brings new places with it.

Source of the idea: P. Chang et al., "How I Warped Your Noise" (ICLR 2024), whose noise is moved by integration. Places
are moved whole instead, which keeps the noise white, whatever the motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deforum.motion.positions import Chart


PER_CELL = 4  # places across a latent cell, and down
BESIDE = 1.5  # places that one may be beside its own position
UNEVEN = 0.004  # places; what would be as near to two positions is nearer to one, and to the same one all over
ROUNDS = 3  # in which places are shared out: what a position wanted may be another's by then


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """The places on the screen at one frame, (rows, columns) of them, which cover the picture."""

    spacing: int
    """px from one to the next."""
    numbers: NDArray[np.int64]
    """0 and above, each once."""
    beside: NDArray[np.float32]
    """(2, rows, columns), x then y, in spacings: how far right and below of here each place really is.

    Places go in whole steps; what is left over is remembered, so that a slow motion is not lost.
    """

    @staticmethod
    def of(width: int, height: int, factor: int) -> NoiseMap:
        """Number the places of a first frame of so many px, whose latent cells cover `factor` px each way."""
        spacing = max(1, factor // PER_CELL)
        rows, columns = -(-height // spacing), -(-width // spacing)
        numbers = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
        return NoiseMap(spacing, numbers, np.zeros((2, rows, columns), np.float32))

    def moved(self, came: Chart, index: int) -> NoiseMap:
        """Go with a motion to frame `index`: `came` says where each pixel of that frame was, and whether it was seen.

        Where nothing was seen, and where one place would be in two, there are new places.
        """
        rows, columns = self.numbers.shape
        count, every = rows * columns, slice(None, None, self.spacing)
        at = came.positions[:, every, every].cpu().numpy().reshape(2, count) / self.spacing
        seen = came.covers[every, every].cpu().numpy().reshape(count) > 0.5
        middle = np.rint(at.clip(-2, max(rows, columns) + 1)).astype(np.int64)
        # Each position and the 3 x 3 places that may really be there.
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
    """Say which of its candidates (9, N) each position gets, the nearest first and each place once; -1 for none.

    `far` says how far off they are, infinite where they cannot be had.
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
        taken, first = np.unique(place[best, empty], return_index=True)  # the first of them is the nearest
        chosen[empty[first]] = best[first]
        free[taken] = False
    return chosen
