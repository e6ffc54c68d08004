"""How many steps a frame takes, and where on the noise levels it starts."""

from __future__ import annotations

from math import floor

from deforum.errors import UserError


def count_steps(steps: int, strength: float | None, *, exact: bool) -> int:
    """Return the number of steps that are run, 1..steps; they are the last ones of the sampler's grid.

    `strength` is Deforum's, the share of the init that is kept; None stands for no init, which runs all steps.
    `exact` runs steps - strength * steps, rounded down but not by the dust of binary fractions (0.1 of 10 is 1, though
    10 - 0.9 * 10 is a little less). Otherwise the count of the A1111 web UI: one more than int(denoise * steps).
    """
    if steps < 1:
        raise UserError(f"steps is {steps}; expected 1 or more")
    if strength is None:
        return steps
    # The web UI's own rounding is kept to the bit: files are tuned to it.
    run = floor(steps - strength * steps + 1e-6) if exact else int(min(1 - strength, 0.999) * steps) + 1
    return min(max(run, 1), steps)
