"""Measure what it costs that a run can be resumed: time, and disk.

    python -m benchmarks.safety [--frames 40] [--size 256]

The time that states take is the renderer's own and processor time beside it, as a share of the run's. The baseline is
the same run with checkpoint_every: -1, in turn with it; digests of the frames are in both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.output import checkpoints
from deforum.rendering import render
from deforum.settings.options import Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MOST_TIME, MOST_DISK = 0.02, 0.05


def bytes_in(folder: Path, *, states: bool) -> int:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if (path.suffix == ".state") == states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    spent: list[float] = []
    finished = checkpoints.Checkpoints.__exit__

    def counting(self: checkpoints.Checkpoints, *error: object) -> None:
        finished(self, *error)  # type: ignore[arg-type]
        spent.append(self.seconds)

    checkpoints.Checkpoints.__exit__ = counting  # type: ignore[method-assign, assignment]
    models = KeptModels()
    base = replace(
        load(EXAMPLES / "quickstart.yaml").settings,
        max_frames=options.frames, width=options.size, height=options.size, seed=1, skip_video_creation=True,
    )  # fmt: skip
    print(f"quickstart, {options.frames} frames of {options.size}x{options.size}")
    with tempfile.TemporaryDirectory() as folder:
        seconds: dict[int, list[float]] = {0: [], -1: []}
        for every in (-1, 0, -1, 0):
            seconds[every].append(rendered(replace(base, checkpoint_every=every), Path(folder), models))
        taken = spent[-1] / seconds[0][-1]
        with_states, without = (statistics.median(seconds[every]) for every in (0, -1))
        last = max(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime)
        frames, states = bytes_in(last / "frames", states=False), bytes_in(last, states=True)
    print(f"states take {taken:.2%} of the time (target: under {MOST_TIME:.0%})")
    print(f"a run takes {with_states:.2f} s, without states {without:.2f} s: {with_states / without - 1:+.1%}")
    print(f"states of the finished run: {states / frames:.1%} of the frames' size (target: under {MOST_DISK:.0%})")


def rendered(settings: Settings, folder: Path, models: KeptModels) -> float:
    began = time.perf_counter()
    render(settings, output=folder, models=models)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
