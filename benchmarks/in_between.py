"""Measure frames in between two: PSNR at moving places against cross-fading, sharpness, and time.

    python -m benchmarks.in_between [--clip FILE ...] [--films FILE ...] [--bound] [--sheet sheet.png] [--speed]

Triplets are held out: the middle one of three frames is made from the other two and compared with the true one. The
scenes drawn here are known at any time: a ground that sways under a camera that zooms, without and with discs that hide
it, and plain layers with thin bars. `--clip` takes films, of which every second, fourth and eighth frame is left out;
`--films` are rendered films, animated pictures too, of which every second is. Moving places are those where the true
frame differs from one of its neighbours by more than 10 levels. In films of a model most of that is painted anew in
each frame, which nothing can foresee: there the mean of both neighbours has the least error, but is soft. So a fade is
measured also with its detail sharpened as that of the in-between is. `--bound` adds what flow could reach at all: the
mean of both neighbours, each moved by flow that was found with the true frame, which no interpolation knows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.flow_cadence import DISCS, World
from deforum.flow import FlowModel
from deforum.flow.dense import both_ways
from deforum.interpolation import load_interpolator, resolve_interpolator
from deforum.interpolation.by_flow import ByFlow, as_sharp, meet
from deforum.interpolation.match import match
from deforum.interpolation.reading import moved
from deforum.models.process import settle_process
from deforum.pixels.image import CPU, Image, from_array, from_bytes, to_array, to_bytes

BETTER_DB, MOST_MS = 2.0, 60.0
MOVES = 10 / 255
STARTS = (0.1, 0.4, 0.7)
FILM_STARTS = tuple(k / 10 + 0.03 for k in range(10))
Triplet = tuple[str, Image, Image, Image]


def layers(at: float, size: int) -> Image:
    """Return plain surfaces with a fine texture over each other, at a time 0..1; three thin bars pass in front."""
    scale, (y, x) = size / 256, np.mgrid[:size, :size].astype(np.float32)

    def painted(seed: int, color: tuple[float, float, float], dx: float, dy: float) -> NDArray[np.float32]:
        noise = np.random.default_rng(seed).standard_normal((2 * size, 2 * size)).astype(np.float32)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.5), np.float32)
        read = cv2.remap(noise / noise.std(), x + size / 2 - dx, y + size / 2 - dy, cv2.INTER_CUBIC)
        return np.asarray(np.array(color, np.float32) * (1 + 0.18 * read[..., None]), np.float32)

    image = painted(1, (0.35, 0.5, 0.7), -6 * at * scale, 0)
    rows = (
        ((0.7, 0.4, 0.2), 80, 90, 14, 4, 40),
        ((0.2, 0.5, 0.25), 180, 150, -10, -12, 45),
        ((0.8, 0.75, 0.5), 120, 200, 22, 0, 22),
    )
    for seed, (color, left, top, dx, dy, radius) in enumerate(rows, 2):
        right, down = dx * at * scale, dy * at * scale
        covers = np.clip(radius * scale - np.hypot(x - left * scale - right, y - top * scale - down), 0, 1)[..., None]
        image = image * (1 - covers) + covers * painted(seed, color, right, down)
    for bar in range(3):
        covers = (np.clip(2 * scale - abs(x - (40 + 70 * bar + 9 * at) * scale), 0, 1) * (y > 130 * scale))[..., None]
        image = image * (1 - covers) + covers * np.array((0.1, 0.1, 0.12), np.float32)
    return from_array(np.clip(image, 0, 1).astype(np.float32))


def drawn(size: int) -> Iterator[Triplet]:
    for discs in (0, DISCS):
        world = World(size, discs)
        for step in (1, 3):
            for at in (10, 20):
                yield f"world, {discs} discs, {2 * step} frames", world(at), world(at + step), world(at + 2 * step)
    yield "layers and bars", layers(0, size), layers(0.5, size), layers(1, size)


def filmed(path: Path, steps: tuple[int, ...], starts: tuple[float, ...] = STARTS) -> Iterator[Triplet]:
    frames = list(pictures(path))
    for step in steps:
        for start in starts:
            first = int(start * len(frames))
            if first + 2 * step < len(frames):
                yield f"{path.stem}, {2 * step} frames", *frames[first : first + 2 * step + 1 : step]  # type: ignore[misc]


def pictures(path: Path) -> Iterator[Image]:
    if path.suffix in (".webp", ".gif", ".png"):
        from PIL import Image as Pillow
        from PIL import ImageSequence

        for picture in ImageSequence.Iterator(Pillow.open(path)):
            yield from_bytes(np.asarray(picture.convert("RGB")))
        return
    video = cv2.VideoCapture(str(path))
    while True:
        found, levels = video.read()
        if not found:
            return
        yield from_bytes(np.asarray(cv2.cvtColor(levels, cv2.COLOR_BGR2RGB), np.uint8))


def psnr(a: Image, b: Image, where: torch.Tensor) -> float:
    return float(-10 * (a - b).square().mean(0)[where].mean().clamp(min=1e-9).log10())


def sharpness(image: Image) -> float:
    gray = image.mean(0)
    return float(gray.diff(dim=0).square().mean() + gray.diff(dim=1).square().mean())


def bound(model: FlowModel, first: Image, true: Image, last: Image) -> Image:
    """Return the mean of both neighbours, each moved to where the true frame shows the same."""
    seen = [moved(to_array(image), match(model, true, image)[0].flow) for image in (first, last)]
    return from_array(np.asarray((seen[0] + seen[1]) / 2, np.float32))


def measure_speed(engine: ByFlow, size: int) -> None:
    world = World(size, DISCS)
    first, last = world(10), world(13)
    there, back = match(engine.model, first, last)
    a, b = to_array(first), to_array(last)
    calls: dict[str, Callable[[], object]] = {
        "optical flow in both directions": lambda: both_ways(engine.model, first, last),
        "matching, with two flows": lambda: match(engine.model, first, last),
        f"an in-between (target: {MOST_MS:g} ms)": lambda: meet(a, b, there, back, 0.5),
    }
    for name, call in calls.items():
        times = []
        for _ in range(8):
            began = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - began))
        print(f"{size}x{size}, {torch.get_num_threads()} threads: {name} {statistics.median(times[1:]):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, nargs="*", default=[])
    parser.add_argument("--films", type=Path, nargs="*", default=[])
    parser.add_argument("--sheet", type=Path, help="picture of a fade, ours, and the truth, for the first of each kind")
    parser.add_argument("--bound", action="store_true", help="also with flow that knows the true frame")
    parser.add_argument("--size", type=int, default=256, help="of the scenes that are drawn, px")
    parser.add_argument("--speed", action="store_true", help="measure the time at 512x512 alone")
    asked = parser.parse_args()
    settle_process()
    engine = load_interpolator(resolve_interpolator("flow"), CPU)
    assert isinstance(engine, ByFlow)
    if asked.speed:
        measure_speed(engine, 512)
        return
    triplets = [*drawn(asked.size)]
    for path in asked.clip:
        triplets += filmed(path, (1, 2, 4))
    for path in asked.films:
        triplets += filmed(path, (1,), FILM_STARTS)
    found: dict[str, list[tuple[float, ...]]] = {}
    rows = []
    for name, first, true, last in triplets:
        [made] = engine(first, last, [0.5])
        fade = torch.lerp(first, last, 0.5)
        moving = torch.maximum((true - first).abs().amax(0), (true - last).abs().amax(0)) > MOVES
        if name not in found:
            row = np.hstack([to_bytes(image) for image in (fade, made, true)])
            rows.append(cv2.resize(row, (1536, 1536 * row.shape[0] // row.shape[1])))
        half = np.full(first.shape[1:], 0.5, np.float32)
        sharp_fade = from_array(as_sharp(*map(to_array, (fade, first, last)), half))
        best = bound(engine.model, first, true, last) if asked.bound else made
        errors = (psnr(image, true, moving) for image in (made, fade, sharp_fade, best))
        found.setdefault(name, []).append((*errors, sharpness(made), sharpness(fade), sharpness(true)))
    for name, each in found.items():
        ours, faded, fade_as_sharp, most, sharp, soft, true_sharp = (
            statistics.mean(column) for column in zip(*each, strict=True)
        )
        print(
            f"{name}: {ours:.1f} dB at moving places, a fade {faded:.1f}: {ours - faded:+.1f} dB "
            f"(target: {BETTER_DB:+g}), one as sharp {fade_as_sharp:.1f}: {ours - fade_as_sharp:+.1f} dB; sharpness "
            f"{sharp / true_sharp:.2f} of the true frame's, the fade {soft / true_sharp:.2f}"
            + (f"; bound {most - faded:+.1f} dB" if asked.bound else "")
        )
    if asked.sheet:
        cv2.imwrite(str(asked.sheet), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
