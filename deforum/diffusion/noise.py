"""Noise for latents: drawn on the CPU in float32 from a frame's seed, so that every device starts from the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from deforum.rng import derive_seed

Tensor = torch.Tensor
Shape = tuple[int, int, int]


def starting_noise(shape: Shape, seed: int, subseed: int, subseed_strength: float) -> Tensor:
    """Draw the noise (C, h, w) that a frame starts from; a subseed's noise is mixed in along the sphere."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if subseed_strength <= 0:
        return noise
    other = torch.randn(shape, generator=torch.Generator().manual_seed(subseed))
    # Angles are taken along the height, as the A1111 web UI has it, so that a strength means the same.
    return slerp(noise, other, min(subseed_strength, 1.0), dim=1)


def step_noise(shape: Shape, seeds: Sequence[int], device: torch.device) -> Callable[[], Tensor]:
    """Return a source of unit noise (B, C, h, w) for the steps, each item from its own seed, apart from the start's."""
    generators = [torch.Generator().manual_seed(derive_seed(seed, 0, "steps")) for seed in seeds]

    def draw() -> Tensor:
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)

    return draw


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
