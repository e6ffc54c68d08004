"""Time a 3D warp with depth given, compared with a plain implementation of the same motion; and the embedded depth.

    python -m benchmarks.warp3d [--size 512] [--rounds 40]

The baseline is the straightforward implementation: a list of points is transformed by 4x4 matrices, divided, and
turned into sampling positions; the picture is converted from and to 8 bit. All tasks are timed in turn in one run, on
two threads (one on a single core). Printed are the shortest and the median time of each, and the ratio of its shortest
to the baseline's. On a busy machine the shortest is more reliable, and OMP_WAIT_POLICY=passive helps: threads that spin
while they wait take time away from those they wait for.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from deforum.depth.embedded import SIZE, SmallDepth
from deforum.depth.network import Network
from deforum.models.process import settle_process
from deforum.motion.pose import Pose
from deforum.motion.slab import warp_slab
from deforum.motion.surface import warp_physical
from deforum.pixels.image import Image, Mask, from_bytes, to_bytes
from deforum.settings.params import PARAMS, Params

MOTION = {"translation_x": 5.0, "translation_z": 6.0, "rotation_3d_y": 1.0, "rotation_3d_z": 0.5}
PARAMETERS: Params[float] = Params(**(dict.fromkeys(PARAMS, 0.0) | {"fov": 70.0, "aspect_ratio": 1.0} | MOTION))


def plain_warp(levels: NDArray[np.uint8], depth: torch.Tensor) -> NDArray[np.uint8]:
    """Warp an 8-bit picture (H, W, 3) with the slab camera, every step written out; depth (H, W)."""
    height, width = depth.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    points = torch.stack((x.flatten(), y.flatten(), depth.flatten(), torch.ones(height * width)), dim=1)
    pose, scale = Pose.of(PARAMETERS), 1 / math.tan(math.radians(PARAMETERS.fov) / 2)
    motion, lens = torch.eye(4), torch.diag(torch.tensor([scale, scale, 1.0, 1.0]))
    motion[:3, :3] = torch.from_numpy(pose.rotation)
    motion[3, :3] = torch.from_numpy(pose.translation)
    old, new = points @ lens, points @ motion @ lens
    offset = (new[:, :2] / new[:, 2:3] - old[:, :2] / old[:, 2:3]).view(1, height, width, 2)
    identity = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 3, height, width], align_corners=False)
    image = torch.from_numpy(levels.astype(np.float32)).permute(2, 0, 1)[None]
    moved = grid_sample(image, identity - offset, "bicubic", "border", align_corners=False)
    cut: NDArray[np.uint8] = moved[0].permute(1, 2, 0).clamp(0, 255).numpy().astype(np.uint8)
    return cut


def times(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the times in ms of the tasks, run in turn, so that other load on the machine affects all alike."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 3):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if turn >= 3:
                taken[name].append(1000 * (time.perf_counter() - began))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    size = args.size
    settle_process()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    levels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    image: Image = from_bytes(levels)
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    depth = 1.5 + 0.3 * torch.sin(3 * x) * torch.cos(2 * y) - 0.5 * ((x**2 + y**2) < 0.1)

    def slab(image: Image) -> Image:
        return warp_slab(depth, PARAMETERS, size, size)(image)

    def physical(image: Image) -> Image:
        return warp_physical(depth, PARAMETERS, size, size)(image)

    def coverage() -> Mask:
        moved = warp_physical(depth, PARAMETERS, size, size)
        moved(image)
        return moved.coverage()

    # Random weights take as long as trained ones.
    network, small = Network(SmallDepth().eval().to(memory_format=torch.channels_last), SIZE), torch.rand(3, 256, 256)
    tasks: dict[str, Callable[[], object]] = {
        "plain, 8 bit (baseline)": lambda: plain_warp(levels, depth),
        "slab": lambda: slab(image),
        "slab, to and from 8 bit": lambda: to_bytes(slab(from_bytes(levels))),
        "physical": lambda: physical(image),
        "physical, with coverage": coverage,
        "embedded depth, 256x256": lambda: network(small, 0),
    }
    with torch.inference_mode():
        taken = times(tasks, args.rounds)
    baseline = min(next(iter(taken.values())))
    print(f"{size}x{size}, bicubic, depth given, {torch.get_num_threads()} threads, {args.rounds} rounds, ", end="")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, each in taken.items():
        least, median = min(each), statistics.median(each)
        print(f"{name:26} {least:7.2f} ms   median {median:7.2f} ms   {least / baseline:5.2f} of the baseline")


if __name__ == "__main__":
    main()
