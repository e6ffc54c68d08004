"""ER-SDE-Solver-3 of extended reverse-time SDEs (Cui et al. 2023, arXiv 2309.06169), in its VE form."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt

import numpy as np
import torch

from deforum.diffusion.sampling.walk import Walk

Tensor = torch.Tensor

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


def noise_scale(sigma: float, eta: float) -> float:
    """Return phi(sigma): ER-SDE 5 of the paper at eta 1, and sigma, which is the flow without noise, at eta 0."""
    return sigma * (exp(sigma**0.3) + 10) ** eta if sigma > 0 else 0.0


def er_sde(x: Tensor, walk: Walk) -> Tensor:
    """Three stages: x0 as constant, line and parabola in sigma, one more from step to step."""
    past: list[tuple[Tensor, float]] = []  # (x0, sigma) of the last two steps, newest first
    bend_before: Tensor | None = None
    for sigma, target in walk:
        x0 = walk.denoise(x, sigma)
        if target == 0:
            return walk.hold(x0, target)
        scale = noise_scale(target, walk.eta)
        ratio = scale / noise_scale(sigma, walk.eta)
        x = x * ratio + x0 * (1 - ratio)
        if past:
            step = target - sigma
            slope = (x0 - past[0][0]) / (sigma - past[0][1])
            x = x + slope * (step + scale * _integral(lambda s: 1.0, sigma, target, walk.eta))
            if bend_before is not None:
                bend = (slope - bend_before) / ((sigma - past[1][1]) / 2)
                moment = _integral(lambda s, start=sigma: s - start, sigma, target, walk.eta)  # type: ignore[misc]
                x = x + bend * (step**2 / 2 + scale * moment)
            bend_before = slope
        up = sqrt(max(target**2 - (sigma * ratio) ** 2, 0.0))
        if up > 1e-12:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
        past = [(x0, sigma), *past[:1]]
    return x


def _integral(of: Callable[[float], float], sigma: float, target: float, eta: float) -> float:
    """Integrate of(s) / phi(s) from `target` up to `sigma`, in log sigma, where it is smooth."""
    low, high = np.log(target), np.log(sigma)
    levels = np.exp((high + low) / 2 + (high - low) / 2 * _NODES)
    values = [of(float(s)) / noise_scale(float(s), eta) * float(s) for s in levels]
    return float(np.dot(values, _WEIGHTS) * (high - low) / 2)
