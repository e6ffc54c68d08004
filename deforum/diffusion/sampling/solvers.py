"""Solvers: the algorithms of the samplers, which take latents from the highest noise level to 0.

Convention: x = x0 + sigma * noise, float32 (B, C, h, w); `Walk.denoise(x, sigma)` predicts x0 and costs one evaluation
of the model; `Walk.sigmas` descends to 0, or to a low level. With lambda = -log(sigma), the exponential integrators
of the papers take their "data prediction" forms with alpha = 1. Formulas: Karras et al. 2022 (arXiv 2206.00364), Lu et
al. 2022 (DPM-Solver++, 2211.01095), Zhao et al. 2023 (UniPC, 2302.04867), Zhang and Chen 2023 (DEIS, 2204.13902), Liu
et al. 2022 (PLMS, 2202.09778); the meaning of the names in practice follows k-diffusion (Crowson, MIT).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp, expm1, floor, log, sqrt

import numpy as np
import torch

from deforum.diffusion.sampling.cfg_pp import (
    dpmpp_2m_cfg_pp,
    dpmpp_2s_ancestral_cfg_pp,
    euler_ancestral_cfg_pp,
    euler_cfg_pp,
    res_multistep_cfg_pp,
)
from deforum.diffusion.sampling.dpm_solver import dpm_adaptive, dpm_fast
from deforum.diffusion.sampling.er_sde import er_sde
from deforum.diffusion.sampling.res import res_multistep, res_multistep_ancestral
from deforum.diffusion.sampling.restart import restart
from deforum.diffusion.sampling.sigmas import PURE
from deforum.diffusion.sampling.walk import Solver, Walk, split

Tensor = torch.Tensor


def solve(solver: str, x: Tensor, walk: Walk) -> Tensor:
    """Run a solver, a key of `SOLVERS`, from latents x (B, C, h, w) at the first level of a walk to its last.

    From pure noise (`PURE`) no solver's step of higher order has a meaning, and large numbers would cancel: the step to
    the second level is its limit of first order. Fresh noise takes the place of the start's as `eta` says.
    """
    first, *rest = walk.sigmas
    if first < PURE or solver in _FROM_PURE_NOISE:
        return SOLVERS[solver](x, walk)
    x0 = walk.denoise(x, first)
    up = rest[0] * min(walk.eta, 1.0)
    x0 = x0 + x * (sqrt(rest[0] ** 2 - up**2) / first)
    x = walk.hold(x0 + walk.noise() * up if up > 0 else x0, rest[0])
    return SOLVERS[solver](x, replace(walk, sigmas=tuple(rest))) if len(rest) > 1 else x


def euler(x: Tensor, walk: Walk) -> Tensor:
    for sigma, target in walk:
        slope = (x - walk.denoise(x, sigma)) / sigma
        x = walk.hold(x + slope * (target - sigma), target)
    return x


def euler_ancestral(x: Tensor, walk: Walk) -> Tensor:
    """Ancestral Euler: a step to a level below the target, then noise up to it. On DDIM's grid this is DDIM."""
    for sigma, target in walk:
        down, up = split(sigma, target, walk.eta)
        slope = (x - walk.denoise(x, sigma)) / sigma
        x = x + slope * (down - sigma)
        if up > 0:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
    return x


def heun(x: Tensor, walk: Walk) -> Tensor:
    """Heun's method (Karras et al. 2022, algorithm 1 without churn): two evaluations per step, one in the last."""
    for sigma, target in walk:
        slope = (x - walk.denoise(x, sigma)) / sigma
        reached = x + slope * (target - sigma)
        if target > 0:
            slope = (slope + (reached - walk.denoise(reached, target)) / target) / 2
            reached = x + slope * (target - sigma)
        x = walk.hold(reached, target)
    return x


def dpm_2(x: Tensor, walk: Walk) -> Tensor:
    return _dpm_2(x, walk, eta=0)


def dpm_2_ancestral(x: Tensor, walk: Walk) -> Tensor:
    return _dpm_2(x, walk, eta=walk.eta)


def _dpm_2(x: Tensor, walk: Walk, eta: float) -> Tensor:
    """DPM-Solver-2: the midpoint rule in log sigma, two evaluations per step, one in the last."""
    for sigma, target in walk:
        down, up = split(sigma, target, eta)
        slope = (x - walk.denoise(x, sigma)) / sigma
        if down > 0:
            middle = sqrt(sigma * down)
            halfway = x + slope * (middle - sigma)
            slope = (halfway - walk.denoise(halfway, middle)) / middle
        x = x + slope * (down - sigma)
        if up > 0:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
    return x


def dpmpp_2s_ancestral(x: Tensor, walk: Walk) -> Tensor:
    """DPM-Solver++(2S) with ancestral noise: two evaluations per step, one in the last."""
    for sigma, target in walk:
        down, up = split(sigma, target, walk.eta)
        x0 = walk.denoise(x, sigma)
        if down > 0:
            middle = sqrt(sigma * down)
            x0 = walk.denoise(torch.lerp(x0, x, middle / sigma), middle)
        x = torch.lerp(x0, x, down / sigma)
        if up > 0:
            x = x + walk.noise() * up
        x = walk.hold(x, target)
    return x


def dpmpp_2m(x: Tensor, walk: Walk) -> Tensor:
    """DPM-Solver++(2M): x0 is extrapolated from this step's and the previous step's prediction."""
    before: Tensor | None = None
    h_before = 0.0
    for sigma, target in walk:
        x0 = walk.denoise(x, sigma)
        estimate = x0
        if target > 0:
            h = log(sigma / target)
            if before is not None:
                estimate = x0 + (x0 - before) * (h / (2 * h_before))
            h_before = h
        x = walk.hold(torch.lerp(estimate, x, target / sigma), target)
        before = x0
    return x


def dpmpp_sde(x: Tensor, walk: Walk) -> Tensor:
    """DPM-Solver++ SDE, single-step midpoint: two evaluations per step, one in the last."""
    for sigma, target in walk:
        x0 = walk.denoise(x, sigma)
        if target == 0:
            x = walk.hold(x0, target)
            continue
        middle = sqrt(sigma * target)
        # The noise of the step and of its first half are increments of one Brownian path in sigma.
        first, second = walk.noise(), walk.noise()
        whole = (first * sqrt(sigma - middle) + second * sqrt(middle - target)) / sqrt(sigma - target)
        down, up = split(sigma, middle, walk.eta)
        halfway = torch.lerp(x0, x, down / sigma) + first * up
        down, up = split(sigma, target, walk.eta)
        x = walk.hold(torch.lerp(walk.denoise(halfway, middle), x, down / sigma) + whole * up, target)
    return x


def dpmpp_2m_sde(x: Tensor, walk: Walk) -> Tensor:
    return _dpmpp_2m_sde(x, walk, lambda h: -expm1(-h) / 2)


def dpmpp_2m_sde_heun(x: Tensor, walk: Walk) -> Tensor:
    return _dpmpp_2m_sde(x, walk, lambda h: 1 + expm1(-h) / h)


def _dpmpp_2m_sde(x: Tensor, walk: Walk, correction: Callable[[float], float]) -> Tensor:
    """SDE-DPM-Solver++(2M); `correction(h)` is the weight of the slope of x0."""
    before: Tensor | None = None
    h_before = 0.0
    for sigma, target in walk:
        x0 = walk.denoise(x, sigma)
        if target == 0:
            return walk.hold(x0, target)
        h = log(sigma / target)
        decay = h * (1 + walk.eta)
        x = exp(-decay) * x - expm1(-decay) * x0
        if before is not None:
            x = x + (x0 - before) * (correction(decay) * h / h_before)
        if walk.eta > 0:
            x = x + walk.noise() * (target * sqrt(-expm1(-2 * walk.eta * h)))
        x = walk.hold(x, target)
        before, h_before = x0, h
    return x


def dpmpp_3m_sde(x: Tensor, walk: Walk) -> Tensor:
    """SDE-DPM-Solver++(3M)."""
    past: list[tuple[Tensor, float]] = []  # (x0, h) of the last two steps, newest first
    for sigma, target in walk:
        x0 = walk.denoise(x, sigma)
        if target == 0:
            return walk.hold(x0, target)
        h = log(sigma / target)
        decay = h * (1 + walk.eta)
        x = exp(-decay) * x - expm1(-decay) * x0
        phi_2 = 1 + expm1(-decay) / decay
        if past:
            r0 = past[0][1] / h
            slope = (x0 - past[0][0]) / r0
            if len(past) == 2:
                r1 = past[1][1] / h
                bend = (slope - (past[0][0] - past[1][0]) / r1) / (r0 + r1)
                slope = slope + bend * r0
                x = x - bend * (phi_2 / decay - 0.5)
            x = x + slope * phi_2
        if walk.eta > 0:
            x = x + walk.noise() * (target * sqrt(-expm1(-2 * walk.eta * h)))
        x = walk.hold(x, target)
        past = [(x0, h), *past[:1]]
    return x


def lms(x: Tensor, walk: Walk) -> Tensor:
    """Linear multistep of order 4: integrates the polynomial through the last four slopes over the step.

    These are Adams-Bashforth weights for uneven steps, those of IPNDM_V.
    """
    slopes: list[Tensor] = []  # newest first
    for i, (sigma, target) in enumerate(walk):
        slopes = [(x - walk.denoise(x, sigma)) / sigma, *slopes[:3]]
        nodes = [walk.sigmas[i - j] for j in range(len(slopes))]
        for j, slope in enumerate(slopes):
            others = nodes[:j] + nodes[j + 1 :]
            basis = np.poly1d(others, r=True) / np.prod([nodes[j] - other for other in others])
            integral = basis.integ()
            x = x + slope * float(integral(target) - integral(sigma))
        x = walk.hold(x, target)
    return x


def plms(x: Tensor, walk: Walk) -> Tensor:
    """Pseudo linear multistep (PLMS): Adams-Bashforth weights; the first step takes one more evaluation."""
    slopes: list[Tensor] = []  # newest first
    for sigma, target in walk:
        slopes = [(x - walk.denoise(x, sigma)) / sigma, *slopes[:3]]
        if len(slopes) == 1 and target > 0:
            reached = x + slopes[0] * (target - sigma)
            slope = (slopes[0] + (reached - walk.denoise(reached, target)) / target) / 2
        else:
            slope = sum((s * w for s, w in zip(slopes, _ADAMS[len(slopes)], strict=True)), torch.zeros_like(x))
        x = walk.hold(x + slope * (target - sigma), target)
    return x


def ipndm(x: Tensor, walk: Walk) -> Tensor:
    """Improved PNDM (Zhang and Chen 2023): Adams-Bashforth weights of even steps, from one slope up to four."""
    slopes: list[Tensor] = []  # newest first
    for sigma, target in walk:
        slopes = [(x - walk.denoise(x, sigma)) / sigma, *slopes[:3]]
        slope = sum((s * w for s, w in zip(slopes, _ADAMS[len(slopes)], strict=True)), torch.zeros_like(x))
        x = walk.hold(x + slope * (target - sigma), target)
    return x


_ADAMS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def deis(x: Tensor, walk: Walk) -> Tensor:
    """DEIS (tAB2 with rho = sigma): the line through two slopes in log sigma, integrated over sigma."""
    before: tuple[Tensor, float] | None = None
    for sigma, target in walk:
        slope = (x - walk.denoise(x, sigma)) / sigma
        if before is None or target == 0:
            reached = x + slope * (target - sigma)
        else:
            older, older_sigma = before

            def integral(at: float, zero: float, one: float) -> float:
                """Antiderivative in sigma, at `at`, of the line in log sigma that is 0 at `zero` and 1 at `one`."""
                return at * (log(at / zero) - 1) / log(one / zero)

            newest = integral(target, older_sigma, sigma) - integral(sigma, older_sigma, sigma)
            last = integral(target, sigma, older_sigma) - integral(sigma, sigma, older_sigma)
            reached = x + slope * newest + older * last
        x, before = walk.hold(reached, target), (slope, sigma)
    return x


def unipc(x: Tensor, walk: Walk) -> Tensor:
    """UniPC of order 2 with B(h) = e^h - 1 ("bh2"): the next step's evaluation also corrects the predicted latents.

    The last step is of first order.
    """
    past: list[tuple[Tensor, float]] = []  # (x0, sigma) of the last two steps, newest first
    origin = x  # the corrected latents from which the last prediction started
    for i, (sigma, target) in enumerate(walk):
        x0 = walk.denoise(x, sigma)
        if target == 0:
            return walk.hold(x0, target)
        if past:
            x = walk.hold(_unipc_correct(origin, x0, sigma, past), sigma)
        origin = x
        past = [(x0, sigma), *past[:1]]
        h = log(sigma / target)
        estimate = x0
        if len(past) == 2 and i < len(walk.sigmas) - 2:
            older, older_sigma = past[1]
            estimate = x0 + (older - x0) * (0.5 * h / log(sigma / older_sigma))
        x = walk.hold(torch.lerp(estimate, x, target / sigma), target)
    return x


def _unipc_correct(origin: Tensor, x0: Tensor, sigma: float, past: list[tuple[Tensor, float]]) -> Tensor:
    """Correct the step from `origin` to `sigma`, given the x0 predicted at its end."""
    start, start_sigma = past[0]
    h = log(start_sigma / sigma)
    estimate = start + (x0 - start) / 2
    if len(past) == 2:
        older, older_sigma = past[1]
        r = log(start_sigma / older_sigma) / h
        weight = 1 / -h - 1 / expm1(-h)  # phi_2 over B(h), and phi_3 over B(h) below
        bent = 2 * (weight / -h - 0.5 / expm1(-h))
        older_weight, end_weight = np.linalg.solve(np.array([[1, 1], [r, 1]]), np.array([weight, bent]))
        estimate = start + (older - start) * (float(older_weight) / r) + (x0 - start) * float(end_weight)
    return torch.lerp(estimate, origin, sigma / start_sigma)


def lcm(x: Tensor, walk: Walk) -> Tensor:
    """Latent consistency sampling (LCM, arXiv 2310.04378): predict x0, then add fresh noise of the target level.

    The paper's boundary scalings are left out: at the visited levels they differ from 0 and 1 by less than 1e-5.
    """
    for sigma, target in walk:
        x = walk.denoise(x, sigma)
        if target > 0:
            x = x + walk.noise() * target
        x = walk.hold(x, target)
    return x


def tcd(x: Tensor, walk: Walk) -> Tensor:
    """Trajectory consistency (TCD, arXiv 2402.19159), gamma 0.3: a step to below the target, then noise up to it.

    The level below is at the whole timestep that diffusers takes.
    """
    for sigma, target in walk:
        x0 = walk.denoise(x, sigma)
        if target == 0:
            return walk.hold(x0, target)
        below = float(walk.schedule.sigma_at(floor(0.7 * walk.schedule.time_of(target) + 1e-6)))
        reached = torch.lerp(x0, x, below / sigma) + walk.noise() * sqrt(target**2 - below**2)
        x = walk.hold(reached, target)
    return x


SOLVERS: dict[str, Solver] = {
    solver.__name__: solver
    for solver in (
        euler,
        euler_ancestral,
        heun,
        dpm_2,
        dpm_2_ancestral,
        dpmpp_2s_ancestral,
        dpmpp_2m,
        dpmpp_sde,
        dpmpp_2m_sde,
        dpmpp_2m_sde_heun,
        dpmpp_3m_sde,
        lms,
        plms,
        deis,
        unipc,
        lcm,
        tcd,
        restart,
        dpm_fast,
        dpm_adaptive,
        er_sde,
        res_multistep,
        res_multistep_ancestral,
        euler_cfg_pp,
        euler_ancestral_cfg_pp,
        dpmpp_2m_cfg_pp,
        dpmpp_2s_ancestral_cfg_pp,
        res_multistep_cfg_pp,
        ipndm,
    )
}
"""Solvers by name, the keys that `samplers.SAMPLERS` uses."""
_FROM_PURE_NOISE = ("lcm",)
"""Solvers that know what to do with pure noise: they replace it."""
