"""Measure how closely `examples/controlnet.yaml` follows its clip, and what its unit costs.

    python -m benchmarks.control [--frames 12] [--sheet sheet.png]

Edge agreement is the correlation of the gradients' lengths in a frame and in the clip's frame, both blurred by 2 px:
with the unit, and without it (the target is twice as much). The cost is the time of a painted frame with the unit over
that without it plus that of the unit's network alone, evaluated as often.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.build import build
from deforum.diffusion.adapters.controlnet import Inputs
from deforum.diffusion.adapters.load import load_units
from deforum.diffusion.sampling.steps import count_steps
from deforum.features.controlnet import curve_of
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.models.process import settle_process
from deforum.pixels.image import Image, to_bytes
from deforum.settings.options import Settings
from deforum.timeline.timeline import Timeline
from deforum.video import resolve_clip
from deforum.video.reader import open_clip

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "controlnet.yaml"
BLUR = 2.0  # px
TWICE, CHEAP = 2.0, 1.05


def edges(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the length of the gradient of a blurred picture, (H, W)."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), BLUR)
    return np.asarray(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)), np.float32)


def agreement(picture: Image, clip: Image) -> float:
    """Return the correlation of the edges of two pictures."""
    one, other = (edges(to_bytes(each)).ravel() for each in (picture, clip))
    return float(np.corrcoef(one, other)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings to change, such as cn_1_weight=1.2")
    args = parser.parse_args()
    settle_process()
    models, found, times, shown = KeptModels(), {}, {}, {}
    clip = resolve_clip(load(EXAMPLE).settings.control_units[0].vid_path)
    unit: Any = None
    steps, rows, size = 0, 2, (0, 0)
    for name, weight in (("with the unit", []), ("without it", ["cn_1_weight=0"])):
        overrides = [*args.overrides, *weight, "finish=none"]
        settings = load(EXAMPLE, overrides).settings
        size = settings.size
        animation = build(settings, models)
        guide = open_clip(clip, *settings.size)
        scores, spent, pictures, began = [], [], [], time.perf_counter()
        for frame, picture in animation.frames():
            spent.append(time.perf_counter() - began)
            scores.append(agreement(picture, guide(frame.index)))
            pictures += [picture] if frame.index % 8 == 0 else []
            if len(scores) == args.frames:
                break
            began = time.perf_counter()
        found[name], times[name], shown[name] = statistics.mean(scores), statistics.median(spent[2:]), pictures
        print(f"edge agreement {name}: {found[name]:.3f}   a frame: {times[name]:.3f} s", flush=True)
        if not weight:
            sources = tuple(each.model for each in animation.prepared.found["control units"])
            [unit] = load_units((sources, torch.float32), animation.device)
            steps = _steps(animation.timeline, settings)
            # With the prompt and the negative one, or the prompt alone.
            rows = 1 if settings.control_units[0].control_mode == "ControlNet is more important" else 2
    alone = _alone(unit, size, steps, rows)
    ratio = times["with the unit"] / (times["without it"] + alone)
    with_unit, without = found["with the unit"], found["without it"]
    # Without the unit it is about 0: frames that know nothing of the clip.
    is_enough = with_unit >= TWICE * max(without, 0.0)
    print(f"edge agreement: {with_unit:.3f} against {without:.3f} ({'ok' if is_enough else f'below {TWICE} times'})")
    print(f"the unit alone: {alone:.3f} s a frame; with it a frame takes {ratio:.3f} of both "
          f"({'ok' if ratio <= CHEAP else f'above {CHEAP}'})")  # fmt: skip
    if args.sheet:
        strips = [np.hstack([to_bytes(each) for each in pictures]) for pictures in shown.values()]
        cv2.imwrite(str(args.sheet), np.vstack(strips)[..., ::-1])


def _steps(timeline: Timeline, settings: Settings) -> int:
    """Return how many steps of a frame the unit acts in."""
    frame = timeline[1]
    run = count_steps(int(frame.params.steps), frame.params.strength, exact=True)
    end = float(curve_of("guidance_end", settings.control_units[0], settings)[1])
    return sum(n / run <= end for n in range(run))


@torch.inference_mode()
def _alone(unit: Any, size: tuple[int, int], steps: int, count: int) -> float:
    """Return the time of a unit's network for a frame: its picture is read once, and `count` rows evaluated a step."""
    width, height = size
    latents = torch.randn(count, 16, -(-height // 16), -(-width // 16))
    tokens, rows = torch.randn(count, 77, 192), torch.tensor([0] * count)
    spent = []
    for _ in range(6):
        began = time.perf_counter()
        seen = unit.spread(unit.see(torch.zeros(1, 3, height, width)), rows)
        for step in range(steps):
            unit.evaluate(seen, latents, torch.full((count,), 900.0 - step), Inputs(tokens))
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[2:])


if __name__ == "__main__":
    main()
