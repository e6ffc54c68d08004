"""Restart sampling (Xu et al. 2023, arXiv 2306.14878): Heun's method that goes back up in noise, and down again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from deforum.diffusion.sampling.walk import Tensor, Walk

_LOW, _HIGH = 0.1, 2.0
"""The noise levels between which it restarts; the nearest ones of the walk are taken."""
_RHO = 7.0


def restart(x: Tensor, walk: Walk) -> Tensor:
    """Walk down, and again from 2 to 0.1 where 20 steps or more are run; two evaluations per step, one in the last.

    The steps of the restarts are taken from those that are run: 9 of them for one restart, from 36 steps on a quarter
    for each of two, as hosts of k-diffusion do. With fewer than 20 steps it is Heun's method on the levels of the walk.
    """
    for piece in pieces(walk.sigmas):
        if piece.climb:
            x = walk.hold(x + walk.noise() * sqrt(piece.sigmas[0] ** 2 - piece.climb**2), piece.sigmas[0])
        for sigma, target in zip(piece.sigmas, piece.sigmas[1:], strict=False):
            slope = (x - walk.denoise(x, sigma)) / sigma
            reached = x + slope * (target - sigma)
            if target > 0:
                slope = (slope + (reached - walk.denoise(reached, target)) / target) / 2
                reached = x + slope * (target - sigma)
            x = walk.hold(reached, target)
    return x


@dataclass(frozen=True)
class Piece:
    """Levels that are walked down, after noise from the level `climb` up to the first of them; 0: without noise."""

    sigmas: tuple[float, ...]
    climb: float = 0.0


def pieces(sigmas: Sequence[float]) -> list[Piece]:
    """Split a walk into its way down and its restarts."""
    steps = len(sigmas) - 1
    if steps < 20:
        return [Piece(tuple(sigmas))]
    again, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    way = (*_karras(steps - again * times, sigmas[0], sigmas[-2]), sigmas[-1])
    top, turn = (min(range(len(way) - 1), key=lambda i: abs(way[i] - level)) for level in (_HIGH, _LOW))
    if top >= turn:
        return [Piece(way)]
    loop = Piece(tuple(_karras(again + 1, way[top], way[turn])), way[turn])
    return [Piece(way[: turn + 1]), *[loop] * times, Piece(way[turn:])]


def _karras(count: int, high: float, low: float) -> list[float]:
    ends = high ** (1 / _RHO), low ** (1 / _RHO)
    levels = [(ends[0] + i / (count - 1) * (ends[1] - ends[0])) ** _RHO for i in range(count)]
    return [high, *levels[1:-1], low]
