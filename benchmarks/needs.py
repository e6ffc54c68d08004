"""The rows of the table in `deforum/needs.py`, measured here: what parts of a run with the embedded model take.

    OMP_NUM_THREADS=2 python -m benchmarks.needs                 # all rows; three minutes on 2 cores
    OMP_NUM_THREADS=2 python -m benchmarks.needs --sides 160 256 # smaller sizes alone
    OMP_NUM_THREADS=2 python -m benchmarks.needs --behind        # the steps behind a render

Short runs are rendered in one process after a still shorter one of their kind, which does not count. A row is a
difference: an in-between is what a run of cadence 12 takes beyond one of cadence 4, for each frame more between two
painted ones. The start is what the first run of a process takes beyond its frames.
"""

from __future__ import annotations

import argparse
import os
import shutil
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
from deforum.post.record import POST_FOLDER
from deforum.probe import ENVIRONMENT
from deforum.settings.steps import Denoise, Film, Finish, Frames, Grain, Interpolate, Step, Upscale, Vignette

USUAL: Mapping[str, Any] = {
    "model": "embedded", "animation_mode": "2D", "zoom": 1.02, "translation_z": 3, "depth_algorithm": "embedded",
    "prompts": {0: "a calm sea"}, "strength": 0.5, "steps": 4, "cadence": 1, "finish": "none", "seed": 1,
}  # fmt: skip
DEEP = {"animation_mode": "3D"}
OLD = {"profile": "deforum"}
PAINTED, FEW, MANY = 5, 4, 12
"""Painted frames after the first one, in runs of cadence 1; the other cadences."""
SPANS: Mapping[int, int] = {1: PAINTED, FEW: 3, MANY: 2}
"""Painted frames after the first one, by cadence."""
ROWS: Mapping[str, Mapping[str, Any]] = {
    "2D": {},
    "20 steps": {"steps": 20},
    "20 steps, unguided": {"steps": 20, "cfg_scale": 1},
    "20 steps, by torch": {"steps": 20, "pag_scale": 3},
    "cadence 4": {"cadence": FEW},
    "cadence 12": {"cadence": MANY},
    "3D": DEEP,
    "3D, cadence 4": DEEP | {"cadence": FEW},
    "3D, cadence 12": DEEP | {"cadence": MANY},
    "Deforum's": OLD,
    "Deforum's, cadence 12": OLD | {"cadence": MANY},
    "Deforum's 3D": OLD | DEEP,
    "Deforum's 3D, cadence 12": OLD | DEEP | {"cadence": MANY},
    "finished": {"finish": "embedded"},
    "finished, gouache": {"finish": "embedded", "finish_look": "gouache"},
    "finished, ink": {"finish": "embedded", "finish_look": "ink"},
}
BEHIND: Mapping[str, tuple[Step, ...]] = {
    "film": (Film(),),
    "frames": (Frames(),),
    "interpolate 2": (Interpolate(2), Film()),
    "interpolate 4": (Interpolate(4), Film()),
    "lanczos": (Upscale(2.0, "lanczos"), Film()),
    "realesr": (Upscale(2.0, "realesr-animevideov3"), Film()),
    "finish": (Finish(), Film()),
    "denoise": (Denoise(), Film()),
    "grain": (Grain(), Film()),
    "vignette": (Vignette(), Film()),
}
"""Chains of steps behind a render."""
SHORT, LONG = 8, 24
"""Frames of the runs that they are made of."""
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


def settings_of(name: str, side: int, spans: int | None = None) -> dict[str, Any]:
    """Return the settings of a row at a size, with so many painted frames after the first one."""
    given = {**USUAL, **ROWS[name], "width": side, "height": side}
    cadence = given["cadence"]
    return given | {"max_frames": 1 + cadence * (SPANS[cadence] if spans is None else spans)}


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
        run(settings_of(name, side, spans=1), models)
        each[name] = run(given, models).after_first / SPANS[given["cadence"]]
        print(f"{side:5} px  {name:25} {each[name]:6.3f} s for each painted frame", flush=True)
    painted, deep = each["2D"], each["3D"]
    step = (each["20 steps"] - painted) / 8
    alone, altered = ((each[f"20 steps, {how}"] - painted + 2 * step) / 10 for how in ("unguided", "by torch"))
    between, between_deep = ((each[f"{of}cadence 12"] - each[f"{of}cadence 4"]) / (MANY - FEW) for of in ("", "3D, "))
    old, old_deep = ((each[f"{of}, cadence 12"] - each[of]) / (MANY - 1) for of in ("Deforum's", "Deforum's 3D"))
    depth = deep - painted - (between_deep - between)
    finished = {name: each[name] - painted for name in ROWS if name.startswith("finished")}
    return {
        "PAINTED": painted - 2 * step,
        "STEP": step,
        "STEP, unguided": alone,
        "STEP, 3 rows by torch": altered,
        "MEETING": each["cadence 4"] - painted - (FEW - 1) * between,
        "IN_BETWEEN": between,
        "FADED": old,
        "MOVED_DEEP": between_deep - between,
        "MOVED_SLAB": old_deep - old - depth,
        "DEPTH": depth,
        "FINISHED, plain": finished.pop("finished"),
        "FINISHED, looks": max(finished.values()),
    }


def measure_behind(side: int) -> dict[str, float]:
    """Measure the steps behind a render at a size: seconds for each frame that goes in, and of the beginning."""
    from deforum.models.kept import KeptModels
    from deforum.post.chain import make_chain
    from deforum.rendering import render

    models, each = KeptModels(), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for count in (SHORT, LONG):
            given = {**USUAL, **OLD, "strength": 0.8, "width": side, "height": side, "max_frames": count}
            runs[count] = render(load(given).settings, output=folder, models=models).folder
        for name, chain in BEHIND.items():
            took = {}
            for count in (SHORT, LONG, SHORT):  # the first one may load a network
                shutil.rmtree(runs[count] / POST_FOLDER, ignore_errors=True)
                began = time.perf_counter()
                make_chain(runs[count], chain, models=models, overwrite=True)
                took[count] = time.perf_counter() - began
            each[name] = (took[LONG] - took[SHORT]) / (LONG - SHORT)
            each[f"{name}, beginning"] = took[SHORT] - SHORT * each[name]
    return each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[160, 256, 512])
    parser.add_argument("--no-start", action="store_true")
    parser.add_argument("--behind", action="store_true", help="measure the steps behind a render, and end")
    args = parser.parse_args()
    os.environ[ENVIRONMENT] = "off"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found = [(measure_behind if args.behind else measure)(side) for side in args.sides]
    sizes = np.array([side * side for side in args.sides])
    print(f"{'':21} {'  '.join(f'{side:4} px' for side in args.sides)}   seconds, and seconds per px")
    for name in found[0]:
        values = np.array([each[name] for each in found])
        # Relative errors count, so that small frames do too.
        slope, each = np.polyfit(sizes, values, 1, w=1 / np.maximum(values, 1e-3)) if len(sizes) > 1 else (0, values[0])
        print(f"{name:21} {'  '.join(f'{value:6.3f}s' for value in values)}   {each:7.3f}, {slope:.2e}")
    for name in () if args.no_start or args.behind else ("2D", "3D", "finished"):
        for side in args.sides[:2]:
            command = [sys.executable, "-c", ALONE, name, str(side)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"start, {name}, {side} px: {float(done.stdout.split()[-1]):.2f} s beyond the table", flush=True)


if __name__ == "__main__":
    main()
