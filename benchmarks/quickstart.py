"""Time `render.py examples/quickstart.yaml` beside a plain diffusers loop (baseline.py), in turn, from start to end.

    python -m benchmarks.quickstart [--frames 16] [--repeats 3] [--cores 1] [--waits] [--clip]

Each run is a process of its own, as a user starts it. Frames are compared as they are painted (`finish: none`), as the
plain loop has nothing to finish them with; a run with finished frames stands beside. `--cores 1` gives all of them one
core. `--clip` paints over a film of 512x512 in place of it (Video Input), with the same model, prompt, size, steps and
strength. `--waits` compares how OpenMP's threads wait (see deforum/models/process.py) in place of the plain loop.
Medians are printed, and ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deforum.leaving import leave

ROOT = Path(__file__).resolve().parent.parent
START = "BENCHMARK_START"
"""Environment variable: the clock time at which a run was started."""
SIZE, CADENCE = 256, 2
TARGET_FIRST_S = 5.0
PAINT_OVER = """
animation_mode: Video Input
video_init_path: {clip}
fps: 12
seed: 7
prompts: {{0: the sea at sunset with a glowing sun}}
model: embedded
steps: 20
cfg_scale: 4
strength: 0.55
sampler: Euler a
width: 256
height: 256
"""
"""Settings of `--clip`."""

WAITS: Mapping[str, Mapping[str, str]] = {
    "as set": {},
    "never busy": {"OMP_WAIT_POLICY": "PASSIVE"},
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


@dataclass
class Taken:
    """Times of the runs of one kind, in seconds."""

    first: list[float] = field(default_factory=list)
    """From the start of the process to the beginning of the first frame."""
    whole: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    """Median time of a frame outside the model (motion, filters, handing over for writing); not of the plain loop."""

    def report(self, name: str, frames: int) -> str:
        first, whole = statistics.median(self.first), statistics.median(self.whole)
        rate = frames / statistics.median(b - a for a, b in zip(self.first, self.whole, strict=True))
        outside = f", {1000 * statistics.median(self.outside):.1f} ms a frame outside the model" if self.outside else ""
        return f"{name}: first frame after {first:.2f} s, then {rate:.2f} frames/s, {whole:.2f} s in all{outside}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, help="number of cores to run on (Linux)")
    parser.add_argument("--waits", action="store_true")
    parser.add_argument("--clip", action="store_true")
    parser.add_argument("--finish", default="none", help=argparse.SUPPRESS)
    parser.add_argument("--settings", default="examples/quickstart.yaml", help=argparse.SUPPRESS)
    parser.add_argument("--render", metavar="FOLDER", help=argparse.SUPPRESS)  # a run of ours, in its own process
    options = parser.parse_args()
    if options.render:
        leave(render(options.render, options.settings, options.frames, options.finish))  # as render.py ends
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Time all kinds of runs in turn, and print; `folder` is for the film of `--clip`."""
    ours = [sys.executable, "-m", "benchmarks.quickstart", "--frames", str(options.frames)]
    plain = [sys.executable, "-m", "benchmarks.baseline", "--frames", str(options.frames)]
    if options.clip:
        from benchmarks.video_input import film

        clip = film(folder / "clip.mp4", 512, 512, options.frames)
        (folder / "settings.yaml").write_text(PAINT_OVER.format(clip=clip))
        ours += ["--settings", str(folder / "settings.yaml")]
        plain += ["--clip", str(clip)]
    finished, ours = [*ours, "--finish", "auto", "--render"], [*ours, "--render"]
    kinds = {name: (ours, environment) for name, environment in WAITS.items()} if options.waits else {
        "ours": (ours, {}), "ours, finished to 512x512": (finished, {}), "plain loop": (plain, {}),
    }  # fmt: skip
    taken = {name: Taken() for name in kinds}
    run(kinds[next(iter(kinds))][0], {}, Taken())  # bytecode and graphs are there in all but the first run of a machine
    for _ in range(options.repeats):
        for name, (command, environment) in kinds.items():
            run(command, environment, taken[name])
    subject = "Video Input" if options.clip else "quickstart"
    for name in kinds:
        print(f"{subject}, {options.frames} frames, {taken[name].report(name, options.frames)}")
    if not options.waits:
        first, whole = (ratio(taken["plain loop"], taken["ours"], part) for part in ("first", "whole"))
        print(
            f"{subject}, ours against the plain loop: first frame {first:.2f} times as soon "
            f"(target: under {TARGET_FIRST_S:g} s), all frames {whole:.2f} times as fast"
        )


def ratio(slow: Taken, fast: Taken, part: str) -> float:
    """Return the median ratio of times of runs that followed each other."""
    return statistics.median(a / b for a, b in zip(getattr(slow, part), getattr(fast, part), strict=True))


def run(command: list[str], environment: Mapping[str, str], taken: Taken) -> None:
    """Run a process and add its times."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        variables = os.environ | {"PYTHONPATH": str(ROOT), START: str(start)} | environment
        variables.pop("PYTHONDONTWRITEBYTECODE", None)  # else ours is compiled in each run, and libraries are not
        done = subprocess.run(
            [*command, folder], cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE, text=True
        )
        taken.whole.append(time.time() - start)
    words = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("first ", "outside ")))
    taken.first.append(float(words["first"]))
    if "outside" in words:
        taken.outside.append(float(words["outside"]))


def render(folder: str, settings: str, frames: int, finish: str) -> int:
    """Run the command line as render.py does, and print when the first frame begins."""
    from deforum import rendering
    from deforum.cli.main import main as command_line
    from deforum.events import Event, Observer, RunLoaded, StageTimes, nobody

    times: list[float] = []
    plain = rendering.render

    def watched(*given: object, observer: Observer = nobody, **named: object) -> object:
        def watch(event: Event) -> None:
            if isinstance(event, RunLoaded):
                print(f"first {time.time() - float(os.environ[START]):.3f}", flush=True)
            elif isinstance(event, StageTimes):
                times.append(sum(seconds for stage, seconds in event.seconds.items() if stage != "diffuse"))
            observer(event)

        return plain(*given, observer=watch, **named)  # type: ignore[arg-type]

    rendering.render = watched  # type: ignore[assignment]
    status = command_line([settings, f"max_frames={frames}", f"finish={finish}", "-q", "-o", folder])
    print(f"outside {statistics.median(times):.5f}", flush=True)
    return status


if __name__ == "__main__":
    main()
