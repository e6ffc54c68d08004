"""Sounds with a known beat."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

RATE = 16_000


def write_clicks(path: Path, seconds: float = 12, first: float = 0.5, apart: float = 0.5) -> Path:
    """Write a sound of clicks `apart` seconds, which become louder; return its path."""
    samples = np.zeros(round(seconds * RATE))
    click = np.exp(-np.arange(800) / 120) * np.sin(np.arange(800) * 0.9)
    for beat in np.arange(first, seconds - 0.1, apart):
        start = round(beat * RATE)
        samples[start : start + 800] += click * (0.4 + 0.5 * beat / seconds)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path
