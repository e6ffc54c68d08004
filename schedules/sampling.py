"""Sampling of schedules: keyframes to arrays over all frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from schedules.errors import ScheduleError
from schedules.expression import Expression
from schedules.keys import Key
from schedules.quoting import cut
from schedules.schedule import Easing, NumberKeyframe, NumberSchedule, TextKeyframe, TextSchedule, default_easing
from schedules.variables import Variables

K = TypeVar("K", NumberKeyframe, TextKeyframe)

# Weight of the next keyframe's value at the fraction x of the time between two keyframes.
WEIGHTS: dict[Easing, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "step": lambda x: 0 * x,
    "ease-in": lambda x: x * x,
    "ease-out": lambda x: x * (2 - x),
    "ease-in-out": lambda x: x * x * (3 - 2 * x),
}


def sample_numbers(schedule: NumberSchedule, num_frames: int, variables: Variables) -> np.ndarray:
    """Sample a number schedule to (F,) float64, see NumberSchedule.sample.

    Keyframes set the values of their own frame or span; frames left empty or NaN are then interpolated linearly between
    their neighbours, which also gives the linear easing. `_ease` applies the other easings.
    """
    placed = place(schedule.keyframes, num_frames, variables)
    if not placed:
        keyframe = schedule.keyframes[0]
        raise schedule.fault(keyframe, _all_outside(keyframe.key, num_frames), _keys_hint(num_frames))
    starts = list(placed)
    numbers = [each.value for each in placed.values() if each.easing == "linear" and isinstance(each.value, float)]
    if len(numbers) == len(placed):
        return np.interp(np.arange(num_frames), starts, numbers)
    ends = [*starts[1:], num_frames]
    curve = np.full(num_frames, np.nan)
    lines: list[int] = []
    expressions: defaultdict[Expression, list[tuple[int, int]]] = defaultdict(list)
    for start, end, keyframe in zip(starts, ends, placed.values(), strict=True):
        if isinstance(keyframe.value, Expression):
            expressions[keyframe.value].append((start, end))
        elif keyframe.easing == "step":
            curve[start:end] = keyframe.value
        else:
            lines.append(start)
    curve[lines] = [placed[start].value for start in lines]
    for expression, spans in expressions.items():
        _evaluate(curve, expression, spans, schedule, placed[spans[0][0]], variables)
    _fill(curve, schedule, next(iter(placed.values())))
    _ease(curve, placed, schedule)
    return curve


def sample_texts(
    schedule: TextSchedule, num_frames: int, variables: Variables, deforum_stripping: bool
) -> tuple[str, ...]:
    """Sample a text schedule: each text is held until the next, see TextSchedule.sample."""
    placed = place(schedule.keyframes, num_frames, variables)
    if not placed:
        first = schedule.keyframes[0]
        raise schedule.fault(_all_outside(first.key, num_frames), first.column, _keys_hint(num_frames))
    texts = {
        frame: keyframe.deforum_value if deforum_stripping else keyframe.value for frame, keyframe in placed.items()
    }
    start, current = next(iter(texts.items()))
    if current is None:
        hint = 'write ("5") in quotes where the number is meant as a text'
        raise schedule.fault("a number or nothing keeps the text before it, and there is none; expected a text",
                             placed[start].column, hint)  # fmt: skip
    sampled: list[str] = []
    for frame, text in texts.items():
        sampled += [current] * (frame - len(sampled))
        current = current if text is None else text
    return (*sampled, *[current] * (num_frames - len(sampled)))


def place(keyframes: tuple[K, ...], num_frames: int, variables: Variables) -> dict[int, K]:
    """Return the keyframes on the timeline by frame, in order; of several at one frame the last counts.

    Raises ValueError where num_frames is below 1.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; expected at least 1")
    placed = {keyframe.key.frame(variables, num_frames): keyframe for keyframe in keyframes}
    return {frame: placed[frame] for frame in sorted(placed) if 0 <= frame < num_frames}


def _all_outside(first: Key, num_frames: int) -> str:
    return (
        f"no keyframe is on the timeline (the first is {cut(first.text, 40)}); expected one from 0 to {num_frames - 1}"
    )


def _keys_hint(num_frames: int) -> str:
    return f"the animation has {num_frames} frame{'s' if num_frames > 1 else ''}; keyframes outside of it are ignored"


def _evaluate(
    curve: np.ndarray,
    expression: Expression,
    spans: list[tuple[int, int]],
    schedule: NumberSchedule,
    keyframe: NumberKeyframe,
    variables: Variables,
) -> None:
    """Write the values of an expression into all its spans of the curve (F,), with one call of numexpr."""
    place: slice | np.ndarray  # assigning to a slice is three times as fast as to an index array
    if len(spans) == 1:
        place, frames = slice(*spans[0]), np.arange(*spans[0])
    else:
        place = frames = np.concatenate([np.arange(*span) for span in spans])
    try:
        curve[place] = expression.evaluate(frames, variables, len(curve))
    except ScheduleError as error:
        raise schedule.fault(keyframe, error.message, error.hint, said_elsewhere=error.said_elsewhere) from None


def _fill(curve: np.ndarray, schedule: NumberSchedule, first: NumberKeyframe) -> None:
    """Replace NaN by linear interpolation between its neighbours, at the ends by the nearest number, in place."""
    empty = np.isnan(curve)
    if empty.all():
        raise schedule.fault(first, f"the value is not a number at any frame from 0 to {len(curve) - 1}")
    if empty.any():
        known = np.flatnonzero(~empty)
        curve[empty] = np.interp(np.flatnonzero(empty), known, curve[known])


def _ease(curve: np.ndarray, placed: dict[int, NumberKeyframe], schedule: NumberSchedule) -> None:
    """Apply the easings other than steps and Deforum's default to the frames between keyframes, in place."""
    for (start, keyframe), end in zip(placed.items(), list(placed)[1:], strict=False):
        if keyframe.easing in ("step", default_easing(keyframe.value)):
            continue
        own = curve[start + 1 : end] if isinstance(keyframe.value, Expression) else curve[start]
        x = np.arange(1, end - start) / (end - start)
        with np.errstate(invalid="ignore"):
            eased = own + WEIGHTS[keyframe.easing](x) * (curve[end] - own)
        if np.isnan(eased).any():
            frame = start + 1 + int(np.isnan(eased).argmax())
            raise schedule.fault(keyframe, f"the value is not a number at frame {frame}, on the way from infinity")
        curve[start + 1 : end] = eased
