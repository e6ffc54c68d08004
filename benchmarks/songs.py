"""Songs with known beats, levels and sections, synthesised: what the analysis of sound is tested and measured with."""

from __future__ import annotations

import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""(N, C) in -1..1."""

CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14), (2, 5, 9), (4, 7, 11))
"""Semitones above the key: I, vi, IV, V, ii, iii."""


@dataclass(frozen=True)
class Part:
    """A section of a song: which instruments play, what, and how loud."""

    bars: int
    plays: str = "kick snare hats bass pad"
    chords: tuple[int, ...] = (0, 1, 2, 3)
    key: int = 57
    loud: float = 1.0
    bright: float = 1.0


@dataclass(frozen=True)
class Song:
    """A song and the truth about it, in seconds."""

    samples: Samples
    rate: int
    beats: NDArray[np.float64]
    bars: NDArray[np.float64]
    sections: NDArray[np.float64]
    """Beginnings of the parts after the first one."""

    def write(self, path: Path) -> Path:
        """Write 16-bit WAV."""
        levels = (np.clip(self.samples, -1, 1) * 32767).astype("<i2")
        with wave.open(str(path), "wb") as file:
            file.setnchannels(levels.shape[1])
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(levels.tobytes())
        return path


@dataclass(frozen=True)
class Style:
    """How a song is played."""

    swing: float = 0.5
    """Place of the second eighth within a beat; 2/3 is a triplet's."""
    loose: float = 0.0
    """Standard deviation of the players' timing, s."""
    noise: float = 0.0
    """Amplitude of noise under everything."""
    first: float = 0.0
    """Seconds before the first beat."""
    silence: tuple[float, float] | None = None
    """Seconds from .. to in which nothing plays; the beat goes on."""
    channels: int = 1
    meter: int = 4
    half_time: bool = False
    """Snare on the third beat alone."""
    sixteenths: bool = False
    seed: int = 0


Tempo = Callable[[float], float]
"""Beats per minute at a number of beats."""


def steady(bpm: float) -> Tempo:
    return lambda beat: bpm


def change(before: float, after: float, at: float, over: float = 0.0) -> Tempo:
    """Change the tempo at a beat, at once or over a number of beats."""

    def tempo(beat: float) -> float:
        share = float(beat >= at) if not over else min(max((beat - at) / over, 0.0), 1.0)
        return before + (after - before) * share

    return tempo


@dataclass
class _Band:
    rate: int
    length: int
    rng: np.random.Generator
    mix: Samples = field(init=False)

    def __post_init__(self) -> None:
        self.mix = np.zeros(self.length, np.float32)
        self.noise = self.rng.standard_normal(self.rate).astype(np.float32)

    def add(self, at: float, sound: NDArray[np.float64] | Samples, gain: float) -> None:
        start = round(at * self.rate)
        if start < 0 or start >= self.length:
            return
        end = min(start + len(sound), self.length)
        self.mix[start:end] += (gain * sound[: end - start]).astype(np.float32)

    def time(self, seconds: float) -> NDArray[np.float64]:
        return np.arange(int(seconds * self.rate)) / self.rate

    def kick(self) -> Samples:
        t = self.time(0.28)
        sweep = 2 * np.pi * (48 * t + 90 * 0.03 * (1 - np.exp(-t / 0.03)))
        return (np.sin(sweep) * np.exp(-t / 0.09) + 0.25 * self._hiss(len(t)) * np.exp(-t / 0.003)).astype(np.float32)

    def snare(self) -> Samples:
        t = self.time(0.2)
        body = np.sin(2 * np.pi * 190 * t) * np.exp(-t / 0.05)
        return (0.5 * body + 0.45 * self._hiss(len(t)) * np.exp(-t / 0.06)).astype(np.float32)

    def hat(self) -> Samples:
        t = self.time(0.06)
        hiss = np.diff(self._hiss(len(t) + 1))
        return (0.4 * hiss * np.exp(-t / 0.018)).astype(np.float32)

    def _hiss(self, count: int) -> Samples:
        begin = int(self.rng.integers(0, len(self.noise) - count))
        return self.noise[begin : begin + count] * 0.5

    def tone(self, note: float, seconds: float, *, attack: float = 0.008, decay: float = 0.4, harmonics: int = 4,
             bright: float = 1.0) -> Samples:  # fmt: skip
        t = self.time(seconds)
        hz = 440 * 2 ** ((note - 69) / 12)
        waves = sum(bright ** (k - 1) / k * np.sin(2 * np.pi * hz * k * t) for k in range(1, harmonics + 1)
                    if hz * k < self.rate / 2)  # fmt: skip
        shape = np.minimum(t / attack, 1) * np.exp(-t / decay) * np.clip((seconds - t) / 0.02, 0, 1)
        return np.asarray(waves * shape, np.float32)


def compose(parts: Sequence[Part], tempo: Tempo | float = 120.0, style: Style | None = None, rate: int = 44100) -> Song:
    """Play parts one after the other."""
    style = Style() if style is None else style
    pace = steady(tempo) if isinstance(tempo, int | float) else tempo
    rng = np.random.default_rng(style.seed)
    count = sum(part.bars for part in parts) * style.meter
    fine = 16  # steps of a beat, over which the tempo is added up
    steps = np.array([60 / pace(n / fine) / fine for n in range((count + 1) * fine)])
    grid = style.first + np.concatenate([[0.0], np.cumsum(steps)])

    def when(beat: float) -> float:
        return float(np.interp(beat * fine, np.arange(len(grid)), grid))

    band = _Band(rate, int((when(count) + 0.3) * rate), rng)

    def play(beat: float, sound: Samples, gain: float) -> None:
        band.add(when(beat) + style.loose * float(rng.standard_normal()), sound, gain)

    start, bounds = 0, []
    for part in parts:
        bounds.append(when(start))
        for beat in range(start, start + part.bars * style.meter):
            _play_beat(band, play, part, style, beat, beat - start, when(beat + 1) - when(beat))
        start += part.bars * style.meter
    mono = band.mix * (0.8 / max(1.0, float(np.abs(band.mix).max())))
    if style.silence is not None:
        begin, end = (round(each * rate) for each in style.silence)
        mono[begin:end] = 0
    mono = mono + style.noise * rng.standard_normal(len(mono)).astype(np.float32)
    samples = np.repeat(mono[:, None], style.channels, axis=1)
    if style.channels == 2:  # a wide picture: one side is later, and its noise its own
        samples[:, 1] = 0.7 * np.roll(mono, round(0.0004 * rate)) + 0.01 * rng.standard_normal(len(mono))
    beats = np.array([when(beat) for beat in range(count)])
    return Song(samples.astype(np.float32), rate, beats, beats[:: style.meter], np.array(bounds[1:]))


def _play_beat(
    band: _Band, play: Callable[[float, Samples, float], None], part: Part, style: Style, beat: int, within: int,
    length: float,
) -> None:  # fmt: skip
    place, loud = beat % style.meter, part.loud
    chord = CHORDS[part.chords[(within // style.meter) % len(part.chords)]]
    backbeats = (2,) if style.half_time else range(1, style.meter, 2 if style.meter == 4 else 1)
    if "kick" in part.plays and (place == 0 or (place == 2 and style.meter == 4 and not style.half_time)):
        play(beat, band.kick(), 0.9 * loud)
    if "four" in part.plays:
        play(beat, band.kick(), 0.9 * loud)
    if "snare" in part.plays and place in backbeats:
        play(beat, band.snare(), 0.7 * loud)
    if "hats" in part.plays:
        places = [0, style.swing] if not style.sixteenths else [0, style.swing / 2, style.swing, 0.5 + style.swing / 2]
        for share in places:
            play(beat + share, band.hat(), 0.35 * loud)
    if "bass" in part.plays:
        for share in (0, style.swing) if place % 2 else (0,):
            play(beat + share, band.tone(part.key - 24 + chord[0], length * 0.9, harmonics=3), 0.35 * loud)
    if "pad" in part.plays and place == 0:
        for note in chord:
            long = band.tone(part.key + note, length * style.meter, attack=0.06, decay=4.0, bright=part.bright)
            play(beat, long, 0.10 * loud)
    if "keys" in part.plays:
        for note in chord:
            play(beat, band.tone(part.key + note, length, decay=0.25, bright=part.bright), 0.12 * loud)
    if "tune" in part.plays:
        rng = band.rng
        for share in (0, style.swing) if rng.random() < 0.6 else (0,):
            note = part.key + 12 + chord[int(rng.integers(0, 3))] + (12 if rng.random() < 0.2 else 0)
            tone = band.tone(note, length * 0.8, decay=0.3, harmonics=5, bright=part.bright)
            play(beat + share, tone, (0.30 if share == 0 else 0.22) * loud)
