"""The autoencoder: a diffusers `AutoencoderKL` whose encoder *is* a patch PCA and whose decoder is learned.

    python -m training.autoencoder --data build/training --minutes 40

1. Principal components of 16x16 patches are fitted; each is divided by the square root of its standard
   deviation and all by one number, so that latents have unit variance (``scaling_factor`` is 1).
2. The components are cut into a tree of 2x2 convolutions and written into the encoder, whose residual
   branches start (and stay) at zero: encoding is linear, the same at every size, and known before any
   training.  So latents for the diffusion model can be computed at once, while
3. the decoder is trained: first its linear path alone, then everything, on crops and at the end on whole
   pictures.  Because encoding is linear, "decode, then encode again" costs one matrix product, and a
   decoder that keeps this round trip exact keeps the animation loop from drifting.

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

from training import progress

PATCH = 16
WIDTHS = (16, 32, 64, 96, 128)
# A constant channel pair far larger than the signal makes GroupNorm a fixed scaling, which neither a crop's nor a
# picture's statistics can shift: contrast and hue pass through unchanged.
ENCODER_CONSTANT = 100.0
BRANCH_CONSTANT = 4.0
DECODER_CONSTANT = 8.0
NEAR_PCA = 0.5  # weight of how far a trained encoder's latents may move from the PCA's


@dataclass(frozen=True)
class PatchPCA:
    """The linear code: latent = filters @ (patch - mean); patch = synthesis @ latent + mean.

    ``filters`` (C, 768) and ``synthesis`` (768, C) act on patches flattened from (3, 16, 16).
    """

    filters: Tensor
    synthesis: Tensor
    mean: Tensor

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to latents (B, C, H/16, W/16)."""
        weight = self.filters.view(-1, 3, PATCH, PATCH)
        return F.conv2d(images, weight, -(self.filters @ self.mean), stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """The linear decoder with its block edges: the floor that the learned one has to pass."""
        weight = self.synthesis.T.reshape(-1, 3, PATCH, PATCH)
        tiled = self.mean.view(1, 3, PATCH, PATCH).repeat(1, 1, *latents.shape[-2:])
        return F.conv_transpose2d(latents, weight, stride=PATCH) + tiled


def to_float(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_pca(pictures: NDArray[np.uint8], channels: int) -> PatchPCA:
    """Principal components of the pictures' patches, partly whitened."""
    patches = F.unfold(to_float(pictures), PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH * PATCH)
    # One mean colour for all pixels: a mean that varied inside the patch would print a grid on flat areas.
    mean = patches.view(-1, 3, PATCH * PATCH).mean((0, 2)).repeat_interleave(PATCH * PATCH)
    centred = patches - mean
    values, vectors = torch.linalg.eigh((centred.T @ centred / len(centred)).double())
    deviations = values.flip(0)[:channels].clamp_min(0).sqrt()
    basis = vectors.flip(1)[:, :channels].T  # (C, 768)
    scale = deviations**-0.5
    scale = scale / ((deviations * scale) ** 2).mean().sqrt()
    return PatchPCA((basis * scale[:, None]).float(), (basis / scale[:, None]).T.contiguous().float(), mean)


def build(channels: int, widths: tuple[int, ...] = WIDTHS, size: int = 256) -> AutoencoderKL:
    """An untrained autoencoder with a sixteenth of the resolution in its latents."""
    levels = len(widths)
    if 2 ** (levels - 1) != PATCH or sorted(set(widths)) != list(widths) or 2 * channels + 2 > widths[-1]:
        raise ValueError(f"widths {widths}: expected 5, each above the one before, the last above {2 * channels + 1}")
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        sample_size=size,
        scaling_factor=1.0,
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


@torch.no_grad()
def write_encoder(vae: AutoencoderKL, pca: PatchPCA) -> None:
    """Write the patch PCA into the encoder's convolutions.

    Each stride-2 convolution joins 2x2 positions and keeps the directions that the wanted filters need
    (principal directions of the filters' own sub-blocks); the last one finishes the filters.
    """
    encoder, widths = vae.encoder, tuple(vae.config.block_out_channels)
    channels = len(pca.filters)
    for block in (*encoder.down_blocks, encoder.mid_block):
        for resnet in block.resnets:
            _zero(resnet.conv2)
            if resnet.conv_shortcut is not None:
                _zero(resnet.conv_shortcut)

    # Coordinates of every filter's sub-blocks, from single pixels (3 colours) upwards.
    filters = pca.filters.double().view(channels, 3, PATCH, PATCH).permute(0, 2, 3, 1)  # (C, y, x, 3)
    joins: list[Tensor] = []  # per level (kept, 4 * below)
    grid = filters
    while grid.shape[1] > 1:
        n = grid.shape[1] // 2
        quads = grid.view(channels, n, 2, n, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(channels, n, n, -1)
        if n == 1:
            joins.append(quads.view(channels, -1))
            break
        room = widths[len(joins)] - 2  # two channels carry the constant
        _, _, directions = torch.linalg.svd(quads.reshape(channels * n * n, -1), full_matrices=False)
        joins.append(directions[:room])
        grid = quads @ directions[:room].T

    _zero(encoder.conv_in)
    encoder.conv_in.weight[:3, :3, 1, 1] = torch.eye(3)
    encoder.conv_in.bias[widths[0] - 2 : widths[0]] = torch.tensor([ENCODER_CONSTANT, -ENCODER_CONSTANT])
    for level, join in enumerate(joins):
        width = widths[level]
        conv = encoder.down_blocks[level].downsamplers[0].conv
        _zero(conv)
        kept, below = join.shape[0], join.shape[1] // 4
        # diffusers pads right and below, so the taps (0..1, 0..1) are the 2x2 block itself.
        conv.weight[:kept, :below, :2, :2] = join.view(kept, 2, 2, below).permute(0, 3, 1, 2).float()
        conv.weight[width - 2, width - 2, 0, 0] = conv.weight[width - 1, width - 1, 0, 0] = 1
        shortcut = encoder.down_blocks[level + 1].resnets[0].conv_shortcut
        wide = widths[level + 1]
        last = level == len(joins) - 1
        for k in range(kept):
            shortcut.weight[k, k] = 1
            if last:  # SiLU(x) - SiLU(-x) = x, so plus and minus together pass the activation unharmed
                shortcut.weight[wide // 2 + k, k] = -1
        shortcut.weight[wide - 2, width - 2] = shortcut.weight[wide - 1, width - 1] = 1
    wide = widths[-1]
    encoder.conv_norm_out.weight.fill_(ENCODER_CONSTANT * (2 / wide) ** 0.5)
    encoder.conv_norm_out.bias.zero_()
    _zero(encoder.conv_out)
    for k in range(channels):
        encoder.conv_out.weight[k, k, 1, 1] = 1
        encoder.conv_out.weight[k, wide // 2 + k, 1, 1] = -1
    encoder.conv_out.bias[:channels] = -(pca.filters @ pca.mean)
    encoder.conv_out.bias[channels:] = -12.0  # log variance: sampling the posterior adds 0.0025


@torch.no_grad()
def open_branches(vae: AutoencoderKL) -> None:
    """Make the encoder's silent residual branches ready to learn: they see the signal, not the constant beside it."""
    for block in (*vae.encoder.down_blocks, vae.encoder.mid_block):
        for resnet in block.resnets:
            resnet.norm1.weight.fill_(ENCODER_CONSTANT * (2 / resnet.in_channels) ** 0.5)  # gain 1
            resnet.norm1.weight[-2:] = 0
            resnet.conv1.weight[-2:] = 0
            resnet.conv1.bias[-2:] = torch.tensor([BRANCH_CONSTANT, -BRANCH_CONSTANT])
            resnet.norm2.weight.fill_(BRANCH_CONSTANT * (2 / resnet.out_channels) ** 0.5)


def keep_constants(vae: AutoencoderKL) -> None:
    """Let no gradient touch what writes or reads the encoder's constant channels: a step times 100 is a leap."""

    def mask(parameter: nn.Parameter, written: bool, read: int | None) -> None:
        kept = torch.ones_like(parameter)
        if written:
            kept[-2:] = 0
        if read is not None:
            kept[:, read:][:, :2] = 0
        parameter.register_hook(lambda gradient: gradient * kept)

    encoder = vae.encoder
    mask(encoder.conv_in.weight, True, None)
    mask(encoder.conv_in.bias, True, None)
    for block in (*encoder.down_blocks, encoder.mid_block):
        for resnet in block.resnets:
            mask(resnet.norm1.weight, True, None)
            mask(resnet.conv2.weight, True, None)
            mask(resnet.conv2.bias, True, None)
            if resnet.conv_shortcut is not None:
                mask(resnet.conv_shortcut.weight, True, resnet.in_channels - 2)
                mask(resnet.conv_shortcut.bias, True, None)
        for sampler in getattr(block, "downsamplers", None) or []:
            mask(sampler.conv.weight, True, sampler.conv.in_channels - 2)
            mask(sampler.conv.bias, True, None)
    mask(encoder.conv_out.weight, False, encoder.conv_out.in_channels - 2)


@torch.no_grad()
def start_decoder(vae: AutoencoderKL) -> None:
    """Start the decoder near a plain linear cascade, with a constant channel that tames its GroupNorms."""
    decoder = vae.decoder
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(module.in_channels * module.kernel_size[0] ** 2) ** -0.5)
            nn.init.zeros_(module.bias)

    def carry(conv: nn.Conv2d) -> None:
        centre = conv.kernel_size[0] // 2
        conv.weight[-1] = 0
        conv.weight[-1, -1, centre, centre] = 1

    decoder.conv_in.weight[-1] = 0
    decoder.conv_in.bias[-1] = DECODER_CONSTANT
    for block in (decoder.mid_block, *decoder.up_blocks):
        for resnet in block.resnets:
            width = resnet.in_channels
            resnet.norm1.weight.fill_(DECODER_CONSTANT * width**-0.5)
            _zero(resnet.conv2)  # nothing changes at the moment when the branches join in
            if resnet.conv_shortcut is not None:
                carry(resnet.conv_shortcut)
        for upsampler in getattr(block, "upsamplers", None) or []:
            carry(upsampler.conv)
    decoder.conv_norm_out.weight.fill_(DECODER_CONSTANT * decoder.conv_norm_out.num_channels**-0.5)


def linear_decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The decoder without its residual branches: the cheap path that is trained first."""
    decoder = vae.decoder
    x = decoder.conv_in(latents)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                x = resnet.conv_shortcut(x)
        for upsampler in block.upsamplers or []:
            x = upsampler(x)
    return decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)))  # type: ignore[no-any-return]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per picture in dB, of pictures in [-1, 1]."""
    return 10 * torch.log10(4 / (a - b).square().flatten(1).mean(1))


def picture_loss(made: Tensor, true: Tensor) -> Tensor:
    """Squared and absolute error of values, and absolute error of neighbouring differences."""
    error = made - true
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return 4 * error.square().mean() + 0.5 * error.abs().mean() + 0.25 * edges


def tint_loss(made: Tensor, true: Tensor) -> Tensor:
    """Absolute error of local means: a shift by a level is nothing squared, and everything after twenty round trips."""
    return torch.stack([F.avg_pool2d(made - true, side).abs().mean() for side in (4, 16, 64)]).sum()


@torch.no_grad()
def write_latents(code: Callable[[Tensor], Tensor], data: Path) -> None:
    """Latents of all pictures and of their mirror images, training and held-out: float16 (2, N, C, 16, 16)."""
    for part in ("train", "heldout"):
        pictures = np.load(data / part / "pictures.npy", mmap_mode="r")
        channels = code(to_float(pictures[:1])).shape[1]
        side = pictures.shape[1] // PATCH
        # Whole or not at all: a diffusion training beside this one may be reading the last ones.
        path, unfinished = data / part / "latents.npy", data / part / "latents.part.npy"
        shape = (2, len(pictures), channels, side, side)
        out = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=shape)
        for k in range(0, len(pictures), 64):
            images = to_float(pictures[k : k + 64])
            out[0, k : k + 64] = code(images).numpy()
            out[1, k : k + 64] = code(images.flip(-1)).numpy()
        out.flush()
        unfinished.replace(path)


@torch.no_grad()
def encode_all(data: Path) -> None:
    """Latents of all pictures by the trained encoder, for the diffusion training."""
    vae = AutoencoderKL.from_pretrained(data / "vae").to(memory_format=torch.channels_last)

    def code(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return encode(vae, images)

    write_latents(code, data)


@torch.no_grad()
def round_trips(vae: AutoencoderKL, pictures: NDArray[np.uint8], count: int = 20) -> list[Tensor]:
    """The pictures in [-1, 1], and what is left of them after each of ``count`` round trips, all in 8 bits."""
    states = [to_float(pictures)]
    for _ in range(count):
        parts = states[-1].split(16)
        states.append(eight_bits(torch.cat([vae.decode(encode(vae, part)).sample.float() for part in parts])))
    return states


@torch.no_grad()
def evaluate(vae: AutoencoderKL, pca: PatchPCA, pictures: NDArray[np.uint8], trips: int = 5) -> dict[str, float]:
    """Mean PSNR in dB after one and more round trips, and of the linear floor; mean and deviation of the latents."""
    with torch.autocast("cpu", torch.bfloat16):
        states = round_trips(vae, pictures, trips)
        codes = encode(vae, states[0])
    floor = pca.decode(pca.encode(states[0])).clamp(-1, 1)
    figures = {f"psnr_after_{k}": float(psnr(states[k], states[0]).mean()) for k in (1, trips)}
    figures |= {
        "pca_floor": float(psnr(floor, states[0]).mean()),
        "mean": float(codes.mean()),
        "std": float(codes.std()),
    }
    return {name: round(value, 3) for name, value in figures.items()}


def prepare(data: Path, channels: int, widths: tuple[int, ...], fit_on: int) -> None:
    """Fit the PCA, write encoder and latents: everything that the diffusion training waits for."""
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    pca = fit_pca(pictures[:fit_on], channels)
    torch.save({"filters": pca.filters, "synthesis": pca.synthesis, "mean": pca.mean}, data / "pca.pt")
    torch.manual_seed(0)
    vae = build(channels, widths, pictures.shape[1])
    write_encoder(vae, pca)
    open_branches(vae)
    start_decoder(vae)
    sample = to_float(pictures[:8])
    with torch.no_grad():
        gap = float((vae.encode(sample).latent_dist.mode() - pca.encode(sample)).abs().max())
    print(f"encoder differs from the PCA by at most {gap:.4f} of a latent's unit deviation", flush=True)
    vae.save_pretrained(data / "vae")
    write_latents(pca.encode, data)


def load_pca(data: Path) -> PatchPCA:
    """The patch PCA that `prepare` fitted."""
    return PatchPCA(**progress.load(data / "pca.pt"))


@dataclass(frozen=True)
class Worn:
    """Pictures (B, 3, H, W) and their codes, with the codes as some round trips have left them."""

    true: Tensor
    codes: Tensor
    worn: Tensor


def _crops(pictures: NDArray[np.uint8], rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Random crops on the patch grid, half of them mirrored, as (B, 3, size, size) in [-1, 1]."""
    which = rng.integers(0, len(pictures), count)
    corners = rng.integers(0, (pictures.shape[1] - size) // PATCH + 1, (count, 2)) * PATCH
    cut = [pictures[k, y : y + size, x : x + size] for k, (y, x) in zip(which, corners, strict=True)]
    crops = to_float(np.stack(cut))
    return torch.where(torch.from_numpy(rng.random((count, 1, 1, 1)) < 0.5), crops, crops.flip(-1))


def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) to latents (B, C, H/16, W/16): the mean of the encoder's posterior."""
    moments = vae.encoder(images.contiguous(memory_format=torch.channels_last))
    return moments[:, : moments.shape[1] // 2].float()  # type: ignore[no-any-return]


def eight_bits(made: Tensor) -> Tensor:
    """Pictures as they come back from a frame on disk: clipped and rounded."""
    return ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def train(
    data: Path, minutes: float, peak: float, batch: int, crop: int, linear_share: float = 0.1, joint: bool = False
) -> None:
    """Train the decoder for ``minutes`` in all, going on from the last checkpoint if there is one.

    The first ``linear_share`` of the time trains the decoder's linear path alone.  ``joint`` trains the encoder as
    well; its latents are held near the PCA's, which keeps their scale and what a UNet has learned.
    """
    pictures = np.load(data / "train" / "pictures.npy", mmap_mode="r")
    heldout = np.load(data / "heldout" / "pictures.npy")[:64]
    pca = load_pca(data)
    vae = AutoencoderKL.from_pretrained(data / "vae").to(memory_format=torch.channels_last)
    keep_constants(vae)
    vae.encoder.requires_grad_(joint)
    average = copy.deepcopy(vae).requires_grad_(False)
    # The encoder starts where it is good already, and what it does must not move faster than the decoder follows.
    parts = [{"params": list(vae.decoder.parameters()), "pace": 1.0}]
    if joint:
        parts.append({"params": list(vae.encoder.parameters()), "pace": 0.2})
    optimizer = torch.optim.AdamW(parts, peak, betas=(0.9, 0.99), weight_decay=1e-4)
    checkpoint, step, seen, spent = data / "vae.ckpt", 0, 0, 0.0
    if checkpoint.exists():
        state = progress.load(checkpoint)
        vae.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, seen, spent = state["step"], state["seen"], state["spent"]
    budget = progress.Budget(minutes, spent)
    rng = np.random.default_rng(step)
    torch.manual_seed(step)
    reported = time.monotonic()
    sums = torch.zeros(3)
    count = 0

    def keep() -> None:
        progress.save({"model": vae.state_dict(), "average": average.state_dict(), "step": step, "seen": seen,
                       "optimizer": optimizer.state_dict(), "spent": budget.spent}, checkpoint)  # fmt: skip
        average.save_pretrained(data / "vae")
        print("  ", json.dumps(evaluate(average, pca, heldout)), flush=True)

    mean = pca.mean.view(1, 3, PATCH, PATCH)[..., :1, :1]
    # Latents are partly whitened; what an error in one costs in the picture goes with its variance.
    variance = pca.encode(to_float(pictures[:500])).var((0, 2, 3)).view(1, -1, 1, 1)
    weight = 0.5 + 0.5 * variance / variance.mean() if joint else torch.ones_like(variance)
    stray = 0.05 if joint else 0.25  # most deviation of the noise on codes; much of it makes an encoder shrink detail
    worn: Worn | None = None
    while budget.progress < 1:
        whole = budget.progress > 0.75  # borders and global statistics differ between crops and pictures
        size = pictures.shape[1] if whole else crop
        linear = budget.progress < linear_share
        if worn is not None and worn.true.shape[-1] != size:
            worn = None
        n = max(4, batch * crop * crop // (size * size))
        fresh = n if worn is None else n - len(worn.true)
        true = _crops(pictures, rng, fresh, size)
        # Other contrasts of the same pictures: what the model paints is not confined to the contrasts of the world.
        contrast = torch.from_numpy(rng.uniform(0.7, 1.25, (fresh, 1, 1, 1)).astype(np.float32))
        true = (mean + (true - mean) * contrast).clamp(-1, 1)
        principal = pca.encode(true)
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * progress.learning_rate(peak, step, budget.progress)
        with torch.autocast("cpu", torch.bfloat16):
            codes = encode(vae, true) if joint and not linear else principal
            # A few codes off the track must be led back to it.  (To ask for them back as they came cannot be met:
            # nearest upsampling and convolutions are blind to the position in a patch, so that a field of equal details
            # decodes to nothing, and a decoder that strains against this amplifies errors from trip to trip.)
            aims, strayed = codes.detach(), fresh // 3
            noise = torch.randn_like(codes[:strayed]) * float(rng.uniform(0, stray))
            inputs = torch.cat([codes[:strayed] + noise, codes[strayed:]])
            if worn is not None:
                true, inputs = torch.cat([true, worn.true]), torch.cat([inputs, worn.worn])
                aims = torch.cat([aims, worn.codes])
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            made = (linear_decode(vae, inputs) if linear else vae.decoder(inputs)).float()
            if joint and not linear:
                again = encode(vae, made.clamp(-1, 1))
        if not joint or linear:
            again = pca.encode(made)
        trip = ((again - aims).square() * weight).mean()
        shift = ((codes - principal).square() * weight).mean()
        loss = picture_loss(made, true) + trip
        if joint:
            loss = loss + tint_loss(made, true) + trip + NEAR_PCA * shift
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for part in parts for p in part["params"]], 1.0)
        optimizer.step()
        made = made.detach()
        if not linear:
            chosen = strayed + torch.from_numpy(rng.permutation(n - strayed)[: max(1, n // 4)])
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=joint):
                left = eight_bits(made[chosen].detach())
                worn = Worn(true[chosen], aims[chosen], encode(vae, left) if joint else pca.encode(left))
        step, seen = step + 1, seen + n
        decay = min(0.998, step / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(vae.parameters()), 1 - decay)
            clean = psnr(made[strayed:fresh], true[strayed:fresh]).mean()
            sums += torch.stack([clean, trip.sqrt(), shift.sqrt()])
        count += 1
        if step % 50 == 0:
            print(f"{budget.spent / 60:5.1f} min  step {step}  psnr {sums[0] / count:.2f}  round trip "
                  f"{sums[1] / count:.4f}  from PCA {sums[2] / count:.4f}  "
                  f"{'linear' if linear else 'whole' if whole else 'crops'}", flush=True)  # fmt: skip
            sums.zero_()
            count = 0
        if time.monotonic() - reported > 240:
            keep()
            reported = time.monotonic()
    keep()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--fit-on", type=int, default=1500, help="pictures to fit the PCA on")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--linear-share", type=float, default=0.1, help="of the time, for the decoder's linear path alone"
    )
    parser.add_argument("--joint", action="store_true", help="train the encoder too, away from the patch PCA")
    parser.add_argument("--prepare-only", action="store_true")
    parser.add_argument("--encode-only", action="store_true", help="only write all latents with the encoder as it is")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not (args.data / "pca.pt").exists():
        prepare(args.data, args.channels, tuple(args.widths), args.fit_on)
    if args.prepare_only:
        return
    if not args.encode_only:
        train(args.data, args.minutes, args.peak, args.batch, args.crop, args.linear_share, args.joint)
    encode_all(args.data)


if __name__ == "__main__":
    main()
