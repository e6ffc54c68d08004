"""The rows of the table in `deforum/needs.py`, measured here: what parts of a run with the embedded model take.

    OMP_NUM_THREADS=2 python -m benchmarks.needs                 # all rows; two minutes on 2 cores
    OMP_NUM_THREADS=2 python -m benchmarks.needs --sides 160 256 # smaller sizes alone

Short runs are rendered twice in one process, and the second time counts. A row is a difference: in-betweens are a run
of cadence 4 less its painted frames. The start is what the first run of a process takes beyond its frames.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deforum import needs
from deforum.build import prepare
from deforum.loading import load
from deforum.probe import ENVIRONMENT

USUAL: Mapping[str, Any] = {
    "model": "embedded", "animation_mode": "2D", "zoom": 1.02, "translation_z": 3, "depth_algorithm": "embedded",
    "prompts": {0: "a calm sea"}, "strength": 0.5, "steps": 4, "cadence": 1, "finish": "none", "seed": 1,
}  # fmt: skip
DEEP = {"animation_mode": "3D"}
PAINTED, SPANS = 5, 3
"""Painted frames after the first one, in runs of cadence 1 and 4."""
ROWS: Mapping[str, Mapping[str, Any]] = {
    "2D": {},
    "20 steps": {"steps": 20},
    "cadence 4": {"cadence": 4},
    "3D": DEEP,
    "3D, cadence 4": DEEP | {"cadence": 4},
    "3D of Deforum": DEEP | {"profile": "deforum"},
    "finished": {"finish": "embedded"},
    "finished, gouache": {"finish": "embedded", "finish_look": "gouache"},
    "finished, ink": {"finish": "embedded", "finish_look": "ink"},
}
ALONE = """
import sys
from benchmarks.needs import started
print(started(sys.argv[1], int(sys.argv[2])))
"""


@dataclass(frozen=True)
class Times:
    """A run, in seconds."""

    whole: float
    after_first: float
    """From the first frame to the end."""


def run(given: Mapping[str, Any], models: Any = None) -> Times:
    """Render settings, and take the times."""
    began = time.perf_counter()
    from deforum.events import Event, FrameShown
    from deforum.rendering import render

    shown = list[float]()

    def hear(event: Event) -> None:
        if isinstance(event, FrameShown):
            shown.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        render(load(given).settings, output=folder, observer=hear, models=models)
        ended = time.perf_counter()
    return Times(ended - began, ended - shown[0])


def settings_of(name: str, side: int) -> dict[str, Any]:
    """Return the settings of a row at a size."""
    given = {**USUAL, **ROWS[name], "width": side, "height": side}
    return given | {"max_frames": 1 + (4 * SPANS if given["cadence"] == 4 else PAINTED)}


def started(name: str, side: int) -> float:
    """Render the first run of a process; return the seconds beyond those that the table gives for its frames."""
    given = settings_of(name, side)
    return run(given).whole - float(needs.work(prepare(load(given).settings)).sum())


def measure(side: int) -> dict[str, float]:
    """Measure the rows at a size: seconds each."""
    from deforum.models.kept import KeptModels

    models, each = KeptModels(), dict[str, float]()
    for name in ROWS:
        given = settings_of(name, side)
        run(given, models)
        each[name] = run(given, models).after_first
        print(f"{side:5} px  {name:18} {each[name]:6.2f} s", flush=True)
    painted, deep = each["2D"] / PAINTED, each["3D"] / PAINTED
    step = (each["20 steps"] - each["2D"]) / PAINTED / 8
    between = (each["cadence 4"] / SPANS - painted) / 3
    between_deep = (each["3D, cadence 4"] / SPANS - deep) / 3
    finished = {name: each[name] / PAINTED - painted for name in ROWS if name.startswith("finished")}
    return {
        "PAINTED": painted - 2 * step,
        "STEP": step,
        "IN_BETWEEN": between,
        "MOVED_DEEP": between_deep - between,
        "DEPTH": deep - painted - (between_deep - between),
        "FINISHED, plain": finished.pop("finished"),
        "FINISHED, looks": max(finished.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[160, 256, 512])
    parser.add_argument("--no-start", action="store_true")
    args = parser.parse_args()
    os.environ[ENVIRONMENT] = "off"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found = [measure(side) for side in args.sides]
    sizes = np.array([side * side for side in args.sides])
    print(f"{'':16} {'  '.join(f'{side:4} px' for side in args.sides)}   seconds, and seconds per px")
    for name in found[0]:
        values = np.array([each[name] for each in found])
        # Relative errors count, so that small frames do too.
        slope, each = np.polyfit(sizes, values, 1, w=1 / np.maximum(values, 1e-3)) if len(sizes) > 1 else (0, values[0])
        print(f"{name:16} {'  '.join(f'{value:6.3f}s' for value in values)}   {each:7.3f}, {slope:.2e}")
    for name in () if args.no_start else ("2D", "3D", "finished"):
        for side in args.sides[:2]:
            command = [sys.executable, "-c", ALONE, name, str(side)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"start, {name}, {side} px: {float(done.stdout.split()[-1]):.2f} s beyond the table", flush=True)


if __name__ == "__main__":
    main()
