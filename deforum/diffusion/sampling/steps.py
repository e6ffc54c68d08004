"""The number of sampling steps that img2img runs at a strength, and the step that an evaluation belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor

from deforum.diffusion.sampling.samplers import Timesteps
from deforum.errors import UserError

BEYOND: Mapping[Timesteps, int] = {"": 1, "leading": -1, "even": 0}
"""Steps that the web UI runs beyond int(denoise * steps): one more on a grid, one less in DDIM and PLMS."""


def count_steps(steps: int, strength: float | None, *, exact: bool, timesteps: Timesteps = "") -> int:
    """Return the number of steps to run, 1..steps: the last ones of the sampler's path.

    `strength` is Deforum's, the share of the init that is kept; None (text to image) runs all steps. `exact` runs
    steps - strength * steps, rounded down with a tolerance of 1e-6 for binary fractions (10 steps at 0.9 run 1).
    Otherwise the count is that of the A1111 web UI: int(denoise * steps), and for the sampler's `timesteps` `BEYOND`.
    Raises UserError where steps is below 1.
    """
    if steps < 1:
        raise UserError(f"steps is {steps}; expected 1 or more")
    if strength is None:
        return steps
    # The web UI's rounding is reproduced exactly: existing settings files are tuned to it.
    run = floor(steps - strength * steps + 1e-6) if exact else int(min(1 - strength, 0.999) * steps) + BEYOND[timesteps]
    return min(max(run, 1), steps)


def step_at(sigma: float, sigmas: Sequence[float]) -> int:
    """Return the step, counted from 0, that a noise level belongs to.

    `sigmas` are the levels of a walk, descending, with its end. A level at which one step ends begins the next one, so
    that what changes from step to step is a function of the level for solvers that look ahead, too.
    """
    return max(sum(each >= sigma * (1 - 1e-6) for each in sigmas[:-1]) - 1, 0)


def prompt_step(step: int, run: int, steps: int, *, exact: bool) -> tuple[int, int]:
    """Return how prompts count step 0..run-1: its number from 1, and the number of all steps, see `timeline.edits`.

    `exact` counts the steps that are run, so that [a:b:0.5] changes halfway through them at any strength. The A1111 web
    UI counts them from the first that is run too, but takes shares of `steps`, and changes one step later.
    """
    return (step + 1, run) if exact else (max(step, 1), steps)
