"""Sharpness and error of in-betweens that follow optical flow, compared with plain ones that fade.

    python -m benchmarks.flow_cadence [--size 256] [--cadence 4] [--video FOLDER]

The scene is known at any time: a world with detail of all sizes down to 4 px, whose ground sways, over which discs with
hard edges may drift, and a camera that zooms. Diffusion is replaced by a render of this world, so that cadence alone is
measured.
Sharpness is the variance of the Laplacian, in per cent of the world's at the same time; the error is the mean absolute
difference from the world, in levels of 255. Deforum's cadence has no error figure: it fades a picture in over the
frames after its keyframe, so that an in-between has no true time. `--video` writes the frames of every case.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.features.flow_cadence import with_flow
from deforum.features.table import timeline_of as sample
from deforum.flow import METHODS, load_flow, resolve_flow
from deforum.models.process import settle_process
from deforum.pixels.image import CPU, Image, from_array, to_array, to_bytes
from deforum.settings.options import Settings
from deforum.settings.params import Params
from schedules import NumberSchedule, parse_number

ZOOM = 1.01
DISCS = 7


@dataclass(frozen=True)
class World:
    """A textured ground and textured discs, defined at any sub-pixel position and any time."""

    size: int
    discs: int = 0

    def texture(self, seed: int) -> NDArray[np.float32]:
        """Return a texture (2 size, 2 size, 3) in 0..1 with detail of all sizes down to 4 px."""
        random, side = np.random.default_rng(seed), 2 * self.size
        layers = [
            cv2.GaussianBlur(random.standard_normal((side, side, 3)).astype(np.float32), (0, 0), blur) * blur**1.3
            for blur in (1.7, 3.4, 7, 14)
        ]
        summed = np.sum(layers, axis=0)
        return np.asarray((0.5 + 0.16 * summed / summed.std()).clip(0, 1), np.float32)

    def __call__(self, at: float) -> Image:
        """Render the world, (3, H, W), at a time in frames."""
        size, scale = self.size, ZOOM**at
        y, x = np.mgrid[:size, :size].astype(np.float32)
        x, y = ((axis - size / 2) / scale + size / 2 for axis in (x, y))
        sway_x, sway_y = 5 * np.sin(y / size * 5 + at / 9), 4 * np.cos(x / size * 4 + at / 8)
        picture = self.read(1, x + sway_x - at * 0.4, y + sway_y)
        for disc in range(self.discs):
            turn = 2.4 * disc
            dx, dy = at * 1.4 * np.cos(turn), at * 1.4 * np.sin(turn)
            middle_x, middle_y = size * (0.5 + 0.3 * np.cos(turn * 1.7)) + dx, size * (0.5 + 0.3 * np.sin(turn)) + dy
            covers = np.clip(size * 0.09 - np.hypot(x - middle_x, y - middle_y), 0, 1)[..., None]
            picture = picture + covers * (self.read(disc + 2, x - dx, y - dy) - picture)
        return from_array(picture.astype(np.float32))

    def read(self, seed: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        at = [np.asarray(axis + self.size / 2, np.float32) for axis in (x, y)]
        if seed not in TEXTURES:
            TEXTURES[seed] = self.texture(seed)
        return np.asarray(cv2.remap(TEXTURES[seed], at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))


TEXTURES: dict[int, NDArray[np.float32]] = {}


def sharpness(image: Image) -> float:
    gray = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F)[16:-16, 16:-16].var())


def settings_of(size: int, cadence: int, profile: str) -> Settings:
    changes = {"zoom": ZOOM, "noise": 0, "antiblur_amount": 0}
    defaults = Settings().params
    params: Params[NumberSchedule] = defaults.map(
        lambda name, schedule: parse_number(f"{changes[name]}", name=name) if name in changes else schedule
    )
    return Settings(
        params=params,
        width=size,
        height=size,
        cadence=cadence,
        max_frames=6 * cadence + 1,
        seed=1,
        color_coherence="None",
        profile="deforum" if profile == "deforum" else "corrected",
    )


def render(settings: Settings, method: str, world: World) -> tuple[list[Image], float]:
    """Render with an estimator, or with "None"; return the frames, and the mean time per frame in ms."""
    timeline = sample(settings)
    painted = {key: world(key) for key in timeline.keys}
    stages = stages_of(settings, each(lambda init, frame: painted[frame.index]), CPU)
    source = resolve_flow(method)
    stages = with_flow(stages, None if source is None else load_flow(source, CPU))
    began = time.perf_counter()
    frames = [image for _, image in animate(stages, timeline.spans())]
    return frames, (time.perf_counter() - began) / len(frames) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="width and height in px")
    parser.add_argument("--cadence", type=int, default=4, help="frames from one diffused frame to the next")
    parser.add_argument("--video", type=Path, help="folder for the frames")
    asked = parser.parse_args()
    settle_process()
    methods = ["None", *(name for name, row in METHODS.items() if not row.files)]
    for profile, discs, method in itertools.product(("corrected", "deforum"), (0, DISCS), methods):
        settings, world = settings_of(asked.size, asked.cadence, profile), World(asked.size, discs)
        frames, taken = render(settings, method, world)
        keys = sample(settings).keys
        between = [i for i in range(asked.cadence, len(frames)) if profile == "deforum" or i not in keys]
        truth = [world(i) for i in between]
        kept = [100 * sharpness(frames[i]) / sharpness(true) for i, true in zip(between, truth, strict=True)]
        line = f"{profile:<10} {discs} discs  {method:<11} "
        line += f"sharpness {statistics.mean(kept):5.1f} % (least {min(kept):5.1f} %)"
        if profile == "corrected":
            errors = [float((frames[i] - true).abs().mean()) * 255 for i, true in zip(between, truth, strict=True)]
            line += f"  error {statistics.mean(errors):5.2f} levels"
        print(f"{line}  {taken:6.1f} ms/frame")
        if asked.video:
            asked.video.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(frames):
                levels = cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(asked.video / f"{profile}_{discs}_{method.replace(' ', '_')}_{i:04}.png"), levels)


if __name__ == "__main__":
    main()
