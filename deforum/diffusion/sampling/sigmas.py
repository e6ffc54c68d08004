"""Noise levels (sigmas): a model's training schedule, and the grids of levels that samplers visit. No torch.

Convention: x = x0 + sigma * noise with unit noise (Karras et al. 2022, arXiv 2206.00364), whatever input scaling a
model expects. A time is a timestep: a (fractional) index into the training levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sigmas = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The training noise levels of a model, and its prediction type."""

    sigmas: Sigmas
    """Ascending, (T,)."""
    prediction: str
    """"epsilon", "v_prediction" or "sample"."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prediction: str | None = None) -> NoiseSchedule:
        """Compute the levels from a diffusers `scheduler_config.json`; `prediction` overrides its prediction type.

        Raises ValueError for an unknown beta_schedule.
        """
        alphas = np.cumprod(1 - _betas(config))
        if config.get("rescale_betas_zero_snr"):
            # Zero terminal SNR, Lin et al. 2023 (arXiv 2305.08891); the last level, infinite there, is kept finite.
            root = np.sqrt(alphas)
            root = (root - root[-1]) * root[0] / (root[0] - root[-1])
            alphas = np.maximum(root**2, 2.0**-24)
        return cls(np.sqrt((1 - alphas) / alphas), prediction or str(config.get("prediction_type", "epsilon")))

    def time_of(self, sigma: float) -> float:
        """Return the time (fractional timestep) of a noise level, interpolated in log sigma and clamped to 0..T-1."""
        return float(np.interp(np.log(sigma), np.log(self.sigmas), np.arange(len(self.sigmas))))

    def sigma_at(self, time: float | NDArray[np.float64]) -> Sigmas:
        """Return the noise level at a time (fractional timestep), interpolated in log sigma and clamped."""
        return np.exp(np.interp(time, np.arange(len(self.sigmas)), np.log(self.sigmas)))


def visit(schedule: NoiseSchedule, grid: str, steps: int, *, skip_penultimate: bool = False) -> tuple[float, ...]:
    """Return the steps + 1 noise levels that a sampler visits, descending, ending with 0.

    `grid` is a key of `GRIDS`; `skip_penultimate`: see `samplers.Sampler`.
    """
    levels = GRIDS[grid](schedule, steps + skip_penultimate)
    if skip_penultimate:
        levels = levels[:-1]
    return (*map(float, levels), 0.0)


def _betas(config: Mapping[str, Any]) -> NDArray[np.float64]:
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], float)
    count = int(config.get("num_train_timesteps", 1000))
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    kind = config.get("beta_schedule", "linear")
    if kind == "linear":
        betas = np.linspace(first, last, count)
    elif kind == "scaled_linear":
        betas = np.linspace(first**0.5, last**0.5, count) ** 2
    elif kind == "squaredcos_cap_v2":
        # Nichol and Dhariwal 2021 (arXiv 2102.09672).
        bar = np.cos((np.linspace(0, 1, count + 1) + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - bar[1:] / bar[:-1], 0.999)
    else:
        raise ValueError(f"unknown beta_schedule {kind!r}; expected linear, scaled_linear or squaredcos_cap_v2")
    return betas


def _normal(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Evenly spaced timesteps from the highest level to the lowest (k-diffusion's default)."""
    return schedule.sigma_at(np.linspace(len(schedule.sigmas) - 1, 0, steps))


def _karras(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Karras et al. 2022 (arXiv 2206.00364), equation 5, with rho = 7."""
    high, low = schedule.sigmas[-1] ** (1 / 7), schedule.sigmas[0] ** (1 / 7)
    levels: Sigmas = (high + np.linspace(0, 1, steps) * (low - high)) ** 7
    return levels


def _exponential(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Evenly spaced in log sigma."""
    return np.exp(np.linspace(np.log(schedule.sigmas[-1]), np.log(schedule.sigmas[0]), steps))


def _sgm_uniform(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Evenly spaced timesteps without the lowest level ("trailing" spacing), as few-step distilled models expect."""
    return schedule.sigma_at(np.linspace(len(schedule.sigmas) - 1, 0, steps + 1)[:-1])


def _simple(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Every T/steps-th training level, from the highest."""
    count = len(schedule.sigmas)
    if steps >= count:
        return _normal(schedule, steps)
    return schedule.sigmas[[count - 1 - int(i * count / steps) for i in range(steps)]]


def _ddim_uniform(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Integer timesteps 1, 1 + T/steps, ... ("leading" spacing, steps_offset 1), as in Stable Diffusion's own DDIM."""
    count = len(schedule.sigmas)
    if steps >= count:
        return _normal(schedule, steps)
    return schedule.sigma_at((np.arange(steps)[::-1] * (count // steps) + 1).astype(float))


def _lcm(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """A subset of the 50 levels at which latent consistency models were distilled (arXiv 2310.04378)."""
    count = len(schedule.sigmas)
    if steps >= count:
        return _normal(schedule, steps)
    distilled = (np.arange(1, max(50, steps) + 1) * count / max(50, steps)).astype(int)[::-1] - 1
    picks = np.floor(np.linspace(0, len(distilled), steps, endpoint=False)).astype(int)
    return schedule.sigma_at(distilled[picks].astype(float))


GRIDS: dict[str, Callable[[NoiseSchedule, int], Sigmas]] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "sgm uniform": _sgm_uniform,
    "simple": _simple,
    "ddim uniform": _ddim_uniform,
    "lcm": _lcm,
}
"""Grids by name; each returns `steps` noise levels, descending, without the final 0.

With more steps than there are training levels, those that pick training levels are evenly spaced instead: a level that
is visited twice is a step of length 0."""
