"""Time the work on a 512x512 frame outside the model: motion, 2 colour matches, contrast, sharpening, noise, files.

A 2D frame, and a 3D frame with its depth given. The stages run one after the other, as in a render without the model,
with a real run folder: other threads and ffmpeg write PNG and film at the same time, on the same cores. Printed are
the median time of a frame and of each stage, and the time from the first frame to the finished film, divided by the
number of frames: without a model to wait for, the encoder falls behind, and the end waits for it. The baseline is a
plain implementation of a 2D frame's work, step by step in 8 bit, that writes the PNG in line and no film. Needs
scikit-image (the `test` extra).
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from skimage.data import astronaut
from skimage.exposure import match_histograms

from deforum.features.table import timeline_of as sample
from deforum.loading import load
from deforum.models.process import settle_process
from deforum.motion.flat import warp_flat
from deforum.motion.matrices import flat_matrix
from deforum.motion.slab import warp_slab
from deforum.motion.surface import warp_physical
from deforum.output.run import Run
from deforum.pixels.color import ColorReference, match_color
from deforum.pixels.image import Image, adjust_contrast, from_bytes, to_bytes
from deforum.pixels.noise import add_noise, perlin_noise
from deforum.pixels.sharpness import unsharp_mask
from deforum.timeline.frame import Frame

SIZE, FRAMES, WARM_UP = 512, 60, 10
TARGETS_MS = {"2D": 12, "3D": 18}
FASTER = 8  # times, than the baseline
CONTRAST, SHARPEN, NOISE = 1.02, 0.1, 0.065
MOTION: dict[str, float] = {"angle": 0.4, "zoom": 1.01, "translation_x": 1.5, "translation_y": -0.7}
MOTION_3D: dict[str, float] = {"translation_x": 1.5, "translation_z": 3, "rotation_3d_y": 0.3, "rotation_3d_z": 0.4}

Levels = NDArray[np.uint8]
P = ParamSpec("P")
T = TypeVar("T")


class Clock:
    """Collects the times of each stage, in ms."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def __call__(self, stage: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        start = time.perf_counter()
        result = work(*args, **kwargs)
        self.times.setdefault(stage, []).append(1000 * (time.perf_counter() - start))
        return result

    def median(self, stage: str) -> float:
        return statistics.median(self.times[stage][WARM_UP:])


Move = Callable[[Image, Frame], Image]


def ours(clock: Clock, move: Move, image: Image, reference: ColorReference, frame: Frame, run: Run) -> Image:
    """Run the default settings' stages on a picture: between two diffusions, after the second, and writing."""
    image = clock("motion", move, image, frame)
    image = clock("colour match", match_color, image, reference)
    image = clock("contrast", adjust_contrast, image, CONTRAST)
    image = clock("sharpening", unsharp_mask, image, SHARPEN)
    noise = clock("noise", perlin_noise, frame.seed + frame.index, SIZE, SIZE)
    image = clock("mixing noise in", add_noise, image, noise, NOISE)
    image = clock("colour match after", match_color, image, reference)
    levels = clock("rounding", to_bytes, image)
    clock("hand-over", run.write, frame, levels)
    return image


def move_flat(image: Image, frame: Frame) -> Image:
    matrix = flat_matrix(frame.params, SIZE, SIZE, flip=False, flip_keeps_translation=True)
    return warp_flat(image, matrix, border="replicate")


def move_in_space(physical: bool) -> Move:
    """Return the motion of a 3D frame over a scene of hills and a near disc."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    depth = 1.5 + 0.3 * torch.sin(3 * x) * torch.cos(2 * y) - 0.5 * ((x**2 + y**2) < 0.1)
    camera = warp_physical if physical else warp_slab
    return lambda image, frame: camera(depth, frame.params, SIZE, SIZE)(image)


def time_ours(picture: Levels, mode: str, float_color: bool, folder: Path) -> tuple[Clock, float]:
    """Return the times of the stages, and the time per frame up to the finished film, in ms."""
    values = {"W": SIZE, "H": SIZE, "max_frames": FRAMES, "animation_mode": mode}
    values |= MOTION if mode == "2D" else MOTION_3D
    lines = "".join(f"{name}: {value}\n" for name, value in values.items())
    (folder / "settings.yaml").write_text("prompts: {0: a}\n" + lines)
    timeline = sample(load(folder / "settings.yaml").settings)
    reference = ColorReference.of(from_bytes(picture), "LAB", true_channels=float_color, float_color=float_color)
    move = move_flat if mode == "2D" else move_in_space(float_color)
    clock, image = Clock(), from_bytes(picture)
    (folder / "run").mkdir()
    begun = time.perf_counter()
    with Run(folder / "run", "", width=SIZE, height=SIZE, fps=24) as run:
        for frame in timeline:
            image = clock("frame", ours, clock, move, image, reference, frame, run)
    return clock, 1000 * (time.perf_counter() - begun) / FRAMES


# The plain implementation (baseline)


def plain_match(levels: Levels, sample: Levels) -> Levels:
    lab, wanted = cv2.cvtColor(levels, cv2.COLOR_RGB2LAB), cv2.cvtColor(sample, cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.cvtColor(match_histograms(lab, wanted, channel_axis=-1), cv2.COLOR_LAB2RGB), np.uint8)


def plain_perlin(generator: torch.Generator) -> torch.Tensor:
    total = torch.zeros(SIZE, SIZE)
    for octave in range(4):
        count = 8 * 2**octave
        angles = 2 * math.pi * torch.rand(count + 1, count + 1, generator=generator)
        gradients = torch.stack((angles.cos(), angles.sin()), dim=-1)
        place = torch.arange(SIZE) * count / SIZE
        offset = torch.stack(torch.meshgrid(place % 1, place % 1, indexing="ij"), dim=-1)
        step = SIZE // count
        corners = []
        for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = gradients[down : count + down, across : count + across]
            around = part.repeat_interleave(step, 0).repeat_interleave(step, 1)
            corners.append((around * (offset - torch.tensor([down, across]))).sum(-1))
        fade = 6 * offset**5 - 15 * offset**4 + 10 * offset**3
        above, below = (torch.lerp(corners[k], corners[k + 1], fade[..., 1]) for k in (0, 2))
        total += math.sqrt(2) * 0.5**octave * torch.lerp(above, below, fade[..., 0])
    return total


def plain(levels: Levels, sample: Levels, seed: int, path: Path) -> Levels:
    turned = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), MOTION["angle"], MOTION["zoom"])
    moved_by = np.array([[1, 0, MOTION["translation_x"]], [0, 1, MOTION["translation_y"]], [0, 0, 1]])
    matrix = np.vstack((turned, [0, 0, 1])) @ moved_by
    moved = cv2.warpPerspective(levels, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    contrasted = np.clip((plain_match(np.asarray(moved, np.uint8), sample) * CONTRAST).round(), 0, 255).astype(np.uint8)
    soft = cv2.GaussianBlur(contrasted, (5, 5), 1.0)
    sharp = np.clip((1 + SHARPEN) * contrasted - SHARPEN * soft, 0, 255).round().astype(np.uint8)
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(3, SIZE, SIZE, generator=generator) * (plain_perlin(generator) + 1) / 2
    noise = ((field * 0.5 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy().astype(np.uint8)
    mixed = (sharp * (1 - NOISE) + noise * NOISE).round().astype(np.uint8)
    matched = plain_match(mixed, sample)
    PillowImage.fromarray(matched).save(path)
    return matched


def time_plain(picture: Levels, folder: Path) -> float:
    times, levels = [], picture
    for frame in range(WARM_UP + 20):
        start = time.perf_counter()
        levels = plain(levels, picture, frame, folder / "frame.png")
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def main() -> None:
    picture: Levels = astronaut()  # type: ignore[no-untyped-call]  # 512 x 512
    print(f"{os.cpu_count()} cores, load before the run {os.getloadavg()[0]:.1f}; medians, in ms")
    with tempfile.TemporaryDirectory() as name:
        baseline = time_plain(picture, Path(name))
    settle_process()  # as a render does
    missed = []
    for mode, target in TARGETS_MS.items():
        for float_color, profile in ((True, "corrected"), (False, "deforum")):
            with tempfile.TemporaryDirectory() as name, torch.inference_mode():
                clock, to_film = time_ours(picture, mode, float_color, Path(name))
            for stage in clock.times:
                if stage != "frame":
                    print(f"  {mode}, {profile}: {stage}: {clock.median(stage):.2f}")
            whole = clock.median("frame")
            times = f"the plain way takes {baseline / whole:.1f} times as long"
            print(f"host work per {mode} frame, {profile}: {whole:.1f} (target: {target}; {times}); ", end="")
            print(f"{to_film:.1f} per frame up to the finished film")
            if whole > target or (mode == "2D" and baseline / whole < FASTER):
                missed.append(f"{mode}, {profile}")
    print(f"the plain way, 2D, without a film: {baseline:.1f} (target: ours {FASTER} times less)")
    if missed:
        sys.exit(f"targets missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
