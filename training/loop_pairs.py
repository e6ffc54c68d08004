"""Pairs of clean and degraded latents: what the animation loop feeds the model, and what it ought to be.

    python -m training.loop_pairs --data build/training --pictures 3000 [--model deforum/embedded/diffusion]

A picture goes through one to six rounds of "zoom and turn a little, blur a little, through the autoencoder", as in
the loop; with a model it is painted anew in most of the rounds, too, under grain as the loop adds it, by its caption
and with little noise, so that the model's own faults are in it.  The clean partner is the same picture moved once by
the whole motion.  Trained on the degraded one with the clean one as the answer, the model learns to mend what the loop
wears off.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from numpy.typing import NDArray

from training.autoencoder import eight_bits, encode
from training.evaluate import load_pipeline
from training.linear_pair import to_float

Matrix = NDArray[np.float64]
ROUNDS = 6  # at most
PAINTED = 0.65  # share of the rounds in which a model paints
GRAIN = 0.08  # at most, on pictures in [-1, 1], before it paints


def _motion(rng: np.random.Generator, size: int) -> Matrix:
    """A small zoom, turn and shift about the centre, as a 3x3 matrix."""
    factor = float(np.exp(rng.uniform(0.0, 0.05)))
    turn = float(rng.normal(0, 1.0))
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, factor)
    matrix[:2, 2] += rng.normal(0, 2.0, 2)
    return matrix


def _warp(image: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    side = image.shape[0]
    moved = cv2.warpAffine(image, matrix[:2], (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


@torch.no_grad()
def make_pairs(data: Path, count: int, pipeline: StableDiffusionPipeline | None = None, seed: int = 3) -> None:
    """Write ``train/loop.npz``: index (N,), clean and degraded latents (N, C, 16, 16) float16.

    A ``pipeline`` paints in `PAINTED` of the rounds, with the data's autoencoder put in the place of its own.
    """
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    vae = AutoencoderKL.from_pretrained(data / "vae").to(memory_format=torch.channels_last)
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
        worn = list(true)
        moved = [np.eye(3) for _ in true]
        for _ in range(int(rng.integers(1, ROUNDS + 1))):
            for k in range(len(true)):
                step = _motion(rng, true[k].shape[0])
                moved[k] = step @ moved[k]
                worn[k] = _warp(worn[k], step)
                if rng.random() < 0.5:
                    worn[k] = cv2.GaussianBlur(worn[k], (0, 0), float(rng.uniform(0.5, 1.2)))
            shown = to_float(np.stack(worn))
            with torch.autocast("cpu", torch.bfloat16):
                if redraw is not None and rng.random() < PAINTED:
                    strength, scale = float(rng.choice([0.25, 0.4])), float(rng.uniform(2, 5))
                    shown = (shown + torch.randn_like(shown) * float(rng.uniform(0, GRAIN))).clamp(-1, 1)
                    painted = redraw([captions[k][0] for k in part], image=shown / 2 + 0.5, strength=strength,
                                     num_inference_steps=8, guidance_scale=scale, output_type="pt").images  # fmt: skip
                    made = eight_bits(painted.float() * 2 - 1)
                else:
                    made = eight_bits(vae.decoder(encode(vae, shown)).float())
            worn = list(((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
        aims = np.stack([_warp(image, matrix) for image, matrix in zip(true, moved, strict=True)])
        with torch.autocast("cpu", torch.bfloat16):
            codes = encode(vae, to_float(np.concatenate([aims, np.stack(worn)]))).numpy().astype(np.float16)
        clean.append(codes[: len(aims)])
        degraded.append(codes[len(aims) :])
        if len(clean) % 10 == 0:
            print(f"{sum(map(len, clean))} of {count} pairs", flush=True)
    np.savez(data / "train" / "loop.npz", index=index, clean=np.concatenate(clean), degraded=np.concatenate(degraded))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--model", type=Path, help="a pipeline folder; its pictures wear otherwise")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    make_pairs(args.data, args.pictures, load_pipeline(args.model) if args.model else None)
    print(f"{args.pictures} pairs in {args.data / 'train' / 'loop.npz'}")


if __name__ == "__main__":
    main()
