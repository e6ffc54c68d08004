"""Time the README's first command from start to end: `render.py examples/quickstart.yaml`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parent.parent
TARGET_SECONDS, TARGET_FRAMES = 180, 60


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "render.py", "examples/quickstart.yaml", "-o", folder]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        video = cv2.VideoCapture(done.stdout.strip().splitlines()[-1])
        frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        size = f"{video.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{video.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
    print(f"quickstart: {frames} frames of {size} in {seconds:.1f} s (target: {TARGET_FRAMES} in {TARGET_SECONDS} s)")


if __name__ == "__main__":
    main()
