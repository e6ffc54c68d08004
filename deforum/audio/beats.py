"""Beats: onsets of a sound, and the path through them whose tempo changes least.

A path goes from beat to beat. It gains what begins at its beats, loses what begins half-way between them, and pays for
changes of the interval. The best one is found by dynamic programming over (time, interval), after the semi-Markov form
of Krebs, Böck and Widmer, "An efficient state-space model for joint tempo and meter tracking" (2015).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deforum.audio.spectra import RATE, STRIDE

Times = NDArray[np.float64]

SLOWEST, FASTEST = 50.0, 220.0
"""Beats per minute that are looked for."""
_USUAL, _SPREAD = 110.0, 0.8
"""The most usual tempo, and the standard deviation of tempos about it in octaves."""


def onset_strength(bands: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how strongly something begins at each time: (T,) about 0..1, and (T, 3) in low, middle and high bands.

    `bands` are magnitudes (T, B). The rise of each band on a logarithmic scale is added up, against the largest of its
    neighbours 20 ms before, so that a vibrato is no onset (Böck and Widmer, "SuperFlux", 2013).
    """
    loud = float(np.quantile(bands.max(axis=1), 0.98)) if len(bands) else 0.0
    if loud < 1e-4:  # -80 dB: silence
        return np.zeros(len(bands), np.float32), np.zeros((len(bands), 3), np.float32)
    heard = np.log1p(bands * np.float32(10 / loud))
    before = heard.copy()
    before[:, 1:] = np.maximum(before[:, 1:], heard[:, :-1])
    before[:, :-1] = np.maximum(before[:, :-1], heard[:, 1:])
    rise = heard.copy()  # before the beginning is silence
    rise[2:] = np.maximum(heard[2:] - before[:-2], 0)
    count = bands.shape[1]
    cuts = (0, count // 4, 3 * count // 5, count)
    parts = np.stack([rise[:, a:b].mean(axis=1) for a, b in pairwise(cuts)], axis=1)
    return parts @ np.array([0.45, 0.35, 0.2], np.float32), parts


def find_beats(bands: NDArray[np.float32]) -> Times:
    """Find the beats in the magnitudes of bands (T, B): times in s, ascending; empty where nothing repeats."""
    onset, _ = onset_strength(bands)
    salience = _salience(onset)
    if not salience.any():
        return np.zeros(0)
    path = _best_path(np.minimum(salience, 1.0))
    if len(path) < 4:
        return np.zeros(0)
    return _carried_on(_settled(path, salience), *_sounding(bands))


def _sounding(bands: NDArray[np.float32]) -> tuple[float, float]:
    """Return when a sound begins and ends, in s, without silence at its ends."""
    level = bands.max(axis=1)
    heard = np.flatnonzero(level > 0.01 * float(np.quantile(level, 0.98)))
    return float(heard[0]) / RATE, float(heard[-1]) / RATE


def _salience(onset: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return onsets on one scale throughout, so that a quiet part counts as a loud one: from 1 on they are strong."""
    smooth = np.convolve(onset, np.hanning(7) / np.hanning(7).sum(), "same")
    floor = _running(smooth, RATE)
    sharp = np.maximum(smooth - floor, 0)
    spread = np.sqrt(_running(sharp**2, 8 * RATE))
    quietest = 0.15 * float(np.sqrt((sharp**2).mean()))
    if quietest == 0:
        return np.zeros(len(onset))
    return np.minimum(sharp / np.maximum(spread, quietest) / _STRONG, 6.0)


def _running(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean over `width` values around each."""
    added = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    at = np.arange(len(values))
    first, last = np.maximum(at - width // 2, 0), np.minimum(at + width // 2 + 1, len(values))
    found: NDArray[np.float64] = (added[last] - added[first]) / (last - first)
    return found


_STRONG = 2.0
"""Onsets this many times their usual size are strong."""
_HALF = 0.24
"""What a beat loses by a strong onset half-way before it: more than half of what it would gain as a beat of its own."""
_COST = 0.48
"""What each beat costs: below that, what begins is not worth one."""
_CHANGE = 0.04
"""Standard deviation of the ratio of an interval to the one before."""
_JUMP = 4.5
"""What any other change of tempo costs."""
_TEMPO = 0.01
"""What an unusual tempo costs, for each 1 / RATE s: at one standard deviation from the usual one half of it."""
_AUDIBLE = 0.12
"""Salience from which a beat is taken to be heard."""
_REST = 3
"""Beats after each other that nothing begins at, from which on they are a rest."""
_OFF = 0.012
"""Seconds that players are off the beat by."""
_LATE = 0.01
"""Seconds by which rises are found late, measured with clicks: a rise is complete when it is half in the window."""


_REACH = 4
"""An interval changes from beat to beat by at most so many 1 / RATE s, but for jumps."""


def _best_path(salience: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the beats on the best path; `salience` (T,) is 0..1."""
    periods = np.arange(round(60 * RATE / FASTEST), round(60 * RATE / SLOWEST) + 1)
    longest, total = int(periods[-1]), len(salience)
    columns = np.arange(len(periods))
    octaves = np.log2(60 * RATE / periods / _USUAL) / _SPREAD
    costs = _COST + _TEMPO * 0.5 * octaves**2 * periods
    gains, sources = _changes(periods)
    padded = np.pad(salience, (longest + 1, 1))
    wide = np.maximum.reduce([padded[:-2], padded[1:-1], padded[2:]])  # a beat may be off by one; `longest` zeros first
    # The best path up to each of the last times, by the interval with which it goes on: time t is row t % longest.
    onward = np.zeros((longest + 1, len(periods)))
    came = np.full((total, len(periods)), -1, np.int16)  # the interval before; -1: a path begins there
    last, best = np.zeros(total, np.int16), np.zeros(total)
    scores = np.full(len(periods) + 2 * _REACH, -np.inf)
    score = scores[_REACH:-_REACH]
    for t in range(total):
        rows = (t - periods) % (longest + 1)
        score[:] = onward[rows, columns] - costs - _HALF * wide[t + longest - periods // 2] + wide[t + longest]
        options = scores[sources] + gains
        choice = options.argmax(axis=0)
        value = options[choice, columns]
        last[t] = score.argmax()
        best[t] = score[last[t]]
        before = np.where(best[t] - _JUMP > value, last[t], sources[choice, columns] - _REACH)
        value = np.maximum(value, best[t] - _JUMP)
        came[t] = np.where(value > 0, before, -1)
        onward[t % (longest + 1)] = np.maximum(value, 0)
    path = [int(best.argmax())]
    interval = int(last[path[0]])
    while (before_it := path[-1] - int(periods[interval])) >= 0 and came[before_it, interval] >= 0:
        path.append(before_it)
        interval = int(came[before_it, interval])
    return np.array(path[::-1])


def _changes(periods: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what changes to each interval gain, (2 * _REACH + 1, P), -inf outside, and from which ones.

    The intervals they come from count from -_REACH on.
    """
    steps = np.arange(-_REACH, _REACH + 1)[:, None]
    sources = np.arange(len(periods)) + steps
    known = np.clip(sources, 0, len(periods) - 1)
    gains = -0.5 * (np.log(periods / periods[known]) / _CHANGE) ** 2
    return np.where(sources == known, gains, -np.inf), sources + _REACH


def _settled(path: NDArray[np.int64], salience: NDArray[np.float64]) -> Times:
    """Return the beats of a path in seconds: moved to what begins at them, and evened out."""
    reach = 5
    near_by = 1 - (np.arange(-reach, reach + 1) / (reach + 1)) ** 2
    heard = np.zeros(len(path))
    times = path / RATE
    padded = np.pad(salience, reach + 1)
    for n, at in enumerate(path):
        peak = int((padded[at + 1 : at + 2 * reach + 2] * near_by).argmax())
        before, middle, after = padded[at + peak : at + peak + 3]
        if middle < _AUDIBLE:
            continue
        bend = before - 2 * middle + after
        fine = 0.5 * (before - after) / bend if bend < 0 else 0.0
        times[n] = (at - reach + peak + min(max(fine, -0.5), 0.5)) / RATE
        heard[n] = min(float(middle), 0.6)
    if (heard > 0).sum() < 4:
        return times
    return np.maximum(_laid(times, heard) - _LATE, 0.0)


def _laid(times: Times, heard: NDArray[np.float64]) -> Times:
    """Even out the beats between rests; in a rest lay them at even distances, as many as its neighbours ask for."""
    supported = np.flatnonzero(heard > 0)
    parts = np.split(supported, np.flatnonzero(np.diff(supported) > _REST) + 1)
    found: list[Times] = []
    for part in parts:
        order = np.arange(part[0], part[-1] + 1)
        filled = np.interp(order, part, times[part])
        laid = _evened(filled, np.where(heard[order] > 0, heard[order], 0.02)) if len(part) > 2 else filled
        if found:
            before = found[-1]
            lengths = np.concatenate([np.diff(before[-9:]), np.diff(laid[:9])])
            gap = float(laid[0] - before[-1])
            count = max(round(gap / float(np.median(lengths))), 1) if len(lengths) else int(part[0])
            found.append(np.linspace(before[-1], laid[0], count + 1)[1:-1])
        found.append(laid)
    return np.concatenate(found)


def _evened(times: Times, weights: NDArray[np.float64]) -> Times:
    """Fit a line through each beat and its neighbours; beats that lie far off it count less."""
    found = times.copy()
    for n in range(len(times)):
        first = max(min(n - 3, len(times) - 7), 0)
        last = min(first + 7, len(times))
        x, y = np.arange(first, last) - n, times[first:last]
        near = weights[first:last] / (1 + (x / 2.0) ** 2)
        slope = np.median(np.diff(y))
        off = y - slope * x
        trust = near / (1 + ((off - np.median(off)) / _OFF) ** 2)
        for _ in range(4):
            mean_x, mean_y = np.average(x, weights=trust), np.average(y, weights=trust)
            slope = np.average((x - mean_x) * (y - mean_y), weights=trust)
            slope /= max(float(np.average((x - mean_x) ** 2, weights=trust)), 1e-9)
            off = y - mean_y - slope * (x - mean_x)
            trust = near / (1 + (off / _OFF) ** 2)
        if trust.sum() > 0.45 * near.sum():  # else the tempo changes here
            found[n] = mean_y - slope * mean_x
    ascending: Times = np.maximum.accumulate(found)
    return ascending


def _carried_on(times: Times, begin: float, end: float) -> Times:
    """Add the beats between the beginning of the sound and the first one, and from the last one to its end."""
    first, last = float(np.median(np.diff(times[:9]))), float(np.median(np.diff(times[-9:])))
    early = np.arange(int(max(times[0] + 0.03 - begin, 0) / first), 0, -1)
    late = np.arange(1, int(max(end - times[-1], 0) / last) + 1)
    return np.concatenate([np.maximum(times[0] - early * first, 0.0), times, times[-1] + late * last])


def accents_of(beats: Times, parts: NDArray[np.float32], harmony: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how much each beat sounds like the first of a bar, (B,): a low onset, and another harmony than before.

    `parts` are onsets in low, middle and high bands (T, 3), `harmony` pitch classes (S, 12), every STRIDE-th of T.
    """
    if len(beats) < 2:
        return np.zeros(len(beats))
    at = np.clip(np.round(beats * RATE).astype(int), 0, len(parts) - 1)
    low = np.array([parts[max(n - 3, 0) : n + 6, 0].max() for n in at], np.float64)
    steps = np.clip(at // STRIDE, 0, len(harmony) - 1)
    ends = np.append(steps[1:], len(harmony))
    chroma = np.array([np.sqrt(harmony[a : max(b, a + 1)]).mean(axis=0) for a, b in zip(steps, ends, strict=True)])
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-3
    change = np.concatenate([[1.0], 1 - (chroma[1:] * chroma[:-1]).sum(axis=1)])
    return _standard(low) + 1.5 * _standard(change)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (values - values.mean()) / (values.std() + 1e-9)
    return found
