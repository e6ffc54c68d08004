"""Prompt adherence: a small classifier, the judge, trained on drawn pictures, labels generated ones.

    python -m training.adherence --data build/training --model deforum/embedded/diffusion

trains the judge once (``judge.ckpt`` in the data folder; minutes on one core) and prints its accuracy on held-out drawn
pictures. It then renders pictures, each from noise, of combinations held out from training (`world.UNSEEN`), and
prints the share in which the judge names the scene, palette and time of day of the prompt.

The judge sees 48x48 px and is trained with blur, noise and shifts, so that it judges content and not sharpness.
Palette: one of `world.PALETTES`, a style, or neither ("natural"). Time: only of natural pictures with a sky.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training import captions, device, progress, world
from training.draw import labels
from training.evaluate import grid, painted, write

SIDE = 48
SCENES = list(world.SCENES)
PALETTES = ["", *world.PALETTES, *world.STYLES]
TIMES = list(world.LIGHTS)
UNSEEN_SEED = 3
Images = NDArray[np.uint8]

PASSES = 10  # epochs of the judge's training
OTHERS = 12000  # training pictures of all combinations, for the judge


class Judge(nn.Module):
    """The classifier: pictures (N, 3, 48, 48) in 0..1 to logits of scenes, palettes and times."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, finer, convolutions in ((24, 3, 1), (48, 24, 2), (64, 48, 2), (96, 64, 2)):
            for k in range(convolutions):
                stride, inputs = (2, finer) if k == 0 else (1, width)
                layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.eyes = nn.Sequential(*layers)
        self.names = nn.Linear(2 * 96 + 6, len(SCENES) + len(PALETTES) + len(TIMES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.eyes(pictures * 2 - 1)
        colour = torch.cat([pictures.mean((2, 3)), pictures.std((2, 3))], 1)
        pooled = torch.cat([seen.mean((2, 3)), seen.amax((2, 3)), colour], 1)
        scene, palette, time = self.names(pooled).split([len(SCENES), len(PALETTES), len(TIMES)], 1)
        return scene, palette, time


@dataclass(frozen=True)
class Labelled:
    """Pictures (N, 48, 48, 3) and their labels (N, 3): scene, palette, time; -1 for no label."""

    pictures: Images
    labels: NDArray[np.int64]


def numbers(named: dict[str, str]) -> tuple[int, int, int]:
    """Convert a picture's labels to class indices; the time is -1 where a palette or style hides it."""
    look = named["style"] or named["palette"]
    palette = -1 if named["scene"] == "abstract" else PALETTES.index(look)
    time = TIMES.index(named["time"]) if named["time"] and not look else -1
    return SCENES.index(named["scene"]), palette, time


def small(pictures: Images) -> Images:
    return np.stack([cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in pictures])


def drawn(folder: Path) -> Labelled:
    """Load the pictures of `training.draw` at 48x48 px, from a cache after the first time, with their labels."""
    cache = folder / f"small_{SIDE}.npy"
    if not cache.exists():
        pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        np.save(cache, np.concatenate([small(pictures[k : k + 500]) for k in range(0, len(pictures), 500)]))
    named = json.loads((folder / "labels.json").read_text())
    return Labelled(np.load(cache), np.array([numbers(one) for one in named]))


def of_all(seed: int, count: int) -> Labelled:
    """Draw pictures of all combinations, including those held out from the models' training, for the judge.

    Half of them show the small world's places, half places of their own. A judge trained on few pictures of the
    held-out combinations took a crimson sea for hills, because it knew no crimson sea.
    """
    found = [world.draw(seed, index, unseen=True, anywhere=index % 2 == 0) for index in range(count)]
    named = [numbers(labels(picture.facts)) for picture in found]
    return Labelled(small(np.stack([picture.image for picture in found])), np.array(named))


def worn(pictures: Tensor) -> Tensor:
    """Augment pictures (N, 3, 48, 48) with random blur, contrast, noise, shifts and mirroring."""
    count = len(pictures)
    if torch.rand(()) < 0.5:
        pictures = pictures.flip(3)
    top, left = torch.randint(0, 7, (2,)).tolist()
    pictures = F.pad(pictures, (3, 3, 3, 3), "reflect")[:, :, top : top + SIDE, left : left + SIDE]
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), "reflect"), 3, 1)
    pictures = torch.lerp(pictures, blurred, torch.rand(count, 1, 1, 1))
    contrast = 1 + 0.1 * torch.randn(count, 1, 1, 1)
    pictures = (pictures - 0.5) * contrast + 0.5 + 0.03 * torch.randn(count, 1, 1, 1)
    return (pictures + torch.randn_like(pictures) * 0.06 * torch.rand(count, 1, 1, 1)).clamp(0, 1)


def to_tensor(pictures: Images) -> Tensor:
    return device.put(pictures).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def named(judge: Judge, pictures: Images) -> NDArray[np.int64]:
    """Return the judge's class indices (N, 3) for pictures (N, 48, 48, 3)."""
    judge.eval()
    scores = judge(to_tensor(pictures))
    return torch.stack([part.argmax(1) for part in scores], 1).cpu().numpy()


def right(judge: Judge, known: Labelled) -> dict[str, float]:
    """Return the judge's accuracy in percent for scene, palette and time, over the pictures with a label."""
    hits = named(judge, known.pictures) == known.labels
    columns = zip(("scene", "palette", "time"), hits.T, (known.labels >= 0).T, strict=True)
    return {name: round(100 * float(hit[told].mean()), 1) for name, hit, told in columns if told.any()}


def train(data: Path, passes: int = PASSES, batch: int = 128, others: int = OTHERS) -> Judge:
    """Train the judge and save it, or load it if it is saved."""
    judge, kept = Judge(), data / "judge.ckpt"
    if kept.exists():
        judge.load_state_dict(progress.load(kept)["judge"])
        return judge
    torch.manual_seed(0)
    sets = [drawn(data / "train"), of_all(UNSEEN_SEED, others)]
    pictures = np.concatenate([one.pictures for one in sets])
    told = device.put(np.concatenate([one.labels for one in sets]))
    steps = passes * len(pictures) // batch
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        judge.train()
        which = np.sort(rng.choice(len(pictures), batch, replace=False))
        scores = judge(worn(to_tensor(pictures[which])))
        losses = [F.cross_entropy(part, told[which, k], ignore_index=-1) for k, part in enumerate(scores)]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"judge: step {step + 1} of {steps}, loss {loss.item():.3f}", flush=True)
    progress.save({"judge": judge.state_dict()}, kept)
    return judge


@dataclass(frozen=True)
class Asked:
    """A prompt and the class indices that it asks for: scene, palette, time; -1 where it names none."""

    prompt: str
    scene: int
    palette: int
    time: int


def prompts(count: int, seed: int = 0) -> list[Asked]:
    """Write ``count`` prompts for the combinations of `world.UNSEEN`, in turn, with the captions' phrases."""
    rng = np.random.default_rng(seed)
    said = {**captions.SCENES, "flowers": captions.SCENES["flower field"]}
    asked = []
    for scene, look in (sorted(world.UNSEEN) * count)[:count]:
        phrases = [phrase for phrase in said[scene] if "green" not in phrase]
        looks = captions.PALETTES[look] if look in world.PALETTES else captions.TIMES[look]
        text = f"{phrases[rng.integers(min(3, len(phrases)))]}, {looks[rng.integers(2)]}"
        palette = PALETTES.index(look) if look in world.PALETTES else -1
        asked.append(Asked(text, SCENES.index(scene), palette, TIMES.index(look) if look in TIMES else -1))
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--model", type=Path, default=Path("deforum/embedded/diffusion"))
    parser.add_argument("--passes", type=int, default=PASSES, help="number of epochs of the classifier")
    parser.add_argument(
        "--others",
        type=int,
        default=OTHERS,
        help="number of pictures with random combinations that the classifier also learns from",
    )
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--sampler", default="Euler a")
    parser.add_argument("--out", type=Path, help="write a contact sheet of the classified pictures to this file")
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    judge = train(args.data, args.passes, others=args.others)
    for name, known in (
        ("held-out pictures", drawn(args.data / "heldout")),
        ("all combinations", of_all(UNSEEN_SEED + 1, 300)),
    ):
        print(f"judge on {name}:", json.dumps(right(judge, known)), flush=True)
    if not args.samples:
        return
    asked = prompts(args.samples)
    pictures = painted([one.prompt for one in asked], args.model, steps=args.steps, cfg_scale=args.cfg_scale,
                       sampler=args.sampler)  # fmt: skip
    known = Labelled(small(np.stack(pictures)), np.array([(one.scene, one.palette, one.time) for one in asked]))
    print(f"{args.samples} samples of unseen combinations:", json.dumps(right(judge, known)))
    found = named(judge, known.pictures)
    for k, scene in enumerate(SCENES):
        of = known.labels[:, 0] == k
        if of.any():
            print(f"  {scene}: {100 * float((found[of, 0] == k).mean()):.0f} % of {of.sum()}")
    if args.out:
        names = [f"{one.prompt} [{SCENES[f[0]]}, {PALETTES[f[1]]}]" for one, f in zip(asked, found, strict=True)]
        rows = [list(pictures[k : k + 8]) for k in range(0, min(48, len(pictures) // 8 * 8), 8)]
        write(args.out, grid(rows, names))


if __name__ == "__main__":
    main()
