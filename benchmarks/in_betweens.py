"""Measure the in-betweens of examples: how sharp they are beside the painted frames, how they flicker, what each costs.

    python -m benchmarks.in_betweens [--frames 25] [--cadence 4]

Sharpness is the mean square of the gradient, and that of the finest detail the variance of the Laplacian in 8 bit, both
relative to the painted frames before and after, weighted as they are mixed. Flicker is the mean difference of a frame
from the one before, moved by optical flow, in levels. Two times are given, in the middle of a render: finding where
each pixel comes from (in 3D the geometry of both views), and moving and mixing the two pictures. The baselines, made of
the same painted pictures, are a plain cross-fade, and in-betweens that do not follow the flow (optical_flow_cadence:
None).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from deforum.animation.mix import CrossFade, cross_fade
from deforum.animation.parts import Between, Mix, Pair, View
from deforum.build import build
from deforum.flow import FlowSource, load_flow
from deforum.loading import load
from deforum.models.process import settle_process
from deforum.motion.flow_warp import to_positions
from deforum.motion.positions import sample_at
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Image, to_bytes
from deforum.timeline.frame import Frame

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MODES = {"2D": "quickstart", "3D": "flythrough"}
T = TypeVar("T")
LEAST, MOST_MS = 0.85, 20.0
MARGIN = 8  # px


def finest(image: Image) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def sharpness(image: Image) -> float:
    gray = image.mean(0)
    return float(gray.diff(dim=0).square().mean() + gray.diff(dim=1).square().mean())


def flicker(frames: list[Image]) -> float:
    estimate = load_flow(FlowSource("DIS Medium"), CPU)
    found = []
    for before, after in pairwise(frames):
        moved = sample_at(before, to_positions(estimate(after, before)), "bilinear", "border")
        found.append(float((moved - after)[:, MARGIN:-MARGIN, MARGIN:-MARGIN].abs().mean()) * 255)
    return statistics.mean(found)


@dataclass
class Measured:
    """A `deforum.animation.parts.Mix` that measures the in-betweens of another one."""

    mix: Mix
    ratios: list[float] = field(default_factory=list)
    finest: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    fading: list[float] = field(default_factory=list)
    frames: dict[str, list[Image]] = field(default_factory=lambda: {"ours": [], "plain": [], "fading": []})
    geometry_ms: list[float] = field(default_factory=list)
    mix_ms: list[float] = field(default_factory=list)
    plain_ms: list[float] = field(default_factory=list)

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        between, fading = self.mix.meet(moved, newer, key), CrossFade().meet(moved, newer, key)

        def measured(a: View, b: View, fade: float) -> Image:
            covers = timed(self.geometry_ms, lambda: (a.warp.coverage(), b.warp.coverage()))
            image = timed(self.mix_ms, lambda: between(a, b, fade))
            around = (1 - fade) * sharpness(a.image) + fade * sharpness(b.image)
            fine = (1 - fade) * finest(a.image) + fade * finest(b.image)
            still = fading(a, b, fade)
            faded = timed(
                self.plain_ms, lambda: cross_fade(a.warp(a.image), covers[0], b.warp(b.image), covers[1], fade)
            )
            self.ratios.append(sharpness(image) / around)
            self.finest.append(finest(image) / fine)
            self.plain.append(sharpness(faded) / around)
            self.fading.append(sharpness(still) / around)
            for name, each in (("ours", image), ("plain", faded), ("fading", still)):
                self.frames[name].append(each)
            return image

        return measured

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        return self.mix.step(pair, warp, key, fade)


def timed(times: list[float], work: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = work()
    times.append(1000 * (time.perf_counter() - start))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--cadence", type=int, default=4)
    options = parser.parse_args()
    settle_process()
    for mode, name in MODES.items():
        settings = replace(load(EXAMPLES / f"{name}.yaml").settings, max_frames=options.frames, cadence=options.cadence)
        animation = build(settings)
        measured = Measured(animation.stages.mix)
        stages = replace(animation.stages, mix=measured)
        for state in stages.pace(stages, animation.timeline.spans(), None):
            if state.is_boundary:
                for frames in measured.frames.values():
                    frames.append(state.picture)
        ours, plain, fading = (flicker(frames) for frames in measured.frames.values())
        print(
            f"{mode}: in-betweens {statistics.median(measured.ratios):.2f} as sharp as the painted frames, at least "
            f"{min(measured.ratios):.2f} (target: {LEAST}), in the finest detail {np.median(measured.finest):.2f}; "
            f"without flow {np.median(measured.fading):.2f}; a plain fade {np.median(measured.plain):.2f}; "
            f"flicker {ours:.2f}, without flow {fading:.2f}, a plain fade {plain:.2f}; "
            f"{statistics.median(measured.mix_ms):.1f} ms each (target: {MOST_MS:g} ms; a plain fade "
            f"{statistics.median(measured.plain_ms):.1f} ms), and {statistics.median(measured.geometry_ms):.1f} ms for "
            "the geometry"
        )


if __name__ == "__main__":
    main()
