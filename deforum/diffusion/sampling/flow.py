"""Noise levels of flow-matching models (rectified flow, Liu et al. 2022, arXiv 2209.03003; Esser et al., 2403.03206).

Convention: these models mix x = (1 - s) x0 + s noise with a share of noise s from 0 to 1, and predict noise - x0. The
solvers know levels sigma with y = x0 + sigma noise: sigma = s / (1 - s) and y = x / (1 - s) are the same mixture. A
share of 1 is the level `PURE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deforum.diffusion.sampling.sigmas import PURE, NoiseSchedule, Sigmas, is_flow

Spacing = Literal["linspace", "trailing"]
"""How a model's own steps lie in u, the share before its shift: from 1 to the lowest level, or 1, 1 - 1/n, ... 1/n."""

_REFERENCE = NoiseSchedule.from_config(
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
)
"""The levels of Stable Diffusion 1, by which strength is measured."""
_UNSUPPORTED = ("invert_sigmas", "shift_terminal", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


@dataclass(frozen=True)
class DynamicShift:
    """A shift that grows with the size of a picture, as linear in its number of tokens (cells of 2x2 latents)."""

    base: float = 0.5
    largest: float = 1.15
    base_tokens: int = 256
    most_tokens: int = 4096
    is_exponential: bool = True

    def of(self, width: int, height: int) -> float:
        """Return the shift of pictures of width x height px."""
        tokens = (height // 16) * (width // 16)
        slope = (self.largest - self.base) / (self.most_tokens - self.base_tokens)
        mu = self.base + slope * (tokens - self.base_tokens)
        return exp(mu) if self.is_exponential else mu


@dataclass(frozen=True, eq=False)
class FlowSchedule(NoiseSchedule):
    """The levels of a flow-matching model; `prediction` is "flow"."""

    shift: float = 1.0
    """How far levels are moved towards noise: s = shift u / (1 + (shift - 1) u)."""
    dynamic: DynamicShift | None = None
    spacing: Spacing = "linspace"

    @classmethod
    def of(
        cls, shift: float, *, levels: int = 1000, dynamic: DynamicShift | None = None, spacing: Spacing = "linspace"
    ) -> FlowSchedule:
        """Make the schedule with `levels` training levels."""
        sigmas = _sigma(_shifted(np.arange(1, levels + 1) / levels, shift))
        return cls(sigmas, "flow", shift=shift, dynamic=dynamic, spacing=spacing)

    @classmethod
    def from_flow_config(cls, config: Mapping[str, Any], spacing: Spacing = "linspace") -> FlowSchedule:
        """Read a diffusers `scheduler_config.json` of flow matching. Raises ValueError for one that is not known."""
        for name in _UNSUPPORTED:
            if config.get(name):
                raise ValueError(f"{name} is {str(config[name])[:60]}: levels of a model that is not supported")
        shift = _number(config, "flow_shift" if config.get("use_flow_sigmas") else "shift", 1.0)
        dynamic = None
        if config.get("use_dynamic_shifting"):
            kind = config.get("time_shift_type", "exponential")
            if kind not in ("exponential", "linear"):
                raise ValueError(f"time_shift_type is {str(kind)[:60]!r}; expected exponential or linear")
            dynamic = DynamicShift(
                _number(config, "base_shift", 0.5),
                _number(config, "max_shift", 1.15),
                int(_number(config, "base_image_seq_len", 256)),
                int(_number(config, "max_image_seq_len", 4096)),
                kind == "exponential",
            )
            if dynamic.base_tokens == dynamic.most_tokens:
                raise ValueError("base_image_seq_len and max_image_seq_len are equal; expected two sizes")
            shift = 1.0
        levels = int(_number(config, "num_train_timesteps", 1000))
        if not 2 <= levels <= 100_000:
            raise ValueError(f"num_train_timesteps is {levels}; expected 2 to 100,000")
        return cls.of(shift, levels=levels, dynamic=dynamic, spacing=spacing)

    def at_size(self, width: int, height: int) -> FlowSchedule:
        """Return the schedule for pictures of width x height px, for which a dynamic shift is known."""
        if self.dynamic is None:
            return self
        moved = self.of(self.dynamic.of(width, height), levels=len(self.sigmas), spacing=self.spacing)
        return replace(moved, dynamic=None)

    def for_init(self) -> NoiseSchedule:
        """Return the levels at which an init is noised and painted: those of Stable Diffusion 1.

        Deforum's strength is then the same share of the init in the mixture, whatever the model's shift: 0.65 in 20
        steps begins at sigma 0.88, s = 0.468. On the model's own levels with shift 3 it would begin at s = 0.583.
        """
        return replace(_REFERENCE, trailing=self.spacing == "trailing")

    def scales_at(self, sigma: float) -> tuple[float, float, float]:
        if sigma >= PURE:
            return 1 / sigma, 1 / sigma, -1.0
        rest = 1 / (1 + sigma)
        return rest, rest, -sigma * rest

    def network_time(self, sigma: float) -> float:
        """Return the timestep of a noise level, 1000 times its share of noise."""
        return 1000.0 if sigma >= PURE else 1000.0 * sigma / (1 + sigma)

    def time_of(self, sigma: float) -> float:
        share = 1.0 if sigma >= PURE else sigma / (1 + sigma)
        even = share / (self.shift - (self.shift - 1) * share)
        return min(max(even * len(self.sigmas) - 1, 0.0), len(self.sigmas) - 1.0)

    def sigma_at(self, time: float | NDArray[np.float64]) -> Sigmas:
        count = len(self.sigmas)
        return _sigma(_shifted((np.clip(time, 0, count - 1) + 1) / count, self.shift))

    def even(self, steps: int) -> Sigmas:
        if self.spacing == "trailing":
            return _sigma(_shifted(1 - np.arange(steps) / steps, self.shift))
        # The lowest level has the shift in it already; the model's own code shifts it a second time.
        lowest = float(_shifted(np.asarray(1 / len(self.sigmas)), self.shift))
        return _sigma(_shifted(np.linspace(1, lowest, steps), self.shift))

    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest share of noise, between which a grid is spread."""
        return float(self.sigmas[0] / (1 + self.sigmas[0])), 1.0

    def spread(self, values: NDArray[np.float64]) -> Sigmas:
        return _sigma(values)


def read_schedule(config: Mapping[str, Any], prediction: str | None, spacing: Spacing | None = None) -> NoiseSchedule:
    """Read the noise levels of any diffusers `scheduler_config.json`; `prediction` overrides what the model predicts.

    `spacing` is that of a family whose models are all flow-matching, None for others. Raises ValueError for a
    configuration that is broken, or whose kind of noise no sampler here knows.
    """
    if not is_flow(config):
        if spacing is not None:
            raise ValueError(f"{config.get('_class_name')}; expected a flow-matching scheduler, as the model is one")
        return NoiseSchedule.from_config(config, prediction)
    if prediction is not None:
        raise ValueError(f"prediction_type is {prediction}, and this is a flow-matching model; set it to auto")
    return FlowSchedule.from_flow_config(config, spacing or "linspace")


def _shifted(u: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = shift * u / (1 + (shift - 1) * u)
    return moved


def _sigma(share: NDArray[np.float64]) -> Sigmas:
    """Return the levels of shares of noise; a share of 1 is `PURE`."""
    share = np.asarray(share, float)
    return np.minimum(share / np.maximum(1 - share, 1e-12), PURE)


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"{key} is {str(value)[:60]}; expected a number above 0")
    return float(value)
