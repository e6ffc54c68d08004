"""Measure the in-betweens of examples: how sharp they are beside the painted frames, and what each costs.

    python -m benchmarks.in_betweens [--frames 24]

Sharpness is the variance of the Laplacian in 8 bit, relative to the painted frames before and after, weighted as they
are mixed. Two times are given, in the middle of a render: finding where each pixel comes from (in 3D the geometry of
both views), and moving and mixing the two pictures. The baseline is a plain cross-fade of the same two pictures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from deforum.animation.mix import CrossFade, cross_fade
from deforum.animation.parts import Between, Pair, View
from deforum.build import build
from deforum.loading import load
from deforum.models.process import settle_process
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, to_bytes
from deforum.timeline.frame import Frame

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MODES = {"2D": "quickstart", "3D": "flythrough"}
T = TypeVar("T")
LEAST, MOST_MS = 0.85, 10.0


def sharpness(image: Image) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


@dataclass
class Measured:
    """A `deforum.animation.parts.Mix` that measures the in-betweens of another one."""

    mix: CrossFade
    ratios: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    geometry_ms: list[float] = field(default_factory=list)
    mix_ms: list[float] = field(default_factory=list)
    plain_ms: list[float] = field(default_factory=list)

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        between = self.mix.meet(moved, newer, key)

        def measured(a: View, b: View, fade: float) -> Image:
            covers = timed(self.geometry_ms, lambda: (a.warp.coverage(), b.warp.coverage()))
            image = timed(self.mix_ms, lambda: between(a, b, fade))
            around = (1 - fade) * sharpness(a.image) + fade * sharpness(b.image)
            faded = timed(
                self.plain_ms, lambda: cross_fade(a.warp(a.image), covers[0], b.warp(b.image), covers[1], fade)
            )
            self.ratios.append(sharpness(image) / around)
            self.plain.append(sharpness(faded) / around)
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
    parser.add_argument("--frames", type=int, default=24)
    options = parser.parse_args()
    settle_process()
    for mode, name in MODES.items():
        settings = replace(load(EXAMPLES / f"{name}.yaml").settings, max_frames=options.frames)
        animation = build(settings)
        mix = animation.stages.mix
        assert isinstance(mix, CrossFade)
        measured = Measured(mix)
        stages = replace(animation.stages, mix=measured)
        for _ in stages.pace(stages, animation.timeline.spans(), None):
            pass
        print(
            f"{mode}: in-betweens {statistics.median(measured.ratios):.2f} as sharp as the painted frames, at least "
            f"{min(measured.ratios):.2f} (target: {LEAST}); a plain fade {np.median(measured.plain):.2f}; "
            f"{statistics.median(measured.mix_ms):.1f} ms each (target: {MOST_MS:g} ms; a plain fade "
            f"{statistics.median(measured.plain_ms):.1f} ms), and {statistics.median(measured.geometry_ms):.1f} ms for "
            "the geometry"
        )


if __name__ == "__main__":
    main()
