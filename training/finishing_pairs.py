"""Training data of the finishing network: frames of real loops, and what they show, drawn at twice their size.

    python -m training.finishing_pairs --data build/training --minutes 10

Each run starts from a drawn picture as its init image and goes on for a few frames, as people render: 2D and 3D, new
seeds and a fixed one, in-betweens. The motions of the camera are recorded and applied to the same picture drawn at
twice the size, which gives each frame's target. Where the camera sees what the picture does not show, there is none
(`PairSet.seen`). Half of the strengths are those of animations, 0.5 to 0.65, which leave frames as they are shown, but
often of something else than the target; in the other half, up to 0.85, frames are what their target is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.animation.parts import Memory, Moment
from deforum.animation.stages import Stages
from deforum.build import build, resolve
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.motion.positions import Positions, follow, pixels, read_at, sample_at
from deforum.pixels.image import Image, from_bytes, to_bytes
from training import world
from training.captions import describe
from training.progress import Budget
from training.world.finish import COARSE

SEED = 71  # of the drawn world
SIZE, FACTOR = world.SIZE, 2
FRAMES = 4  # per run
STYLE: dict[str, Any] = {
    "width": SIZE, "height": SIZE, "model": "embedded", "cfg_scale": 4, "sampler": "Euler a",
    "max_frames": FRAMES,
}  # fmt: skip


class PairSet:
    """Frames in one folder: arrays of N frames, mapped from disk.

    ``inputs`` (N, H, W, 3) and ``targets`` (N, 2H, 2W, 3) uint8; ``seen`` (N, H, W) uint8, 255 where the target is
    known; ``steps`` (N, 2, H, W) float16, where each pixel was in the frame before, relative to it, in px; ``facts``
    per frame: its run, its number in the run and its settings.
    """

    def __init__(self, folder: Path, create: int = 0) -> None:
        """Open the set in a folder, or ``create`` one for so many frames."""
        self.folder = folder
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "inputs": (np.uint8, (SIZE, SIZE, 3)),
            "targets": (np.uint8, (FACTOR * SIZE, FACTOR * SIZE, 3)),
            "seen": (np.uint8, (SIZE, SIZE)),
            "steps": (np.float16, (2, SIZE, SIZE)),
        }
        arrays: dict[str, NDArray[Any]] = {}
        for name, (kind, shape) in shapes.items():
            path = folder / f"{name}.npy"
            if create:
                folder.mkdir(parents=True, exist_ok=True)
                arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(create, *shape))
            else:
                arrays[name] = np.load(path, mmap_mode="r")
        self.arrays = arrays
        self.inputs, self.targets = arrays["inputs"], arrays["targets"]
        self.seen, self.steps = arrays["seen"], arrays["steps"]
        described = folder / "facts.json"
        self.facts: list[dict[str, Any]] = [] if create else json.loads(described.read_text())

    def __len__(self) -> int:
        return len(self.facts)

    def add(self, frame: NDArray[np.uint8], target: Image, seen: Image, step: Positions, facts: dict[str, Any]) -> None:
        k = len(self.facts)
        self.inputs[k], self.targets[k] = frame, to_bytes(target)
        self.seen[k] = (seen.clamp(0, 1) * 255).round().byte().numpy()
        self.steps[k] = step.numpy().astype(np.float16)
        self.facts.append(facts)

    def save(self) -> None:
        (self.folder / "facts.json").write_text(json.dumps(self.facts))


def _strength(rng: np.random.Generator) -> float:
    return round(float(rng.uniform(0.5, 0.65) if rng.random() < 0.5 else rng.uniform(0.65, 0.85)), 3)


def draw_settings(rng: np.random.Generator, prompt: str, picture: Path) -> dict[str, Any]:
    """Draw the settings of a run that begins with a picture."""
    still = rng.random() < 0.1
    fixed = bool(rng.random() < 0.4)
    settings: dict[str, Any] = STYLE | {
        "prompts": {0: prompt}, "init_image": str(picture), "seed": int(rng.integers(2**31)),
        "strength": _strength(rng), "init_strength": _strength(rng),
        "steps": int(rng.choice([8, 12, 20], p=[0.4, 0.3, 0.3])), "cadence": int(rng.choice([1, 2, 3])),
        "cfg_scale": round(float(rng.uniform(3, 5)), 1), "seed_behavior": "fixed" if fixed else "iter",
        "noise_follows_camera": fixed, "border": "reflect",
        "color_coherence": str(rng.choice(["None", "LAB"])), "noise_keeps_mean": bool(rng.random() < 0.5),
    }  # fmt: skip
    if rng.random() < 0.4:
        settings["detail_coherence"] = 0.8
    if still:
        return settings | {"animation_mode": "2D", "zoom": 1}
    if rng.random() < 0.65:
        zoom, angle = float(np.exp(rng.normal(0.008, 0.01))), float(rng.normal(0, 0.5))
        x, y = rng.normal(0, 1.2, 2)
        moves = {"zoom": zoom, "angle": angle, "translation_x": float(x), "translation_y": float(y)}
        return settings | {"animation_mode": "2D"} | {name: round(value, 4) for name, value in moves.items()}
    moves = {
        "translation_z": float(rng.uniform(0, 5)), "translation_x": float(rng.normal(0, 1.5)),
        "rotation_3d_y": float(rng.normal(0, 0.3)), "rotation_3d_x": float(rng.normal(0, 0.15)),
    }  # fmt: skip
    scene = {"animation_mode": "3D", "depth_algorithm": "embedded", "far": 1000, "fov": 60}
    return settings | scene | {name: round(value, 4) for name, value in moves.items()}


def doubled(positions: Positions) -> Positions:
    """Convert positions between pictures (2, H, W) to those between the pictures of twice the size."""
    _, height, width = positions.shape
    fine = (pixels(FACTOR * width, FACTOR * height, "cpu") + 0.5) / FACTOR - 0.5
    moved = fine + read_at(positions - pixels(width, height, "cpu"), fine)
    return (moved + 0.5) * FACTOR - 0.5


@torch.inference_mode()
def run(settings: dict[str, Any], true: NDArray[np.uint8], models: KeptModels, pairs: PairSet, number: int) -> None:
    """Render a run from the picture ``true`` (2H, 2W, 3) uint8, and add its frames."""
    steps: list[Moment] = []

    def remember(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
        steps.append(moment)
        return image, trails

    animation = build(resolve(load(settings).settings), models)
    stages: Stages = replace(animation.stages, show=(*animation.stages.show, remember))
    still = pixels(SIZE, SIZE, "cpu")
    sharp, at, seen = from_bytes(true), still, torch.ones(SIZE, SIZE)
    kept = {name: settings[name] for name in ("animation_mode", "init_strength", "strength", "steps", "cadence")}
    for k, (_, image) in enumerate(replace(animation, stages=stages).frames()):
        step = steps[-1].step
        before = still
        if step is not None:
            chart = step.charts()[0]
            before = chart.positions
            seen = read_at(seen[None], before)[0] * chart.covers
            at = follow(at, before)
        target = sharp if step is None else sample_at(sharp, doubled(at), "bicubic", "mirror")
        pairs.add(to_bytes(image), target, seen, before - still, {"run": number, "frame": k} | kept)


def make_pairs(folder: Path, runs: int, minutes: float, start: int = 0, seed: int = SEED) -> PairSet:
    """Render up to ``runs`` runs in at most so many minutes; pictures from ``start`` of the world ``seed``."""
    pairs, budget, models = PairSet(folder, create=runs * FRAMES), Budget(minutes), KeptModels()
    picture = folder / "picture.png"
    for number in range(runs):
        if budget.progress >= 1:
            break
        index = start + number
        drawn = world.draw(seed, index, size=FACTOR * SIZE)
        if drawn.facts.style in COARSE:  # strokes and squares that the model does not paint
            continue
        rng = np.random.default_rng([seed, index, 1])
        small = cv2.resize(drawn.image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(picture), small[..., ::-1])
        run(draw_settings(rng, describe(drawn.facts, rng), picture), drawn.image, models, pairs, number)
        if number % 10 == 0:
            pairs.save()
            print(f"{len(pairs)} frames of {number + 1} runs, {budget.spent:.0f} s", flush=True)
    picture.unlink(missing_ok=True)
    pairs.save()
    return pairs


def make_in_parallel(folder: Path, runs: int, minutes: float, workers: int, start: int = 0) -> PairSet:
    """Make pairs as `make_pairs` does, in processes of their own, each with its share of the runs."""
    each = -(-runs // workers)
    parts = [folder / f"part_{k}" for k in range(workers)]
    jobs = [(part, each, minutes, start + k * each) for k, part in enumerate(parts)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(_make_part, jobs, chunksize=1)
    made = [PairSet(part) for part in parts]
    pairs = PairSet(folder, create=sum(map(len, made)))
    begins = 0
    for k, part in enumerate(made):
        for name, array in pairs.arrays.items():
            array[begins : begins + len(part)] = part.arrays[name][: len(part)]
        pairs.facts += [facts | {"run": k * each + facts["run"]} for facts in part.facts]
        begins += len(part)
        shutil.rmtree(part.folder)
    pairs.save()
    return pairs


def _make_part(job: tuple[Path, int, float, int]) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    make_pairs(*job)


def draw_pictures(folder: Path, count: int, start: int = 0, seed: int = SEED) -> None:
    """Write ``drawn.npy``: pictures of the world ``seed`` from ``start`` as they are drawn, (N, 2H, 2W, 3) uint8."""
    side = FACTOR * SIZE
    shape = (count, side, side, 3)
    pictures = np.lib.format.open_memmap(folder / "drawn.npy", mode="w+", dtype=np.uint8, shape=shape)
    found, index = 0, start
    while found < count:
        drawn = world.draw(seed, index, size=side)
        if drawn.facts.style not in COARSE:
            pictures[found] = drawn.image
            found += 1
        index += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--heldout", type=int, default=8, help="runs")
    parser.add_argument("--pictures", type=int, default=500, help="drawn ones for the critic")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    made = make_pairs(args.data / "finishing" / "heldout", args.heldout, args.minutes, start=10**6)
    print(f"{len(made)} held-out frames", flush=True)
    folder = args.data / "finishing" / "train"
    if args.workers > 1:
        made = make_in_parallel(folder, args.runs, args.minutes, args.workers)
    else:
        made = make_pairs(folder, args.runs, args.minutes)
    print(f"{len(made)} frames", flush=True)
    draw_pictures(args.data / "finishing", args.pictures, start=2 * 10**6)


if __name__ == "__main__":
    main()
