"""The number of sampling steps that img2img runs at a strength."""

from __future__ import annotations

from math import floor

from deforum.errors import UserError


def count_steps(steps: int, strength: float | None, *, exact: bool) -> int:
    """Return the number of steps to run, 1..steps: the last ones of the sampler's grid.

    `strength` is Deforum's, the share of the init that is kept; None (text to image) runs all steps. `exact` runs
    steps - strength * steps, rounded down with a tolerance of 1e-6 for binary fractions (10 steps at 0.9 run 1).
    Otherwise the count is that of the A1111 web UI, int(denoise * steps) + 1. Raises UserError where steps is below 1.
    """
    if steps < 1:
        raise UserError(f"steps is {steps}; expected 1 or more")
    if strength is None:
        return steps
    # The web UI's rounding is reproduced exactly: existing settings files are tuned to it.
    run = floor(steps - strength * steps + 1e-6) if exact else int(min(1 - strength, 0.999) * steps) + 1
    return min(max(run, 1), steps)
