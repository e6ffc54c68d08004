"""Steps as they are made: what is left open is chosen, and what they need is looked for; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deforum.errors import Problem, UserError
from deforum.interpolation import resolve_interpolator
from deforum.settings.steps import Finish, Interpolate, Step, Upscale
from deforum.upscaling.models import missing_upscaler, settle_upscaler


def settled(
    chain: Sequence[Step], *, are_finished: bool = False, on_gpu: bool = False, lenient: bool = False
) -> tuple[tuple[Step, ...], list[str]]:
    """Choose what the steps of a chain leave open; also return notes. Raises UserError for what is not here.

    `are_finished`: whether the frames that it begins with are finished already. `on_gpu`: where they are made.
    `lenient`: an upscaler that is not here is replaced, as Deforum's files name theirs whether or not it is used.
    """
    steps, notes, problems = list[Step](), list[str](), list[Problem]()
    for step in chain:
        if isinstance(step, Upscale):
            name = settle_upscaler(step.upscaler)
            missing = missing_upscaler(name)
            if missing and lenient:
                notes.append(f"{missing}; lanczos is used instead")
                name = "lanczos"
            elif missing:
                problems.append(Problem(missing))
            step = replace(step, upscaler=name)
        if isinstance(step, Interpolate):
            try:
                source = resolve_interpolator(step.interpolator, "interpolator", form=step.inputs, on_gpu=on_gpu)
                step = replace(step, interpolator=step.interpolator if source.path else source.name)
                notes += [source.says] if source.says else []
            except UserError as error:
                problems += error.problems
        if isinstance(step, Finish) and are_finished:
            problems.append(Problem("finish: the frames of the run are finished already; upscale makes them larger"))
        steps.append(step)
    if problems:
        raise UserError(problems)
    return tuple(steps), notes
