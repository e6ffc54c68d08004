"""Time the work on a 512x512 frame outside the model: motion, 2 colour matches, contrast, sharpening, noise, files.

A 2D frame, and a 3D frame with its depth given. The stages run one after the other, as in a render without the model,
with a real run folder: other threads draw the next frame's noise, and they and ffmpeg write PNG and film at the same
time, on the same cores. Printed are the median time of a frame and of each stage, and the time from the first frame to
the finished film, divided by the number of frames: without a model to wait for, the encoder falls behind, and the end
waits for it. With --profile also the processor time of each stage, of each thread (Linux), and of ffmpeg. The baseline
is a plain implementation of a 2D frame's work, step by step in 8 bit, that writes the PNG in line and no film. It runs
first; ours runs in a process of its own, set up as a render's before torch is imported. Needs scikit-image (the `test`
extra).

    OMP_NUM_THREADS=2 python benchmarks/host_frame.py [--profile] [--frames 120]
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from skimage.data import astronaut
from skimage.exposure import match_histograms

from deforum.background import Ahead
from deforum.features.table import timeline_of as sample
from deforum.loading import load
from deforum.models.process import settle_process, shorten_waits
from deforum.motion.flat import warp_flat
from deforum.motion.matrices import flat_matrix
from deforum.motion.slab import warp_slab
from deforum.motion.surface import warp_physical
from deforum.output.run import Run
from deforum.pixels.color import ColorReference, match_color
from deforum.pixels.image import Image, adjust_contrast, from_bytes, to_bytes
from deforum.pixels.noise import add_noise, perlin_noise
from deforum.pixels.sharpness import unsharp_mask
from deforum.timeline.frame import Frame

SIZE, WARM_UP = 512, 10
TARGETS_MS = {"2D": 12, "3D": 18}
FASTER = 8  # times, than the baseline
CONTRAST, SHARPEN, NOISE = 1.02, 0.1, 0.065
MOTION: dict[str, float] = {"angle": 0.4, "zoom": 1.01, "translation_x": 1.5, "translation_y": -0.7}
MOTION_3D: dict[str, float] = {"translation_x": 1.5, "translation_z": 3, "rotation_3d_y": 0.3, "rotation_3d_z": 0.4}

Levels = NDArray[np.uint8]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Clock:
    """Collects the times of each stage, in ms: by the clock, and on this thread's processor."""

    times: dict[str, list[float]] = field(default_factory=dict)
    computed: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, stage: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        start, busy = time.perf_counter(), time.thread_time()
        result = work(*args, **kwargs)
        self.times.setdefault(stage, []).append(1000 * (time.perf_counter() - start))
        self.computed.setdefault(stage, []).append(1000 * (time.thread_time() - busy))
        return result

    def median(self, stage: str) -> float:
        return statistics.median(self.times[stage][WARM_UP:])

    def median_computed(self, stage: str) -> float:
        return statistics.median(self.computed[stage][WARM_UP:])


class Watched(Run):
    """A run that notes the processor time of each thread when its last frame is handed over."""

    threads: dict[str, float]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.threads = processor_of_threads()
        super().__exit__(kind, error, traceback)


def processor_of_threads() -> dict[str, float]:
    """Return the processor time of each thread so far, in ms, by name; those that Python did not start as OpenMP's."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    spent: dict[str, float] = {}
    for task in Path("/proc/self/task").glob("*/schedstat"):
        name = names.get(int(task.parent.name), "OpenMP")
        spent[name] = spent.get(name, 0) + int(task.read_text().split()[0]) / 1e6
    return spent


def processor_of_children() -> float:
    """Return the processor time of ended child processes, ffmpeg's, in ms."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


@dataclass(frozen=True)
class Measured:
    """The stages of a frame; time per frame up to the finished film; processor time per frame of threads; of ffmpeg."""

    clock: Clock
    to_film: float
    threads: dict[str, float]
    ffmpeg: float


Move = Callable[[Image, Frame], Image]


Noises = Ahead[int, torch.Tensor]


def ours(
    clock: Clock, move: Move, image: Image, reference: ColorReference, noises: Noises, frame: Frame, run: Run
) -> Image:
    """Run the default settings' stages on a picture: between two diffusions, after the second, and writing."""
    image = clock("motion", move, image, frame)
    image = clock("colour match", match_color, image, reference)
    image = clock("contrast", adjust_contrast, image, CONTRAST)
    image = clock("sharpening", unsharp_mask, image, SHARPEN)
    seed = frame.seed + frame.index
    noise = clock("noise", noises, seed, seed + 1)
    image = clock("mixing noise in", add_noise, image, noise, NOISE)
    image = clock("colour match after", match_color, image, reference)
    levels = clock("rounding", to_bytes, image)
    clock("hand-over", run.write, frame, levels)
    return image


def move_flat(image: Image, frame: Frame) -> Image:
    matrix = flat_matrix(frame.params, SIZE, SIZE, flip=False, flip_keeps_translation=True)
    return warp_flat(image, matrix, border="replicate")


def move_in_space(physical: bool) -> Move:
    """Return the motion of a 3D frame over a scene of hills and a near disc."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    depth = 1.5 + 0.3 * torch.sin(3 * x) * torch.cos(2 * y) - 0.5 * ((x**2 + y**2) < 0.1)
    camera = warp_physical if physical else warp_slab
    return lambda image, frame: camera(depth, frame.params, SIZE, SIZE)(image)


def time_ours(picture: Levels, mode: str, float_color: bool, frames: int, folder: Path) -> Measured:
    """Time so many frames, all in ms."""
    values = {"W": SIZE, "H": SIZE, "max_frames": frames, "animation_mode": mode}
    values |= MOTION if mode == "2D" else MOTION_3D
    lines = "".join(f"{name}: {value}\n" for name, value in values.items())
    (folder / "settings.yaml").write_text("prompts: {0: a}\n" + lines)
    timeline = sample(load(folder / "settings.yaml").settings)
    reference = ColorReference.of(from_bytes(picture), "LAB", true_channels=float_color, float_color=float_color)
    move = move_flat if mode == "2D" else move_in_space(float_color)
    clock, image = Clock(), from_bytes(picture)
    noises = Noises(lambda seed: perlin_noise(seed, SIZE, SIZE), name="noise ahead")
    (folder / "run").mkdir()
    before, children, begun = processor_of_threads(), processor_of_children(), time.perf_counter()
    run = Watched(folder / "run", "", width=SIZE, height=SIZE, fps=24)
    with run:
        for frame in timeline:
            image = clock("frame", ours, clock, move, image, reference, noises, frame, run)
    to_film = 1000 * (time.perf_counter() - begun) / frames
    threads = {name: (spent - before.get(name, 0)) / frames for name, spent in run.threads.items()}
    return Measured(clock, to_film, threads, (processor_of_children() - children) / frames)


# The plain implementation (baseline)


def plain_match(levels: Levels, sample: Levels) -> Levels:
    lab, wanted = cv2.cvtColor(levels, cv2.COLOR_RGB2LAB), cv2.cvtColor(sample, cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.cvtColor(match_histograms(lab, wanted, channel_axis=-1), cv2.COLOR_LAB2RGB), np.uint8)


def plain_perlin(generator: torch.Generator) -> torch.Tensor:
    total = torch.zeros(SIZE, SIZE)
    for octave in range(4):
        count = 8 * 2**octave
        angles = 2 * math.pi * torch.rand(count + 1, count + 1, generator=generator)
        gradients = torch.stack((angles.cos(), angles.sin()), dim=-1)
        place = torch.arange(SIZE) * count / SIZE
        offset = torch.stack(torch.meshgrid(place % 1, place % 1, indexing="ij"), dim=-1)
        step = SIZE // count
        corners = []
        for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = gradients[down : count + down, across : count + across]
            around = part.repeat_interleave(step, 0).repeat_interleave(step, 1)
            corners.append((around * (offset - torch.tensor([down, across]))).sum(-1))
        fade = 6 * offset**5 - 15 * offset**4 + 10 * offset**3
        above, below = (torch.lerp(corners[k], corners[k + 1], fade[..., 1]) for k in (0, 2))
        total += math.sqrt(2) * 0.5**octave * torch.lerp(above, below, fade[..., 0])
    return total


def plain(levels: Levels, sample: Levels, seed: int, path: Path) -> Levels:
    turned = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), MOTION["angle"], MOTION["zoom"])
    moved_by = np.array([[1, 0, MOTION["translation_x"]], [0, 1, MOTION["translation_y"]], [0, 0, 1]])
    matrix = np.vstack((turned, [0, 0, 1])) @ moved_by
    moved = cv2.warpPerspective(levels, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    contrasted = np.clip((plain_match(np.asarray(moved, np.uint8), sample) * CONTRAST).round(), 0, 255).astype(np.uint8)
    soft = cv2.GaussianBlur(contrasted, (5, 5), 1.0)
    sharp = np.clip((1 + SHARPEN) * contrasted - SHARPEN * soft, 0, 255).round().astype(np.uint8)
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(3, SIZE, SIZE, generator=generator) * (plain_perlin(generator) + 1) / 2
    noise = ((field * 0.5 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy().astype(np.uint8)
    mixed = (sharp * (1 - NOISE) + noise * NOISE).round().astype(np.uint8)
    matched = plain_match(mixed, sample)
    PillowImage.fromarray(matched).save(path)
    return matched


def time_plain(picture: Levels, folder: Path) -> float:
    times, levels = [], picture
    for frame in range(WARM_UP + 20):
        start = time.perf_counter()
        levels = plain(levels, picture, frame, folder / "frame.png")
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def report(case: str, found: Measured, profile: bool) -> None:
    clock = found.clock
    for stage in clock.times:
        if stage != "frame":
            busy = f", of them {clock.median_computed(stage):.2f} on this thread's processor" if profile else ""
            print(f"  {case}: {stage}: {clock.median(stage):.2f}{busy}")
    if profile:
        spent = found.threads | {"ffmpeg": found.ffmpeg}
        shares = ", ".join(f"{name} {ms:.1f}" for name, ms in spent.items() if ms > 0.05)
        print(f"  {case}: processor time per frame: {shares}; in all {sum(spent.values()):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="store_true", help="processor time of stages, threads and ffmpeg too")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--baseline", type=float, help="time of the baseline in ms, to measure ours alone")
    options = parser.parse_args()
    picture: Levels = astronaut()  # type: ignore[no-untyped-call]  # 512 x 512
    baseline = options.baseline
    if baseline is None:
        print(f"{os.cpu_count()} cores, load before the run {os.getloadavg()[0]:.1f}; medians, in ms", flush=True)
        with tempfile.TemporaryDirectory() as name:
            baseline = time_plain(picture, Path(name))
        environment = dict(os.environ)
        shorten_waits(environment)
        again = [sys.executable, __file__, *sys.argv[1:], "--baseline", str(baseline)]
        sys.exit(subprocess.run(again, env=environment).returncode)
    settle_process()
    missed = []
    for mode, target in TARGETS_MS.items():
        for float_color, profile in ((True, "corrected"), (False, "deforum")):
            with tempfile.TemporaryDirectory() as name, torch.inference_mode():
                found = time_ours(picture, mode, float_color, options.frames, Path(name))
            report(f"{mode}, {profile}", found, options.profile)
            whole = found.clock.median("frame")
            times = f"the plain way takes {baseline / whole:.1f} times as long"
            print(f"host work per {mode} frame, {profile}: {whole:.1f} (target: {target}; {times}); ", end="")
            print(f"{found.to_film:.1f} per frame up to the finished film", flush=True)
            if whole > target or (mode == "2D" and baseline / whole < FASTER):
                missed.append(f"{mode}, {profile}")
    print(f"the plain way, 2D, without a film: {baseline:.1f} (target: ours {FASTER} times less)")
    if missed:
        sys.exit(f"targets missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
