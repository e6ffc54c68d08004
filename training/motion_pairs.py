"""Motion pairs: training data for motion that is seen as it is set.

    python -m training.motion_pairs --data build/training --pictures 6000

A motion pair is two views of a drawn picture, a step of the camera apart, and where each place of the noise that
belongs to the first is in the second (`deforum.motion.noise_map`). Both views are sampled once from the picture, so
that they are equally sharp.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deforum.motion.noise_map import NoiseMap
from deforum.motion.positions import Chart, inside, map_by, pixels
from deforum.pixels.image import CPU
from training import device
from training.autoencoder import encode, load, write_latents
from training.linear_pair import PATCH, to_float

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
NEAREST = 2.2  # largest enlargement of the first view
TURNED = 15.0  # standard deviation of the angle of half of the first views, degrees: a camera that turns goes on
LEVEL = 1.5  # that of the other half
# Standard deviations of a step: of log zoom, of the angle in degrees, of the shift in px, and of a shear, as where a
# camera goes sideways over a floor
SPREAD = {"zoom": 0.012, "angle": 0.8, "shift": 1.5, "shear": 0.01}
COMMON_ZOOM = 0.008  # mean of log zoom: cameras go forward more often than back
TILT = 6e-5  # standard deviation of the perspective part of a step, per px, as where a floor comes nearer


def about_centre(size: int, zoom: float, angle: float = 0.0, shift: tuple[float, float] = (0, 0)) -> Matrix:
    """Return a zoom, turn (degrees) and shift (px) about the centre of a ``size`` px picture, as a 3x3 matrix."""
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), angle, zoom)
    matrix[:2, 2] += shift
    return matrix


def first_view(size: int, rng: np.random.Generator) -> Matrix:
    """Draw an enlarged part of a picture, at any phase of the latents' grid."""
    zoom = float(np.exp(rng.uniform(0.05, np.log(NEAREST))))
    room = (zoom - 1) * (size - 1) / 2
    x, y = rng.uniform(-room, room, 2)
    angle = float(rng.normal(0, TURNED if rng.random() < 0.5 else LEVEL))
    return about_centre(size, zoom, angle, (float(x), float(y)))


def step_of_camera(size: int, rng: np.random.Generator) -> Matrix:
    """Draw a step of the camera."""
    zoom = float(np.exp(rng.normal(COMMON_ZOOM, SPREAD["zoom"])))
    x, y = rng.normal(0, SPREAD["shift"], 2)
    step = about_centre(size, zoom, float(rng.normal(0, SPREAD["angle"])), (float(x), float(y)))
    tilt, middle = np.eye(3), np.eye(3)
    tilt[2, :2] = rng.normal(0, TILT, 2)
    tilt[0, 1] = rng.normal(0, SPREAD["shear"])
    middle[:2, 2] = (size - 1) / 2
    tilted: Matrix = middle @ tilt @ np.linalg.inv(middle) @ step
    return tilted


def moved_places(step: Matrix, size: int) -> NDArray[np.int16]:
    """Say for each place of the noise after a step which of the places before it is there; -1: a new one."""
    before = NoiseMap.of(size, size, PATCH)
    positions = map_by(np.asarray(np.linalg.inv(step), np.float64), pixels(size, size, CPU))
    after = before.moved(Chart(positions, inside(positions)), 1)
    return np.where(after.numbers < before.numbers.size, after.numbers, -1).astype(np.int16)


def warp(image: Image, matrix: Matrix, gain: float) -> Image:
    """Move a picture, sharpened about as much as an enlargement by ``gain`` blurs."""
    size = image.shape[0]
    near = cv2.warpPerspective(
        image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)
    near += (gain - 1) * (near - cv2.GaussianBlur(near, (0, 0), 0.7 * gain))
    return np.asarray(near.clip(0, 255).round(), np.uint8)


def draw_part(job: tuple[Path, list[int], int]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Draw the views (2, N, H, W, 3) of some pictures, and their places (N, 64, 64); the job ends with a seed."""
    path, index, seed = job
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rng, pictures = np.random.default_rng([seed, index[0]]), np.load(path, mmap_mode="r")
    views, places = [], []
    for k in index:
        image = np.array(pictures[k])
        start, step = first_view(image.shape[0], rng), step_of_camera(image.shape[0], rng)
        gain = float(np.hypot(*start[:2, 0]))
        views.append((warp(image, start, gain), warp(image, step @ start, gain)))
        places.append(moved_places(step, image.shape[0]))
    return np.array(views).swapaxes(0, 1), np.stack(places)


@torch.no_grad()
def make_pairs(data: Path, count: int, seed: int = 6, workers: int = 1) -> None:
    """Write ``train/motion.npz``: picture indices (N,), latents ``first`` and ``second`` (N, C, 16, 16) float16, and
    ``places`` (N, 64, 64) int16 as from `moved_places`."""
    path = data / "train" / "pictures.npy"
    drawn, vae = len(np.load(path, mmap_mode="r")), load(data)
    index = np.random.default_rng(seed).choice(drawn, min(count, drawn), replace=False)
    jobs = [(path, part.tolist(), seed) for part in np.array_split(index, -(-len(index) // 8))]
    latents: tuple[list[NDArray[np.float16]], ...] = ([], [])
    places: list[NDArray[np.int16]] = []
    with ExitStack() as exits:
        parts = map(draw_part, jobs)
        if workers > 1:
            pool = exits.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            parts = pool.imap(draw_part, jobs)  # type: ignore[assignment]
        for views, moved in parts:
            for kept, pictures in zip(latents, views, strict=True):
                with device.bfloat16():
                    kept.append(encode(vae, to_float(pictures)).cpu().numpy().astype(np.float16))
            places.append(moved)
            if len(places) % 64 == 0:
                print(f"{sum(map(len, places))} of {len(index)} motion pairs", flush=True)
    first, second = map(np.concatenate, latents)
    np.savez(data / "train" / "motion.npz", index=index, first=first, second=second, places=np.concatenate(places))


def prepare(data: Path, model: Path) -> None:
    """Write the latents of the drawn pictures by the autoencoder of a pipeline folder, which is copied with its
    tokenizer: the data folder then is as if that model had been trained there."""
    for part in ("vae", "tokenizer"):
        shutil.copytree(model / part, data / part, dirs_exist_ok=True)
    vae = load(data)

    @torch.no_grad()
    def code(images: Tensor) -> Tensor:
        with device.bfloat16():
            return encode(vae, images)

    write_latents(code, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=1, help="processes that move pictures")
    parser.add_argument(
        "--prepare", type=Path, metavar="MODEL", help="before that, make the latents by the autoencoder of this folder"
    )
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    cv2.setNumThreads(1)
    if args.prepare:
        prepare(args.data, args.prepare)
    make_pairs(args.data, args.pictures, workers=args.workers)
    print(f"motion pairs in {args.data / 'train' / 'motion.npz'}")


if __name__ == "__main__":
    main()
