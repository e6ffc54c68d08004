"""Frames of coloured patches; decoding of films and their sound."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from deforum.video.ffmpeg import ffmpeg_path

COLORS = np.array(
    [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
     [128, 128, 128], [200, 120, 80], [60, 90, 30], [30, 60, 120]], np.uint8,
)  # fmt: skip
HEIGHT, WIDTH = 96, 128


def chart(index: int) -> np.ndarray:
    """Draw 3 x 4 patches of 32 px; patch k has colour (k + index) mod 12, so that every frame is another."""
    patches = np.roll(COLORS, -index, axis=0).reshape(3, 4, 3)
    return patches.repeat(32, axis=0).repeat(32, axis=1)


def decode(path: Path, width: int = WIDTH, height: int = HEIGHT, bits: int = 8) -> np.ndarray:
    """Decode a film with ffmpeg, which follows the file's own colour tags: (N, H, W, 3)."""
    raw = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo",
         "-pix_fmt", "rgb24" if bits == 8 else "rgb48le", "-"], capture_output=True, check=True,
    )  # fmt: skip
    return np.frombuffer(raw.stdout, np.uint8 if bits == 8 else np.uint16).reshape(-1, height, width, 3)


def click(path: Path, at: float, seconds: float) -> Path:
    """Write a sound file that is silent but for a burst at one time."""
    subprocess.run(
        [ffmpeg_path(), "-v", "error", "-y", "-f", "lavfi", "-i",
         f"aevalsrc=between(t\\,{at}\\,{at + 0.05})*sin(2*PI*2000*t):s=48000:d={seconds}", str(path)], check=True,
    )  # fmt: skip
    return path


def hear(path: Path) -> np.ndarray:
    """Decode a sound track to mono samples at 48 kHz."""
    raw = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-i", str(path), "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    return np.frombuffer(raw.stdout, np.int16).astype(float) / 32768
