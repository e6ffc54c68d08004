"""Draw the training and held-out pictures of `training.world` to disk.

    python -m training.draw --out build/training --pictures 24000

writes ``{train,heldout}/pictures.npy`` (N, 256, 256, 3) uint8 RGB, ``captions.json``, a list of
``captions_each`` captions per picture, and ``labels.json``, the `labels` of each. Depth is not stored:
``world.draw`` recomputes it for any index.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import cv2
import numpy as np

from training import world
from training.captions import describe

TRAIN_SEED, HELDOUT_SEED = 1, 2


def labels(facts: world.Facts) -> dict[str, str]:
    """Return scene family, time of day, palette and style of a picture; "" where it has none."""
    scene = world.FAMILIES.get(facts.scene, facts.scene)
    palette = facts.palette if scene != "abstract" else ""
    return {"scene": scene, "time": facts.time, "palette": palette, "style": facts.style}


def _draw(job: tuple[Path, int, int, int, int]) -> tuple[list[list[str]], list[dict[str, str]]]:
    """Draw pictures [start, stop) into the file and return their captions and labels."""
    path, seed, start, stop, captions_each = job
    cv2.setNumThreads(1)
    pictures = np.lib.format.open_memmap(path, mode="r+")
    captions, named = [], []
    for index in range(start, stop):
        picture = world.draw(seed, index)
        pictures[index] = picture.image
        rng = np.random.default_rng([seed, index, 1])
        captions.append([describe(picture.facts, rng) for _ in range(captions_each)])
        named.append(labels(picture.facts))
    return captions, named


def draw_set(folder: Path, seed: int, count: int, captions_each: int = 4, workers: int = 2) -> None:
    """Draw ``count`` pictures of the world ``seed`` into ``folder``, in ``workers`` processes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pictures.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, world.SIZE, world.SIZE, 3))
    step = 100
    jobs = [(path, seed, k, min(k + step, count), captions_each) for k in range(0, count, step)]
    captions: list[list[str]] = []
    named: list[dict[str, str]] = []
    began = time.time()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for part, facts in pool.imap(_draw, jobs):
            captions += part
            named += facts
            if len(captions) % 1000 < step:
                print(
                    f"{folder.name}: {len(captions)} pictures, {len(captions) / (time.time() - began):.0f}/s",
                    flush=True,
                )
    (folder / "labels.json").write_text(json.dumps(named))
    (folder / "captions.json").write_text(json.dumps(captions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/training"))
    parser.add_argument("--pictures", type=int, default=24000)
    parser.add_argument("--heldout", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    draw_set(args.out / "heldout", HELDOUT_SEED, args.heldout, captions_each=1, workers=args.workers)
    draw_set(args.out / "train", TRAIN_SEED, args.pictures, workers=args.workers)


if __name__ == "__main__":
    main()
