"""Time loading and checking a large settings file, start-up included: `python benchmarks/load.py`.

A file as Deforum's web UI saves it: 250 keys, every schedule an expression or keyframes, 10,000 frames. Each figure is
the whole life of a process: of `load`, which finds every mistake in the file, of `render.py check`, which also looks
for the model and encodes a frame in the chosen formats, of `render.py --help`, and of Python alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from deforum.settings.declare import Declaration
from deforum.settings.options import CONTROLS, DECLARATIONS
from schedules import NumberSchedule, TextSchedule

ROOT = Path(__file__).parents[1]
KEYS, FRAMES, REPEATS, TARGET, HELP_TARGET = 250, 10_000, 5, 0.5, 0.3
LOAD = f"""
from pathlib import Path
import sys
from deforum.loading import load
assert load(Path(sys.argv[1]), to_render=False).settings.max_frames == {FRAMES}
"""


def value(declaration: Declaration, number: int) -> object:
    """Return a value for a setting that is within its range at every frame and takes some work to check."""
    if declaration.type is NumberSchedule:
        default = declaration.default if isinstance(declaration.default, str) else "1"
        if declaration.odd or declaration.least or declaration.high == 1 or "(" in default:
            return default if ":" in default else f"0: ({default})"
        if number % 2:
            return f"0: ({default}), 100: ({default} + 0*sin(t/{number + 10})), 5000: ({default})"
        return f"0: ({default} + 0.0001*abs(sin(2*3.14*t/{number + 10})))"
    if declaration.type is TextSchedule:
        return f'0: ("{declaration.default.keyframes[0].value}")'
    return list(declaration.default) if isinstance(declaration.default, tuple) else declaration.default


def write_file(path: Path) -> None:
    """Write the file: the settings under Deforum's names, then ControlNet units up to KEYS keys."""
    file = {
        (each.old[0] if each.old else name): value(each, number)
        for number, (name, each) in enumerate(DECLARATIONS.items())
        if name not in ("prompts", "init_images", "profile", "model")
    }
    file |= {"max_frames": FRAMES, "animation_mode": "2D"}
    file["prompts"] = {str(frame): f"a calm sea at hour {frame} --neg fog" for frame in range(0, FRAMES, 100)}
    units = ((f"cn_{unit}_{name}", each) for unit in range(1, 20) for name, each in CONTROLS.items())
    for name, each in units:
        if len(file) < KEYS:
            file[name] = each.default.text if isinstance(each.default, NumberSchedule) else each.default
    assert len(file) == KEYS
    path.write_text(json.dumps(file, indent=1), encoding="utf-8")


def timed(*command: str) -> tuple[float, float]:
    """Return the wall-clock and processor seconds of a process, medians of REPEATS runs."""
    clock, processor = [], []
    for _ in range(REPEATS):
        before, start = os.times(), time.perf_counter()
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        clock.append(time.perf_counter() - start)
        after = os.times()
        if done.returncode:
            sys.exit(done.stderr)
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        processor.append(spent)
    return statistics.median(clock), statistics.median(processor)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.txt"
        write_file(path)
        print(f"{KEYS} keys, {FRAMES:,} frames, {path.stat().st_size:,} bytes; median of {REPEATS}")
        for what, command in {
            "load, all mistakes in the file": ("-c", LOAD, str(path)),
            "render.py check": ("render.py", "check", "-q", str(path)),
            "render.py --help": ("render.py", "--help"),
            "nothing: python itself": ("-c", ""),
        }.items():
            clock, processor = timed(*command)
            reach = {"nothing: python itself": "", "render.py --help": f"{HELP_TARGET} s of processor time"}
            target = reach.get(what, f"{TARGET} s")
            print(
                f"{what:32} {clock:6.3f} s, {processor:6.3f} s of processor time   {target and f'(to reach: {target})'}"
            )


if __name__ == "__main__":
    main()
