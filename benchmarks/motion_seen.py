"""Compare the motion that is seen in frames of the embedded model with the motion that is set.

    python -m benchmarks.motion_seen [--runs 3] [--moves zoom flight] [--seeds iter] [--set latent_grid=fixed]

For each motion, seed behaviour and prompt short runs of different seeds are rendered, and painted frames are compared
with earlier ones, of which the camera says where each pixel came from. With `stays` the seed is fixed and its noise
does not follow the camera. Three figures, 1 where all of the motion that is set is seen:

- `flow`: optical flow (DIS) to the frame before, fitted with the flow that is set by least squares, weighted by squared
  gradients, as flow is known only where there is something to see; the median over the frames;
- `match`: the share of the set motion by which the frame before must be moved to look most alike (the highest mean
  correlation of a run), for which no flow needs to be estimated;
- `over 6`: the same to the frame six painted frames before. Here a picture that trembles but stays in its place has 0.

Figures of two runs differ by up to 0.3: of several runs the median is printed. All are of structure (blurred by `FINE`
px): finer detail is painted anew in every frame, and moves with nothing. Then the size of the set motion, in px per
painted frame; flicker, the mean difference from the frame before where it moved to, in levels of 255; and how sharp the
last frames are, in those of the first ones. ``--check`` measures frames that are moved and not painted, where all
figures should be 1.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.animation.parts import Memory, Moment
from deforum.build import build, resolve
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.models.process import settle_process
from deforum.motion.positions import Positions, follow, pixels
from deforum.pixels.image import CPU, Image, to_bytes

Array = NDArray[np.float32]
STYLE: dict[str, Any] = {"model": "embedded", "steps": 8, "cfg_scale": 4, "sampler": "Euler a", "strength": 0.6}
FLIGHT = {"animation_mode": "3D", "far": 1000, "fov": 60, "translation_z": 0}
FLAT = {"animation_mode": "2D", "zoom": 1}
MOVES: dict[str, dict[str, Any]] = {
    "zoom 1.01": {**FLAT, "zoom": 1.01},
    "zoom 1.015": {**FLAT, "zoom": 1.015},
    "zoom 1.02": {**FLAT, "zoom": 1.02},
    "shift 2": {**FLAT, "translation_x": 2},
    "turn 1": {**FLAT, "angle": 1},
    "flight 5": {**FLIGHT, "translation_z": 5},
    "flight 10": {**FLIGHT, "translation_z": 10},
    "3D shift 2": {**FLIGHT, "translation_x": 2},
    "3D turn 0.5": {**FLIGHT, "rotation_3d_y": 0.5},
}
SEEDS: dict[str, dict[str, Any]] = {
    "iter": {"seed_behavior": "iter"},
    "fixed": {"seed_behavior": "fixed"},
    "stays": {"seed_behavior": "fixed", "noise_follows_camera": False},
}
PROMPTS = ["the sea at sunset with a glowing sun", "snowy mountains with a calm lake, on a clear day",
           "an autumn forest with a path and sunbeams"]  # fmt: skip
MARGIN = 16  # px at the border, where there is something new
SHARES = np.arange(-0.5, 2.01, 0.1)
FINE, COARSE = 2.0, 24.0  # px; what is compared is coarser than the one and finer than the other
SPAN = 6  # painted frames


@dataclass(frozen=True)
class Step:
    """A painted frame, an earlier one, and the set flow from it to the earlier one, (H, W, 2) px."""

    before: Array
    after: Array
    flow: Array
    weight: Array
    """(H, W): squared gradient, 0 where there is something new."""


def gray_of(image: NDArray[np.uint8]) -> Array:
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), FINE), np.float32)


@dataclass(frozen=True)
class Painted:
    """A painted frame (H, W, 3) uint8, the earlier one only moved, and the way back to it."""

    image: NDArray[np.uint8]
    moved: NDArray[np.uint8] | None
    back: Positions | None
    covers: NDArray[np.float32] | None


def steps_of(run: list[Painted], span: int = 1, check: bool = False) -> list[Step]:
    """Compare the painted frames of a run with those ``span`` painted frames earlier."""
    steps = []
    for k in range(span, len(run)):
        way = run[k].back
        for j in range(k - 1, k - span, -1):
            earlier = run[j].back
            assert way is not None and earlier is not None
            way = follow(earlier, way)
        moved, covers = run[k].moved, run[k].covers
        assert way is not None and covers is not None and moved is not None
        height, width = run[k].image.shape[:2]
        flow = (way - pixels(width, height, CPU)).permute(1, 2, 0).numpy()
        known = (covers > 0.99).astype(np.float32)
        known[:MARGIN] = known[-MARGIN:] = known[:, :MARGIN] = known[:, -MARGIN:] = 0
        after = gray_of(moved if check else run[k].image)
        weight = cv2.Sobel(after, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(after, cv2.CV_32F, 0, 1) ** 2
        steps.append(Step(gray_of(run[k - span].image), after, flow, np.asarray(weight * known, np.float32)))
    return steps


def seen_flow(step: Step) -> Array:
    """Estimate the flow from a frame to the earlier one, (H, W, 2) px."""
    estimate = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    estimate.setFinestScale(0)  # a motion of half a px is not seen at half the size
    images = (np.round(one).astype(np.uint8) for one in (step.after, step.before))
    return np.asarray(estimate.calc(*images, None), np.float32)


def gain(step: Step) -> float:
    """Fit the seen flow with the set flow: the factor of least squared error."""
    weight = step.weight[..., None]
    return float((weight * seen_flow(step) * step.flow).sum() / (weight * step.flow**2).sum())


def moved_by(step: Step, image: Array, share: float) -> Array:
    """Move an earlier picture by a share of the set motion."""
    height, width = image.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    at = np.float32(share) * step.flow
    moved = cv2.remap(image, x + at[..., 0], y + at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def matches(step: Step) -> NDArray[np.float64]:
    """Correlate the frame with the earlier one, moved by each of `SHARES` of the set motion."""
    after, before = (one - cv2.GaussianBlur(one, (0, 0), COARSE) for one in (step.after, step.before))
    known = step.weight > 0
    return np.array([np.corrcoef(moved_by(step, before, share)[known], after[known])[0, 1] for share in SHARES])


def best(steps: list[Step]) -> float:
    """Find the share of the highest mean correlation, between the grid's by a parabola."""
    correlations = np.mean([matches(step) for step in steps], axis=0)
    k = int(np.clip(correlations.argmax(), 1, len(SHARES) - 2))
    left, here, right = correlations[k - 1 : k + 2]
    bend = left - 2 * here + right
    return float(SHARES[k] + (0 if bend == 0 else (SHARES[1] - SHARES[0]) * (left - right) / (2 * bend)))


@torch.inference_mode()
def render(settings: dict[str, Any], models: KeptModels) -> list[Painted]:
    """Render a run; return its painted frames."""
    painted: list[Painted] = []

    def remember(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
        if moment.moved is not None and moment.warp is not None:
            chart = moment.warp.charts()[0]
            painted.append(Painted(to_bytes(image), to_bytes(moment.moved), chart.positions, chart.covers.numpy()))
        elif moment.warp is None:
            painted.append(Painted(to_bytes(image), None, None, None))
        return image, trails

    animation = build(resolve(load(settings).settings), models)
    stages = replace(animation.stages, show=(*animation.stages.show, remember))
    for _ in replace(animation, stages=stages).frames():
        pass
    return painted


@dataclass(frozen=True)
class Measured:
    """The figures of one run, see the module's docstring."""

    flow: float
    match: float
    over: float
    step: float
    flicker: float
    sharpness: float


def measure(run: list[Painted], check: bool = False) -> Measured:
    steps = steps_of(run, check=check)
    over = [] if check else steps_of(run, SPAN)
    sizes = [float((s.weight * np.hypot(*s.flow.transpose(2, 0, 1))).sum() / s.weight.sum()) for s in steps]
    differs = [float(np.abs(moved_by(s, s.before, 1) - s.after)[s.weight > 0].mean()) for s in steps]
    sharp = [cv2.Laplacian(cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var() for one in run]
    few = max(1, len(sharp) // 5)
    return Measured(
        statistics.median(map(gain, steps)),
        best(steps),
        best(over) if over else float("nan"),  # a run that is too short, or only moved
        statistics.mean(sizes),
        statistics.mean(differs),
        float(np.mean(sharp[-few:]) / np.mean(sharp[:few])),
    )


def middle(found: list[Measured]) -> Measured:
    """Return the median of each figure."""
    return Measured(*(statistics.median(getattr(one, each.name) for one in found) for each in fields(Measured)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24, help="painted ones of each run")
    parser.add_argument("--runs", type=int, default=1, help="with other seeds, of each motion and prompt")
    parser.add_argument("--moves", nargs="*", default=list(MOVES), help="beginnings of their names")
    parser.add_argument("--seeds", nargs="*", choices=list(SEEDS), default=["iter", "fixed"])
    parser.add_argument("--prompts", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--cadences", type=int, nargs="*", default=[1])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the renderer to change")
    parser.add_argument("--sheet", type=Path, help="write eight frames of each run to this picture")
    parser.add_argument("--check", action="store_true", help="measure frames that are only moved")
    args = parser.parse_args()
    settle_process()
    models, rows = KeptModels(), []
    given = dict(one.split("=", 1) for one in args.set)
    moves = [name for name in MOVES if any(name.startswith(begin) for begin in args.moves)]
    whole: list[Measured] = []
    for move, cadence, seed in itertools.product(moves, args.cadences, args.seeds):
        found, began = [], time.monotonic()
        for k in args.prompts:
            runs = []
            for r in range(args.runs):
                settings = {
                    **STYLE, **MOVES[move], **SEEDS[seed], "seed": 100 * (r + 1) + k, "prompts": {0: PROMPTS[k]},
                    "cadence": cadence, "max_frames": (args.frames - 1) * cadence + 1, **given,
                }  # fmt: skip
                if args.check:
                    settings["motion_gain"] = "off"
                run = render(settings, models)
                runs.append(measure(run, args.check))
                if args.sheet:
                    shown = np.linspace(0, len(run) - 1, 8).round().astype(int)
                    rows.append(np.hstack([run[j].image[::2, ::2] for j in shown]))
            found.append(middle(runs))
        whole += found
        each = "  ".join(f"{m.flow:5.2f} {m.match:5.2f} {m.over:5.2f}" for m in found)
        step, flicker, sharp = (
            statistics.mean(getattr(m, name) for m in found) for name in ("step", "flicker", "sharpness")
        )
        print(
            f"{move:12} cadence {cadence} {seed:8} flow, match, over {SPAN}: {each}   {step:.2f} px  "
            f"flicker {flicker:.1f}  sharpness {sharp:.2f}  {time.monotonic() - began:.0f} s",
            flush=True,
        )
    all_of = middle(whole)
    least = min(one.over for one in whole)
    print(f"median of all: flow {all_of.flow:.2f}, match {all_of.match:.2f}, over {SPAN} {all_of.over:.2f}; "
          f"least over {SPAN} {least:.2f} (goal: 0.8)")  # fmt: skip
    if args.sheet:
        cv2.imwrite(str(args.sheet), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
