"""Compare upscalers on the frames of a run, with Lanczos beside them.

    python -m benchmarks.upscaling RUN_FOLDER [--upscalers lanczos realesr-animevideov3 x4plus-anime x4plus]
                                   [--frames 6] [--factor 2] [--crop 128] [--sheet sheet.png]

For each: flicker, the mean difference of a frame from the one before moved by optical flow (in levels of 255, the same
flow for all); steepness, the mean gradient of the steepest 2 % of the pixels (levels per px); the difference from the
frame that it was made of, when made small again (levels); and the time of a frame. `--crop` takes the middle of each
frame alone, as a frame of 512x512 takes the slow networks minutes. The sheet has the middle of a frame at full size,
each upscaler in a column.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.finishing import flicker, steepness
from deforum.models.process import settle_process
from deforum.pixels.image import Image, from_bytes, to_bytes
from deforum.post.material import of_run
from deforum.upscaling.models import LANCZOS, NETWORKS, missing_upscaler
from deforum.upscaling.upscaler import load_upscaler

SHOWN = 512
"""px; side of the middle of a frame in the sheet."""


def middle(image: Image, side: int) -> Image:
    """Cut out the middle of a picture, at most so many px wide and high."""
    height, width = image.shape[1:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return image[:, top : top + side, left : left + side].contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--upscalers", nargs="*", default=[LANCZOS, *NETWORKS])
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--factor", type=float, default=2.0)
    parser.add_argument("--crop", type=int, help="side of the middle of each frame that is measured, px; whole frames")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    settle_process()
    frames = [from_bytes(pixels) for pixels in islice(of_run(args.run).source.read(args.first), args.frames)]
    if args.crop:
        frames = [middle(image, args.crop) for image in frames]
    height, width = (round(side * args.factor) for side in frames[0].shape[1:])
    guides = [load_upscaler(LANCZOS, args.factor)(image, height, width) for image in frames]
    columns = []
    for name in args.upscalers:
        if missing := missing_upscaler(name):
            print(missing)
            continue
        upscaler = load_upscaler(name, args.factor)
        made, spent = [], []
        for image in frames:
            began = time.perf_counter()
            made.append(upscaler(image, height, width))
            spent.append(time.perf_counter() - began)
        small = [F.interpolate(each[None], frames[0].shape[1:], mode="area")[0] for each in made]
        off = statistics.mean(float((one - other).abs().mean()) * 255 for one, other in zip(small, frames, strict=True))
        still = f"flicker {flicker(made, guides):.2f}, " if len(made) > 1 else ""
        print(
            f"{name}: {still}steepness {statistics.mean(map(steepness, made)):.2f}, off by {off:.2f}; "
            f"{statistics.median(spent):.2f} s a frame of {frames[0].shape[2]}x{frames[0].shape[1]} on "
            f"{torch.get_num_threads()} threads",
            flush=True,
        )
        columns.append(to_bytes(middle(made[-1], SHOWN)))
    if args.sheet and columns:
        cv2.imwrite(str(args.sheet), np.hstack(columns)[..., ::-1])


if __name__ == "__main__":
    main()
