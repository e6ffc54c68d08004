"""The encoder's last layers: to read off a decoded picture the latents that it was made from.

    python -m training.way_back --data build/training --minutes 25

A trip through the autoencoder moves latents by a few hundredths, and the next one moves them on in nearly the same
direction (the cosine is 0.96), so that twenty make a tenfold of one.  What is nearly the same each time can be
foreseen: the residual branches at the encoder's deepest level, silent until now, learn what the decoder will have
changed, and take it back.  They see 16x16 places instead of 256x256 pixels, and a decoded picture serves many steps.

Drawn pictures keep the latents that the linear encoder gives them, but for a few hundredths, so that a diffusion model
that was trained on those goes on working.
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
from diffusers import AutoencoderKL
from torch import Tensor, nn

from deforum.diffusion.autoencoder import skip_silent
from training import device, progress
from training.autoencoder import STRAY, eight_bits, evaluate, load, settle_colours
from training.learner import Learner
from training.linear_pair import channel_weights, crops, load_pca
from training.written_pair import keep_constants_of

STOP = 0.06  # share of the travelling latents that make room for those of a new picture
ANCHOR = 0.2  # weight of drawn pictures: their latents are to stay what they were
# Of what was learned, in the end: with nothing of it fine detail shrinks on every trip, with all of it it grows.
SHARE = 0.75


def front(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) to what the deepest level of the encoder is given, (B, F, H/16, W/16)."""
    x = vae.encoder.conv_in(images.contiguous(memory_format=torch.channels_last))
    for block in vae.encoder.down_blocks[:-1]:
        x = block(x)
    features: Tensor = x
    return features


def head(vae: AutoencoderKL, features: Tensor) -> Tensor:
    """What `front` gives to latents (B, C, H/16, W/16): with it, the encoder."""
    encoder = vae.encoder
    x = encoder.mid_block(encoder.down_blocks[-1](features))
    moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(x)))
    return moments[:, : moments.shape[1] // 2]  # type: ignore[no-any-return]


def branches(vae: AutoencoderKL) -> list[nn.Module]:
    """The residual blocks that learn."""
    return [*vae.encoder.down_blocks[-1].resnets, *vae.encoder.mid_block.resnets]


def silenced(vae: AutoencoderKL) -> AutoencoderKL:
    """A copy whose encoder is the linear one."""
    linear = copy.deepcopy(vae)
    for resnet in branches(linear):
        nn.init.zeros_(resnet.conv2.weight)
        nn.init.zeros_(resnet.conv2.bias)
    return linear


@torch.no_grad()
def soften(vae: AutoencoderKL, share: float = SHARE) -> None:
    """Let the branches say only a ``share`` of what they learned."""
    for resnet in branches(vae):
        resnet.conv2.weight *= share
        resnet.conv2.bias *= share


@dataclass(frozen=True)
class Lessons:
    """Features (N, F, h, w), the latents (N, C, h, w) that they are to be read as, and weights (N,)."""

    features: Tensor
    latents: Tensor
    weights: Tensor

    def followed_by(self, new: Lessons, most: int) -> Lessons:
        """These and then ``new`` ones, without the first of them where there are more than ``most``."""
        parts = ((a, b) for a, b in zip(vars(self).values(), vars(new).values(), strict=True))
        return Lessons(*(torch.cat(pair)[-most:] for pair in parts))


@torch.no_grad()
def travel(vae: AutoencoderKL, latents: Tensor) -> tuple[Lessons, Tensor]:
    """Send latents (B, C, h, w) through the decoder: what is to be read off the pictures, and what is read off them.

    A quarter of them strays on the way, as a diffusion model's do.
    """
    stray = STRAY * torch.rand(len(latents), 1, 1, 1) * (torch.rand(len(latents), 1, 1, 1) < 0.25)
    sent = latents + stray * torch.randn_like(latents)
    features = front(vae, eight_bits(vae.decoder(sent.contiguous(memory_format=torch.channels_last))))
    return Lessons(features, sent, torch.ones(len(sent))), head(vae, features)


@torch.no_grad()
def set_out(vae: AutoencoderKL, linear: AutoencoderKL, images: Tensor) -> tuple[Lessons, Tensor]:
    """The latents of drawn pictures (B, 3, H, W), as the linear encoder has them, and as they are read."""
    features = front(vae, images)
    return Lessons(features, head(linear, features), torch.full((len(images),), ANCHOR)), head(vae, features)


def train(data: Path, minutes: float, peak: float, adam_peak: float, batch: int, kept: int, at_once: int = 6,
          steps: int | None = None) -> None:  # fmt: skip
    """Train for ``minutes`` in all, going on from the last checkpoint; ``kept`` decoded pictures are learned from.

    With ``steps`` it is that many instead, however long they take.
    """
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    heldout = np.load(data / "heldout" / "pictures.npy")[:16]
    size, pca, vae = pictures.shape[1], load_pca(data), load(data)
    vae.requires_grad_(False)
    linear = silenced(vae)
    trained = [(name, p) for resnet in branches(vae) for name, p in resnet.named_parameters() if "shortcut" not in name]
    for _, parameter in trained:
        parameter.requires_grad_(True)
    for resnet in branches(vae):
        keep_constants_of(resnet)
    average = copy.deepcopy(vae).requires_grad_(False)
    skip_silent(*vae.encoder.down_blocks[:-1])
    skip_silent(*linear.encoder.down_blocks, linear.encoder.mid_block)
    matrices, others = ([p for _, p in trained if (p.ndim == 4) is four] for four in (True, False))
    learner = Learner(vae.encoder, average.encoder, (matrices, peak), [(others, adam_peak)], data / "way_back.ckpt")
    budget, rng = progress.Budget(minutes, learner.spent), np.random.default_rng(learner.step)
    torch.manual_seed(learner.step)

    def fresh(count: int) -> tuple[Lessons, Tensor]:
        return set_out(vae, linear, crops(pictures, rng, count, size))

    lessons, travelling = fresh(16 * at_once)
    weight = channel_weights(travelling)
    said = saved = time.monotonic()
    sums = torch.zeros(2)

    def keep() -> None:
        learner.save(budget.spent)
        average.save_pretrained(data / "vae")
        print("  ", json.dumps(evaluate(average, pca, heldout)), flush=True)

    while (share := budget.progress if steps is None else learner.step / steps) < 1:
        going = device.put(rng.permutation(len(travelling))[:at_once])
        learned, arrived = travel(vae, travelling[going])
        lessons = lessons.followed_by(learned, kept)
        travelling[going] = arrived
        if rng.random() < STOP * at_once:
            learned, new = fresh(1)
            lessons = lessons.followed_by(learned, kept)
            travelling[going[:1]] = new
        learner.set_rates(share)
        which = device.put(rng.choice(len(lessons.weights), min(batch, len(lessons.weights)), replace=False))
        # Their gradient is of no use, but for want of it torch 2.6 to 2.10 crash in their group normalisation on a CPU.
        features = lessons.features[which].requires_grad_()
        off = (head(vae, features) - lessons.latents[which]).square() * weight
        each = off.mean((1, 2, 3)) * lessons.weights[which]
        vae.zero_grad()
        torch.autograd.backward(each.mean())
        learner.take_step(len(which))
        with torch.no_grad():
            decoded = lessons.weights[which] == 1
            sums += torch.stack([each[part].mean() if part.any() else sums[0] * 0 for part in (decoded, ~decoded)])
        if learner.step % 50 == 0:
            came, drawn = (sums / 50 / torch.tensor([1, ANCHOR])).sqrt().tolist()
            print(f"{budget.spent / 60:5.1f} min  step {learner.step}  {(time.monotonic() - said) / 50:.2f} s each  "
                  f"off by {came:.4f} decoded, {drawn:.4f} drawn", flush=True)  # fmt: skip
            said = time.monotonic()
            sums.zero_()
        if time.monotonic() - saved > 200:
            keep()
            saved = time.monotonic()
    keep()
    soften(average)
    settle_colours(average, pictures[:: max(1, len(pictures) // 40)])
    average.save_pretrained(data / "vae")
    print(f"a share of {SHARE} of it:", json.dumps(evaluate(average, pca, heldout)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--peak", type=float, default=0.002, help="of Muon's learning rate")
    parser.add_argument("--adam-peak", type=float, default=3e-4, help="of AdamW's, which turns the rest")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--kept", type=int, default=2500, help="decoded pictures to learn from")
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    train(args.data, args.minutes, args.peak, args.adam_peak, args.batch, args.kept)


if __name__ == "__main__":
    main()
