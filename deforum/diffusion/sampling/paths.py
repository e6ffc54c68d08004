"""The noise levels that one diffusion visits, from the one where it starts to the one where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from deforum.diffusion.sampling.samplers import Sampler
from deforum.diffusion.sampling.sigmas import NoiseSchedule, visit


@dataclass(frozen=True)
class Path:
    """The noise levels of one diffusion."""

    sigmas: tuple[float, ...]
    """The level of each step, descending, and the level at which the last step ends: 0, or a low one."""
    noised: float
    """The level of the noise that is added to an init; sigmas[0] except in the web UI's samplers over timesteps."""

    @property
    def start_scale(self) -> float:
        """Factor on the noised init, which makes the variance-preserving latents at `noised` those at sigmas[0]."""
        return sqrt((1 + self.sigmas[0] ** 2) / (1 + self.noised**2))

    @property
    def end_scale(self) -> float:
        """Factor on the result, which makes it variance-preserving where the path ends above 0."""
        return 1 / sqrt(1 + self.sigmas[-1] ** 2)


def path_of(schedule: NoiseSchedule, sampler: Sampler, steps: int, run: int | None, *, exact: bool) -> Path:
    """Return the levels of a diffusion that runs `run` of its `steps` steps, see `steps.count_steps`.

    `run` is None for text to image; otherwise the levels are those `for_init`. Unless `exact`, samplers over timesteps
    visit those of the A1111 web UI, except for flow matching, which has none there.
    """
    schedule = schedule if run is None else schedule.for_init()
    if sampler.timesteps and not exact and schedule.prediction != "flow":
        return _over_timesteps(schedule, sampler, steps, run)
    sigmas = visit(schedule, sampler.grid, steps, skip_penultimate=sampler.skip_penultimate)
    sigmas = sigmas[steps - (steps if run is None else run) :]
    return Path(sigmas, sigmas[0])


def _over_timesteps(schedule: NoiseSchedule, sampler: Sampler, steps: int, run: int | None) -> Path:
    """Place the evaluations as the web UI does: on every (T // steps)-th timestep from 1 up, and none on the lowest.

    DDIM and PLMS ("leading") visit these timesteps; UniPC ("even") as many evenly spaced ones, down to timestep 0. An
    init gets the noise of the timestep above the first one that is visited.
    """
    top = len(schedule.sigmas) - 1
    times = list(dict.fromkeys(min(time + 1, top) for time in range(0, top + 1, max((top + 1) // steps, 1))))
    times = [*times, top] if len(times) < 2 else times
    if run == 1:
        # The web UI runs no step here, or one far below the noise it added, and leaves noise in the picture.
        visited, above = np.asarray([times[1], times[0]], float), 1
    elif sampler.timesteps == "leading":
        count = len(times) - 1 if run is None else min(run, len(times) - 1)
        visited = np.asarray(times[count::-1], float)
        above = count + 1
    else:
        count = steps if run is None else min(run, len(times))
        visited = np.linspace(top if run is None else times[count - 1], 0, count + 1)
        above = count
    sigmas = tuple(schedule.sigma_at(visited).tolist())
    noised = sigmas[0] if run is None else float(schedule.sigma_at(float(times[min(above, len(times) - 1)])))
    return Path(sigmas, noised)
