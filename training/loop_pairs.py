"""Loop pairs and views: training data for the animation loop.

    python -m training.loop_pairs --data build/training --pictures 3000 [--model deforum/embedded/diffusion]

A loop pair is a clean and a degraded version of a picture. The degraded one went through one to six rounds of a slight
zoom, turn and blur and an autoencoder round trip, as in the animation loop. With a model, most rounds also add grain
and run img2img with the picture's caption at a low denoise, so that the model's own errors are included. The picture is
first zoomed out by the total motion, so that after the rounds it is aligned with the clean one, which stays as sharp as
drawn. From degraded inputs with clean targets the model learns to repair the wear of the loop and to follow the camera.

A view is an enlarged part of a picture. The drawn pictures show each place at a few distances only, and a model trained
on them alone draws a place back to the size at which it was seen: a zoom then stands still.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from numpy.typing import NDArray

from training import device
from training.autoencoder import eight_bits, encode, load
from training.evaluate import load_pipeline
from training.linear_pair import to_float

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
ROUNDS = 6  # largest number of rounds
PAINTED = 0.65  # share of the rounds with img2img
GRAIN = 0.08  # largest standard deviation of the grain before img2img, on pictures in [-1, 1]
NEAREST = 2.5  # largest enlargement of a view
AT_LIGHT = 0.6  # share of the views that contain the brightest place: captions name suns, moons and windows


def _motion(rng: np.random.Generator, size: int) -> Matrix:
    """Draw a small random zoom, rotation and shift about the centre of a ``size`` px picture, as a 3x3 matrix."""
    factor = float(np.exp(rng.uniform(0.0, 0.1)))
    turn = float(rng.normal(0, 1.0))
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, factor)
    matrix[:2, 2] += rng.normal(0, 2.0, 2)
    return matrix


def _warp(image: Image, matrix: Matrix) -> Image:
    side = image.shape[0]
    moved = cv2.warpAffine(image, matrix[:2], (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


def far(image: Image, steps: Sequence[Matrix]) -> Image:
    """Apply the inverse of the product of ``steps`` to a picture, with mirrored borders: the steps lead back to it."""
    whole = np.eye(3)
    for step in steps:
        whole = step @ whole
    return _warp(image, np.linalg.inv(whole))


def view(image: Image, rng: np.random.Generator) -> Image:
    """Enlarge a random part of a picture up to `NEAREST` times, sharpened about as much as the enlargement blurs."""
    size, factor = image.shape[0], float(np.exp(rng.uniform(0, np.log(NEAREST))))
    side = size / factor
    corner = rng.uniform(0, size - side, 2)
    if rng.random() < AT_LIGHT:
        bright = cv2.minMaxLoc(cv2.GaussianBlur(image.max(axis=2), (0, 0), 5))[3]
        corner = np.clip(corner, np.array(bright) - 0.8 * side, np.array(bright) - 0.2 * side).clip(0, size - side)
    x, y = corner
    matrix = np.array([[factor, 0, (0.5 - x) * factor - 0.5], [0, factor, (0.5 - y) * factor - 0.5]])
    near = _warp(image, matrix).astype(np.float32)
    near += (factor - 1) * (near - cv2.GaussianBlur(near, (0, 0), 0.7 * factor))
    return near.clip(0, 255).round().astype(np.uint8)


@torch.no_grad()
def make_views(data: Path, count: int, seed: int = 4) -> None:
    """Write ``train/views.npz``: picture indices (N,), and latents (N, C, 16, 16) float16 of a `view` of each."""
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    vae = load(data)
    rng = np.random.default_rng(seed)
    index = rng.choice(len(pictures), min(count, len(pictures)), replace=False)
    latents = []
    for part in np.array_split(index, max(1, len(index) // 32)):
        with device.bfloat16():
            codes = encode(vae, to_float(np.stack([view(np.array(pictures[k]), rng) for k in part])))
        latents.append(codes.cpu().numpy().astype(np.float16))
    np.savez(data / "train" / "views.npz", index=index, latents=np.concatenate(latents))


@torch.no_grad()
def make_pairs(data: Path, count: int, pipeline: StableDiffusionPipeline | None = None, seed: int = 3) -> None:
    """Write ``train/loop.npz``: picture indices (N,), clean and degraded latents (N, C, 16, 16) float16.

    A ``pipeline`` runs img2img in a share `PAINTED` of the rounds, with its autoencoder replaced by that of ``data``.
    """
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    vae = load(data)
    captions: list[list[str]] = json.loads((data / "train" / "captions.json").read_text())
    redraw = None
    if pipeline is not None:
        pipeline.vae = vae
        redraw = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
        redraw.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(seed)
    index = rng.choice(len(pictures), count, replace=False)
    clean, degraded = [], []
    for part in np.array_split(index, max(1, count // 16)):
        true = [np.array(pictures[k]) for k in part]
        steps = [[_motion(rng, image.shape[0]) for image in true] for _ in range(int(rng.integers(1, ROUNDS + 1)))]
        worn = [far(image, own) for image, own in zip(true, zip(*steps, strict=True), strict=True)]
        for step in steps:
            for k in range(len(true)):
                worn[k] = _warp(worn[k], step[k])
                if rng.random() < 0.5:
                    worn[k] = cv2.GaussianBlur(worn[k], (0, 0), float(rng.uniform(0.5, 1.2)))
            shown = to_float(np.stack(worn))
            with device.bfloat16():
                if redraw is not None and rng.random() < PAINTED:
                    strength, scale = float(rng.choice([0.25, 0.4])), float(rng.uniform(2, 5))
                    shown = (shown + torch.randn_like(shown) * float(rng.uniform(0, GRAIN))).clamp(-1, 1)
                    painted = redraw([captions[k][0] for k in part], image=shown / 2 + 0.5, strength=strength,
                                     num_inference_steps=8, guidance_scale=scale, output_type="pt").images  # fmt: skip
                    made = eight_bits(painted.float() * 2 - 1)
                else:
                    made = eight_bits(vae.decoder(encode(vae, shown)).float())
            worn = list(((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        with device.bfloat16():
            codes = encode(vae, to_float(np.stack([*true, *worn]))).cpu().numpy().astype(np.float16)
        clean.append(codes[: len(true)])
        degraded.append(codes[len(true) :])
        if len(clean) % 10 == 0:
            print(f"{sum(map(len, clean))} of {count} pairs", flush=True)
    np.savez(data / "train" / "loop.npz", index=index, clean=np.concatenate(clean), degraded=np.concatenate(degraded))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--views", type=int, default=16000)
    parser.add_argument("--model", type=Path, help="a pipeline folder")
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    if args.views:
        make_views(args.data, args.views)
        print(f"{args.views} views in {args.data / 'train' / 'views.npz'}", flush=True)
    if args.pictures:
        make_pairs(args.data, args.pictures, load_pipeline(args.model) if args.model else None)
        print(f"{args.pictures} pairs in {args.data / 'train' / 'loop.npz'}")


if __name__ == "__main__":
    main()
