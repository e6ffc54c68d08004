"""Training of the autoencoder: an `AutoencoderKL` with a linear encoder, and a decoder that starts linear.

    python -m training.autoencoder --data build/training --linear-minutes 20 --minutes 60

1. A linear pair of encoder and decoder is trained: stride-2 convolutions down, and nearest-neighbour upsampling by 2
   with a convolution up, as in an `AutoencoderKL`. It starts at a patch PCA. The best linear reconstruction is nearly a
   projection, so that further round trips lose little; see `training.linear_pair`.
2. The pair is written into an `AutoencoderKL` whose residual branches output zero: encoding is the same linear map at
   every size, so the latents for the diffusion model can be computed now, while
3. the decoder's residual branches are trained on top, for edges and small details that a linear map cannot draw.

Latents: float (C, H/16, W/16); pictures: RGB in [-1, 1], (3, H, W).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from deforum.diffusion.autoencoder import Autoencoder, skip_silent
from training import device, progress
from training.learner import Learner
from training.linear_pair import (
    PATCH,
    WIDTHS,
    LinearPair,
    PatchPCA,
    channel_weights,
    crops,
    fit_pca,
    load_pca,
    to_float,
    train_linear,
)
from training.written_pair import build, is_branch, keep_constants, write

# Target of a round trip: the fraction of the way back to the original picture, in detailed and in flat areas.
HOMEWARD, HOMEWARD_FLAT = 0.05, 0.4
STRAY = 0.25  # largest standard deviation of the noise added to half of the latents before decoding
# Allowed growth factor of a perturbation of the latents per round trip, its standard deviation, and the loss weight.
GROWTH, CHANGE, GROWTH_WEIGHT = 0.97, 0.05, 5.0


def load(data: Path) -> AutoencoderKL:
    """Load the current autoencoder from ``data``/vae onto the device."""
    vae = AutoencoderKL.from_pretrained(data / "vae")
    return vae.to(device.current(), memory_format=torch.channels_last)


def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W) to latents (B, C, H/16, W/16), the mean of the encoder's posterior."""
    moments = vae.encoder(images.contiguous(memory_format=torch.channels_last))
    return moments[:, : moments.shape[1] // 2].float()  # type: ignore[no-any-return]


@torch.no_grad()
def write_latents(code: Callable[[Tensor], Tensor], data: Path) -> None:
    """Write the latents of all training and held-out pictures and of their mirror images: float16 (2, N, C, 16, 16)."""
    for part in ("train", "heldout"):
        pictures = np.load(data / part / "pictures.npy", mmap_mode="r")
        channels = code(to_float(pictures[:1])).shape[1]
        side = pictures.shape[1] // PATCH
        # Written to another file first: a diffusion training that runs meanwhile may be reading the previous latents.
        path, unfinished = data / part / "latents.npy", data / part / "latents.part.npy"
        shape = (2, len(pictures), channels, side, side)
        out = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=shape)
        for k in range(0, len(pictures), 64):
            images = to_float(pictures[k : k + 64])
            out[0, k : k + 64] = code(images).cpu().numpy()
            out[1, k : k + 64] = code(images.flip(-1)).cpu().numpy()
        out.flush()
        unfinished.replace(path)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio (B,) in dB of pictures (B, 3, H, W) in [-1, 1]."""
    return 10 * torch.log10(4 / (a - b).square().flatten(1).mean(1))


def eight_bits(made: Tensor) -> Tensor:
    """Quantise pictures in [-1, 1] to 8 bits, clipped and rounded, as frames on disk are."""
    return ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@torch.no_grad()
def round_trips(
    vae: AutoencoderKL, pictures: NDArray[np.uint8], count: int = 20, refinement: int = 0, compensates: bool = False
) -> list[Tensor]:
    """Return the pictures (N, 3, H, W) in [-1, 1] and their state after each of ``count`` round trips, in 8 bits.

    Round trips use the renderer's autoencoder class; ``refinement`` is its setting `vae_refinement`.
    With ``compensates`` they are those of the renderer by default (`deforum.diffusion.compensation`).
    """
    door = Autoencoder(vae, refinement, compensates=compensates)
    (height, width), states = pictures.shape[1:3], [to_float(pictures)]
    for trip in range(count):
        made: list[Tensor] = []
        for part in states[-1].split(16):
            latents = door.encode((part / 2 + 0.5).unbind(), trip)
            made += door.decode(latents, width, height, trip, may_be_blank=True)
        states.append(eight_bits(torch.stack(made) * 2 - 1))
    return states


@torch.no_grad()
def evaluate(
    vae: AutoencoderKL, pca: PatchPCA, pictures: NDArray[np.uint8], trips: tuple[int, ...] = (1, 5, 20)
) -> dict[str, float]:
    """Return the mean PSNR in dB after each number of ``trips`` and of the PCA; mean and std of the latents."""
    states = round_trips(vae, pictures, max(trips))
    codes = encode(vae, states[0])
    floor = pca.decode(pca.encode(states[0])).clamp(-1, 1)
    figures = {f"psnr_after_{k}": float(psnr(states[k], states[0]).mean()) for k in trips}
    figures |= {
        "pca_floor": float(psnr(floor, states[0]).mean()),
        "mean": float(codes.mean()),
        "std": float(codes.std()),
    }
    return {name: round(value, 3) for name, value in figures.items()}


@torch.no_grad()
def settle_colours(vae: AutoencoderKL, pictures: NDArray[np.uint8], trips: int = 4) -> list[float]:
    """Correct the decoder's output bias by the mean colour drift of ``pictures`` (N, H, W, 3) per round trip.

    Returns the drift of red, green and blue per trip before the correction, in levels of 255. A third of a level is
    invisible after one trip and six levels after twenty.
    """
    states = round_trips(vae, pictures, trips)
    drift = (states[-1] - states[1]).mean((0, 2, 3)) / (trips - 1)
    vae.decoder.conv_out.bias -= drift
    return [round(value * 127.5, 3) for value in drift.tolist()]


# --- preparation, and training of the decoder ---------------------------------------------------------


def prepare(data: Path, channels: int, widths: tuple[int, ...], fit_on: int, minutes: float, crop: int) -> None:
    """Fit the PCA, train the linear pair and write both and the latents, the inputs of the diffusion training."""
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    pca = fit_pca(pictures[:fit_on], channels)
    torch.save({"filters": pca.filters, "synthesis": pca.synthesis, "mean": pca.mean}, data / "pca.pt")
    pair = train_linear(data, widths, minutes, 6e-4, crop)
    finish_pair(data, pair, widths)


def finish_pair(data: Path, pair: LinearPair, widths: tuple[int, ...]) -> None:
    """Write the trained linear pair as an `AutoencoderKL` with latents of standard deviation 1, and all latents."""
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    sample = to_float(pictures[:: max(1, len(pictures) // 200)])
    channels = pair.code.out_channels
    with torch.no_grad():
        scale = 1 / pair.encode(sample).std()
        for parameter in (pair.code.weight, pair.code.bias):
            parameter.mul_(scale)
        pair.start.weight.div_(scale)
        torch.manual_seed(0)
        vae = build(channels, widths, pictures.shape[1])
        write(vae, pair)
        true = sample[:8]
        gaps = [(encode(vae, true) - pair.encode(true)).abs().max(),
                (vae.decoder(pair.encode(true)) - pair.decode(pair.encode(true))).abs().max()]  # fmt: skip
    print(f"the written autoencoder differs from the pair by at most {max(gaps):.5f}", flush=True)
    vae.save_pretrained(data / "vae")
    write_latents(pair.encode, data)


class Travellers:
    """A pool of pictures after repeated round trips, in 8 bits, as an animation makes them.

    The target of the next round trip is the picture itself, moved slightly towards its original. With the original as
    the target, details would be smoothed: where the original cannot be known, the mean is the best guess, and details
    would shrink on each trip. With the picture itself as the target, waves that no original has would grow by some
    percent on each trip.
    """

    def __init__(self, rest: int) -> None:
        """``rest`` is the mean number of steps between two trips of a picture: the pool holds ``rest`` batches."""
        self._rest, self._room = rest, 0
        self._pictures: list[tuple[Tensor, Tensor]] = []

    def draw(self, rng: np.random.Generator, count: int, size: int) -> tuple[list[int], Tensor, Tensor]:
        """Draw up to ``count`` pictures of ``size`` px: pool indices, pictures (B, 3, S, S), and their originals."""
        self._room = self._rest * count
        self._pictures = [pair for pair in self._pictures if pair[0].shape[-1] == size]
        which = [int(k) for k in rng.permutation(len(self._pictures))[:count]]
        pairs = [self._pictures[k] for k in which] or [(torch.empty(3, size, size),) * 2]
        now, home = (torch.stack(part)[: len(which)] for part in zip(*pairs, strict=True))
        return which, now, home

    def arrive(
        self, which: list[int], made: Tensor, homes: Tensor, rng: np.random.Generator, stop: float = 0.06
    ) -> None:
        """Store pictures after a round trip and their originals (B, 3, S, S) in the pool.

        The last ``len(which)`` go back to their indices ``which``; a share ``stop`` of those is replaced by the others,
        new pictures, which also fill up the pool.
        """
        pairs = list(zip(made, homes, strict=True))
        new = pairs[: len(pairs) - len(which)]
        for k, pair in zip(which, pairs[len(new) :], strict=True):
            self._pictures[k] = new.pop() if new and rng.random() < stop else pair
        while new and len(self._pictures) < self._room:
            self._pictures.append(new.pop())


def flatness(pictures: Tensor) -> Tensor:
    """Return a map (B, 1, H, W) of pictures (B, 3, H, W): 1 where only gradients lie within 8 px, 0 at details.

    In flat areas the original is known: a round trip can remove waves on an even sky without shrinking detail.
    """
    smooth = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), "replicate"), 5, 1)
    detail = F.max_pool2d((pictures - smooth).abs().mean(1, keepdim=True), 17, 1, 8)
    return torch.exp(-detail / 0.02)


def picture_loss(made: Tensor, true: Tensor, flat: Tensor) -> Tensor:
    """Reconstruction loss: squared and absolute error, absolute error of pixel differences and of local means.

    Differences count fourfold where ``flat`` (B, 1, H, W) is 1, where a weave pattern is most visible. Local means
    count because a tint of one level is negligible when squared, but accumulates over twenty round trips.
    """
    error = made - true
    edges = (error.diff(dim=-1).abs() * (1 + 3 * flat[..., 1:])).mean()
    edges = edges + (error.diff(dim=-2).abs() * (1 + 3 * flat[..., 1:, :])).mean()
    tint = torch.stack([F.avg_pool2d(error, side).abs().mean() for side in (16, 64)]).sum()
    return 4 * error.square().mean() + 0.5 * error.abs().mean() + 0.5 * edges + 0.25 * tint


@dataclass(frozen=True)
class Trained:
    """Result of the decoder's losses: decoded pictures in [-1, 1], their targets, and the loss terms."""

    made: Tensor
    true: Tensor
    picture: Tensor
    """Reconstruction loss."""
    trip: Tensor
    """Loss of the latents after the round trip."""
    growth: Tensor
    """Loss of the growth of perturbations over `GROWTH`."""
    growing: Tensor
    """The perturbations of the latents after the round trip, (B, C, H/16, W/16)."""


def losses(vae: AutoencoderKL, shown: Tensor, home: Tensor, weight: Tensor, growing: Tensor, exact: bool) -> Trained:
    """Compute the losses of one round trip of pictures ``shown`` (B, 3, H, W) with originals ``home``.

    The target is ``shown`` moved slightly towards ``home``. ``weight`` (1, C, 1, 1) weighs the latents' round-trip
    error per channel. ``growing`` (B, C, H/16, W/16) are small perturbations of the latents, whose growth is
    penalised. With ``exact`` everything is computed in float32, else in bfloat16.
    """
    flat = flatness(home)
    true = torch.lerp(shown, home, HOMEWARD + (HOMEWARD_FLAT - HOMEWARD) * flat)
    with device.bfloat16(not exact):
        codes, inputs = encode(vae, true), encode(vae, shown)
        # A diffusion model's latents are inexact: with noise on its inputs the decoder learns to draw them without a
        # weave pattern.
        stray = STRAY * torch.rand(len(shown), 1, 1, 1) * (torch.rand(len(shown), 1, 1, 1) < 0.5)
        inputs = inputs + torch.randn_like(inputs) * stray
        both = torch.cat([inputs, inputs + growing]).contiguous(memory_format=torch.channels_last)
        made, changed = vae.decoder(both).float().chunk(2)
        again = encode(vae, made)
        grown = encode(vae, changed) - again
    growth = F.relu(_sizes(grown) / _sizes(growing) - GROWTH).square().mean()
    # Noisy latents are left out of the round-trip loss, which would otherwise favour less detail.
    stayed = (stray == 0).float()
    trip = ((again - codes).square() * weight * stayed).mean() / stayed.mean().clamp(min=0.1)
    return Trained(made, true, picture_loss(made, true, flat), trip, growth, grown.detach())


def _sizes(changes: Tensor) -> Tensor:
    """Return the root mean square of each of (B, C, H, W) as (B, 1, 1, 1)."""
    return changes.square().mean((1, 2, 3), keepdim=True).sqrt()


def find_growing(found: Tensor, size: tuple[int, int], count: int) -> Tensor:
    """Take a step of power iteration towards the perturbation of the latents that grows most over a round trip.

    ``found`` (B, C, ...) are the last perturbations after their trip. Returns the next, (count, C, *size), scaled to
    `CHANGE`; they start from noise where the shape changes. Twenty trips used to end in a wave across the whole
    picture, which grew by 8 % per trip and does not show in crops.
    """
    if found.shape[2:] != size or len(found) != count:
        found = torch.randn(count, found.shape[1], *size)
    found = found / _sizes(found) + 0.05 * torch.randn_like(found)
    return found * (CHANGE / _sizes(found))


def train(data: Path, minutes: float, peak: float, adam_peak: float, trip_weight: float, batch: int, crop: int,
          exact_from: float, whole_from: float) -> None:  # fmt: skip
    """Train the decoder for ``minutes`` in total, resuming from the last checkpoint if there is one.

    From the fraction ``exact_from`` of the time on it trains in float32, as frames are rendered: bfloat16's rounding is
    larger than a good decoder's round-trip error. From ``whole_from`` on it trains on whole pictures instead of crops,
    in which borders and growing waves differ.
    """
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    heldout = np.load(data / "heldout" / "pictures.npy")[:16]
    pca = load_pca(data)
    vae = load(data)
    vae.encoder.requires_grad_(False)
    keep_constants(vae.decoder)
    average = copy.deepcopy(vae).requires_grad_(False)
    skip_silent(*vae.encoder.down_blocks, vae.encoder.mid_block)
    # The linear path is trained already and has large gains: at the branches' learning rate it would diverge.
    branches = [p for name, p in vae.decoder.named_parameters() if is_branch(name)]
    path = [p for name, p in vae.decoder.named_parameters() if not is_branch(name)]
    matrices = [p for p in branches if p.ndim == 4]
    others = [p for p in branches if p.ndim < 4]
    learner = Learner(
        vae, average, (matrices, peak), [(others, adam_peak), (path, 0.03 * adam_peak)], data / "vae.ckpt", decay=0.995
    )
    budget = progress.Budget(minutes, learner.spent)
    rng = np.random.default_rng(learner.step)
    torch.manual_seed(learner.step)
    weight = channel_weights(encode(vae, to_float(pictures[:100])))
    reported, sums, count = time.monotonic(), torch.zeros(3), 0
    growing = torch.empty(0, weight.shape[1], 0, 0)
    travellers = Travellers(12)

    def keep() -> None:
        learner.save(budget.spent)
        average.save_pretrained(data / "vae")
        print("  ", json.dumps(evaluate(average, pca, heldout)), flush=True)

    while budget.progress < 1:
        whole = budget.progress >= whole_from
        size = pictures.shape[1] if whole else min(crop, pictures.shape[1])
        n = max(2, batch * crop * crop // (size * size))
        which, moved, moved_home = travellers.draw(rng, n // 2, size)
        fresh = n - len(which)
        new = crops(pictures, rng, fresh, size)
        shown, home = torch.cat([new, moved]), torch.cat([new, moved_home])
        learner.set_rates(budget.progress)
        growing = find_growing(growing, (size // PATCH, size // PATCH), n)
        found = losses(vae, shown, home, weight, growing, exact=budget.progress >= exact_from)
        growing = found.growing
        vae.zero_grad()
        torch.autograd.backward(found.picture + trip_weight * found.trip + GROWTH_WEIGHT * found.growth)
        nn.utils.clip_grad_norm_([*others, *path], 1.0)
        learner.take_step(fresh)
        travellers.arrive(which, eight_bits(found.made.detach()), home, rng)
        count += 1
        with torch.no_grad():
            quality = psnr(found.made[:fresh], found.true[:fresh]).mean()
            sums += torch.stack([quality, found.trip.sqrt(), found.growth.sqrt() + GROWTH])
        if learner.step % 50 == 0:
            reached, trip, growth = (sums / count).tolist()
            print(f"{budget.spent / 60:5.1f} min  step {learner.step}  {learner.seen} crops  psnr {reached:.2f}  "
                  f"round trip {trip:.4f}  growth {growth:.3f}", flush=True)  # fmt: skip
            sums.zero_()
            count = 0
        if time.monotonic() - reported > 240:
            keep()
            reported = time.monotonic()
    keep()
    drift = settle_colours(average, pictures[:: max(1, len(pictures) // 40)])
    print("colours settled by", drift, "levels of 255 in each trip", flush=True)
    average.save_pretrained(data / "vae")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--fit-on", type=int, default=1500, help="number of pictures the PCA is fitted to")
    parser.add_argument(
        "--linear-minutes", type=float, default=20.0, help="training time of the linear encoder and decoder, minutes"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="training time of the decoder, minutes")
    parser.add_argument("--peak", type=float, default=0.003, help="peak learning rate of Muon")
    parser.add_argument(
        "--adam-peak",
        type=float,
        default=5e-4,
        help="peak learning rate of AdamW, for the parameters Muon does not train",
    )
    parser.add_argument(
        "--trip-weight",
        type=float,
        default=20.0,
        help="weight of the loss on latents that change when decoded and encoded again",
    )
    parser.add_argument("--batch", type=int, default=8, help="batch size, crops")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument(
        "--exact-from", type=float, default=0.4, help="share of the training time before the switch to float32"
    )
    parser.add_argument(
        "--whole-from",
        type=float,
        default=0.5,
        help="share of the training time before the switch from crops to whole pictures",
    )
    device.add_argument(parser)
    parser.add_argument("--prepare-only", action="store_true")
    args = parser.parse_args()
    device.use(args)
    if not (args.data / "vae").exists():
        prepare(args.data, args.channels, tuple(args.widths), args.fit_on, args.linear_minutes, args.crop)
    if not args.prepare_only:
        train(args.data, args.minutes, args.peak, args.adam_peak, args.trip_weight, args.batch, args.crop,
              args.exact_from, args.whole_from)  # fmt: skip


if __name__ == "__main__":
    main()
