"""Noise for latents: drawn on the CPU in float32 from a frame's seed, so that every device starts from the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import torch

from deforum.places import Places, noise_at
from deforum.rng import derive_seed
from deforum.timeline import Frame

Tensor = torch.Tensor
Shape = tuple[int, int, int]


def draws(shape: Shape, seed: int, places: Places | None, factor: int) -> Callable[[], Tensor]:
    """Return what draws unit noise (C, h, w) of a seed, time after time; with places, where they are.

    A latent cell covers `factor` px.
    """
    if places is None:
        generator = torch.Generator().manual_seed(seed)
        return lambda: torch.randn(shape, generator=generator)
    turns = count()
    return lambda: torch.from_numpy(noise_at(places, seed, next(turns), shape, factor))


def starting_noise(shape: Shape, frame: Frame, factor: int) -> Tensor:
    """Draw the noise (C, h, w) that a frame starts from; a subseed's noise is mixed in along the sphere."""
    noise = draws(shape, frame.seed, frame.places, factor)()
    if frame.params.subseed_strength <= 0:
        return noise
    other = draws(shape, frame.subseed, frame.places, factor)()
    # Angles are taken along the height, as the A1111 web UI has it, so that a strength means the same.
    return slerp(noise, other, min(frame.params.subseed_strength, 1.0), dim=1)


def step_noise(shape: Shape, frames: Sequence[Frame], factor: int, device: torch.device) -> Callable[[], Tensor]:
    """Return a source of unit noise (B, C, h, w) for the steps, each item from its own seed, apart from the start's."""
    each = [draws(shape, derive_seed(frame.seed, 0, "steps"), frame.places, factor) for frame in frames]
    return lambda: torch.stack([draw() for draw in each]).to(device)


def slerp(a: Tensor, b: Tensor, weight: float, *, dim: int) -> Tensor:
    """Go from `a` (weight 0) to `b` (weight 1) along the sphere, for each vector along `dim`; straight where parallel.

    The coefficients alone are spherical, so lengths in between follow those of `a` and `b` (Shoemake 1985).
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=dim).unsqueeze(dim).clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    parallel = sine < 1e-3
    sine = torch.where(parallel, 1.0, sine)
    left = torch.where(parallel, 1 - weight, torch.sin((1 - weight) * angle) / sine)
    right = torch.where(parallel, weight, torch.sin(weight * angle) / sine)
    return a * left + b * right
