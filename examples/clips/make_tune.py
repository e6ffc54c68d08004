"""Make tune.ogg, the music of music_video.yaml: twelve bars at 120 beats per minute, synthesised from scratch.

    python examples/clips/make_tune.py [examples/clips/tune.ogg]

Four bars of plucked chords, four with drums and a bass line, four with a melody over other chords, and a last chord.
"""

from __future__ import annotations

import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.video.ffmpeg import run_ffmpeg

Samples = NDArray[np.float64]

RATE, BPM = 48_000, 120
BEAT = 60 / BPM
BARS = 12
LENGTH = BARS * 4 * BEAT + 1.0

# Semitones from A2, 110 Hz: the root and the chord above it.
AM, F, C, G = (0, (12, 15, 19, 24)), (-4, (12, 15, 20, 24)), (3, (10, 15, 19, 22)), (-2, (10, 14, 17, 22))
DM, E = (5, (12, 17, 20, 24)), (-5, (11, 14, 19, 23))
CHORDS = (AM, F, C, G, AM, F, C, G, DM, AM, F, E)
MELODY = (
    (32, 0, 1.5, 29), (32, 1.5, 0.5, 27), (32, 2, 1, 24), (32, 3, 1, 27),
    (36, 0, 2, 24), (36, 2, 1, 19), (36, 3, 1, 22),
    (40, 0, 1.5, 24), (40, 1.5, 0.5, 22), (40, 2, 1, 20), (40, 3, 1, 24),
    (44, 0, 1, 23), (44, 1, 1, 26), (44, 2, 2, 31),
)  # fmt: skip
"""Bar's first beat, beats behind it, length in beats, semitones from A2."""

rng = np.random.default_rng(5)


def time(seconds: float) -> Samples:
    return np.arange(int(seconds * RATE)) / RATE


def hertz(semitones: float, base: float = 110.0) -> float:
    return float(base * 2 ** (semitones / 12))


class Mix:
    """Two channels, and what of them goes into the reverberation."""

    def __init__(self) -> None:
        self.dry = np.zeros((int(LENGTH * RATE), 2))
        self.wet = np.zeros_like(self.dry)

    def add(self, beat: float, sound: Samples, gain: float, *, pan: float = 0.0, wet: float = 0.2) -> None:
        start = round(beat * BEAT * RATE)
        sound = sound[: len(self.dry) - start]
        sides = gain * sound[:, None] * np.sqrt([(1 - pan) / 2, (1 + pan) / 2])
        self.dry[start : start + len(sound)] += sides
        self.wet[start : start + len(sound)] += wet * sides

    def heard(self) -> Samples:
        """Return the mix with its reverberation, softly limited."""
        t = time(1.6)
        room = rng.standard_normal((len(t), 2)) * np.exp(-t / 0.35)[:, None] * np.minimum(t / 0.01, 1)[:, None]
        size = 1 << (len(self.wet) + len(t)).bit_length()
        tail = np.fft.irfft(np.fft.rfft(self.wet, size, axis=0) * np.fft.rfft(room, size, axis=0), size, axis=0)
        mix = self.dry + 0.02 * tail[: len(self.dry)]
        fade = np.clip((LENGTH - time(LENGTH)) / 0.8, 0, 1)[: len(mix), None]
        return np.tanh(1.1 * mix / np.abs(mix).max() * 1.4) * 0.8 * fade


def pluck(pitch: float, seconds: float = 0.9) -> Samples:
    t = time(seconds)
    waves = sum(np.sin(2 * np.pi * pitch * k * t) / k * np.exp(-t * (2.5 + 2.2 * k)) for k in range(1, 7))
    return np.asarray(waves * np.minimum(t / 0.004, 1))


def pad(pitch: float, seconds: float) -> Samples:
    t = time(seconds)
    swell = np.minimum(t / 0.35, 1) * np.clip((seconds - t) / 0.35, 0, 1)
    voices = (sum(np.sin(2 * np.pi * pitch * cents * k * t + k) / k**1.7 for k in range(1, 6))
              for cents in (0.997, 1.0, 1.003))  # fmt: skip
    return np.asarray(sum(voices) * swell / 3)


def bass(pitch: float, seconds: float) -> Samples:
    t = time(seconds)
    waves = np.sin(2 * np.pi * pitch * t) + 0.35 * np.sin(4 * np.pi * pitch * t) * np.exp(-t / 0.15)
    return np.asarray(waves * np.minimum(t / 0.006, 1) * np.exp(-t / 0.5) * np.clip((seconds - t) / 0.03, 0, 1))


def lead(pitch: float, seconds: float) -> Samples:
    t = time(seconds)
    bend = pitch * (1 + 0.004 * np.sin(2 * np.pi * 5.2 * t) * np.clip(t / 0.4, 0, 1))
    phase = 2 * np.pi * np.cumsum(bend) / RATE
    waves = sum(np.sin(k * phase) / k**1.5 for k in (1, 2, 3, 5))
    return np.asarray(waves * np.minimum(t / 0.03, 1) * np.clip((seconds - t) / 0.12, 0, 1))


def kick() -> Samples:
    t = time(0.35)
    phase = 2 * np.pi * (46 * t + 110 * 0.035 * (1 - np.exp(-t / 0.035)))
    return np.asarray(np.sin(phase) * np.exp(-t / 0.13))


def clap() -> Samples:
    t = time(0.25)
    hiss = np.convolve(rng.standard_normal(len(t)), [0.5, 0, -0.5], "same")
    bursts = sum(np.exp(-np.maximum(t - at, 0) / 0.006) * (t >= at) for at in (0, 0.011, 0.022))
    return np.asarray(hiss * (0.6 * bursts + np.exp(-t / 0.07)))


def hat(seconds: float = 0.05) -> Samples:
    t = time(0.12)
    return np.asarray(np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-t / seconds))


def compose() -> Samples:
    mix = Mix()
    for bar, (root, chord) in enumerate(CHORDS):
        begin, part = bar * 4, bar // 4
        for voice, note in enumerate(chord):
            mix.add(begin, pad(hertz(note), 4 * BEAT + 0.3), 0.10, pan=(voice - 1.5) / 2, wet=0.5)
        for step in range(8):  # a broken chord, in eighths
            note = chord[(0, 2, 1, 3, 2, 1, 3, 2)[step]] + (12 if step in (3, 6) else 0)
            mix.add(begin + step / 2, pluck(hertz(note)), 0.22 if part < 2 else 0.15, pan=0.6 - 0.17 * step, wet=0.5)
        if part == 0:
            if bar == 3:
                for step in range(4):
                    mix.add(begin + 3 + step / 4, clap(), 0.10 + 0.05 * step, wet=0.3)
            continue
        for beat in range(4):
            mix.add(begin + beat, kick(), 0.85, wet=0.02)
            mix.add(begin + beat + 0.5, hat(0.03 if beat < 3 else 0.09), 0.16, pan=0.3, wet=0.1)
            if beat % 2:
                mix.add(begin + beat, clap(), 0.32, wet=0.35)
        for beat, length in ((0.5, 0.5), (1.0, 0.5), (1.5, 0.5), (2.5, 0.5), (3.0, 0.25), (3.5, 0.5)):
            mix.add(begin + beat, bass(hertz(root, 55), length * BEAT), 0.42, wet=0.03)
        mix.add(begin, bass(hertz(root, 55), 0.5 * BEAT), 0.5, wet=0.03)
    for start, behind, length, note in MELODY:
        mix.add(start + behind, lead(hertz(note), length * BEAT + 0.05), 0.17, pan=-0.15, wet=0.6)
    mix.add(48, kick(), 0.85, wet=0.1)
    for note in (12, 15, 19, 24):
        mix.add(48, pluck(hertz(note), 1.0), 0.3, wet=0.8)
    return mix.heard()


def main(path: Path) -> None:
    levels = (compose() * 32767).astype("<i2")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "tune.wav"
        with wave.open(str(plain), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(levels.tobytes())
        run_ffmpeg(
            ["-i", str(plain), "-c:a", "libopus", "-b:a", "64k", "-map_metadata", "-1", "-fflags", "+bitexact",
             "-flags:a", "+bitexact", str(path)],
            f"writing {path}",
        )  # fmt: skip
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tune.ogg"))
