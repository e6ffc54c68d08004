"""Forecasts against what was measured: motion on the screen, and time, for the examples and real settings files.

    python -m benchmarks.forecast                       # the examples
    python -m benchmarks.forecast FOLDER                # the settings files of a folder, with the embedded model

Each file is rendered twice at a small size: a short run, as a machine has rendered before and which fills an empty
probe; then a longer one, which is foreseen and measured. Motion is the mean displacement of the renderer's own warps,
over what was seen in the frame before; "flow" is that of the rendered frames, by optical flow (DIS) where they have
texture, which repainting disturbs. In 3D the forecast assumes a depth, and the render asks the depth model.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.loading import load
from deforum.probe import ENVIRONMENT

ROOT = Path(__file__).parents[1]
FLOW_TARGET, TIME_TARGET = 0.10, 0.15
TEXTURE = 12.0
"""Levels; local contrast of a frame from which its optical flow counts."""
ALONE = """
import sys, time
from deforum import load, render
path, output, *overrides = sys.argv[1:]
settings = load(path, overrides).settings
began = time.perf_counter()
run = render(settings, output=output)
print(time.perf_counter() - began, run.folder)
"""
"""A render in a process of its own."""


@dataclass(frozen=True)
class Row:
    """One file."""

    name: str
    mode: str
    speed: tuple[float, float]
    """px/frame: foreseen and measured, means over the frames."""
    flow: float
    """px/frame of the rendered frames; NaN where they have too little texture."""
    uncovered: tuple[float, float]
    seconds: tuple[float, float]
    took: float
    """Seconds of the forecast."""

    def __str__(self) -> str:
        def off(pair: tuple[float, float]) -> str:
            foreseen, measured = pair
            return f"{foreseen:7.2f} {measured:7.2f} " + (
                f"{100 * (foreseen / measured - 1):+4.0f} %" if measured else "   - %"
            )

        holes = " ".join(f"{100 * share:5.2f}" for share in self.uncovered)
        what = f"{self.name[:26]:26} {self.mode[:13]:13} {off(self.speed)} {self.flow:7.2f} {holes} %"
        return f"{what} {off(self.seconds)}  {1000 * self.took:4.0f} ms"


def measure(path: Path, overrides: Sequence[str], probing: int, frames: int, *, motion: bool) -> Row:
    """Render a file twice, and compare the second time with its forecast; with `motion` once more to measure that."""
    from deforum.animation.carrying import OuterCamera
    from deforum.animation.stages import Stages
    from deforum.forecast import forecast
    from deforum.motion.warps import Warp
    from deforum.rendering import check, render
    from deforum.timeline.frame import Frame

    speeds: dict[int, float] = {}
    holes: dict[int, float] = {}

    @dataclass(frozen=True)
    class Measuring(OuterCamera):
        """Notes the displacement of each move."""

        def move(self, frame: Frame) -> tuple[Warp, Self]:
            warp, camera = self.camera.move(frame)
            here, _ = warp.charts()
            height, width = here.positions.shape[1:]
            x, y = here.positions.numpy() - np.stack(np.meshgrid(np.arange(width), np.arange(height)))
            cover = np.minimum(here.covers.numpy(), 1)
            speeds[frame.index] = float((np.hypot(x, y) * cover).sum() / max(cover.sum(), 1))
            holes[frame.index] = float(1 - cover.mean())
            return warp, replace(self, camera=camera)

    def measuring(stages: Stages) -> Stages:
        return replace(stages, camera=Measuring(stages.camera))

    small = [*overrides, "seed=1", "skip_video_creation=false", "post=[]"]

    def settings_of(count: int):  # type: ignore[no-untyped-def]
        return load(path, [*small, f"max_frames={count}"]).settings

    with tempfile.TemporaryDirectory() as folder:
        rendered(path, [*small, f"max_frames={probing}"], folder)
        settings = settings_of(frames)
        prepared = check(settings, output=folder)
        began = time.perf_counter()
        foreseen = forecast(prepared)
        took = time.perf_counter() - began
        seconds, run = rendered(path, [*small, f"max_frames={frames}"], folder)
        flow = flow_of(run, settings.size)
        # The same frames again, with the camera watched, which would slow the run down.
        if settings.mode.goes_on and motion:
            render(settings, output=folder, change=measuring)
    moved = range(1, len(prepared.timeline))
    assert foreseen.seconds is not None
    return Row(
        path.stem.removeprefix("studio-"), f"{settings.animation_mode} {settings.profile}",
        (float(np.mean(foreseen.speed[1:])), float(np.mean([speeds.get(each, 0.0) for each in moved]))),
        flow, (float(np.mean(foreseen.uncovered[1:])), float(np.mean([holes.get(each, 0.0) for each in moved]))),
        (foreseen.seconds, seconds), took,
    )  # fmt: skip


def rendered(path: Path, overrides: Sequence[str], output: str) -> tuple[float, Path]:
    """Render in a process of its own, as from the command line; return the seconds of the render, and its folder."""
    command = [sys.executable, "-c", ALONE, str(path), output, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, folder = done.stdout.splitlines()[-1].split(maxsplit=1)
    return float(seconds), Path(folder)


def flow_of(folder: Path, size: tuple[int, int]) -> float:
    """Return the mean optical flow between the frames of a run, where they have texture: px/frame of size `size`."""
    import cv2

    def grey(path: Path) -> NDArray[np.uint8]:
        picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pictures = [grey(path) for path in sorted((folder / "frames").glob("*.png"))]
    lengths = []
    for before, now in pairwise(pictures):
        flow = np.asarray(estimate.calc(now, before, None))  # type: ignore[call-overload]
        contrast = cv2.dilate(now, np.ones((5, 5), np.uint8)).astype(float) - cv2.erode(now, np.ones((5, 5), np.uint8))
        seen = contrast > TEXTURE
        if seen.mean() > 0.1:
            lengths.append(float(np.hypot(*np.moveaxis(flow, -1, 0))[seen].mean()))
    return float(np.mean(lengths)) if lengths else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "examples")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of the files to take")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--probing", type=int, default=8, help="frames of the runs that fill the probe")
    parser.add_argument("--side", type=int, default=192, help="the shorter side of frames, at most")
    parser.add_argument("--only-time", action="store_true", help="leave the measuring of the motion out")
    args = parser.parse_args()
    files = sorted([*args.folder.glob("*.yaml"), *args.folder.glob("*.txt")])
    rows: list[Row] = []
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {args.frames} frames of each file")
    print(f"{'':40} {'motion, px/frame':22} {'flow':>8}   uncovered   {'seconds':22}  forecast")
    with tempfile.TemporaryDirectory() as cache:
        os.environ[ENVIRONMENT] = str(Path(cache) / "probe.json")
        for path in files:
            if args.only and not any(part in path.stem for part in args.only):
                continue
            settings = load(path, to_render=False).settings
            width, height = settings.width or 512, settings.height or 512
            scale = min(args.side / min(width, height), 1)
            sides = (f"{name}={round(side * scale / 8) * 8}" for name, side in (("W", width), ("H", height)))
            overrides = ["model=embedded", *sides]
            try:
                row = measure(path, overrides, args.probing, args.frames, motion=not args.only_time)
            except UserError as error:
                print(f"{path.stem[:26]:26} does not render here: {str(error).splitlines()[0][:80]}")
                continue
            rows.append(row)
            print(row, flush=True)
    moving = [row for row in rows if row.speed[1] > 0.05]
    flows = [abs(row.speed[0] / row.speed[1] - 1) for row in moving]
    times = [abs(row.seconds[0] / row.seconds[1] - 1) for row in rows]
    print(
        f"motion within {100 * FLOW_TARGET:.0f} %: {sum(each <= FLOW_TARGET for each in flows)} of {len(flows)}; ",
        end="",
    )
    print(f"time within {100 * TIME_TARGET:.0f} %: {sum(each <= TIME_TARGET for each in times)} of {len(times)}")


if __name__ == "__main__":
    main()
