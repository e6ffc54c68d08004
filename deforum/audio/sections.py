"""Sections of a song, by how much it resembles itself.

What is heard in each beat (harmony, timbre, loudness) is compared with every other beat. A boundary is where what came
before and what comes after resemble themselves but not each other: the novelty of Foote, "Automatic audio segmentation
using a measure of audio novelty" (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deforum.audio.spectra import RATE, STRIDE, Spectra

SHORTEST = 4.0
"""Seconds of the shortest section."""
PHRASE = 16
"""Beats on each side that are compared: a phrase of four bars, over which a round of chords is over too."""
_STEP = 0.5
"""Seconds of a step where no beats are heard."""
_NEAR = 6
"""Steps around a boundary within which there is no other."""
_PEAK, _PEAK_LEAST = 0.15, 0.15
"""How far the novelty of a boundary rises: as a share of the highest, and at least (1.5 dB in all bands)."""
_HARMONY = 2.0
"""Weight of harmony beside timbre."""
_ALIKE_WITHIN = 1.0
"""Distance of the means of parts that are alike."""


@dataclass(frozen=True)
class Section:
    """A part of a song, in s; parts that are alike have the same label, from A."""

    start: float
    end: float
    label: str


def find_sections(spectra: Spectra, beats: NDArray[np.float64]) -> tuple[Section, ...]:
    """Find the sections of a sound; they cover it from 0 to its end. Boundaries are at beats, where there are any."""
    seconds = spectra.seconds
    has_beats = len(beats) > 8
    steps = beats if has_beats else np.arange(0, seconds, _STEP)
    steps = steps[(steps > 0.05) & (steps < seconds - 0.05)]
    edges = np.concatenate([[0.0], steps, [seconds]])
    features = _of_steps(spectra, edges)
    if len(features) < 8 or seconds < 2 * SHORTEST:
        return (Section(0.0, seconds, "A"),)
    bounds = [0.0, *_boundaries(features, edges, has_beats=has_beats), seconds]
    return _labelled(features, edges, bounds)


def _of_steps(spectra: Spectra, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is heard from each edge to the next, (N, D), each feature on a like scale."""
    loud = np.log10(spectra.timbre + 1e-8)
    harmony = np.sqrt(spectra.harmony)
    at = np.clip(np.round(edges * RATE / STRIDE).astype(int), 0, len(loud) - 1)
    rows = []
    for first, last in pairwise(at):
        part = slice(first, max(last, first + 1))
        chroma = harmony[part].mean(axis=0)
        rows.append(np.concatenate([
            chroma / (np.linalg.norm(chroma) + 0.02), loud[part].mean(axis=0), loud[part].std(axis=0),
        ]))  # fmt: skip
    found: NDArray[np.float64] = np.array(rows)
    return found


def _boundaries(features: NDArray[np.float64], edges: NDArray[np.float64], *, has_beats: bool) -> list[float]:
    """Return the times of boundaries, ascending."""
    number = len(features)
    half = PHRASE if has_beats else round(8.0 / _STEP)
    added = np.concatenate([np.zeros((1, features.shape[1])), np.cumsum(features, axis=0)])
    novelty = np.zeros(number)
    for n in range(2, number - 1):
        first, last = max(n - half, 0), min(n + half, number)
        apart = ((added[n] - added[first]) / (n - first) - (added[last] - added[n]) / (last - n)) ** 2
        support = min(n - first, last - n, half) / half
        novelty[n] = support**0.5 * np.sqrt(_HARMONY * apart[:12].sum() + apart[12:48].mean() + apart[48:].mean())
    return _peaks(novelty, edges)


def _peaks(novelty: NDArray[np.float64], edges: NDArray[np.float64]) -> list[float]:
    """Return the times of maxima that rise out of what lies within a phrase on both sides."""
    level, number = max(_PEAK_LEAST, _PEAK * float(novelty.max())), len(novelty)
    found: list[float] = []
    for n in range(number):
        time = float(edges[n])
        first, last = max(n - PHRASE, 0), min(n + PHRASE + 1, number)
        near = novelty[max(n - _NEAR, 0) : n + _NEAR + 1]
        rise = novelty[n] - max(novelty[first : n + 1].min(), novelty[n:last].min())
        if novelty[n] == near.max() and rise > level and SHORTEST <= time <= edges[-1] - SHORTEST:
            found.append(time)
    return found


def _labelled(features: NDArray[np.float64], edges: NDArray[np.float64], bounds: list[float]) -> tuple[Section, ...]:
    """Give the same letter to sections that sound alike."""
    known: list[NDArray[np.float64]] = []
    sections: list[Section] = []
    for start, end in pairwise(bounds):
        inside = (edges[:-1] >= start - 1e-6) & (edges[:-1] < end - 1e-6)
        mean = features[inside].mean(axis=0)
        distances = [float(np.sqrt(((mean - other) ** 2).sum())) for other in known]
        kind = int(np.argmin(distances)) if distances and min(distances) < _ALIKE_WITHIN else len(known)
        if kind == len(known):
            known.append(mean)
        sections.append(Section(start, end, _letter(kind)))
    return tuple(sections)


def _letter(kind: int) -> str:
    return chr(ord("A") + kind) if kind < 26 else f"A{kind - 25}"
