"""Evaluation of a trained pipeline folder: held-out figures and contact sheets.

    python -m training.evaluate --data build/training --model deforum/embedded/diffusion --out build/training/evaluation

prints the held-out loss with and without caption, the autoencoder's PSNR beside that of the linear PCA code (its
floor), and the PSNR after 20 round trips; writes ``samples.jpg`` (one picture per prompt, by the renderer) and
``round_trips.jpg``. `training.stability` evaluates the animation loop.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from deforum.build import build, resolve
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.pixels.image import to_bytes
from training import device
from training.autoencoder import evaluate as evaluate_autoencoder
from training.autoencoder import psnr, round_trips
from training.linear_pair import load_pca
from training.samples import Samples
from training.text_to_image import Model, Noise, heldout_loss

PROMPTS = [
    "the sea at sunset with a glowing sun and a sandy beach",
    "snowy mountains with a calm lake and pine trees, on a clear day",
    "a desert with sand dunes at golden hour",
    "a misty pine forest at dawn",
    "green hills with trees and a small cottage, by day",
    "a field of red flowers under a blue sky with clouds",
    "a city skyline at night with lit windows",
    "a ringed planet in deep space, stars, purple nebula",
    "mountains at night, full moon, starry sky",
    "the sea at noon, pink palette",
    "an autumn forest with a path and sunbeams",
    "an abstract picture of stripes, teal and orange",
]
Image = NDArray[np.uint8]


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Load a pipeline in float32, with Euler a as its scheduler, onto the device."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32).to(device.current())
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _uint8(images: NDArray[np.float32]) -> list[Image]:
    return [np.round(image * 255).clip(0, 255).astype(np.uint8) for image in images]


def rendered(settings: Mapping[str, object], file: Path, models: KeptModels | None = None) -> Iterator[Image]:
    """Render settings, which are written to the YAML file ``file``: yields frames (H, W, 3) uint8."""
    file.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in settings.items()))
    for _, image in build(resolve(load(file).settings), models).frames():
        yield to_bytes(image)


def painted(
    prompts: Sequence[str], model: Path, *, seed: int = 0, steps: int = 8, cfg_scale: float = 4.0,
    sampler: str = "Euler a",
) -> list[Image]:  # fmt: skip
    """Render one picture (256, 256, 3) uint8 per prompt, each from noise."""
    settings = {
        "animation_mode": "Interpolation",  # text to image in every frame, each with its own prompt
        "prompts": dict(enumerate(prompts)), "max_frames": len(prompts), "width": 256, "height": 256,
        "model": str(model.resolve()), "device": device.current().type, "steps": steps, "cfg_scale": cfg_scale,
        "sampler": sampler, "seed": seed, "seed_behavior": "iter",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return list(rendered(settings, Path(folder) / "settings.yaml"))


def worn_off(states: list[Tensor]) -> dict[str, float]:
    """Return PSNR in dB and colour drift after autoencoder round trips; ``states`` as from `round_trips`."""
    drift = (states[-1] - states[0]).mean((2, 3)).abs().mean()
    return {
        "psnr_after_1": float(psnr(states[1], states[0]).mean()),
        f"psnr_after_{len(states) - 1}": float(psnr(states[-1], states[0]).mean()),
        f"psnr_1_to_{len(states) - 1}": float(psnr(states[-1], states[1]).mean()),
        "colour_drift_of_255": float(drift * 127.5),
    }


def grid(rows: list[list[Image]], labels: list[str] | None = None, side: int = 192) -> Image:
    """Compose a contact sheet of ``side`` px cells; ``labels``, one per picture, are written underneath."""
    cells = []
    for r, row in enumerate(rows):
        line = []
        for k, image in enumerate(row):
            cell = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            if labels:
                strip = np.full((30, side, 3), 245, np.uint8)
                words, lines = labels[r * len(rows[0]) + k].split(), [""]
                for word in words:
                    if len(lines[-1]) + len(word) > 34 * side // 192:
                        lines.append("")
                    lines[-1] += word + " "
                for n, text in enumerate(lines[:2]):
                    cv2.putText(
                        strip, text, (3, 12 + 13 * n), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (30, 30, 30), 1, cv2.LINE_AA
                    )
                cell = np.vstack([cell, strip])
            line.append(cell)
        cells.append(np.hstack(line))
    return np.vstack(cells)


def write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), image[..., ::-1], quality)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--model", type=Path, default=Path("deforum/embedded/diffusion"))
    parser.add_argument("--out", type=Path, default=Path("build/training/evaluation"))
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--numbers", action=argparse.BooleanOptionalAction, default=True)
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    pipeline = load_pipeline(args.model)
    pictures = painted(PROMPTS, args.model, seed=args.seed, steps=args.steps, cfg_scale=args.cfg_scale)
    write(args.out / "samples.jpg", grid([pictures[k : k + 4] for k in range(0, len(pictures), 4)], PROMPTS))
    if args.numbers:
        heldout = Samples(args.data / "heldout", pipeline.tokenizer)
        model = Model(pipeline.text_encoder, pipeline.unet)
        print("held-out loss", json.dumps(heldout_loss(model, Noise(), heldout, 512)))
        true = np.load(args.data / "heldout" / "pictures.npy")[:128]
        print("autoencoder", json.dumps(evaluate_autoencoder(pipeline.vae, load_pca(args.data), true, (1,))))
        print("20 round trips", json.dumps(worn_off(round_trips(pipeline.vae, true[:24]))))
        refined = round_trips(pipeline.vae, true[:24], refinement=1)
        print("20 round trips, refined once", json.dumps(worn_off(refined)))
        states = round_trips(pipeline.vae, true[:24], compensates=True)
        print("20 round trips as frames go", json.dumps(worn_off(states)))
        rows = [_uint8(states[k][:8].permute(0, 2, 3, 1).cpu().numpy() / 2 + 0.5) for k in (0, 1, 5, 20)]
        write(args.out / "round_trips.jpg", grid(rows))


if __name__ == "__main__":
    main()
