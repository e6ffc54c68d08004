"""The linear pair of encoder and decoder from which the autoencoder is made.

Stride-2 convolutions lead down, nearest-neighbour upsampling by 2 and convolutions up. Training starts at a patch PCA.
The best linear reconstruction is nearly a projection, so that further round trips lose little; see `train_linear`.
`training.written_pair` converts the pair to an `AutoencoderKL`.

Latents: float (C, H/16, W/16); pictures: RGB in [-1, 1], (3, H, W).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training import device, progress

PATCH = 16
WIDTHS = (16, 32, 64, 96, 128)


@dataclass(frozen=True)
class PatchPCA:
    """PCA of separate patches: latent = filters @ (patch - mean); patch = synthesis @ latent + mean.

    ``filters`` (C, 768), ``synthesis`` (768, C) and ``mean`` (768,) are of patches flattened from (3, 16, 16).
    """

    filters: Tensor
    synthesis: Tensor
    mean: Tensor

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to latents (B, C, H/16, W/16)."""
        weight = self.filters.view(-1, 3, PATCH, PATCH)
        return F.conv2d(images, weight, -(self.filters @ self.mean), stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to (B, 3, 16 h, 16 w), with block edges: the floor for trained decoders."""
        weight = self.synthesis.T.reshape(-1, 3, PATCH, PATCH)
        tiled = self.mean.view(1, 3, PATCH, PATCH).repeat(1, 1, *latents.shape[-2:])
        return F.conv_transpose2d(latents, weight, stride=PATCH) + tiled


def to_float(pictures: NDArray[np.uint8]) -> Tensor:
    """Convert pictures from uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1], on the device."""
    return device.put(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_pca(pictures: NDArray[np.uint8], channels: int) -> PatchPCA:
    """Fit the PCA of the patches of pictures uint8 (N, H, W, 3), partly whitened, with ``channels`` components."""
    patches = F.unfold(to_float(pictures), PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH * PATCH)
    # One mean colour for all pixels: a mean that varies inside the patch would show as a grid on flat areas.
    mean = patches.view(-1, 3, PATCH * PATCH).mean((0, 2)).repeat_interleave(PATCH * PATCH)
    centred = patches - mean
    values, vectors = torch.linalg.eigh((centred.T @ centred / len(centred)).double())
    deviations = values.flip(0)[:channels].clamp_min(0).sqrt()
    basis = vectors.flip(1)[:, :channels].T  # (C, 768)
    scale = deviations**-0.5
    scale = scale / ((deviations * scale) ** 2).mean().sqrt()
    return PatchPCA((basis * scale[:, None]).float(), (basis / scale[:, None]).T.contiguous().float(), mean)


def load_pca(data: Path) -> PatchPCA:
    """Load the patch PCA that `training.autoencoder.prepare` fitted."""
    return PatchPCA(**{name: device.put(value) for name, value in progress.load(data / "pca.pt").items()})


def channel_weights(latents: Tensor) -> Tensor:
    """Return loss weights (1, C, 1, 1), mean 1, for errors of latents (N, C, h, w).

    They are mostly proportional to a channel's variance, as errors of a wide channel show more in the picture.
    """
    variance = latents.var((0, 2, 3)).view(1, -1, 1, 1)
    return 0.3 + 0.7 * variance / variance.mean()


def crops(pictures: NDArray[np.uint8], rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Draw random crops on the patch grid, half of them mirrored, as (B, 3, size, size) in [-1, 1]."""
    which = rng.integers(0, len(pictures), count)
    corners = rng.integers(0, (pictures.shape[1] - size) // PATCH + 1, (count, 2)) * PATCH
    cut = [pictures[k, y : y + size, x : x + size] for k, (y, x) in zip(which, corners, strict=True)]
    pieces = to_float(np.stack(cut))
    return torch.where(device.put(rng.random((count, 1, 1, 1)) < 0.5), pieces, pieces.flip(-1))


class LinearPair(nn.Module):
    """The linear paths of an `AutoencoderKL` with ``widths`` channels per level, without its residual branches.

    At every level two channels are reserved for the constants of `training.written_pair.write`; before the last
    activation of encoder and decoder half of the channels are reserved for the negatives of the others.
    """

    def __init__(self, channels: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        down = (3, *(width - 2 for width in widths[:-2]), min(widths[-2] - 2, widths[-1] // 2 - 1))
        up = (*(width - 2 for width in widths[:0:-1]), widths[0] // 2 - 1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, bias=False) for a, b in itertools.pairwise(down))
        self.code = nn.Conv2d(down[-1], channels, 3, 1, 1)
        self.start = nn.Conv2d(channels, up[0], 3, 1, 1)
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1, bias=False) for a, b in itertools.pairwise(up))
        self.out = nn.Conv2d(up[-1], 3, 3, 1, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W) in [-1, 1] to latents (B, C, H/16, W/16)."""
        for conv in self.down:
            images = conv(F.pad(images, (0, 1, 0, 1)))  # padding at the right and bottom, as in diffusers
        return self.code(images)  # type: ignore[no-any-return]

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, h, w) to pictures (B, 3, 16 h, 16 w), not clipped to [-1, 1]."""
        x = self.start(latents)
        for conv in self.up:
            x = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.out(x)  # type: ignore[no-any-return]


@torch.no_grad()
def start_pair(pair: LinearPair, pca: PatchPCA, images: Tensor) -> None:
    """Initialise the encoder as the patch PCA, and the decoder as its inverse, fitted level by level to ``images``.

    Each stride-2 convolution joins 2x2 positions and keeps the directions that the PCA filters need (the principal
    directions of the filters' own sub-blocks); the last one completes the filters.
    """
    channels = len(pca.filters)
    grid = pca.filters.double().view(channels, 3, PATCH, PATCH).permute(0, 2, 3, 1)  # (C, y, x, 3)
    for conv in pair.down:
        nn.init.normal_(conv.weight, std=0.02 * (conv.in_channels * 9) ** -0.5)
        n = grid.shape[1] // 2
        quads = grid.view(channels, n, 2, n, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(channels, n, n, -1)
        if n == 1:
            join = quads.view(channels, -1)
        else:
            _, _, directions = torch.linalg.svd(quads.reshape(channels * n * n, -1), full_matrices=False)
            join = directions[: conv.out_channels]
            grid = quads @ join.T
        kept, below = join.shape[0], join.shape[1] // 4
        conv.weight[:kept, :below, :2, :2] += join.view(kept, 2, 2, below).permute(0, 3, 1, 2).float()
    nn.init.normal_(pair.code.weight, std=0.003)
    pair.code.weight[:, :channels, 1, 1] += torch.eye(channels)
    pair.code.bias.copy_(-(pca.filters @ pca.mean))

    colour = pca.mean[:: PATCH * PATCH]
    signals = [images - colour.view(1, 3, 1, 1)]
    for conv in list(pair.down)[:-1]:
        signals.append(conv(F.pad(signals[-1], (0, 1, 0, 1))))
    for conv in (pair.start, *pair.up, pair.out):
        nn.init.normal_(conv.weight, std=0.3 * (conv.in_channels * 9) ** -0.5)
    for conv in (pair.start, pair.out):
        nn.init.zeros_(conv.bias)
    pair.start.weight[:channels] = 0
    pair.start.weight[:channels, :channels, 1, 1] = torch.eye(channels)
    x, known = pair.start(pca.encode(images)), channels
    for conv, wanted in zip(pair.up, reversed(signals), strict=True):
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        count = min(wanted.shape[1], conv.out_channels)
        conv.weight[:count] = 0
        conv.weight[:count, :known] = _least_squares(x[:, :known], wanted[:, :count])
        x, known = conv(x), count
    pair.out.weight.mul_(0.02)
    pair.out.weight[:, :3] = 0
    pair.out.weight[:, :3, 1, 1] = torch.eye(3)
    pair.out.bias.copy_(colour)


def _least_squares(given: Tensor, wanted: Tensor) -> Tensor:
    """Return the weights (out, in, 3, 3) of the convolution that maps ``given`` to ``wanted`` with least squares."""
    outer, cross = torch.zeros(1), torch.zeros(1)
    for some, aim in zip(given.split(4), wanted.split(4), strict=True):
        near = F.unfold(F.pad(some, (1, 1, 1, 1)), 3).transpose(1, 2).reshape(-1, some.shape[1] * 9)
        near = torch.cat([near, torch.ones(len(near), 1)], 1).double()
        outer = outer + near.T @ near
        cross = cross + near.T @ aim.permute(0, 2, 3, 1).reshape(len(near), -1).double()
    outer = outer + 1e-5 * outer.diagonal().mean() * torch.eye(len(outer))
    return torch.linalg.solve(outer, cross)[:-1].T.reshape(-1, given.shape[1], 3, 3).float()


def train_linear(data: Path, widths: tuple[int, ...], minutes: float, peak: float, crop: int) -> LinearPair:
    """Train the linear pair for ``minutes`` on reconstruction, recovery of its own latents, and limited growth.

    Nearest-neighbour upsampling and convolution cannot tell positions in a patch apart: its spectrum is zero at some
    frequencies, so a field of equal details decodes to nothing and no encoder can recover all latents. Such latents
    must not be amplified either, or twenty round trips end in waves. Each training step therefore takes one step of
    power iteration towards the latents that grow most, and their growth is penalised.
    """
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    pca = load_pca(data)
    torch.manual_seed(0)
    pair = LinearPair(len(pca.filters), widths)
    start_pair(pair, pca, to_float(pictures[:: max(1, len(pictures) // 40)]))
    pair = pair.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([
        {"params": [*pair.down.parameters(), *pair.code.parameters()], "pace": 0.3},
        {"params": [*pair.start.parameters(), *pair.up.parameters(), *pair.out.parameters()], "pace": 1.0},
    ], peak, betas=(0.9, 0.99), weight_decay=0)  # fmt: skip
    weight = channel_weights(pca.encode(to_float(pictures[:300])))
    budget, rng, step = progress.Budget(minutes), np.random.default_rng(0), 0
    growing = torch.randn(6, len(pca.filters), 12, 12)
    nothing = torch.zeros_like(growing[:1])
    while budget.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * progress.learning_rate(peak, step, budget.progress, 300, floor=0.01)
        # Late in training: whole pictures, as borders differ in small crops; float32, as bfloat16's rounding exceeds
        # the errors that remain.
        whole, exact = budget.progress > 0.6, budget.progress > 0.5
        size = pictures.shape[1] if whole else min(crop, pictures.shape[1])
        true = crops(pictures, rng, 4 if whole else 12, size).contiguous(memory_format=torch.channels_last)
        with device.bfloat16(not exact):
            codes = pair.encode(true)
            made = pair.decode(codes).float()
            again = pair.encode(made).float()
            grown = pair.encode(pair.decode(torch.cat([growing, nothing]))).float()
        codes, grown = codes.float(), grown[:-1] - grown[-1:]
        growth = grown.flatten(1).norm(dim=1) / growing.flatten(1).norm(dim=1)
        trip = ((again - codes).square() * weight).mean()
        away = ((codes - pca.encode(true)).square() * weight).mean()
        error = (made - true).square().mean()
        # A small weight on the distance to the PCA's latents keeps their scale and order, without their patches.
        loss = 10 * error + 6 * trip + 0.3 * away + 5 * F.relu(growth - 0.97).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            growing = grown / grown.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * 40
            growing[step % 6] += 0.3 * torch.randn_like(nothing[0])
            if step % 20 == 0:
                growing[step // 20 % 6] = torch.randn_like(nothing[0])
        step += 1
        if step % 50 == 0:
            print(f"{budget.spent / 60:5.1f} min  step {step}  psnr {10 * math.log10(4 / error.item()):.2f}  "
                  f"round trip {trip.sqrt().item():.4f}  from PCA {away.sqrt().item():.4f}  "
                  f"growth {growth.max().item():.3f}", flush=True)  # fmt: skip
    return pair
