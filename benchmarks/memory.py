"""Compare the peak memory of a long run with that of a short one: it must not grow with the number of frames."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LENGTHS = (60, 1200)

# Each run is a process of its own, since the peak memory of a process never falls.
RUN = """
import resource, sys
from deforum.cli import main
status = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(status)
"""


def peak(frames: int) -> float:
    """Render a number of small frames and return the peak resident memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        small = ["width=64", "height=64", "steps=2", f"max_frames={frames}"]
        command = [sys.executable, "-c", RUN, "examples/quickstart.yaml", *small, "-o", folder]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split("peak")[-1])


def main() -> None:
    short, long = map(peak, LENGTHS)
    growth = (long - short) * 1024 / (LENGTHS[1] - LENGTHS[0])
    print(f"memory: {short:.0f} MiB after {LENGTHS[0]} frames, {long:.0f} MiB after {LENGTHS[1]}")
    print(f"memory growth: {growth:.1f} KiB per frame (target: 0; a 64x64 frame is 48 KiB)")


if __name__ == "__main__":
    main()
