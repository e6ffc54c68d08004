"""Training of the depth model: a small MobileNet that learns the inverse depth of the drawn world.

    python -m training.depth --data build/training --minutes 60
    python -m training.depth --data build/training --export deforum/embedded/depth

In the drawn world lower is mostly nearer, so a vertical *ramp* alone ranks depths well, and a network that learned only
the ramp would score well. Three measures against it: pictures are rotated, cropped, mirrored and stood on their heads;
near things of one picture are pasted into others in front of what is farther; and half of the pictures are layouts that
are not landscapes (`training.layouts`). Every figure is printed beside the ramp's.

Pictures: uint8 (N, 256, 256, 3) RGB; inverse depth: float16 (N, 256, 256), 0 infinitely far, 1 nearest.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from deforum.depth.embedded import DEVIATION, MEAN, SIZE, SmallDepth
from training import device, layouts, progress, world
from training.draw import HELDOUT_SEED, TRAIN_SEED
from training.evaluate import PROMPTS, painted, write
from training.learner import Learner

APART = 1.1  # smallest ratio of two distances whose order counts
FARTHEST = 50.0  # limit of distances, in units of the distance to the camera's feet
# (fraction of the time, side of the training pictures in px until then); small pictures train fastest.
SIZES = ((0.65, 128), (1.0, SIZE))


def _draw(job: tuple[Path, int, int, int]) -> int:
    """Draw pictures [start, stop) and their depth into the files."""
    folder, seed, start, stop = job
    cv2.setNumThreads(1)
    pictures, depths = (np.lib.format.open_memmap(folder / name, mode="r+") for name in ("pictures.npy", "depth.npy"))
    for index in range(start, stop):
        picture = layouts.draw(seed, index)
        pictures[index], depths[index] = picture.image, picture.inverse_depth
    return stop - start


def draw_set(folder: Path, seed: int, count: int, workers: int) -> None:
    """Draw ``count`` pictures with depth of the world ``seed`` into ``folder``, unless it is complete already."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shape = (count, world.SIZE, world.SIZE)
    np.lib.format.open_memmap(folder / "pictures.npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    np.lib.format.open_memmap(folder / "depth.npy", mode="w+", dtype=np.float16, shape=shape)
    jobs = [(folder, seed, k, min(k + 50, count)) for k in range(0, count, 50)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        drawn = sum(pool.imap_unordered(_draw, jobs))
    (folder / "done").write_text(f"{drawn}\n")


@dataclass(frozen=True)
class Batch:
    """A batch of pictures (B, 3, S, S) in 0..1 and their inverse depth (B, 1, S, S)."""

    pictures: Tensor
    depth: Tensor


@dataclass(frozen=True)
class DepthSet:
    """A data set of pictures with depth on disk, memory-mapped."""

    pictures: NDArray[np.uint8]
    depth: NDArray[np.float16]

    @staticmethod
    def open(folder: Path) -> DepthSet:
        return DepthSet(*(np.load(folder / name, mmap_mode="r") for name in ("pictures.npy", "depth.npy")))

    def take(self, which: NDArray[np.int64]) -> Batch:
        pictures = device.put(self.pictures[which]).permute(0, 3, 1, 2).float() / 255
        return Batch(pictures, device.put(self.depth[which]).float()[:, None])


def turned(batch: Batch, rng: np.random.Generator, size: int, wild: bool) -> Batch:
    """Crop, rotate and mirror pictures at random to ``size`` px; `wild` adds multiples of 90 degrees."""
    count = len(batch.pictures)
    angle = rng.normal(0, math.radians(6), count) + (rng.integers(0, 4, count) * (math.pi / 2) if wild else 0)
    share = rng.uniform(0.6, 1, count)  # side of the crop in sides of the picture
    mirror = rng.choice((-1, 1), count)
    room = np.maximum(0, 1 - share * (np.abs(np.cos(angle)) + np.abs(np.sin(angle))))
    x, y = rng.uniform(-1, 1, (2, count)) * room
    cos, sin = share * np.cos(angle), share * np.sin(angle)
    matrix = np.stack([np.stack([cos * mirror, -sin, x], -1), np.stack([sin * mirror, cos, y], -1)], -2)
    grid = F.affine_grid(device.put(matrix).float(), [count, 3, size, size], align_corners=False)
    pictures = F.grid_sample(batch.pictures, grid, "bilinear", "reflection", align_corners=False)
    # Depth is sampled by nearest neighbour: at an edge a blend of two distances would be a surface that does not exist.
    return Batch(pictures, F.grid_sample(batch.depth, grid, "nearest", "reflection", align_corners=False))


def pasted(batch: Batch, others: Batch, rng: np.random.Generator, share: float) -> Batch:
    """Paste the near parts of ``others`` into a `share` of the pictures, where they are nearer."""
    count = len(batch.pictures)
    cut = device.put(rng.uniform(0.6, 0.95, count)).float()
    flat = others.depth.flatten(1)
    level = flat.sort(1).values.gather(1, (cut * (flat.shape[1] - 1)).long()[:, None]).view(-1, 1, 1, 1)
    nearer = device.put(rng.uniform(-0.1, 0.4, (count, 1, 1, 1))).float()
    depth = (others.depth + nearer).clamp(0.05, 1)
    over = (others.depth > level) & (depth > batch.depth)
    over &= device.put(rng.random((count, 1, 1, 1)) < share)
    return Batch(torch.where(over, others.pictures, batch.pictures), torch.where(over, depth, batch.depth))


def recoloured(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Augment brightness, colour, sharpness and noise at random: diffusion pictures differ in them from drawn ones."""
    count = len(pictures)

    def draw(low: float, high: float) -> Tensor:
        return device.put(rng.uniform(low, high, (count, 1, 1, 1))).float()

    grey = pictures.mean(1, keepdim=True)
    pictures = torch.lerp(grey, pictures, draw(0, 1.6))
    tint = device.put(rng.normal(1, 0.12, (count, 3, 1, 1))).float()
    pictures = ((pictures * tint - 0.5) * draw(0.6, 1.3) + draw(0.35, 0.65)).clamp(1e-3, 1) ** draw(0.7, 1.4)
    if rng.random() < 0.15:
        pictures = pictures[:, rng.permutation(3)]
    blurred = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), "reflect"), 5, 1)
    pictures = torch.lerp(pictures, blurred, draw(-0.5, 1) * (draw(0, 1) < 0.4))
    return (pictures + torch.randn_like(pictures) * draw(0, 0.05) * (draw(0, 1) < 0.5)).clamp(0, 1)


def normalised(pictures: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return ((pictures - mean) / deviation).contiguous(memory_format=torch.channels_last)


def aligned(depth: Tensor) -> Tensor:
    """Normalise scale and shift of each map (B, H, W): median 0, mean absolute deviation 1."""
    some = depth.flatten(1)[:, ::7]  # the median of all values would take a fifth of the network's time
    shifted = depth - some.median(1).values[:, None, None]
    return shifted / shifted.abs().flatten(1).mean(1).clamp(min=0.02)[:, None, None]


def keep_depthwise_exact(model: SmallDepth) -> None:
    """Run depthwise convolutions in float32 under autocast: in bfloat16 their gradients take ten times as long."""

    def exact(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with device.bfloat16(False):
            return forward(x.float())

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
            module.forward = partial(exact, module.forward)  # type: ignore[method-assign]


def depth_loss(found: Tensor, true: Tensor) -> Tensor:
    """Depth loss of maps (B, H, W): L1, scale- and shift-invariant L1, and gradient differences at four scales."""
    loss = (found - true).abs().mean()
    found, true = aligned(found), aligned(true)
    loss = loss + 0.5 * (found - true).abs().mean()
    gap = (found - true)[:, None]
    for _ in range(4):
        loss = loss + 0.15 * (gap.diff(dim=2).abs().mean() + gap.diff(dim=3).abs().mean())
        gap = F.avg_pool2d(gap, 2)
    return loss


@dataclass(frozen=True)
class Pairs:
    """Point pairs of each picture: flat indices (B, P) of both points, and the sign of the nearer one.

    ``nearer`` is 1 where ``one`` is nearer, -1 where ``other`` is, 0 where their distances differ by less than `APART`.
    """

    one: Tensor
    other: Tensor
    nearer: Tensor


def point_pairs(true: Tensor, count: int, level: bool, generator: torch.Generator | None = None) -> Pairs:
    """Draw ``count`` random point pairs of each map (B, H, W); with ``level`` both points lie in the same row."""
    batch, height, width = true.shape
    one = torch.randint(height * width, (batch, count), generator=generator)
    other = torch.randint(width, (batch, count), generator=generator) + one // width * width if level else \
        torch.randint(height * width, (batch, count), generator=generator)  # fmt: skip
    distance = -true.flatten(1).clamp(min=1 / FARTHEST).log()
    gap = distance.gather(1, other) - distance.gather(1, one)
    return Pairs(one, other, gap.sign() * (gap.abs() > math.log(APART)))


def order_loss(found: Tensor, true: Tensor) -> Tensor:
    """Ranking loss of depths on point pairs, in logit space, where the inverse depths of far things differ too."""
    flat = torch.logit(found.flatten(1), eps=1e-4)
    losses = []
    for level in (False, True):
        pairs = point_pairs(true, 1500, level)
        gap = (flat.gather(1, pairs.one) - flat.gather(1, pairs.other)) * pairs.nearer
        losses.append((F.softplus(-2 * gap) * pairs.nearer.abs()).sum() / pairs.nearer.abs().sum().clamp(min=1))
    return torch.stack(losses).mean()


def ordered(found: Tensor, true: Tensor, level: bool, generator: torch.Generator) -> Tensor:
    """Count per picture, (B, 2): correctly ordered point pairs, and all pairs that differ in depth."""
    pairs = point_pairs(true, 4000, level, generator)
    gap = found.flatten(1).gather(1, pairs.one) - found.flatten(1).gather(1, pairs.other)
    right = (gap.sign() == pairs.nearer) & (pairs.nearer != 0)
    return torch.stack([right.sum(1), (pairs.nearer != 0).sum(1)], 1).double()


@torch.no_grad()
def evaluate(
    model: SmallDepth, heldout: DepthSet, count: int | None = None, size: int = SIZE, seed: int = 0
) -> dict[str, float]:
    """Return percentages of correctly ordered point pairs, of all pairs and of pairs in one row, of model and ramp.

    They are measured on the first ``count`` held-out pictures, on the landscapes among them, and on all of them rotated
    and pasted together ("wild"); the model sees ``size`` px. Only pairs whose distances differ by a factor of more than
    `APART` count.
    """
    model.eval()
    rng, generator = np.random.default_rng(seed), torch.Generator(device.current()).manual_seed(seed)
    tally: dict[str, Tensor] = {}
    count = min(count or len(heldout.pictures), len(heldout.pictures))
    for start in range(0, count, 16):
        drawn = heldout.take(np.arange(start, min(start + 16, count)))
        wild = turned(drawn, rng, world.SIZE, wild=True)
        wild = pasted(wild, Batch(wild.pictures.roll(1, 0), wild.depth.roll(1, 0)), rng, 0.3)
        land = [k for k in range(len(drawn.pictures)) if not layouts.is_layout(HELDOUT_SEED, start + k)]
        landscapes = Batch(drawn.pictures[land], drawn.depth[land])
        for name, batch in (("all scenes", drawn), ("landscapes", landscapes), ("wild", wild)):
            if not len(batch.pictures):
                continue
            true = batch.depth[:, 0]
            seen = F.interpolate(batch.pictures, size=(size, size), mode="area")
            found = F.interpolate(model(normalised(seen)).float()[:, None], size=true.shape[1:], mode="bilinear")[:, 0]
            ramp = torch.linspace(0, 1, world.SIZE)[:, None].expand_as(true).contiguous()
            # The ramp orders points of one row at random.
            ramp = ramp + 1e-6 * torch.rand(ramp.shape, generator=generator)
            for pairs, level in (("all pairs", False), ("same height", True)):
                for who, depth in (("model", found), ("ramp", ramp)):
                    key = f"{name}, {pairs}, {who}"
                    tally[key] = tally.get(key, 0) + ordered(depth, true, level, generator).sum(0)
    return {key: round(100 * float(right / of), 1) for key, (right, of) in tally.items()}


def split(model: SmallDepth) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Split the parameters into those for Muon (inner convolutions that mix channels) and those for AdamW."""
    inner = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d) and module.groups == 1
        # Excludes the layers that read the picture or write the depth.
        and module.in_channels > 3 and module.out_channels > 1
    ]  # fmt: skip
    kept = {id(weight) for weight in inner}
    return inner, [parameter for parameter in model.parameters() if id(parameter) not in kept]


def loss_of(model: SmallDepth, pairs: DepthSet, rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Compute the loss on ``count`` random pictures of ``size`` px, rotated, pasted together and recoloured."""
    batch = pairs.take(np.sort(rng.integers(0, len(pairs.pictures), count)))
    batch = turned(batch, rng, size, wild=rng.random() < 0.05)
    other = device.put(rng.permutation(count))
    batch = pasted(batch, Batch(batch.pictures[other], batch.depth[other]), rng, 0.1)
    with device.bfloat16():
        found = model(normalised(recoloured(batch.pictures, rng)))
    return depth_loss(found.float(), batch.depth[:, 0]) + 0.5 * order_loss(found.float(), batch.depth[:, 0])


def train(data: Path, minutes: float, peak: float, adam_peak: float, batch_size: int) -> None:
    """Train for ``minutes`` in total, resuming from the last checkpoint if there is one."""
    pairs, heldout = DepthSet.open(data / "depth" / "train"), DepthSet.open(data / "depth" / "heldout")
    torch.manual_seed(0)
    model = SmallDepth().to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    keep_depthwise_exact(model)
    inner, others = split(model)
    learner = Learner(model, average, (inner, peak), [(others, adam_peak)], data / "depth.ckpt")
    budget = progress.Budget(minutes, learner.spent)
    rng = np.random.default_rng([learner.step, 1])
    kept, shown, total, count = time.monotonic(), time.monotonic(), 0.0, 0

    def keep(size: int = SIZE) -> None:
        learner.save(budget.spent)
        print("  ", json.dumps(evaluate(average, heldout, 64, size)), flush=True)

    while budget.progress < 1:
        size = next(side for until, side in SIZES if budget.progress <= until)
        learner.set_rates(budget.progress)
        model.train()
        loss = loss_of(model, pairs, rng, batch_size, size)
        model.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        learner.take_step(batch_size)
        total, count = total + loss.item(), count + 1
        if time.monotonic() - shown > 15:
            print(f"{budget.spent / 60:5.1f} min  step {learner.step}  {learner.seen} pictures  "
                  f"loss {total / count:.4f}", flush=True)  # fmt: skip
            shown, total, count = time.monotonic(), 0.0, 0
        if time.monotonic() - kept > 400:
            keep(size)
            kept = time.monotonic()
    keep()


def export(data: Path, folder: Path) -> None:
    """Write the averaged weights in the package's format, fp16 safetensors."""
    state = progress.load(data / "depth.ckpt")["average"]
    weights = {name: value.half().contiguous() if value.is_floating_point() else value for name, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "depth.safetensors"
    save_file(weights, path)
    path.chmod(0o644)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def show(data: Path, path: Path, pipeline: Path | None, count: int = 10) -> None:
    """Write a contact sheet: held-out pictures, true and predicted depth; then a pipeline's pictures and depth."""
    drawn = DepthSet.open(data / "depth" / "heldout").take(np.arange(count))
    model = SmallDepth().eval()
    model.load_state_dict(progress.load(data / "depth.ckpt")["average"])

    @torch.no_grad()
    def found(pictures: Tensor) -> Tensor:
        seen = F.interpolate(pictures, size=(SIZE, SIZE), mode="area")
        return F.interpolate(model(normalised(seen))[:, None], size=pictures.shape[2:], mode="bilinear")

    rows = [drawn.pictures, drawn.depth, found(drawn.pictures)]
    if pipeline is not None:
        made = painted((PROMPTS * count)[:count], pipeline, seed=1)
        pictures = device.put(np.stack(made)).permute(0, 3, 1, 2).float() / 255
        rows += [pictures, found(pictures)]
    sheet = torch.cat([torch.cat(list(row.expand(-1, 3, -1, -1)), dim=2) for row in rows], dim=1)
    image = (sheet.permute(1, 2, 0) * 255).round().byte().cpu().numpy()
    write(path, cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--pictures", type=int, default=12000)
    parser.add_argument("--heldout", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--peak", type=float, default=0.006, help="peak learning rate of Muon")
    parser.add_argument(
        "--adam-peak",
        type=float,
        default=1e-3,
        help="peak learning rate of AdamW, for the parameters Muon does not train",
    )
    parser.add_argument("--batch", type=int, default=24)
    device.add_argument(parser)
    parser.add_argument("--workers", type=int, default=2, help="number of processes that draw pictures")
    parser.add_argument("--export", type=Path, help="write the weights to this folder instead of training")
    parser.add_argument("--evaluate", action="store_true", help="print errors on held-out pictures instead of training")
    parser.add_argument(
        "--show", type=Path, help="write a contact sheet of held-out pictures to this file instead of training"
    )
    parser.add_argument(
        "--model", type=Path, help="with --show: a pipeline folder; pictures painted with it are shown too"
    )
    args = parser.parse_args()
    device.use(args)
    if args.export or args.show or args.evaluate:
        if args.evaluate:
            model = SmallDepth()
            model.load_state_dict(progress.load(args.data / "depth.ckpt")["average"])
            for key, share in evaluate(model, DepthSet.open(args.data / "depth" / "heldout")).items():
                print(f"{key:30} {share:5.1f} % ordered right")
        if args.export:
            export(args.data, args.export)
        if args.show:
            show(args.data, args.show, args.model)
        return
    draw_set(args.data / "depth" / "heldout", HELDOUT_SEED, args.heldout, args.workers)
    draw_set(args.data / "depth" / "train", TRAIN_SEED, args.pictures, args.workers)
    train(args.data, args.minutes, args.peak, args.adam_peak, args.batch)


if __name__ == "__main__":
    main()
