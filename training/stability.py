"""Stability of the animation loop, measured on long runs of the renderer.

    python -m training.stability --data build/training --out build/training/stability --frames 300

renders zooms in 2D (strength 0.6) and flights in 3D (0.65), with iterating and with fixed seeds, and prints

- sharpness (variance of the Laplacian), saturation and brightness from frame 30 to the end, as the lowest and highest
  ratio to those of frame 30 (each a mean over nine frames), which should stay within 0.7 to 1.3;
- the difference of the last two pictures of the strip (a twelfth of the run apart): small in a frozen run;
- the visible zoom from frame to frame (optical flow): 0.2 % where the camera sets 1.5 % means that the picture is held;
- the share of runs in which `training.adherence`'s judge names the scene in frame 0, and in the last ten frames;
- the number of frames after a change of prompt until the judge finds the new scene likelier than the old one.

Every finished run is saved as JSON and as a strip of pictures, and is not rendered again. Settings of the renderer can
be changed: ``... --set noise=0.02 antiblur_amount=0``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.models.kept import KeptModels
from training.adherence import SCENES, SIDE, Judge, to_tensor, train
from training.evaluate import grid, rendered, write

Image = NDArray[np.uint8]
STYLE = {
    "width": 256, "height": 256, "model": "embedded", "steps": 8, "cfg_scale": 4, "sampler": "Euler a",
    "noise_keeps_mean": True,
}  # fmt: skip
# Runs with changing prompts need new colours; in runs with one prompt colours are matched to the first frame's, as by
# Deforum's default, and so is fine detail.
CHANGING: dict[str, object] = {"color_coherence": "None"}
LASTING: dict[str, object] = {"color_coherence": "LAB", "detail_coherence": 0.8}
# With a fixed seed every frame gets the same noise, which freezes the picture unless it moves with the picture.
BEHAVIORS: dict[str, dict[str, object]] = {
    "iter": {"seed_behavior": "iter"},
    "fixed": {"seed_behavior": "fixed", "noise_follows_camera": True},
}
MOVES: dict[str, dict[str, object]] = {
    "2D": {"animation_mode": "2D", "zoom": 1.015, "strength": 0.6},
    "3D": {"animation_mode": "3D", "depth_algorithm": "embedded", "translation_z": 4, "far": 1000, "strength": 0.65},
}
PROMPTS = [  # (prompt, scene that the judge should name)
    ("the sea at sunset with a glowing sun", "sea"),
    ("snowy mountains with a calm lake, on a clear day", "mountains"),
    ("a city skyline at night with lit windows", "city"),
    ("green hills with trees, by day", "hills"),
    ("a forest with pine trees at dawn", "forest"),
    ("a field of red flowers, by day", "flowers"),
    ("a desert with sand dunes at golden hour", "desert"),
    ("outer space, a blue ringed planet, stars", "space"),
]
CHANGES = [(0, 3), (3, 1), (1, 6), (6, 4), (4, 2), (2, 0), (5, 7), (7, 5)]  # (from, to), indices of PROMPTS
BASE, AROUND, SHOWN = 30, 4, 12  # reference frame, frames averaged on each side, pictures per strip


@dataclass(frozen=True)
class Measured:
    """Measurements of one run, per frame."""

    sharpness: list[float]
    saturation: list[float]
    brightness: list[float]
    growth: list[float]
    """Zoom from each frame to the next, see `growth`."""
    scenes: list[list[float]]
    """The judge's probabilities of `adherence.SCENES`."""
    seconds: float


def measure(image: Image) -> tuple[float, float, float]:
    """Return sharpness (variance of the Laplacian, levels of 255), mean saturation 0..1 and mean brightness 0..1."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]
    return float(cv2.Laplacian(gray, cv2.CV_64F).var()), float(saturation.mean() / 255), float(gray.mean() / 255)


def growth(one: Image, next_one: Image) -> float:
    """Return the zoom about the centre by the optical flow from one picture to the next; 0.015 is 1.5 %.

    A least-squares fit of shift and zoom, weighted by the squared gradient, as flow is reliable only on texture.
    """
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (one, next_one)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    height, width = grey[0].shape
    y, x = np.mgrid[:height, :width]
    smooth = cv2.GaussianBlur(grey[0].astype(np.float32), (0, 0), 1.5)
    steps = (cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    weight = steps[0] ** 2 + steps[1] ** 2 + 1e-3
    top = bottom = 0.0
    for moved, place in ((flow[..., 0], x - (width - 1) / 2), (flow[..., 1], y - (height - 1) / 2)):
        moved, place = moved - np.average(moved, weights=weight), place - np.average(place, weights=weight)
        top, bottom = top + float((weight * moved * place).sum()), bottom + float((weight * place * place).sum())
    return top / bottom


@torch.no_grad()
def scores(judge: Judge, images: list[Image]) -> list[list[float]]:
    judge.eval()
    little = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
    shares: list[list[float]] = judge(to_tensor(little))[0].softmax(1).tolist()
    return shares


def run(name: str, settings: dict[str, object], judge: Judge, out: Path, models: KeptModels) -> Measured:
    """Render and measure a run, or read its measurements where they exist."""
    kept, strip = out / f"{name}.json", out / f"{name}.png"
    if kept.exists():
        return Measured(**json.loads(kept.read_text()))
    began = time.monotonic()
    images = list(rendered(settings, out / f"{name}.yaml", models))
    seconds = time.monotonic() - began
    values = list(zip(*map(measure, images), strict=True))
    grows = [growth(*pair) for pair in itertools.pairwise(images)]
    measured = Measured(*map(list, values), grows, scores(judge, images), seconds)
    write(strip, np.hstack([images[k] for k in np.linspace(0, len(images) - 1, SHOWN).round().astype(int)]))
    kept.write_text(json.dumps(vars(measured)))
    return measured


def ratios(values: list[float]) -> tuple[float, float, float]:
    """Return the lowest, highest and last ratio of the moving average to that at frame `BASE`, from there on."""
    window = 2 * AROUND + 1
    means = np.convolve(values, np.full(window, 1 / window), "valid")[BASE - AROUND :]
    relative = means / max(means[0], 1e-9)
    return float(relative.min()), float(relative.max()), float(relative[-1])


def last_step(strip: Path) -> float:
    """Return the mean difference, in levels of 255, of a strip's last two pictures; below about 5 the run is frozen."""
    pictures = cv2.imread(str(strip)).astype(np.float32)
    wide = pictures.shape[1] // SHOWN
    return float(np.abs(pictures[:, -wide:] - pictures[:, -2 * wide : -wide]).mean())


def until_changed(measured: Measured, at: int, old: int, new: int) -> int | None:
    """Return the number of frames after ``at`` until the new scene is likelier than the old one for three frames.

    ``old`` and ``new`` are indices of `SCENES`; None if that does not happen.
    """
    shares = np.array(measured.scenes)
    ahead = shares[:, new] > shares[:, old]
    return next((k - at for k in range(at, len(ahead) - 2) if ahead[k : k + 3].all()), None)


def lasting(frames: int, prompts: int, behaviors: list[str], moves: list[str], extra: dict[str, object],
            judge: Judge, out: Path, models: KeptModels) -> None:  # fmt: skip
    """Run the long runs with one prompt each; print a line for each and a summary."""
    first: list[float] = []
    last: list[float] = []
    stays: list[float] = []
    worst: dict[str, list[tuple[float, float]]] = {"sharpness": [], "saturation": [], "brightness": []}
    for k, behavior, move in itertools.product(range(prompts), behaviors, moves):
        text, scene = PROMPTS[k % len(PROMPTS)]
        settings = {**STYLE, **LASTING, **MOVES[move], **BEHAVIORS[behavior], "max_frames": frames, "seed": 100 + k,
                    "prompts": {"0": text}, **extra}  # fmt: skip
        measured = run(f"{move}_{behavior}_{k}", settings, judge, out, models)
        named = np.array(measured.scenes).argmax(1) == SCENES.index(scene)
        first.append(float(named[0]))
        last.append(float(named[-10:].mean()))
        line = []
        for what, all_worst in worst.items():
            low, high, end = ratios(getattr(measured, what))
            all_worst.append((low, high))
            line.append(f"{what} {low:.2f}..{high:.2f}, end {end:.2f}")
        stays.append(last_step(out / f"{move}_{behavior}_{k}.png"))
        line.append(f"last pictures {stays[-1]:.0f} levels apart")
        line.append(f"grows by {100 * np.median(measured.growth):.2f} %")
        line.append(f"scene {100 * first[-1]:.0f} -> {100 * last[-1]:.0f} %")
        line.append(f"{frames / measured.seconds:.1f} frames/s")
        print(f"{move} {behavior:6} {scene:10}", "; ".join(line), flush=True)
    for what, pairs in worst.items():
        within = [low >= 0.7 and high <= 1.3 for low, high in pairs]
        print(f"{what}: {np.mean([p[0] for p in pairs]):.2f}..{np.mean([p[1] for p in pairs]):.2f} on average, "
              f"within 30 % in {sum(within)} of {len(within)} runs")  # fmt: skip
    print(f"frozen (last two pictures of the strip under 5 levels apart): {sum(s < 5 for s in stays)} of {len(stays)}")
    print(f"scene named in frame 0: {100 * np.mean(first):.0f} %, in the last ten: {100 * np.mean(last):.0f} %")
    for move in moves:
        rows = [cv2.imread(str(path))[..., ::-1] for path in sorted(out.glob(f"{move}_*.png"))]
        cells = [[row[:, 256 * k : 256 * (k + 1)] for k in range(SHOWN)] for row in rows]
        if cells:
            write(out / f"strip_{move}.jpg", grid(cells, side=128))


def changing(count: int, extra: dict[str, object], judge: Judge, out: Path, models: KeptModels) -> None:
    """Run ``count`` runs whose prompt changes at frame 20; print how soon each change shows."""
    took = []
    for k, (old, new) in enumerate(CHANGES[:count]):
        prompts = {"0": PROMPTS[old][0], "20": PROMPTS[new][0]}
        settings = {**STYLE, **CHANGING, **MOVES["2D"], "max_frames": 45, "seed": 200 + k, "prompts": prompts, **extra}
        measured = run(f"change_{k}", settings, judge, out, models)
        took.append(until_changed(measured, 20, SCENES.index(PROMPTS[old][1]), SCENES.index(PROMPTS[new][1])))
        print(f"{PROMPTS[old][1]} to {PROMPTS[new][1]}: visible after {took[-1]} frames", flush=True)
    print(f"prompt changes visible within 12 frames: {sum(t is not None and t <= 12 for t in took)} of {len(took)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--out", type=Path, default=Path("build/training/stability"))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--prompts", type=int, default=3, help="number of prompts for each motion and seed behavior")
    parser.add_argument("--behaviors", nargs="*", choices=list(BEHAVIORS), default=list(BEHAVIORS))
    parser.add_argument("--moves", nargs="*", choices=list(MOVES), default=list(MOVES))
    parser.add_argument("--changes", type=int, default=len(CHANGES))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the renderer to change")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    given = dict(one.split("=", 1) for one in args.set)
    # A model folder is relative to the working directory, not to the settings file.
    model = str(Path(args.model).resolve()) if Path(args.model).exists() else args.model
    extra: dict[str, object] = {"model": model, **given}
    judge, models = train(args.data), KeptModels()
    if args.prompts:
        lasting(args.frames, args.prompts, args.behaviors, args.moves, extra, judge, args.out, models)
    if args.changes:
        changing(args.changes, extra, judge, args.out, models)


if __name__ == "__main__":
    main()
