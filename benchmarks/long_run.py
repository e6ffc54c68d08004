"""Compare the cost of late frames with that of early ones in one long run: neither time nor memory may grow.

    python -m benchmarks.long_run [--frames 10000] [--size 64] [--mode 3D] [--seconds 240]

The loop runs with its filters, pictures and film, and with a painter that only mixes noise into each frame, as a model
of milliseconds: what is measured is the loop. Prints the processor time per frame and the resident memory early and
late in the run.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deforum import load
from deforum.build import LoadedModel, assemble, prepare
from deforum.going import levels
from deforum.models.kept import KeptModels
from deforum.models.process import settle_process
from deforum.output.choice import Outputs
from deforum.output.run import Run

MOST_LATER, MOST_GROWTH = 1.05, 2.0
"""The targets: time of late frames against early ones, and growth of memory in KiB per frame."""
SKIPPED = 10
"""Frames before the first that count: files are opened and caches are filled in them."""
CADENCE = 2
"""One painted frame and one in-between, which differ in cost, are timed together."""


@dataclass
class Course:
    """The processor time of each frame in ms, and the resident memory in KiB after it."""

    ms: list[float] = field(default_factory=list)
    kib: list[float] = field(default_factory=list)

    @property
    def later(self) -> float:
        """Median time of a span in the last tenth, against that in the first; frames that warm up left out."""
        last = len(self.ms) // CADENCE * CADENCE
        spans = [sum(self.ms[begin : begin + CADENCE]) for begin in range(SKIPPED, last, CADENCE)]
        share = max(len(spans) // 10, 1)
        return statistics.median(spans[-share:]) / statistics.median(spans[:share])

    @property
    def growth(self) -> float:
        """Growth of memory from the first tenth to the last, KiB per frame."""
        share = max(len(self.kib) // 10, 1)
        early, late = statistics.median(self.kib[SKIPPED : SKIPPED + share]), statistics.median(self.kib[-share:])
        return (late - early) / (len(self.kib) - share)


def resident() -> float:
    """Return the resident memory of this process in KiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4.0


def course(frames: int, size: int, mode: str, seconds: float) -> Course:
    """Run so many frames, or as many as fit into the time."""
    settle_process()
    settings = load(
        {
            "prompts": {"0": "a calm sea", "max_f/2": "a forest"}, "animation_mode": mode, "max_frames": frames,
            "width": size, "height": size, "cadence": CADENCE, "zoom": "1.01", "angle": "0.2", "translation_z": "1",
            "noise": "0.03", "seed": 1, "strength": "0.6+0.1*sin(t/9)",
        }
    ).settings  # fmt: skip

    def paint(inits: Any, frames: Any, *, paints: Any = None) -> list[torch.Tensor]:
        made = []
        for init, key in zip(inits, frames, strict=True):
            noise = torch.rand((3, size, size), generator=torch.Generator().manual_seed(key.seed))
            made.append(noise if init is None else 0.9 * init + 0.1 * noise)
        return made

    found = Course()
    animation = assemble(prepare(settings), LoadedModel(paint, torch.device("cpu"), 8), KeptModels())
    outputs, _ = Outputs.of(settings)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run").mkdir()
        with Run(Path(folder) / "run", "", width=size, height=size, fps=15, outputs=outputs, label=None) as run:
            before = time.process_time()
            for frame, image in animation.frames():
                run.write(frame, levels(image, outputs.bits))
                now = time.process_time()
                found.ms.append(1000 * (now - before))
                found.kib.append(resident())
                before = now
                if time.monotonic() - begun > seconds:
                    run.keep_frames = True
                    break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--mode", default="2D", choices=("2D", "3D"))
    parser.add_argument("--seconds", type=float, default=240.0)
    options = parser.parse_args()
    gc.collect()
    found = course(options.frames, options.size, options.mode, options.seconds)
    print(
        f"long run, {options.mode}, {len(found.ms)} frames: late ones take {found.later:.3f} times the processor time "
        f"of early ones (target: at most {MOST_LATER}), {statistics.mean(found.ms[SKIPPED:]):.1f} ms"
    )
    print(f"long run, {options.mode}: memory grows by {found.growth:.2f} KiB per frame (target: under {MOST_GROWTH})")


if __name__ == "__main__":
    main()
