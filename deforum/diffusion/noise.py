"""Gaussian noise for latents, drawn on the CPU in float32 from a frame's seed: the same on every device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from deforum.models.transfer import upload
from deforum.motion.noise_map import NoiseMap
from deforum.profiling import staged
from deforum.seeds import derive_seed
from deforum.timeline.frame import Frame


def noise_at(
    noise_map: NoiseMap, seed: int, turn: int, shape: tuple[int, int, int], factor: int
) -> NDArray[np.float32]:
    """Return white Gaussian noise (C, h, w), standard deviation 1, of a seed, which moves with the places of a map.

    `turn` is the index of the draw from this seed. A latent cell covers `factor` px; its noise is the sum of its
    places' noise over the square root of their count.
    """
    channels, rows, columns = shape
    each = max(1, factor // noise_map.spacing)
    # A picture is padded to a multiple of the factor; the padding gets places of its own, with negative numbers, which
    # do not move.
    numbers = -1 - np.arange(rows * columns * each**2, dtype=np.int64).reshape(rows * each, columns * each)
    known = noise_map.numbers[: rows * each, : columns * each]
    numbers[: known.shape[0], : known.shape[1]] = known
    found = _gaussian(numbers.ravel().astype(np.uint64), seed, turn, channels)
    noise: NDArray[np.float32] = found.reshape(channels, rows, each, columns, each).sum((2, 4)) / each
    return noise


def _gaussian(numbers: NDArray[np.uint64], seed: int, turn: int, channels: int) -> NDArray[np.float32]:
    """Return Gaussian numbers (channels, N), a function of the place numbers (N,), the seed and the turn.

    Each pair of channels takes one 64-bit hash of the number (the mixing function of G. Steele et al., "Fast Splittable
    Pseudorandom Number Generators", 2014), which the Box-Muller transform turns into two Gaussian numbers.
    """
    streams = np.random.SeedSequence(seed, spawn_key=(turn,)).generate_state(-(-channels // 2), np.uint64)
    bits = _mixed(_mixed(numbers)[None] + streams[:, None])
    low, high = (bits & np.uint64(0xFFFFFFFF)).astype(np.float32), (bits >> np.uint64(32)).astype(np.float32)
    radius = np.sqrt(-2 * np.log((high + 1) * np.float32(2**-32)).clip(max=0))
    angle = low * np.float32(2 * np.pi * 2**-32)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)
    gaussian: NDArray[np.float32] = pairs.reshape(-1, len(numbers))[:channels]
    return gaussian


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit integers, so that consecutive ones give uncorrelated results (splitmix64)."""
    value = value * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


Tensor = torch.Tensor
Shape = tuple[int, int, int]


def draws(shape: Shape, seed: int, noise_map: NoiseMap | None, factor: int) -> Callable[[], Tensor]:
    """Return a source of unit noise (C, h, w) of a seed, new at each call; with a noise map it moves with the places.

    A latent cell covers `factor` px.
    """
    if noise_map is None:
        generator = torch.Generator().manual_seed(seed)
        return lambda: torch.randn(shape, generator=generator)
    turns = count()
    return lambda: torch.from_numpy(noise_at(noise_map, seed, next(turns), shape, factor))


@staged("noise")
def starting_noise(shape: Shape, frame: Frame, factor: int, seed_size: tuple[int, int] | None = None) -> Tensor:
    """Draw a frame's starting noise (C, h, w), blended with the subseed's noise by spherical interpolation.

    With `seed_size` (width, height in px) the noise is that of a picture of this size, put in the middle: so a seed
    keeps its composition in a frame of another size. Noise fixed to places (a noise map) has no size of its own.
    """
    drawn = shape
    if seed_size is not None and frame.noise_map is None:
        width, height = seed_size
        drawn = (shape[0], max(height // factor, 1), max(width // factor, 1))
    noise = draws(drawn, frame.seed, frame.noise_map, factor)()
    if frame.params.subseed_strength > 0:
        other = draws(drawn, frame.subseed, frame.noise_map, factor)()
        # Vectors are columns of height h, as in the A1111 web UI, so that a subseed strength has the same effect.
        noise = slerp(noise, other, min(frame.params.subseed_strength, 1.0), dim=1)
    return noise if drawn == shape else _centred(noise, draws(shape, frame.seed, None, factor)())


def _centred(noise: Tensor, around: Tensor) -> Tensor:
    """Put noise (C, h, w) in the middle of `around` (C, H, W), cropped where it is larger."""
    for axis in (1, 2):
        extra = noise.shape[axis] - around.shape[axis]
        if extra > 0:
            noise = noise.narrow(axis, extra // 2, around.shape[axis])
    rows, columns = noise.shape[1:]
    top, left = (around.shape[1] - rows) // 2, (around.shape[2] - columns) // 2
    around[:, top : top + rows, left : left + columns] = noise
    return around


def step_noise(shape: Shape, frames: Sequence[Frame], factor: int, device: torch.device) -> Callable[[], Tensor]:
    """Return a source of unit noise (B, C, h, w) for the steps; seeds are per frame, independent of the start's."""
    each = [draws(shape, derive_seed(frame.seed, 0, "steps"), frame.noise_map, factor) for frame in frames]
    return staged("noise")(lambda: upload(torch.stack([draw() for draw in each]), device))


def slerp(a: Tensor, b: Tensor, weight: float, *, dim: int) -> Tensor:
    """Interpolate spherically from `a` (weight 0) to `b` (weight 1), per vector along `dim`; linearly where parallel.

    The vectors are not normalised: only the coefficients are spherical, so lengths interpolate too (Shoemake 1985).
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=dim).unsqueeze(dim).clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    parallel = sine < 1e-3
    sine = torch.where(parallel, 1.0, sine)
    left = torch.where(parallel, 1 - weight, torch.sin((1 - weight) * angle) / sine)
    right = torch.where(parallel, weight, torch.sin(weight * angle) / sine)
    return a * left + b * right
