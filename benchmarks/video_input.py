"""Time Video Input: reading a clip at 512x512, batches of frames against one by one, memory over a long clip.

    python benchmarks/video_input.py [reading] [batching] [memory]

Speeds are by wall clock and by processor time, as the machine may be shared; figures to compare are measured in turns
within one process.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.diffusion import load_diffuser, resolve_model
from deforum.features.table import timeline_of as sample
from deforum.models.process import settle_process
from deforum.pixels.image import Image, from_bytes
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from deforum.video import open_clip, resolve_clip
from deforum.video.writer import VideoWriter
from schedules import parse_number

READ_TARGET, BATCH_TARGET, MEMORY_TARGET = 60, 1.3, 20
SIZES = (1, 2, 4, 8)
ROUNDS = 3


def film(path: Path, width: int, height: int, count: int) -> Path:
    """Write a film of `count` frames that pans over a picture with detail at every scale."""
    rng = np.random.default_rng(0)
    land = np.zeros((height + 128, width + 512, 3), np.float32)
    for cells in (4, 12, 40, 120):
        grid = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        land += cv2.resize(grid, (land.shape[1], land.shape[0]), interpolation=cv2.INTER_CUBIC) * (4 / cells) ** 0.6
    levels = np.clip(128 + 50 * land / land.std(), 0, 255).astype(np.uint8)
    with VideoWriter(path, width, height, 30, preset="veryfast", quality=20) as video:
        for t in range(count):
            x, y = int(256 + 250 * np.sin(t / 40)), int(64 + 60 * np.sin(t / 23))
            video.write(np.ascontiguousarray(levels[y : y + height, x : x + width]))
    return path


def processor() -> float:
    """Return the processor seconds of this process and of the child processes that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def read_all(path: Path) -> tuple[float, float]:
    """Read every frame at 512x512; return frames per wall-clock second, and per processor second."""
    source = resolve_clip(path)
    clock, used = time.perf_counter(), processor()
    with open_clip(source, 512, 512) as clip:
        for t in range(len(source)):
            clip(t)
        clock = time.perf_counter() - clock
        clip(len(source) - 1)
    time.sleep(0.3)  # for the reader to wait for ffmpeg
    return len(source) / clock, len(source) / (processor() - used)


def reading(folder: Path) -> None:
    for width, height in ((512, 512), (1920, 1080)):
        path = film(folder / f"{width}.mp4", width, height, 240)
        got = [read_all(path) for _ in range(3)]
        clock, used = (statistics.median(values) for values in zip(*got, strict=True))
        print(
            f"{width}x{height} H.264 to pictures of 512x512: {clock:.0f} frames/s (target {READ_TARGET}), "
            f"{used:.0f} per second of processor"
        )


def diffuse_all(diffuse: partial[list[Image]], inits: Sequence[Image], frames: Sequence[Frame], size: int) -> None:
    for first in range(0, len(frames), size):
        diffuse(inits[first : first + size], frames[first : first + size])


def batching(folder: Path) -> None:
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    settings = Settings(seed=1, max_frames=8, cadence=1, width=256, height=256, prompts=(("0", "hills"),))
    params = replace(settings.params, steps=parse_number("12"), cfg_scale=parse_number("4"))
    timeline = sample(replace(settings, params=params))
    frames = [timeline[t] for t in range(8)]
    inits = [from_bytes(levels(t)) for t in range(8)]
    diffuser = load_diffuser(
        resolve_model("embedded"), device="auto", precision="auto", exact_step_count=True, tiling=False
    )
    diffuse = partial(diffuser.diffuse_batch, width=256, height=256)
    taken: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size in SIZES:
            clock, used = time.perf_counter(), processor()
            diffuse_all(diffuse, inits, frames, size)
            taken[size].append((time.perf_counter() - clock, processor() - used))
    clocks = {size: statistics.median(clock for clock, _ in times) for size, times in taken.items()}
    useds = {size: statistics.median(used for _, used in times) for size, times in taken.items()}
    for size in SIZES:
        gain, less = clocks[1] / clocks[size], useds[1] / useds[size]
        target = f" (target {BATCH_TARGET})" if size == 4 else ""
        print(
            f"{size} at a time, 256x256, {diffuser.device}: {8 / clocks[size]:.2f} frames/s, {gain:.2f} times one by "
            f"one{target}; by the processor {less:.2f} times"
        )


def levels(t: int) -> NDArray[np.uint8]:
    grid = np.random.default_rng(t).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(grid, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)


def resident() -> float:
    """Return the resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def memory(folder: Path) -> None:
    source = resolve_clip(film(folder / "long.mp4", 512, 512, 1500))
    with open_clip(source, 512, 512) as clip:
        for t in range(150):
            clip(t)
        early = resident()
        for t in range(150, len(source)):
            clip(t)
        print(f"memory from frame 150 to frame {len(source)}: {resident() - early:+.0f} MB (target {MEMORY_TARGET})")


def main() -> None:
    wanted = sys.argv[1:] or ["reading", "batching", "memory"]
    settle_process()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in (("reading", reading), ("batching", batching), ("memory", memory)):
            if name in wanted:
                measure(Path(folder))


if __name__ == "__main__":
    main()
