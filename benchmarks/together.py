"""Time two animations with `render.py a.yaml b.yaml --together` beside one after the other, in turn.

    python -m benchmarks.together [--frames 16] [--runs 2] [--repeats 3] [--size 256]

Each is one process, as a user starts it, that renders examples/quickstart.yaml with several seeds. Frames per second
are counted from the first loaded model to the last file. Also prints the processor time of a frame, which bounds what
can be gained, and the largest difference between the frames of the two, in levels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.quickstart import ROOT

TARGET = 1.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("settings", nargs="*", help="more settings, such as precision=fp32")
    options = parser.parse_args()
    seeds = ",".join(str(seed) for seed in range(options.runs))
    words = [
        "batch_name=run",
        f"seed={seeds}",
        f"max_frames={options.frames}",
        f"width={options.size}",
        f"height={options.size}",
    ]
    words += options.settings
    count = options.frames * options.runs
    whole: dict[str, list[float]] = {"one after the other": [], "together": []}
    rates: dict[str, list[float]] = {name: [] for name in whole}
    spent: dict[str, list[float]] = {name: [] for name in whole}
    differs = 0
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for name, more in zip(whole, ([], ["--together"]), strict=True):
                took, loaded, seconds = run([*words, *more], Path(folder) / f"{name}{repeat}")
                spent[name].append(seconds / count)
                whole[name].append(took)
                rates[name].append(count / (took - loaded))
            differs = max(differs, difference(*(Path(folder) / f"{name}{repeat}" for name in whole)))
    title = f"{options.runs} runs of {options.frames} frames of {options.size}x{options.size}"
    for name in whole:
        rate, seconds = statistics.median(rates[name]), statistics.median(whole[name])
        work = statistics.median(spent[name]) * 1000
        print(
            f"{title}, {name}: {rate:.2f} frames/s, {seconds:.2f} s in all, {work:.0f} ms of processor time per frame"
        )
    apart, together = whole
    ratio = statistics.median(b / a for a, b in zip(rates[apart], rates[together], strict=True))
    in_all = statistics.median(a / b for a, b in zip(whole[apart], whole[together], strict=True))
    print(f"together: {ratio:.2f} times the frames per second (target {TARGET}), {in_all:.2f} times with the start")
    print(f"together: frames differ by at most {differs} levels of 255 (target 1)")


def run(words: list[str], folder: Path) -> tuple[float, float, float]:
    """Render in a process; return its seconds, those until the first model was loaded, and processor time after that.

    Processor time is that of all threads; that of ffmpeg is not counted.
    """
    command = [sys.executable, "render.py", "examples/quickstart.yaml", *words, "--json", "-q", "-o", str(folder)]
    started, loaded, at_first, spent = time.monotonic(), 0.0, 0.0, 0.0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            match json.loads(line)["event"]:
                case "loaded" if not loaded:
                    loaded, at_first = time.monotonic() - started, processor_time(process.pid)
                case "result":
                    spent = processor_time(process.pid) - at_first
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return time.monotonic() - started, loaded, spent


def processor_time(process: int) -> float:
    """Return the seconds that all threads of a process have run (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def difference(one: Path, other: Path) -> int:
    """Return the largest difference between the frames in two folders of runs of the same names."""
    import cv2
    import numpy as np

    largest = 0
    for path in sorted(one.rglob("frames/*.png")):
        a, b = (cv2.imread(str(each)) for each in (path, other / path.relative_to(one)))
        assert a is not None and b is not None, path
        largest = max(largest, int(np.abs(a.astype(int) - b).max()))
    return largest


if __name__ == "__main__":
    main()
