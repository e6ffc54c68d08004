"""A plain loop with diffusers, the baseline of quickstart.py: what one would write without this program.

    python -m benchmarks.baseline FOLDER [--frames 24] [--clip FILM]

It has the embedded model's parts in diffusers' pipelines, and examples/quickstart.yaml's size, steps, strength, sampler
and motion: every second frame is diffused, those between are moved by OpenCV. With `--clip` every frame is diffused
from one of the film. Frames are written as PNG by Pillow and as a film by imageio-ffmpeg, in line. Prints
`first SECONDS` when the first frame begins, counted from the clock time in BENCHMARK_START.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from benchmarks.quickstart import CADENCE, SIZE, START

PROMPT = "the sea at sunset with a glowing sun"
STEPS, GUIDANCE, KEPT, SEED, FPS = 20, 4.0, 0.55, 7, 12
ZOOM, ANGLE = 1.01, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--clip", type=Path)
    options = parser.parse_args()

    import cv2
    import imageio_ffmpeg
    import numpy as np
    import torch
    from diffusers import (
        EulerAncestralDiscreteScheduler,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionPipeline,
    )
    from PIL import Image

    from deforum.diffusion.families.find import resolve_model

    folder = resolve_model("embedded").path
    first = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    first.scheduler = EulerAncestralDiscreteScheduler.from_config(first.scheduler.config)
    again = StableDiffusionImg2ImgPipeline(
        **first.components, requires_safety_checker=False
    )  # safety_checker and feature_extractor are None
    for pipeline in (first, again):
        pipeline.set_progress_bar_config(disable=True)
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), ANGLE, ZOOM)
    film = imageio_ffmpeg.write_frames(str(options.folder / "film.mp4"), (SIZE, SIZE), fps=FPS)
    film.send(None)
    print(f"first {time.time() - float(os.environ.get(START, time.time())):.3f}", flush=True)
    picture, clip = None, options.clip and cv2.VideoCapture(str(options.clip))
    for index in range(options.frames):
        random = torch.Generator().manual_seed(SEED + index)
        given = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "generator": random}
        if clip:
            levels = cv2.resize(clip.read()[1][..., ::-1], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            picture = again(PROMPT, image=Image.fromarray(levels), strength=1 - KEPT, **given).images[0]
        elif picture is None:
            picture = first(PROMPT, width=SIZE, height=SIZE, **given).images[0]
        else:
            moved = cv2.warpAffine(
                np.asarray(picture), matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
            )
            picture = Image.fromarray(moved)
            if index % CADENCE == 0:
                picture = again(PROMPT, image=picture, strength=1 - KEPT, **given).images[0]
        picture.save(options.folder / f"{index:05}.png")
        film.send(np.ascontiguousarray(np.asarray(picture)))
    film.close()


if __name__ == "__main__":
    main()
