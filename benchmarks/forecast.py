"""Forecasts against what was measured: motion on the screen, and time, for the examples and real settings files.

    python -m benchmarks.forecast                       # the examples
    python -m benchmarks.forecast FOLDER                # the settings files of a folder, with the embedded model
    python -m benchmarks.forecast --only flythrough --frames 32 64 --no-time

Time: each file is rendered twice at a small size: a short run, as a machine has rendered before and which fills an
empty probe; then a longer one, which is foreseen and measured. "table" is the forecast without a probe.

Motion is the mean displacement of the renderer's own warps, over what was seen in the frame before; "flow" is that of
the rendered frames, by optical flow (DIS) where they have texture, which repainting disturbs. In 3D the forecast
assumes a depth, and the render asks the depth model: runs differ by their seeds, and the median of several is compared.
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
from deforum.settings.options import Settings

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
class Motion:
    """The motion of the first `count` frames."""

    count: int
    foreseen: float
    """px/frame, the mean over the frames; so are the others."""
    runs: tuple[float, ...]
    """A run for each seed."""
    uncovered: tuple[float, float]
    """Foreseen and measured."""

    @property
    def measured(self) -> float:
        return float(np.median(self.runs))

    def __str__(self) -> str:
        holes = " ".join(f"{100 * share:5.2f}" for share in self.uncovered)
        between = f"{min(self.runs):.2f}..{max(self.runs):.2f}" if len(self.runs) > 1 else ""
        return f"{self.count:4} frames {off(self.foreseen, self.measured)} px/frame {between:12} uncovered {holes} %"


@dataclass(frozen=True)
class Seconds:
    """The time of a run."""

    table: float
    """Foreseen without a probe, and with one of a short run."""
    probed: float
    measured: float
    took: float
    """Of the forecast."""
    flow: float
    """px/frame of the rendered frames; NaN where they have too little texture."""

    def __str__(self) -> str:
        told = f"time {off(self.probed, self.measured)} s; by the table {off(self.table, self.measured)} s"
        return f"{told}; forecast {1000 * self.took:.0f} ms; flow {self.flow:.2f} px/frame"


def off(foreseen: float, measured: float) -> str:
    return f"{foreseen:6.2f} {measured:6.2f} " + (
        f"{100 * (foreseen / measured - 1):+4.0f} %" if measured else "   - %"
    )


def time_of(path: Path, overrides: Sequence[str], probing: int, count: int) -> Seconds:
    """Render a file twice, and compare the second time with its forecasts."""
    from deforum.forecast import forecast
    from deforum.rendering import check

    small = [*overrides, "seed=1", "skip_video_creation=false"]
    settings = load(path, [*small, f"max_frames={count}"]).settings
    with tempfile.TemporaryDirectory() as folder:
        prepared = check(settings, output=folder)
        by_table = forecast(prepared).seconds
        rendered(path, [*small, f"max_frames={probing}"], folder)
        began = time.perf_counter()
        by_probe = forecast(prepared).seconds
        took = time.perf_counter() - began
        seconds, run = rendered(path, [*small, f"max_frames={count}"], folder)
        flow = flow_of(run, settings.size)
    assert by_table is not None and by_probe is not None
    return Seconds(by_table, by_probe, seconds, took, flow)


def motion_of(path: Path, overrides: Sequence[str], counts: Sequence[int], seeds: int) -> list[Motion]:
    """Render the longest run for each seed, in 3D, and compare the motion of its first frames with its forecast."""
    from deforum.forecast import forecast
    from deforum.rendering import check

    settings = load(path, [*overrides, f"max_frames={max(counts)}", "skip_video_creation=true"]).settings
    foreseen = forecast(check(settings))
    if not any(foreseen.speed):
        return []
    deep = settings.mode.has_depth and settings.use_depth_warping
    runs = [moves_of(replace(settings, seed=seed)) for seed in range(1, 1 + (seeds if deep else 1))]
    return [
        Motion(
            count,
            float(np.mean(foreseen.speed[1:count])),
            tuple(float(speeds[1:count].mean()) for speeds, _ in runs),
            (float(np.mean(foreseen.uncovered[1:count])), float(np.median([each[1:count].mean() for _, each in runs]))),
        )
        for count in counts
    ]


def moves_of(settings: Settings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Render, and return the speed of each frame in px/frame, and the share of it that was not seen before: (F,)."""
    from deforum.animation.carrying import OuterCamera
    from deforum.animation.stages import Stages
    from deforum.motion.warps import Warp
    from deforum.rendering import render
    from deforum.timeline.frame import Frame

    speeds, holes = np.zeros(settings.max_frames), np.zeros(settings.max_frames)

    @dataclass(frozen=True)
    class Measuring(OuterCamera):
        """Notes the displacement of each move."""

        def move(self, frame: Frame) -> tuple[Warp, Self]:
            warp, camera = self.camera.move(frame)
            here, _ = warp.charts()
            height, width = here.positions.shape[1:]
            x, y = here.positions.numpy() - np.stack(np.meshgrid(np.arange(width), np.arange(height)))
            cover = np.minimum(here.covers.numpy(), 1)
            speeds[frame.index] = (np.hypot(x, y) * cover).sum() / max(cover.sum(), 1)
            holes[frame.index] = 1 - cover.mean()
            return warp, replace(self, camera=camera)

    def measuring(stages: Stages) -> Stages:
        return replace(stages, camera=Measuring(stages.camera))

    with tempfile.TemporaryDirectory() as folder:
        render(settings, output=folder, change=measuring)
    return speeds, holes


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
    parser.add_argument("--frames", type=int, nargs="*", default=[16], help="the motion of the longest, and its parts")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each file in 3D")
    parser.add_argument("--probing", type=int, default=8, help="frames of the runs that fill the probe")
    parser.add_argument("--side", type=int, default=192, help="the shorter side of frames, at most")
    parser.add_argument("--no-motion", action="store_true")
    parser.add_argument("--no-time", action="store_true")
    args = parser.parse_args()
    files = sorted([*args.folder.glob("*.yaml"), *args.folder.glob("*.txt")])
    motions, times = list[Motion](), list[Seconds]()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; each pair is foreseen and measured")
    for path in files:
        if args.only and not any(part in path.stem for part in args.only):
            continue
        settings = load(path, to_render=False).settings
        width, height = settings.width or 512, settings.height or 512
        scale = min(args.side / min(width, height), 1)
        sides = (f"{name}={round(side * scale / 8) * 8}" for name, side in (("W", width), ("H", height)))
        overrides = ["model=embedded", "post=[]", *sides]
        name = f"{path.stem.removeprefix('studio-')[:24]:24} {settings.animation_mode[:6]:6} {settings.profile:9}"
        try:
            if not args.no_time:
                # Of this file alone: others must not tell.
                with tempfile.TemporaryDirectory() as cache:
                    os.environ[ENVIRONMENT] = str(Path(cache) / "probe.json")
                    times.append(time_of(path, overrides, args.probing, max(args.frames)))
                print(name, times[-1], flush=True)
            os.environ[ENVIRONMENT] = "off"
            for motion in [] if args.no_motion else motion_of(path, overrides, sorted(args.frames), args.seeds):
                motions.append(motion)
                print(name, motion, flush=True)
        except UserError as error:
            print(f"{name} does not render here: {str(error).splitlines()[0][:80]}")
    for what, target, shares in (
        ("motion", FLOW_TARGET, [each.foreseen / each.measured for each in motions if each.measured > 0.05]),
        ("time", TIME_TARGET, [each.probed / each.measured for each in times]),
        ("time by the table", TIME_TARGET, [each.table / each.measured for each in times]),
    ):
        within = sum(abs(share - 1) <= target for share in shares)
        print(f"{what} within {100 * target:.0f} %: {within} of {len(shares)}")


if __name__ == "__main__":
    main()
