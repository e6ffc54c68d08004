"""Training for motion: the UNet learns that a picture that moved a little is painted where it moved to.

    python -m training.motion --data build/training --model deforum/embedded/diffusion --minutes 60
    python -m training.motion --data build/training --model deforum/embedded/diffusion --export build/training/moving

A frame of an animation is the last one, moved by a pixel or so, under noise. A model that has no idea of motion draws
an edge where the grid of the latents, or the noise, suggests it, and takes back what the camera moved. Here it sees
pairs (`training.motion_pairs`): a picture and the picture a step of the camera later, under the same noise, which stays
on the screen or moves along as the renderer's does (the idea of EquiVDM, arXiv 2504.09789). Beside the ordinary loss on
both, the *change* from one prediction to the other must be that from one picture to the other. It is taken after
guidance, as frames are made: guidance multiplies what the two predictions of a frame disagree on.

The ordinary training goes on beside, on drawn pictures, views and loop pairs, so that everything else stays.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training import device, group_norm, progress
from training.few_steps import parts_of
from training.learner import Learner
from training.samples import Samples
from training.text_to_image import COARSE, Model, Noise, attention, average_with, export, heldout_loss, losses, split

LEVELS = (-1.6, 0.9)  # log(sigma/alpha) of the pairs: where animations at strengths of 0.45 to 0.7 start, and below
GUIDANCE = (1.0, 5.0)  # range of cfg_scale
FOLLOWS = 0.5  # share of the pairs whose noise moves along
HELD_OUT = 64  # pairs that are not trained on, the last ones; at most a quarter


class Pairs:
    """The pairs of `training.motion_pairs` with the captions of ``samples``."""

    def __init__(self, folder: Path, samples: Samples) -> None:
        found = np.load(folder / "motion.npz")
        self.index, self.first, self.second, self.places = (
            device.put(found[name]) for name in ("index", "first", "second", "places")
        )
        self._samples = samples

    def __len__(self) -> int:
        """Return the number of pairs to train on."""
        return len(self.index) - len(self.heldout)

    @property
    def heldout(self) -> Tensor:
        """Indices of the pairs that are not trained on."""
        count = min(HELD_OUT, len(self.index) // 4)
        return torch.arange(len(self.index) - count, len(self.index))

    def tokens(self, which: Tensor, caption: int = 0) -> Tensor:
        """Return captions (P, 77) of pairs (P,)."""
        return self._samples.tokens[self.index[which], caption].long()

    def noise(self, which: Tensor, follows: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the noise (P, C, h, w) of both pictures; where ``follows`` (P,) it moves along, elsewhere it stays."""
        channels, rows, columns = self.first.shape[1:]
        known = self.places[which].long().flatten(1)
        side = self.places.shape[1] // rows
        each = torch.randn(len(which), channels, known.shape[1])
        carried = each.gather(2, known.clamp(min=0)[:, None].expand_as(each))
        carried = torch.where((known < 0)[:, None], torch.randn_like(carried), carried)
        stays, moves = (one.view(-1, channels, rows, side, columns, side).sum((3, 5)) / side for one in (each, carried))
        return stays, torch.where(follows.view(-1, 1, 1, 1), moves, stays)


@dataclass(frozen=True)
class Found:
    """Losses of a batch of pairs: of v, and of the change of the guided prediction from picture to picture."""

    error: Tensor
    change: Tensor
    gain: Tensor
    """The share of the change from one picture to the other that the guided prediction shows."""


def coarsely(off: Tensor) -> Tensor:
    """Return the mean square of errors (B, C, h, w) and of their local means, as `text_to_image.losses` does."""
    found = off.square().mean()
    for side, weight in COARSE.items():
        found = found + weight * side**2 * F.avg_pool2d(off, side).square().mean()
    return found


def compare(
    unet: UNet2DConditionModel, noise: Noise, pairs: Pairs, texts: tuple[Tensor, Tensor], which: Tensor, steps: Tensor,
    follows: Tensor, guidance: Tensor,
) -> Found:  # fmt: skip
    """Compute the losses of pairs ``which`` (P,) at timesteps ``steps`` (P,).

    ``texts`` are the states of the empty caption and of the pairs' captions, (P, 77, W) each; ``guidance`` is
    (P, 1, 1, 1).
    """
    clean = torch.cat([pairs.first[which], pairs.second[which]]).float()
    eps = torch.cat(pairs.noise(which, follows))
    noisy, alpha, sigma = noise.add(clean, eps, steps.repeat(2))
    target = alpha * eps - sigma * clean
    both = noisy.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    empty, captions = texts
    with device.bfloat16(), attention():
        made = unet(both, steps.repeat(4), torch.cat([empty, empty, captions, captions])).sample.float()
    off = made - target.repeat(2, 1, 1, 1)
    without, with_caption = off.chunk(2)
    first, second = (without + guidance.repeat(2, 1, 1, 1) * (with_caption - without)).chunk(2)
    way = clean[len(which) :] - clean[: len(which)]
    # The error of v is that of x0, over -sigma.
    seen = way - sigma[: len(which)] * (second - first)
    gain = (seen * way).flatten(1).sum(1) / way.square().flatten(1).sum(1).clamp(min=1e-6)
    return Found(off.square().mean(), coarsely(second - first), gain.detach())


@torch.no_grad()
def heldout_gain(
    unet: UNet2DConditionModel, noise: Noise, pairs: Pairs, texts: tuple[Tensor, Tensor]
) -> dict[str, float]:
    """Return the median share of the change that predictions show on pairs that are not trained on; guidance 4."""
    which = pairs.heldout
    found = {}
    for name, level in (("high", 0.4), ("low", -0.2)):
        steps = torch.full((len(which),), int(torch.searchsorted(noise.level, level)))
        for kind, follow in (("stays", False), ("follows", True)):
            torch.manual_seed(0)
            follows = torch.full((len(which),), follow)
            guidance = torch.full((len(which), 1, 1, 1), 4.0)
            gains = compare(unet, noise, pairs, texts, which, steps, follows, guidance).gain
            found[f"{name} noise {kind}"] = float(gains.median())
    return found


def train(args: argparse.Namespace) -> None:
    device.use(args)
    if device.current().type == "cpu":
        group_norm.use()
    tokenizer = CLIPTokenizer.from_pretrained(args.data / "tokenizer")
    samples = Samples(args.data / "train", tokenizer, strewn=True)
    heldout = Samples(args.data / "heldout", tokenizer)
    pairs, noise = Pairs(args.data / "train", samples), Noise()
    text_encoder, unet = parts_of(args.model)
    text_encoder.requires_grad_(False).eval()
    model = Model(text_encoder, unet.train())
    average = copy.deepcopy(model)
    inner, others = split(unet)
    learner = Learner(unet, average.unet, (inner, args.peak), [(others, args.adam_peak)], args.data / "motion.ckpt",
                      decay=args.average)  # fmt: skip
    budget = progress.Budget(args.minutes, learner.spent)
    rng = np.random.default_rng([learner.step, 11])
    torch.manual_seed(learner.step)
    sums, count, saved = torch.zeros(4), 0, time.monotonic()

    @torch.no_grad()
    def read(tokens: Tensor) -> Tensor:
        with device.bfloat16():
            return text_encoder(tokens).last_hidden_state.float()  # type: ignore[no-any-return]

    def texts_of(which: Tensor) -> tuple[Tensor, Tensor]:
        return read(samples.empty.long()[None]).expand(len(which), -1, -1), read(pairs.tokens(which))

    known = texts_of(pairs.heldout)

    def keep() -> None:
        learner.save(budget.spent)
        torch_state = torch.get_rng_state()
        loss = heldout_loss(average.eval(), noise, heldout, 256)
        gains = heldout_gain(average.unet, noise, pairs, known)
        torch.set_rng_state(torch_state)
        print("  held-out", json.dumps({k: round(v, 4) for k, v in (loss | gains).items()}), flush=True)

    if learner.step == 0:
        keep()
    while budget.progress < 1:
        learner.set_rates(budget.progress, warm_up=40)
        unet.zero_grad()
        ordinary = losses(model, noise, samples, rng, args.batch, (args.view_share, args.loop_share))
        torch.autograd.backward(ordinary.error + ordinary.coarse)
        which = device.put(rng.integers(0, len(pairs), args.pairs))
        levels = device.put(rng.uniform(*LEVELS, args.pairs).astype(np.float32))
        steps = torch.searchsorted(noise.level, levels)
        follows = device.put(rng.random(args.pairs) < FOLLOWS)
        guidance = torch.empty(args.pairs, 1, 1, 1).uniform_(*GUIDANCE)
        found = compare(unet, noise, pairs, texts_of(which), which, steps, follows, guidance)
        torch.autograd.backward(found.error + args.weight * found.change)
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        learner.take_step(args.batch + 2 * args.pairs)
        count += 1
        sums += torch.stack([ordinary.error.detach(), found.error.detach(), found.change.detach(), found.gain.median()])
        if learner.step % 20 == 0:
            error, off, change, gain = (sums / count).tolist()
            print(f"{budget.spent / 60:5.1f} min  step {learner.step}  loss {error:.4f}  of pairs {off:.4f}, of their "
                  f"change {change:.4f}, share of it {gain:.3f}", flush=True)  # fmt: skip
            sums, count = torch.zeros(4), 0
        if time.monotonic() - saved > args.save_every * 60:
            keep()
            saved = time.monotonic()
    keep()


def write(data: Path, model: Path, share: float, out: Path) -> None:
    """Export the averaged weights of the last checkpoint, interpolated with ``model``'s; ``share`` is their weight."""
    text_encoder, unet = parts_of(model)
    unet.load_state_dict(progress.load(data / "motion.ckpt")["average"])
    whole = Model(text_encoder, unet)
    average_with(whole, model, share)
    export(whole, CLIPTokenizer.from_pretrained(data / "tokenizer"), data / "vae", out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--model", type=Path, default=Path("deforum/embedded/diffusion"), help="where it starts")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=16, help="ordinary samples per step")
    parser.add_argument("--pairs", type=int, default=8, help="motion pairs per step, four evaluations each")
    parser.add_argument("--weight", type=float, default=6.0, help="loss weight of the change from picture to picture")
    parser.add_argument("--peak", type=float, default=0.003, help="peak learning rate of Muon")
    parser.add_argument("--adam-peak", type=float, default=3e-4, help="peak learning rate of AdamW, for the others")
    parser.add_argument("--average", type=float, default=0.99, help="decay per step of the moving average")
    parser.add_argument("--view-share", type=float, default=0.3, help="share of views in the ordinary samples")
    parser.add_argument("--loop-share", type=float, default=0.3, help="share of loop pairs in the ordinary samples")
    parser.add_argument("--save-every", type=float, default=4.0, help="time between checkpoints, minutes")
    parser.add_argument("--export", type=Path, help="only write the pipeline folder from the last checkpoint")
    parser.add_argument("--share", type=float, default=1.0, help="with --export: weight of the trained model, 0..1")
    device.add_argument(parser)
    args = parser.parse_args()
    if args.export:
        write(args.data, args.model, args.share, args.export)
    else:
        train(args)


if __name__ == "__main__":
    main()
