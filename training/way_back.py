"""Training of the encoder's last layers to recover from a decoded picture the latents it was decoded from.

    python -m training.way_back --data build/training --minutes 25

A round trip through the autoencoder shifts latents by a few hundredths, and the next one in nearly the same direction
(cosine 0.96), so that twenty trips shift them ten times as far as one. A shift that repeats is predictable: the
residual branches at the encoder's deepest level, zero until now, learn to predict and undo it. They work on 16x16 cells
instead of 256x256 pixels, and a decoded picture serves many steps.

The latents of drawn pictures stay within a few hundredths of the linear encoder's, so that a diffusion model trained on
those remains valid.
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

STOP = 0.06  # share of the latents after a trip that are replaced by those of a new picture
ANCHOR = 0.2  # loss weight of drawn pictures, whose latents should not change
# Final scale of the branches: at 0 fine detail shrinks on every trip, at 1 it grows.
SHARE = 0.75


def front(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Run the encoder up to its deepest level: pictures (B, 3, H, W) to features (B, F, H/16, W/16)."""
    x = vae.encoder.conv_in(images.contiguous(memory_format=torch.channels_last))
    for block in vae.encoder.down_blocks[:-1]:
        x = block(x)
    features: Tensor = x
    return features


def head(vae: AutoencoderKL, features: Tensor) -> Tensor:
    """Run the encoder's deepest level: features of `front` to latents (B, C, H/16, W/16)."""
    encoder = vae.encoder
    x = encoder.mid_block(encoder.down_blocks[-1](features))
    moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(x)))
    return moments[:, : moments.shape[1] // 2]  # type: ignore[no-any-return]


def branches(vae: AutoencoderKL) -> list[nn.Module]:
    """Return the encoder's residual blocks that are trained."""
    return [*vae.encoder.down_blocks[-1].resnets, *vae.encoder.mid_block.resnets]


def silenced(vae: AutoencoderKL) -> AutoencoderKL:
    """Return a copy with the linear encoder, its trained branches set to zero."""
    linear = copy.deepcopy(vae)
    for resnet in branches(linear):
        nn.init.zeros_(resnet.conv2.weight)
        nn.init.zeros_(resnet.conv2.bias)
    return linear


@torch.no_grad()
def soften(vae: AutoencoderKL, share: float = SHARE) -> None:
    """Scale the output of the trained branches by ``share``, in place."""
    for resnet in branches(vae):
        resnet.conv2.weight *= share
        resnet.conv2.bias *= share


@dataclass(frozen=True)
class Lessons:
    """Training data: features (N, F, h, w), target latents (N, C, h, w) and loss weights (N,)."""

    features: Tensor
    latents: Tensor
    weights: Tensor

    def followed_by(self, new: Lessons, most: int) -> Lessons:
        """Append ``new`` ones and keep the last ``most``."""
        parts = ((a, b) for a, b in zip(vars(self).values(), vars(new).values(), strict=True))
        return Lessons(*(torch.cat(pair)[-most:] for pair in parts))


@torch.no_grad()
def travel(vae: AutoencoderKL, latents: Tensor) -> tuple[Lessons, Tensor]:
    """Decode and re-encode latents (B, C, h, w): the training data of the decoded pictures, and the new latents.

    Noise is added to a quarter of the latents, as a diffusion model's latents are inexact.
    """
    stray = STRAY * torch.rand(len(latents), 1, 1, 1) * (torch.rand(len(latents), 1, 1, 1) < 0.25)
    sent = latents + stray * torch.randn_like(latents)
    features = front(vae, eight_bits(vae.decoder(sent.contiguous(memory_format=torch.channels_last))))
    return Lessons(features, sent, torch.ones(len(sent))), head(vae, features)


@torch.no_grad()
def set_out(vae: AutoencoderKL, linear: AutoencoderKL, images: Tensor) -> tuple[Lessons, Tensor]:
    """Encode drawn pictures (B, 3, H, W): training data with the linear encoder's latents, and the current latents."""
    features = front(vae, images)
    return Lessons(features, head(linear, features), torch.full((len(images),), ANCHOR)), head(vae, features)


def train(data: Path, minutes: float, peak: float, adam_peak: float, batch: int, kept: int, at_once: int = 6,
          steps: int | None = None) -> None:  # fmt: skip
    """Train for ``minutes`` in total, resuming from the last checkpoint, on the last ``kept`` pictures.

    ``at_once`` pictures are decoded per step of ``batch`` samples. ``steps`` sets a number of steps in place of the
    time.
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
        # The features' gradient is not used, but without it group normalisation in torch 2.6 to 2.10 crashes on a CPU.
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
    parser.add_argument("--peak", type=float, default=0.002, help="peak learning rate of Muon")
    parser.add_argument(
        "--adam-peak",
        type=float,
        default=3e-4,
        help="peak learning rate of AdamW, for the parameters Muon does not train",
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--kept", type=int, default=2500, help="number of decoded pictures in the training set")
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    train(args.data, args.minutes, args.peak, args.adam_peak, args.batch, args.kept)


if __name__ == "__main__":
    main()
