"""Stable Diffusion's noise schedule, and a stand-in for the model's prediction."""

from __future__ import annotations

import math
from typing import Any

import torch

from deforum.diffusion.sampling.sigmas import NoiseSchedule

CONFIG: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
SCHEDULE = NoiseSchedule.from_config(CONFIG)


def crooked(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """A guess that is no straight line in x or sigma, so that every coefficient of a solver counts."""
    return torch.tanh(x / (1 + sigma)) + 0.2 * torch.sin(3 * x / (1 + sigma)) * math.cos(sigma)
