"""Refined exponential solver (RES), multistep of order 2 (Zhang et al. 2023, arXiv 2308.02157)."""

from __future__ import annotations

from math import exp, expm1, log

import torch

from deforum.diffusion.sampling.walk import Walk, split

Tensor = torch.Tensor


def res_multistep(x: Tensor, walk: Walk) -> Tensor:
    return _multistep(x, walk, eta=0.0)


def res_multistep_ancestral(x: Tensor, walk: Walk) -> Tensor:
    return _multistep(x, walk, eta=walk.eta)


def _multistep(x: Tensor, walk: Walk, eta: float) -> Tensor:
    """Integrate the line through the last two predictions of x0 in log sigma exactly, down to an ancestral level."""
    before: tuple[Tensor, float] | None = None
    for sigma, target in walk:
        down, up = split(sigma, target, eta)
        x0 = walk.denoise(x, sigma)
        if before is None or down == 0:
            x = torch.lerp(x0, x, down / sigma)
        else:
            newest, older = line_weights(log(sigma / down), log(before[1] / sigma))
            x = x * (down / sigma) + x0 * newest + before[0] * older
        if up > 0:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
        before = x0, sigma
    return x


def line_weights(h: float, h_before: float) -> tuple[float, float]:
    """Return the weights of the newest and the older x0 over a step of `h` in -log sigma, after one of `h_before`."""
    phi_1, phi_2 = -expm1(-h), h - 1 + exp(-h)  # times h, which are the integrals of 1 and of the time since the start
    return phi_1 + phi_2 / h_before, -phi_2 / h_before
