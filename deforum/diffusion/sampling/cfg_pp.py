"""CFG++ (Chung et al. 2024, arXiv 2406.08070): a step moves to the guided x0, and keeps the noise of the unguided one.

The forms of higher order are those that ComfyUI gave these names.
"""

from __future__ import annotations

from math import exp, expm1, log, sqrt

import torch

from deforum.diffusion.sampling.res import line_weights
from deforum.diffusion.sampling.walk import Walk, split

Tensor = torch.Tensor


def euler_cfg_pp(x: Tensor, walk: Walk) -> Tensor:
    return _euler(x, walk, eta=0.0)


def euler_ancestral_cfg_pp(x: Tensor, walk: Walk) -> Tensor:
    return _euler(x, walk, eta=walk.eta)


def _euler(x: Tensor, walk: Walk, eta: float) -> Tensor:
    for sigma, target in walk:
        down, up = split(sigma, target, eta)
        x0, unguided = walk.denoise_apart(x, sigma)
        x = x0 + (x - unguided) * (down / sigma)
        if up > 0:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
    return x


def dpmpp_2m_cfg_pp(x: Tensor, walk: Walk) -> Tensor:
    """DPM++ 2M, whose extrapolation starts from the last unguided x0."""
    before: tuple[Tensor, float] | None = None  # unguided x0, h
    for sigma, target in walk:
        x0, unguided = walk.denoise_apart(x, sigma)
        reached = x0 + (x - unguided) * (target / sigma)
        if target > 0:
            h = log(sigma / target)
            if before is not None:
                reached = reached - (x0 - before[0]) * (expm1(-h) * h / (2 * before[1]))
            before = unguided, h
        x = walk.hold(reached, target)
    return x


def dpmpp_2s_ancestral_cfg_pp(x: Tensor, walk: Walk) -> Tensor:
    """DPM++ 2S a, from latents that are moved by the guidance: two evaluations per step, one in the last."""
    for sigma, target in walk:
        down, up = split(sigma, target, walk.eta)
        x0, unguided = walk.denoise_apart(x, sigma)
        moved = x + (x0 - unguided)
        if down > 0:
            middle = sqrt(sigma * down)
            x0 = walk.denoise(torch.lerp(x0, moved, middle / sigma), middle)
        x = torch.lerp(x0, moved, down / sigma)
        if up > 0:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
    return x


def res_multistep_cfg_pp(x: Tensor, walk: Walk) -> Tensor:
    """RES multistep over the unguided predictions, from latents that are moved by the guidance."""
    before: tuple[Tensor, float] | None = None
    for sigma, target in walk:
        x0, unguided = walk.denoise_apart(x, sigma)
        if before is None or target == 0:
            x = x0 + (x - unguided) * (target / sigma)
        else:
            h = log(sigma / target)
            newest, older = line_weights(h, log(before[1] / sigma))
            x = (x + x0 - unguided) * exp(-h) + unguided * newest + before[0] * older
        x = walk.hold(x, target)
        before = unguided, sigma
    return x
