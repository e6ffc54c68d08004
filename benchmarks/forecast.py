"""Forecasts against what was measured: motion on the screen, and time, for the examples and real settings files.

    python -m benchmarks.forecast                       # the examples
    python -m benchmarks.forecast FOLDER                # the settings files of a folder, with the embedded model
    python -m benchmarks.forecast --only flythrough --frames 32 64 --no-time
    python -m benchmarks.forecast --check               # how exactly flow is measured; nothing is rendered
    python -m benchmarks.forecast --many 10000          # how long forecasts of many frames take; nothing is rendered

Time: each file is rendered twice at a small size. "first" is a short run, as the first one on a machine: graphs of the
networks are made, and the forecast has only the table of `deforum.needs`. "probed" is a longer one, foreseen from what
the short one noted; "table" is its forecast without that. `--again` repeats the short run before it, so that graphs
are made in none of the runs that are noted last. Measured is the whole call of `render`, from checking the settings to
the film and the steps behind it, which many of Deforum's files have. To be measured on a machine with nothing else to
do.

Motion: "flow" is measured in pictures. While the file is rendered, each frame's motion also moves a picture of noise,
and the optical flow (DIS) between the two pictures is averaged over what both show. Rendered frames themselves would
not do, as they are painted anew. "warps" is the mean of the displacements that the renderer computes, which should be
the same. Of Video Input, whose camera does not move, it is the flow between the clip's frames. In 3D the forecast
assumes a depth, and the render asks the depth model: runs differ by their seeds, and the median of several is compared.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.loading import load
from deforum.models.kept_graphs import ENVIRONMENT as GRAPHS
from deforum.probe import ENVIRONMENT
from deforum.settings.options import Settings

Array = NDArray[np.float64]
Picture = NDArray[np.float32]
ROOT = Path(__file__).parents[1]
FLOW_TARGET, TIME_TARGET = 0.10, 0.15
FINEST = 4.0
"""px; structure of the noise is larger than this, so that moving it does not blur it."""
LARGER = 8
"""Times that a picture is larger while it is moved by a known motion: sampling it does not matter then."""
ALONE = """
import sys, time
from deforum import load, render
path, output, *overrides = sys.argv[1:]
settings = load(path, overrides).settings
began = time.perf_counter()
render(settings, output=output)
print(time.perf_counter() - began)
"""
"""A render in a process of its own."""


@dataclass(frozen=True)
class Run:
    """What moves in a run: (F,) each, of frame 0 nothing."""

    flow: Array
    """px/frame, in pictures; so are `warps`, as computed."""
    warps: Array
    uncovered: Array
    """Share of the frame that was not seen before."""

    @staticmethod
    def of(count: int) -> Run:
        return Run(np.zeros(count), np.zeros(count), np.zeros(count))


@dataclass(frozen=True)
class Motion:
    """The motion of the first `count` frames."""

    count: int
    foreseen: float
    """px/frame, the mean over the frames; so are the others."""
    flows: tuple[float, ...]
    """A run for each seed."""
    warps: float
    uncovered: tuple[float, float]
    """Foreseen and measured."""

    @property
    def measured(self) -> float:
        return float(np.median(self.flows))

    def __str__(self) -> str:
        holes = " ".join(f"{100 * share:5.2f}" for share in self.uncovered)
        between = f"{min(self.flows):.2f}..{max(self.flows):.2f}" if len(self.flows) > 1 else ""
        return (
            f"{self.count:4} frames flow {off(self.foreseen, self.measured)} px/frame {between:12} "
            f"warps {self.warps:6.2f} uncovered {holes} %"
        )


@dataclass(frozen=True)
class Seconds:
    """The time of a run."""

    first: tuple[float, float]
    """Of the short run, foreseen and measured."""
    table: float
    """Foreseen without a probe, and with one of a short run."""
    probed: float
    measured: float
    took: float
    """Of the forecast."""

    def __str__(self) -> str:
        told = f"time, first {off(*self.first)} s; probed {off(self.probed, self.measured)} s"
        return f"{told}; table {off(self.table, self.measured)} s; forecast {1000 * self.took:.0f} ms"


def off(foreseen: float, measured: float) -> str:
    return f"{foreseen:6.2f} {measured:6.2f} " + (
        f"{100 * (foreseen / measured - 1):+4.0f} %" if measured else "   - %"
    )


def time_of(path: Path, overrides: Sequence[str], probing: int, count: int, *, again: bool) -> Seconds:
    """Render a file twice, and compare the times with their forecasts; a probe and a cache of graphs are there."""
    small = [*overrides, "seed=1", "skip_video_creation=false"]
    short, longer = ([*small, f"max_frames={frames}"] for frames in (probing, count))
    with tempfile.TemporaryDirectory() as folder:
        foreseen_first = foreseen(path, short, folder)
        first = foreseen_first, rendered(path, short, folder)
        with probe_off():
            by_table = foreseen(path, longer, folder)
        if again:
            rendered(path, short, folder)
        began = time.perf_counter()
        by_probe = foreseen(path, longer, folder)
        took = time.perf_counter() - began
        return Seconds(first, by_table, by_probe, rendered(path, longer, folder), took)


def foreseen(path: Path, overrides: Sequence[str], output: str) -> float:
    from deforum.forecast import forecast
    from deforum.rendering import check

    seconds = forecast(check(load(path, overrides).settings, output=output)).seconds
    assert seconds is not None
    return seconds


@contextmanager
def probe_off() -> Iterator[None]:
    before, os.environ[ENVIRONMENT] = os.environ[ENVIRONMENT], "off"
    yield
    os.environ[ENVIRONMENT] = before


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
            tuple(float(run.flow[1:count].mean()) for run in runs),
            float(np.median([run.warps[1:count].mean() for run in runs])),
            (
                float(np.mean(foreseen.uncovered[1:count])),
                float(np.median([run.uncovered[1:count].mean() for run in runs])),
            ),
        )
        for count in counts
    ]


def moves_of(settings: Settings) -> Run:
    """Render, and measure the motion of each frame."""
    import torch

    from deforum.animation.carrying import OuterCamera
    from deforum.animation.stages import Stages
    from deforum.motion.warps import Warp
    from deforum.rendering import render
    from deforum.timeline.frame import Frame

    if settings.mode.reads_clip:
        return clip_of(settings)
    found, picture = Run.of(settings.max_frames), noise(*settings.size)

    @dataclass(frozen=True)
    class Measuring(OuterCamera):
        """Measures each move."""

        def move(self, frame: Frame) -> tuple[Warp, Self]:
            warp, camera = self.camera.move(frame)
            if frame.index >= len(found.flow):  # a loop goes on into its first frame
                return warp, replace(self, camera=camera)
            here, _ = warp.charts()
            height, width = here.positions.shape[1:]
            cover = np.minimum(here.covers.numpy(), 1)
            moved = warp(torch.from_numpy(picture).expand(3, -1, -1))[0].numpy()
            way = here.positions.numpy() - np.stack(np.meshgrid(np.arange(width), np.arange(height)))
            found.flow[frame.index] = mean_length(flow_between(picture, moved), cover)
            found.warps[frame.index] = mean_length(way, cover)
            found.uncovered[frame.index] = 1 - cover.mean()
            return warp, replace(self, camera=camera)

    def measuring(stages: Stages) -> Stages:
        return replace(stages, camera=Measuring(stages.camera))

    with tempfile.TemporaryDirectory() as folder:
        render(settings, output=folder, change=measuring)
    return found


def clip_of(settings: Settings) -> Run:
    """Measure the motion between the frames of the clip that Video Input paints over, of the size of the animation."""
    import cv2

    from deforum.rendering import check
    from deforum.video.reader import frames_from

    found, clip = Run.of(settings.max_frames), check(settings).found["video input"].clip
    before: Picture | None = None
    for index, levels in enumerate(frames_from(clip, clip.stored(0), *settings.size, settings.clip_fit)):
        if index == settings.max_frames:
            break
        grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(levels[..., :3]), cv2.COLOR_RGB2GRAY))
        now = np.asarray(grey / 255, np.float32)
        if before is not None:
            found.flow[index] = mean_length(flow_between(before, now), np.ones(now.shape))
        before = now
    found.warps[:] = found.uncovered[:] = np.nan
    return found


def noise(width: int, height: int, finest: float = FINEST) -> Picture:
    """Draw a picture (H, W), 0..1, with structure of all sizes above `finest` px, so that it has flow everywhere."""
    random = np.random.default_rng(1).normal(size=(height, width))
    across, down = np.fft.rfftfreq(width), np.fft.fftfreq(height)[:, None]
    frequency = np.hypot(across, down)
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(random) / frequency * np.exp(-np.square(frequency * finest))
    spectrum[0, 0] = 0
    drawn = np.fft.irfft2(spectrum, (height, width))
    return np.asarray(np.clip(0.5 + 0.2 * drawn / drawn.std(), 0, 1), np.float32)


def flow_between(before: Picture, now: Picture) -> Array:
    """Estimate the displacement of each pixel of a picture since the one before, by DIS at twice the size: (2, H, W).

    At their own size DIS misjudges steps of less than a pixel by 10 to 20 %; see `--check`.
    """
    import cv2

    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = now.shape
    large = [
        np.rint(cv2.resize(each, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255)
        for each in (now, before)
    ]
    flow = np.asarray(estimate.calc(*(each.astype(np.uint8) for each in large), None))  # type: ignore[call-overload]
    return np.moveaxis(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / 2, -1, 0)


def mean_length(way: Array, cover: Array) -> float:
    """Return the mean length of displacements (2, H, W), over what was seen before, (H, W)."""
    return float((np.hypot(*way) * cover).sum() / max(cover.sum(), 1))


def check_flow(side: int) -> None:
    """Print flow measured in pictures that are moved by known displacements, at `LARGER` times the size."""
    import cv2

    from deforum.motion.matrices import Matrix, inverse, rotation, translation

    large, size = side * LARGER, (side, side)
    middle, picture = (large - 1) / 2, noise(large, large, finest=FINEST * LARGER)
    here = np.stack((*np.meshgrid(np.arange(side), np.arange(side)), np.ones((side, side))))
    moves: dict[str, Matrix] = {
        **{f"shift {px:g} px": translation(px * LARGER, 0) for px in (0.1, 0.3, 1.2, 3.2, 10.2, 30.2)},
        **{f"zoom {zoom:g}": rotation(0, zoom, middle, middle) for zoom in (1.002, 1.01, 1.04, 0.98)},
        **{f"turn {angle:g} degrees": rotation(angle, 1, middle, middle) for angle in (0.2, 1, 4)},
    }
    to_large = np.array([[LARGER, 0, (LARGER - 1) / 2], [0, LARGER, (LARGER - 1) / 2], [0, 0, 1]])
    before = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
    for name, matrix in moves.items():
        source = np.einsum("ij,jrc->irc", inverse(to_large) @ inverse(matrix) @ to_large, here)[:2]
        cover = ((source >= 0) & (source <= side - 1)).all(0).astype(np.float64)
        moved = cv2.warpPerspective(picture, matrix, (large, large), borderMode=cv2.BORDER_REPLICATE)
        now = np.asarray(cv2.resize(moved, size, interpolation=cv2.INTER_AREA), np.float32)
        measured = mean_length(flow_between(before, now), cover)
        print(f"{name:16} {off(measured, mean_length(source - here[:2], cover))} px, measured and set", flush=True)


def forecast_many(count: int) -> None:
    """Print the seconds of forecasts of frames that each move in their own way, the best of three."""
    from deforum.forecast import forecast
    from deforum.rendering import check

    moves = {
        "model": "embedded", "max_frames": count, "seed": 1, "cadence": 1, "zoom": "1 + 0.01*sin(t/7) + t/1e6",
        "angle": "sin(t/11)", "translation_z": "3 + sin(t/7) + t/1000", "translation_x": "2*sin(t/11)",
        "rotation_3d_y": "0.3*sin(t/13)",
    }  # fmt: skip
    modes: dict[str, dict[str, object]] = {
        "2D": {"animation_mode": "2D"},
        "3D": {"animation_mode": "3D"},
        "3D of Deforum": {"animation_mode": "3D", "profile": "deforum"},
        "3D with flip": {"animation_mode": "3D", "enable_perspective_flip": True, "perspective_flip_phi": "sin(t/9)"},
    }
    for name, mode in modes.items():
        prepared, took = check(load(moves | mode).settings), list[float]()
        for _ in range(3):
            began = time.perf_counter()
            forecast(prepared)
            took.append(time.perf_counter() - began)
        print(f"{name:14} {count} frames: {min(took):.2f} s", flush=True)


def rendered(path: Path, overrides: Sequence[str], output: str) -> float:
    """Render in a process of its own, as from the command line; return the seconds of the render."""
    command = [sys.executable, "-c", ALONE, str(path), output, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "examples")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of the files to take")
    parser.add_argument("--frames", type=int, nargs="*", default=[16], help="the motion of the longest, and its parts")
    parser.add_argument("--cadence", type=int, help="paint every so many frames, in place of theirs")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each file in 3D")
    parser.add_argument("--probing", type=int, default=8, help="frames of the runs that fill the probe")
    parser.add_argument("--again", action="store_true", help="let the short run be repeated, with graphs in the cache")
    parser.add_argument("--side", type=int, default=192, help="the shorter side of frames, at most")
    parser.add_argument("--check", action="store_true", help="measure the flow of known motions, and end")
    parser.add_argument("--many", type=int, help="time forecasts of so many frames, and end")
    parser.add_argument("--no-motion", action="store_true")
    parser.add_argument("--no-time", action="store_true")
    args = parser.parse_args()
    if args.check:
        return check_flow(args.side)
    if args.many:
        return forecast_many(args.many)
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
        overrides = ["model=embedded", *sides, *([f"cadence={args.cadence}"] if args.cadence else [])]
        name = f"{path.stem.removeprefix('studio-')[:24]:24} {settings.animation_mode[:6]:6} {settings.profile:9}"
        try:
            if not args.no_time:
                # Of this file alone: others must not tell.
                with tempfile.TemporaryDirectory() as cache:
                    os.environ |= {ENVIRONMENT: str(Path(cache) / "probe.json"), GRAPHS: str(Path(cache) / "graphs")}
                    times.append(time_of(path, overrides, args.probing, max(args.frames), again=args.again))
                    del os.environ[GRAPHS]
                print(name, times[-1], flush=True)
            os.environ[ENVIRONMENT] = "off"
            for motion in [] if args.no_motion else motion_of(path, overrides, sorted(args.frames), args.seeds):
                motions.append(motion)
                print(name, motion, flush=True)
        except UserError as error:
            print(f"{name} does not render here: {str(error).splitlines()[0][:80]}")
    for what, target, shares in (
        ("motion", FLOW_TARGET, [each.foreseen / each.measured for each in motions if each.measured > 0.05]),
        ("time of the first run", TIME_TARGET, [each.first[0] / each.first[1] for each in times]),
        ("time", TIME_TARGET, [each.probed / each.measured for each in times]),
        ("time by the table", TIME_TARGET, [each.table / each.measured for each in times]),
    ):
        within = sum(abs(share - 1) <= target for share in shares)
        print(f"{what} within {100 * target:.0f} %: {within} of {len(shares)}")


if __name__ == "__main__":
    main()
