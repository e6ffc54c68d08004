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

from deforum.diffusion.sampling.step_tables import STEP_TABLES
from deforum.limits import TIMESTEPS

Sigmas = NDArray[np.float64]


PURE = 1e4
"""The level that stands for pure noise, without a share of the picture; solvers leave it as `solvers.solve` does."""
_CONTINUOUS_LEVELS = 1000  # levels that stand for a continuous range of them


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels that a model was trained on, and what its network takes and predicts."""

    sigmas: Sigmas
    """Ascending, (T,)."""
    prediction: str
    """"epsilon", "v_prediction", "sample", or "edm" for the network of EDM, which predicts -v."""
    data: float = 1.0
    """Standard deviation of clean latents, sigma_data of EDM (Karras et al. 2022)."""
    reads_log: bool = False
    """The network takes ln(sigma) / 4 in place of a timestep, as EDM's do."""
    step_table: int = 0
    """Which of the published `STEP_TABLES` of a name was found for models of this kind."""
    trailing: bool = False
    """The model is made for levels without the lowest, "trailing" spacing (Lin et al. 2023, arXiv 2305.08891)."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prediction: str | None = None) -> NoiseSchedule:
        """Compute the levels from a diffusers `scheduler_config.json`; `prediction` overrides its prediction type.

        Raises ValueError for a config that is broken, or whose kind of noise no sampler here knows.
        """
        name = str(config.get("_class_name", ""))
        if is_flow(config):
            raise ValueError("a flow-matching model; expected one trained on noise levels (epsilon or v-prediction)")
        if name in _OTHER_NOISE:
            raise ValueError(f"{name}: a kind of noise that no sampler here knows; use another model")
        said = _PREDICTIONS.get(str(config.get("prediction_type", "epsilon")))
        if prediction is None and said is None:
            raise ValueError(
                f"prediction_type is {str(config['prediction_type'])[:60]!r}; expected {', '.join(PREDICTIONS)}; "
                f"correct it, or set prediction_type to one of these in the settings"
            )
        kind = prediction or str(said)
        if name.startswith("EDM"):
            levels = _between(_number(config, "sigma_min", 0.002), _number(config, "sigma_max", 80.0))
            is_edm = prediction is None and kind == "epsilon"  # so diffusers calls EDM's own network
            return cls(levels, "edm" if is_edm else kind, _number(config, "sigma_data", 0.5), reads_log=True)
        sigmas = _levels_of(_betas(config), zero_snr=bool(config.get("rescale_betas_zero_snr")))
        return cls(
            sigmas,
            kind,
            reads_log=config.get("timestep_type") == "continuous" and kind == "v_prediction",
            trailing=config.get("timestep_spacing") == "trailing",
        )

    def at_size(self, width: int, height: int) -> NoiseSchedule:
        """Return the levels for pictures of width x height px."""
        return self

    def for_init(self) -> NoiseSchedule:
        """Return the levels that are visited from an init."""
        return self

    def scales_at(self, sigma: float) -> tuple[float, float, float]:
        """Return c_in, c_skip and c_out at a noise level: x0 = c_skip x + c_out network(c_in x).

        Source: Karras et al. 2022 (arXiv 2206.00364), table 1; for v-prediction Salimans and Ho 2022, appendix D.
        """
        total = sigma**2 + self.data**2
        if self.prediction == "epsilon":
            return total**-0.5, 1.0, -sigma
        if self.prediction == "sample":
            return total**-0.5, 0.0, 1.0
        sign = 1 if self.prediction == "edm" else -1
        return total**-0.5, self.data**2 / total, sign * sigma * self.data * total**-0.5

    def network_time(self, sigma: float) -> float:
        """Return what the network takes for the time at a noise level."""
        return float(np.log(sigma)) / 4 if self.reads_log else self.time_of(sigma)

    def time_of(self, sigma: float) -> float:
        """Return the time (fractional timestep) of a noise level, interpolated in log sigma and clamped to 0..T-1."""
        return float(np.interp(np.log(sigma), np.log(self.sigmas), np.arange(len(self.sigmas))))

    def sigma_at(self, time: float | NDArray[np.float64]) -> Sigmas:
        """Return the noise level at a time (fractional timestep), interpolated in log sigma and clamped."""
        return np.exp(np.interp(time, np.arange(len(self.sigmas)), np.log(self.sigmas)))

    def even(self, steps: int) -> Sigmas:
        """Return `steps` levels as the model's own sampling spaces them, from the highest."""
        return self.sigma_at(np.linspace(len(self.sigmas) - 1, 0, steps))

    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest level, as numbers between which a grid is spread, see `spread`."""
        return float(self.sigmas[0]), float(self.sigmas[-1])

    def spread(self, values: NDArray[np.float64]) -> Sigmas:
        """Return the levels of numbers between `ends`."""
        return values


def is_flow(config: Mapping[str, Any]) -> bool:
    """Whether a diffusers `scheduler_config.json` is of a flow-matching model."""
    name = str(config.get("_class_name", ""))
    return name.startswith("FlowMatch") or bool(config.get("use_flow_sigmas"))


def visit(schedule: NoiseSchedule, grid: str, steps: int, *, skip_penultimate: bool = False) -> tuple[float, ...]:
    """Return the steps + 1 noise levels that a sampler visits, descending, ending with 0.

    `grid` is a key of `GRIDS`; a model with trailing spacing has "sgm uniform" in place of "normal".
    `skip_penultimate`: see `samplers.Sampler`.
    """
    if grid == "normal" and schedule.trailing:
        grid = "sgm uniform"
    levels = GRIDS[grid](schedule, steps + skip_penultimate)
    if skip_penultimate:
        levels = levels[:-1]
    return (*map(float, levels), 0.0)


def _betas(config: Mapping[str, Any]) -> NDArray[np.float64]:
    given = config.get("trained_betas")
    if given is not None:
        if not isinstance(given, list) or not 1 < len(given) <= TIMESTEPS.most:
            raise ValueError(f"trained_betas are not a list of 2 to {TIMESTEPS.most:,} numbers")
        betas = np.asarray(given, float)
        if betas.ndim != 1:
            raise ValueError("trained_betas are not a list of numbers")
        return betas
    count = config.get("num_train_timesteps", 1000)
    if not isinstance(count, int) or not 2 <= count <= TIMESTEPS.most:
        raise ValueError(f"num_train_timesteps is {str(count)[:60]}; expected 2 to {TIMESTEPS.most:,}")
    first, last = _number(config, "beta_start", 1e-4), _number(config, "beta_end", 0.02)
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
        raise ValueError(
            f"unknown beta_schedule {str(kind)[:60]!r}; expected linear, scaled_linear or squaredcos_cap_v2"
        )
    return betas


def _levels_of(betas: NDArray[np.float64], *, zero_snr: bool) -> Sigmas:
    """Return the noise levels of betas. Raises ValueError where they do not rise from above 0 to a finite level."""
    alphas = np.cumprod(1 - betas)
    if zero_snr:
        # Zero terminal SNR, Lin et al. 2023 (arXiv 2305.08891); the last level, infinite there, is kept finite.
        root = np.sqrt(alphas)
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        alphas = np.maximum(root**2, 2.0**-24)
    with np.errstate(all="ignore"):
        sigmas: Sigmas = np.sqrt((1 - alphas) / alphas)
    if not (np.isfinite(sigmas).all() and sigmas[0] > 0 and (np.diff(sigmas) >= 0).all()):
        raise ValueError("its betas give no rising noise levels; expected numbers between 0 and 1")
    return sigmas


def _between(low: float, high: float) -> Sigmas:
    """Return levels evenly spaced in log sigma, for a model trained on a continuous range of them."""
    if not low < high:
        raise ValueError(f"sigma_min is {low:g} and sigma_max {high:g}; expected sigma_min below sigma_max")
    levels: Sigmas = np.geomspace(low, high, _CONTINUOUS_LEVELS)
    return levels


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"{key} is {str(value)[:60]}; expected a number above 0")
    return float(value)


PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""Prediction types of scheduler configs that samplers know."""
_PREDICTIONS = {name: name for name in PREDICTIONS} | {"v": "v_prediction"}
_OTHER_NOISE = frozenset((
    "CMStochasticIterativeScheduler", "KarrasVeScheduler", "ScoreSdeVeScheduler", "ScoreSdeVpScheduler",
    "CosineDPMSolverMultistepScheduler", "VQDiffusionScheduler", "AmusedScheduler", "IPNDMScheduler",
))  # fmt: skip


def _normal(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Evenly spaced timesteps from the highest level to the lowest (k-diffusion's default)."""
    return schedule.even(steps)


def _karras(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Karras et al. 2022 (arXiv 2206.00364), equation 5, with rho = 7."""
    low, high = (end ** (1 / 7) for end in schedule.ends())
    return schedule.spread((high + np.linspace(0, 1, steps) * (low - high)) ** 7)


def _exponential(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Evenly spaced in log sigma."""
    low, high = schedule.ends()
    return schedule.spread(np.exp(np.linspace(np.log(high), np.log(low), steps)))


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


def _turbo(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Timesteps T k/steps - 1 for k = steps..1, "trailing" spacing of whole timesteps, for Turbo models."""
    count = len(schedule.sigmas)
    if steps >= count:
        return _normal(schedule, steps)
    return schedule.sigma_at(np.rint(np.arange(steps, 0, -1) * (count / steps) - 1))


def _karras_exponential(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """From Karras's levels at first to those even in log sigma at last, faded in log sigma."""
    share = np.linspace(0, 1, steps)
    levels: Sigmas = _karras(schedule, steps) ** (1 - share) * _exponential(schedule, steps) ** share
    return levels


def _beta(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Quantiles of the beta distribution with alpha = beta = 0.6, between the lowest and the highest level.

    Source: Lee et al. 2024, "Beta Sampling is All You Need" (arXiv 2407.12173), in the form of the A1111 web UI and
    diffusers, which is over sigma.
    """
    low, high = schedule.ends()
    return schedule.spread(low + (high - low) * beta_quantiles(np.linspace(1, 0, steps), 0.6))


def beta_quantiles(shares: NDArray[np.float64], shape: float) -> NDArray[np.float64]:
    """Return the quantiles of the beta distribution with alpha = beta = `shape`, below 1.

    The density x**(shape-1) (1-x)**(shape-1) is integrated over u = x**shape from 0 to the middle, where it is smooth.
    """
    u = np.linspace(0, 0.5**shape, 4001)
    density = (1 - u ** (1 / shape)) ** (shape - 1)
    middle = (1 - ((u[1:] + u[:-1]) / 2) ** (1 / shape)) ** (shape - 1)
    parts = (density[1:] + 4 * middle + density[:-1]) / 6  # Simpson's rule
    mass = np.concatenate(([0.0], np.cumsum(parts)))
    half = np.interp(np.minimum(shares, 1 - shares), mass / mass[-1] / 2, u) ** (1 / shape)
    return np.where(shares > 0.5, 1 - half, half)


def _kl_optimal(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Even in arctan sigma: nearest to the flow for normal data (Sabour et al. 2024, arXiv 2404.14507, theorem 3.1)."""
    low, high = np.arctan(schedule.ends())
    levels: Sigmas = np.tan(np.linspace(high, low, steps))
    return schedule.spread(levels)


def _linear_quadratic(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Half of the steps even down to 0.975 of the highest level, the rest along a parabola that goes on smoothly to 0.

    Source: the schedule of Genmo's Mochi, for flow matching; for others times the highest level, as in ComfyUI.
    """
    low, high = schedule.ends()
    first = steps // 2
    if first == 0:
        return schedule.spread(np.asarray([high]))
    threshold, rest = 0.025, steps - first
    slope = threshold / first
    bend = (1 - threshold - slope * rest) / rest**2
    x = np.arange(steps, dtype=np.float64) - first
    done: Sigmas = threshold + slope * x + np.where(x > 0, bend * x**2, 0.0)
    levels: Sigmas = (1 - done) * high
    return schedule.spread(levels) if levels[-1] > low else _normal(schedule, steps)


def _bong_tangent(schedule: NoiseSchedule, steps: int) -> Sigmas:
    """Two arctangents, to the middle level and on to the lowest, slow where they meet. Source: RES4LYF."""
    total = steps + 2
    pivot = int(total * 0.6)
    slope = 0.2 / (total / 40)

    def fall(count: int, pivot: int) -> NDArray[np.float64]:
        values = -np.arctan(slope * (np.arange(count) - pivot))
        fallen: NDArray[np.float64] = (values - values[-1]) / (values[0] - values[-1])
        return fallen

    low, high = schedule.ends()
    if steps < 2:
        return schedule.spread(np.asarray([high]))
    down = np.concatenate((0.5 + 0.5 * fall(pivot, pivot)[:-1], 0.5 * fall(total - pivot, 0)))[:-1]
    return schedule.spread(low + (high - low) * down)


def _from_table(name: str) -> Callable[[NoiseSchedule, int], Sigmas]:
    """Return the grid through the published levels of `STEP_TABLES`, interpolated in log sigma to any number of steps.

    Each is fitted to the model's lowest and highest level, linearly.
    """

    def grid(schedule: NoiseSchedule, steps: int) -> Sigmas:
        table = np.asarray(STEP_TABLES[name][schedule.step_table])
        if schedule.prediction == "flow":
            table = table / (1 + table)  # as shares of noise, between which its grids are spread
        low, high = schedule.ends()
        table = low + (table - table[-1]) / (table[0] - table[-1]) * (high - low)
        places = np.linspace(0, 1, steps), np.linspace(0, 1, len(table))
        return schedule.spread(np.exp(np.interp(*places, np.log(table))))

    return grid


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
    "turbo": _turbo,
    "karras exponential": _karras_exponential,
    "beta": _beta,
    "kl optimal": _kl_optimal,
    "linear quadratic": _linear_quadratic,
    "bong tangent": _bong_tangent,
    "align your steps": _from_table("align your steps"),
    "align your steps 32": _from_table("align your steps 32"),
    "gits": _from_table("gits"),
}
"""Grids by name; each returns `steps` noise levels, descending, without the final 0.

With more steps than there are training levels, those that pick training levels are evenly spaced instead: a level that
is visited twice is a step of length 0."""
