"""Compare finished frames of the examples with frames that are enlarged bicubically.

    python -m benchmarks.finishing [--frames 24] [--looks plain gouache ink] [--sheet sheet.png]
                                   [--examples quickstart hybrid]

For each example and look: flicker, the mean difference of a frame from the one before moved by optical flow (in levels
of 255, the same flow for all); steepness, the mean gradient of the steepest 2 % of the pixels (levels per px); and the
time of finishing a frame. Steepness is that of painted places, as a clip's own pixels are only enlarged; their share is
said.
The sheet has frames of each example, enlarged above those of each look.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.build import build, resolve
from deforum.finishing.finisher import load_finisher
from deforum.finishing.looks import LOOKS
from deforum.finishing.network import enlarged
from deforum.finishing.own import OwnPixels
from deforum.flow import load_flow, resolve_flow
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.models.process import settle_process
from deforum.motion.flow_warp import to_positions
from deforum.motion.positions import sample_at
from deforum.pixels.image import CPU, Image, Mask, to_array, to_bytes, to_gray

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
STEEPEST = 0.02  # share of the pixels
PAINTED = 0.9  # share of painting from which a place counts as painted
MARGIN = 16  # px at the border, where the flow does not know what comes in
MOST_MS, STEEPER = 60.0, 1.5


def steepness(image: Image, where: NDArray[np.bool_] | None = None) -> float:
    """Return the mean gradient of the steepest pixels, or of those among some of them (H, W), in levels per px."""
    gray = to_array(to_gray(image))[..., 0] * 255
    across, down = (cv2.Sobel(gray, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
    steep = np.hypot(across, down)
    steps = np.sort(steep.ravel() if where is None else steep[where])
    return float(steps[-int(STEEPEST * len(steps)) :].mean())


def painted(own: Mask | None, image: Image) -> NDArray[np.bool_]:
    """Return where a finished frame is painted, (2H, 2W), from where a frame shows a clip's own pixels, (H, W)."""
    if own is None:
        return np.ones(image.shape[1:], np.bool_)
    share = cv2.resize(1 - own.numpy(), image.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.erode(share, np.ones((3, 3), np.uint8)) > PAINTED, np.bool_)  # gradients reach a pixel far


def flicker(frames: list[Image], guides: list[Image]) -> float:
    """Return the mean difference of frames from those before, moved by the optical flow of the guides, in levels."""
    estimate = load_flow(resolve_flow("DIS Medium", "flow"), CPU)
    found = []
    for (before, after), (guide, later) in zip(pairwise(frames), pairwise(guides), strict=True):
        moved = sample_at(before, to_positions(estimate(later, guide)), "bilinear", "border")
        inner = (moved - after)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        found.append(float(inner.abs().mean()) * 255)
    return statistics.mean(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24, help="of each example")
    parser.add_argument("--looks", nargs="*", choices=LOOKS, default=list(LOOKS))
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--examples", nargs="*", default=sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
    args = parser.parse_args()
    settle_process()
    finishers, models, columns = {look: load_finisher(look) for look in args.looks}, KeptModels(), []
    for name in args.examples:
        given = [f"max_frames={args.frames}", "finish=embedded"]
        own = OwnPixels()
        animation = build(resolve(load(EXAMPLES / f"{name}.yaml", given).settings), models).telling_own(own.tell)
        shown = [(image, own.at(frame.index)) for frame, image in animation.frames()]
        plain = [enlarged(image[None])[0].clamp(0, 1) for image, _ in shown]
        places = [painted(mask, image) for (_, mask), image in zip(shown, plain, strict=True)]
        share = statistics.mean(float(place.mean()) for place in places)
        still, steep = flicker(plain, plain), statistics.mean(map(steepness, plain, places))
        width, height = animation.settings.size
        print(f"{name}, {width}x{height}, painted are {share:.0%}; bicubic: flicker {still:.2f}, steepness {steep:.2f}")
        rows = [plain]
        for look, finisher in finishers.items():
            finisher(*shown[0])  # makes or reads the graph of this size
            finished, spent = [], []
            for image, mask in shown:
                began = time.perf_counter()
                finished.append(finisher(image, mask))
                spent.append(1000 * (time.perf_counter() - began))
            its_steepness = statistics.mean(map(steepness, finished, places))
            print(
                f"    {look}: flicker {flicker(finished, plain):.2f}; steepness {its_steepness:.2f}: "
                f"{its_steepness / steep:.2f} times (goal: {STEEPER}); {statistics.median(spent):.0f} ms a frame on "
                f"{torch.get_num_threads()} threads (goal: {MOST_MS:.0f} for 256x256)",
                flush=True,
            )
            rows.append(finished)
        chosen = np.linspace(0, len(plain) - 1, 4).round().astype(int)
        columns += [np.vstack([to_bytes(row[k]) for row in rows]) for k in chosen]
    if args.sheet:
        width, height = (max(column.shape[axis] for column in columns) for axis in (1, 0))
        padded = [
            cv2.copyMakeBorder(one, 0, height - one.shape[0], 0, width - one.shape[1], cv2.BORDER_CONSTANT)
            for one in columns
        ]
        lines = [np.hstack(padded[k : k + 4]) for k in range(0, len(padded), 4)]
        cv2.imwrite(str(args.sheet), np.vstack(lines)[..., ::-1])


if __name__ == "__main__":
    main()
