"""Short-time spectra of a sound, block by block: levels of bands, and what onsets and sections are found from.

Convention: curves have `RATE` values a second; value n belongs to the time n / RATE, the centre of its window. Levels
are RMS amplitudes over all channels on a scale on which a sine of full scale has 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]
"""Samples (N, C) at SAMPLE_RATE."""
Curve = NDArray[np.float32]
"""(T,), RATE values a second."""

SAMPLE_RATE = 44_100
RATE = 100
HOP = SAMPLE_RATE // RATE

BANDS: dict[str, tuple[float, float]] = {
    "amp": (0.0, SAMPLE_RATE / 2),
    "bass": (20.0, 150.0),
    "mid": (150.0, 2_000.0),
    "treble": (2_000.0, 16_000.0),
}
"""The levels that are always there, with their ends in Hz."""

LONG, SHORT = 4096, 1024
"""Samples of a window: for levels and harmony, 93 ms; for onsets, 23 ms."""
STRIDE = 2
"""Long windows are taken at every second value of a curve; between them is interpolated."""


class Cutter:
    """Cuts blocks of samples into windows that begin `hop` samples apart; the first one is centred at sample 0.

    Before the beginning and after the end are zeros.
    """

    def __init__(self, size: int, hop: int) -> None:
        self._size, self._hop = size, hop
        self._rest: Block | None = None

    def push(self, block: Block) -> NDArray[np.float32]:
        """Return the windows that are complete with a block, (W, size, C)."""
        if self._rest is None:
            self._rest = np.zeros((self._size // 2, block.shape[1]), np.float32)
        return self._cut(np.concatenate([self._rest, block]))

    def end(self) -> NDArray[np.float32]:
        """Return the windows that reach beyond the end."""
        rest = np.zeros((0, 1), np.float32) if self._rest is None else self._rest
        return self._cut(np.pad(rest, ((0, self._size // 2), (0, 0))))

    def _cut(self, samples: Block) -> NDArray[np.float32]:
        count = max((len(samples) - self._size) // self._hop + 1, 0)
        self._rest = samples[count * self._hop :]
        if not count:
            return np.zeros((0, self._size, samples.shape[1]), np.float32)
        view: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(samples, self._size, axis=0)
        return view[:: self._hop].swapaxes(1, 2)


def power(frames: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean power per bin over the channels, (W, size // 2 + 1), of frames (W, size, C).

    The bins of a frame sum to its mean square, twice that of a sine's RMS: a sine of full scale has 1.
    """
    total: Any = 0.0
    for channel in range(frames.shape[2]):
        spectrum = np.fft.rfft(frames[:, :, channel] * window, axis=1)
        total = total + (spectrum.real**2 + spectrum.imag**2)
    scale = 4.0 / (frames.shape[2] * len(window) * float((window.astype(np.float64) ** 2).sum()))
    found: NDArray[np.float32] = (total * np.float32(scale)).astype(np.float32, copy=False)
    found[:, 0] /= 2  # the other bins stand for their mirror images too
    found[:, -1] /= 2
    return found


def hann(size: int) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    return found


def shares(low: float, high: float, size: int) -> NDArray[np.float32]:
    """Return the share of each bin that lies within a band of Hz, (size // 2 + 1,)."""
    width = SAMPLE_RATE / size
    centres = np.arange(size // 2 + 1) * width
    inside = np.minimum(centres + width / 2, high) - np.maximum(centres - width / 2, low)
    found: NDArray[np.float32] = np.clip(inside / width, 0, 1).astype(np.float32)
    return found


_EDGES = np.geomspace(27.5, 16_000.0, 37)
"""Ends of the bands in which onsets are looked for, Hz: four an octave."""
_TONES = (110.0, 1_760.0)
"""Hz between which harmony is looked for."""


def _onset_bands() -> NDArray[np.float32]:
    """Return triangles over neighbouring bands, (SHORT // 2 + 1, 35); each is at least two bins wide."""
    hz = np.arange(SHORT // 2 + 1) * SAMPLE_RATE / SHORT
    rows = []
    for left, middle, right in zip(_EDGES, _EDGES[1:], _EDGES[2:], strict=False):
        reach = SAMPLE_RATE / SHORT
        left, right = min(left, middle - reach), max(right, middle + reach)
        rows.append(np.clip(np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)), 0, 1))
    matrix = np.array(rows)
    found: NDArray[np.float32] = (matrix / matrix.sum(1, keepdims=True)).T.astype(np.float32)
    return found


def _pitch_classes() -> NDArray[np.float32]:
    """Return the bins of each pitch class, (LONG // 2 + 1, 12)."""
    hz = np.maximum(np.arange(LONG // 2 + 1) * SAMPLE_RATE / LONG, 1e-3)
    pitch = 12 * np.log2(hz / 440)
    classes = np.round(pitch).astype(int) % 12
    weight = np.where((hz >= _TONES[0]) & (hz <= _TONES[1]), np.cos(np.pi * (pitch - np.round(pitch))) ** 2, 0)
    matrix = np.zeros((len(hz), 12), np.float32)
    matrix[np.arange(len(hz)), classes] = weight
    return matrix


@dataclass(frozen=True, eq=False)
class Spectra:
    """What is kept of a sound's spectra. T values at RATE a second; S = every STRIDE-th of them."""

    seconds: float
    envelope: Curve
    """(T,) largest absolute sample of the 1 / RATE s around each time."""
    levels: dict[str, Curve]
    """(T,) for each name in BANDS."""
    onset_bands: NDArray[np.float32]
    """(T, B) magnitudes of narrow bands, from short windows."""
    timbre: NDArray[np.float32]
    """(S, 36) power of narrow bands."""
    harmony: NDArray[np.float32]
    """(S, 12) power of pitch classes, from A."""


def analyse(blocks: Iterable[Block]) -> Spectra:
    """Compute the spectra of a sound, given as blocks of samples."""
    long_window, short_window = hann(LONG), hann(SHORT)
    bands = np.stack([shares(low, high, LONG) for low, high in BANDS.values()], axis=1)
    edges = np.geomspace(40, 16_000, 37)
    timbre = np.stack([shares(low, high, LONG) for low, high in pairwise(edges)], axis=1)
    matrix = np.concatenate([bands, timbre, _pitch_classes()], axis=1)
    onset_matrix = _onset_bands()
    rows: list[NDArray[np.float32]] = []
    onsets: list[NDArray[np.float32]] = []
    peaks: list[NDArray[np.float32]] = []
    count = 0
    longs, shorts = Cutter(LONG, HOP * STRIDE), Cutter(SHORT, HOP)

    def add(long: NDArray[np.float32], short: NDArray[np.float32]) -> None:
        levels = beside.submit(lambda: power(long, long_window) @ matrix)
        onsets.append(np.sqrt(power(short, short_window) @ onset_matrix))
        middle = (SHORT - HOP) // 2
        peaks.append(np.abs(short[:, middle : middle + HOP]).max(axis=(1, 2), initial=0))
        rows.append(levels.result())

    with ThreadPoolExecutor(1) as beside:  # Fourier transforms leave the interpreter to others
        for block in blocks:
            count += len(block)
            add(longs.push(block), shorts.push(block))
        add(longs.end(), shorts.end())
    found, total = np.concatenate(rows), count // HOP + 1
    at = np.arange(total) / STRIDE
    levels = {
        name: np.sqrt(np.interp(at, np.arange(len(found)), found[:, column])).astype(np.float32)
        for column, name in enumerate(BANDS)
    }
    harmony = len(BANDS) + timbre.shape[1]
    return Spectra(
        seconds=count / SAMPLE_RATE,
        envelope=np.concatenate(peaks),
        levels=levels,
        onset_bands=np.concatenate(onsets),
        timbre=found[:, len(BANDS) : harmony],
        harmony=found[:, harmony:],
    )


def band_level(blocks: Iterable[Block], low: float, high: float) -> Curve:
    """Return the level of a sound between two frequencies in Hz, (T,)."""
    cutter, window, inside, count = Cutter(LONG, HOP * STRIDE), hann(LONG), shares(low, high, LONG), 0
    found: list[NDArray[np.float32]] = []
    for block in blocks:
        count += len(block)
        found.append(power(cutter.push(block), window) @ inside)
    found.append(power(cutter.end(), window) @ inside)
    squares, at = np.concatenate(found), np.arange(count // HOP + 1) / STRIDE
    return np.sqrt(np.interp(at, np.arange(len(squares)), squares)).astype(np.float32)
