"""Random numbers as functions of a seed and a position: the same on every machine, in any order of evaluation.

A position is hashed with the seed by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), in 64-bit integers.
Only +, - and * of doubles follow, which round alike everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_FARTHEST = 2.0**52
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def rand(x: Numbers, series: Numbers, seed: int) -> Numbers:
    """Return a number in 0..1 for each whole part of x; numbers of different series are independent."""
    return _uniform(_whole(x), series, seed)


def smooth_rand(x: Numbers, series: Numbers, seed: int) -> Numbers:
    """Return what has the values of `rand` at whole x, and goes from one to the next in a smooth curve."""
    left = _whole(x)
    part = x - left
    return _between(_uniform(left, series, seed), _uniform(left + 1, series, seed), part * part * (3 - 2 * part))


def noise(x: Numbers, series: Numbers, seed: int) -> Numbers:
    """Return Perlin noise in -1..1: 0 at whole x, with a random slope there."""
    left = _whole(x)
    part = x - left
    ease = part * part * part * (part * (part * 6 - 15) + 10)
    slope, next_slope = 2 * _uniform(left, series, seed) - 1, 2 * _uniform(left + 1, series, seed) - 1
    return 2 * _between(slope * part, next_slope * (part - 1), ease)


def _between(a: Numbers, b: Numbers, share: Numbers) -> Numbers:
    return a + (b - a) * share


def _whole(x: Numbers) -> Numbers:
    """Return the whole part of x; beyond 2**52, where there are no others, the end of that range."""
    found: Numbers = np.floor(np.clip(x, -_FARTHEST, _FARTHEST))
    return found


def _uniform(at: Numbers, series: Numbers, seed: int) -> Numbers:
    """Return 53 random bits as a number in 0..1 for each whole number; NaN where it is none."""
    lost = np.isnan(at) | np.isnan(series)
    with np.errstate(over="ignore"):
        state = _mixed(np.full(at.shape, seed & (2**64 - 1), np.uint64))
        for part in (series, at):
            whole = np.where(lost, 0, _whole(part)).astype(np.int64).astype(np.uint64)
            state = _mixed((state ^ whole) + _GOLDEN)
    return np.where(lost, np.nan, (state >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
