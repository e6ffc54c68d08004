"""DPM-Solver-fast and the adaptive DPM-Solver-23 (Lu et al. 2022, arXiv 2206.00927), in their forms for sigma.

Both go to the lowest noise level above the walk's end; a step of order 1 takes the noise that is left there.
"""

from __future__ import annotations

from math import exp, expm1, log

import torch

from deforum.diffusion.sampling.walk import Tensor, Walk

_RTOL, _ATOL = 0.05, 0.0078
_FIRST_STEP = 0.05
_SAFETY = 0.9
_LEAST, _LARGEST = 0.2, 2.5
"""Factors between one tried step and the next, so that a lucky estimate does not lead across everything."""
_MOST = 1000
"""Tried steps of the adaptive solver; a broken model would need any number."""


def dpm_fast(x: Tensor, walk: Walk) -> Tensor:
    """Take steps of order 3, even in log sigma, and end with lower ones: as many evaluations as the walk has steps."""
    start, *_, low, end = (walk.sigmas[0], *walk.sigmas)
    evaluations = len(walk.sigmas) - 2  # the last one takes the rest
    count, rest = divmod(evaluations, 3)
    orders = [3] * (count - 1) + [2, 1] if rest == 0 and count else [3] * count + [rest] * (rest > 0)
    for i, order in enumerate(orders):
        h = log(start / low) / len(orders)
        x = _step(x, walk, i * h - log(start), h, order)[0]
        x = walk.hold(x, start * exp(-(i + 1) * h))
    return walk.hold(torch.lerp(walk.denoise(x, low), x, end / low), end)


def dpm_adaptive(x: Tensor, walk: Walk) -> Tensor:
    """Choose steps so that those of order 2 and 3 agree; the walk's first level is its start, its number is not read.

    Three evaluations for each step that is tried. The error of a step is read back from the device.
    """
    low = _lowest(walk)
    at, end = -log(walk.sigmas[0]), -log(low)
    h, before = _FIRST_STEP, x
    for _ in range(_MOST):
        if at >= end - 1e-5:
            break
        h = min(h, end - at)
        higher, lower = _step(x, walk, at, h, 3)
        allowed = torch.maximum(torch.full_like(x, _ATOL), _RTOL * torch.maximum(lower.abs(), before.abs()))
        error = float(((higher - lower) / allowed).square().mean().sqrt())
        if error <= 1:
            at += h
            x, before = walk.hold(higher, exp(-at)), lower
        h *= min(max(_SAFETY * max(error, 1e-8) ** (-1 / 3), _LEAST), _LARGEST)
    return walk.hold(torch.lerp(walk.denoise(x, exp(-at)), x, walk.sigmas[-1] / exp(-at)), walk.sigmas[-1])


def _lowest(walk: Walk) -> float:
    """Return the lowest level above 0 of a walk; of one of a single step, that of the training."""
    return walk.sigmas[-2] if len(walk.sigmas) > 2 else min(float(walk.schedule.sigmas[0]), walk.sigmas[0])


def _step(x: Tensor, walk: Walk, at: float, h: float, order: int) -> tuple[Tensor, Tensor]:
    """Step from -log sigma = `at` by `h`: return the result of the order, and of the order below it."""

    def noise(given: Tensor, shift: float) -> Tensor:
        sigma = exp(-(at + shift))
        return (given - walk.denoise(given, sigma)) / sigma

    def sigma(shift: float) -> float:
        return exp(-(at + shift))

    eps = noise(x, 0.0)
    first = x - eps * (sigma(h) * expm1(h))
    if order == 1:
        return first, x
    r = 1 / 2 if order == 2 else 1 / 3
    eps_1 = noise(x - eps * (sigma(r * h) * expm1(r * h)), r * h)
    second = first - (eps_1 - eps) * (sigma(h) * expm1(h) / (2 * r))
    if order == 2:
        return second, first
    r_2 = 2 / 3
    bend = sigma(r_2 * h) * (r_2 / r) * (expm1(r_2 * h) / (r_2 * h) - 1)
    halfway = x - eps * (sigma(r_2 * h) * expm1(r_2 * h)) - (eps_1 - eps) * bend
    eps_2 = noise(halfway, r_2 * h)
    third = first - (eps_2 - eps) * (sigma(h) / r_2 * (expm1(h) / h - 1))
    return third, second
