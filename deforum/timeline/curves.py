"""Curves of a run: schedules sampled for every frame and clipped to their ranges."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deforum.settings.options import Settings
from deforum.settings.params import PARAMS
from deforum.timeline.camera import CAMERA_PARAMS, camera_curves
from deforum.timeline.variables import variables_of
from schedules import NumberSchedule, ScheduleError, Variables


@dataclass(frozen=True)
class Sampling:
    """Settings sampled over time, on demand: see `deforum.settings.declare.Sampled`."""

    settings: Settings

    @cached_property
    def samplers(self) -> tuple[str, ...]:
        settings = self.settings
        return settings.sampler.sample(settings.max_frames, variables_of(settings))

    def is_used(self, param: str) -> bool:
        try:
            return bool(sample_curve(param, getattr(self.settings.params, param), self.settings).any())
        except ScheduleError as error:
            if error.said_elsewhere:
                return True  # its values are not known
            raise


LOOK_AHEAD = 10_000
"""Frames sampled beyond the last one, where a schedule has no value on the timeline."""


def sample_curve(name: str, schedule: NumberSchedule, settings: Settings) -> NDArray[np.float64]:
    """Sample a parameter for the frames of a run: (F,), within its range; a camera file replaces schedules.

    Raises ScheduleError where the schedule has no value on the timeline. Deforum's profile is lenient: the schedule is
    then sampled as in a longer run, so that the first frames of a file can be rendered alone. UserError: the camera
    file cannot be read.
    """
    if name in CAMERA_PARAMS and name in (driven := camera_curves(settings)):
        return within_range(name, driven[name])
    count, variables = settings.max_frames, variables_of(settings)
    try:
        curve = schedule.sample(count, variables)
    except ScheduleError:
        if not settings.is_lenient:
            raise
        curve = as_in_a_longer_run(schedule, count, variables)
    return within_range(name, curve)


def as_in_a_longer_run(schedule: NumberSchedule, count: int, variables: Variables) -> NDArray[np.float64]:
    longer = dataclasses.replace(variables, max_f=float(count - 1))
    curve: NDArray[np.float64] = schedule.sample(count + LOOK_AHEAD, longer)[:count]
    return curve


def within_range(name: str, curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip the curve (F,) of a parameter to its range; values that `load` accepted from an old file may exceed it."""
    declaration = PARAMS[name]
    curve = np.clip(curve, *declaration.bounds)
    if declaration.least:
        curve = np.where(np.abs(curve) < declaration.least, np.copysign(declaration.least, curve), curve)
    return np.trunc(curve) // 2 * 2 + 1 if declaration.odd else curve
