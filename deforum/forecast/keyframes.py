"""Keyframes that a run never reaches, and schedules whose values are out of range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deforum.features.acting import acts
from deforum.settings.options import OPTIONS, Settings
from deforum.settings.params import PARAMS
from deforum.timeline.curves import Sampling
from deforum.timeline.variables import variables_of
from deforum.validate import complain
from schedules import NumberSchedule, ScheduleError, TextSchedule, parse_key
from schedules.keys import Key


@dataclass(frozen=True)
class DeadKeyframe:
    """A keyframe behind the last frame."""

    setting: str
    frame: int
    is_approached: bool
    """Whether values, or blended prompts, still move towards it in the last frames."""


def dead_keyframes(settings: Settings) -> tuple[DeadKeyframe, ...]:
    """List the keyframes behind the last frame of the schedules that act, and of the prompts."""
    count, variables = settings.max_frames, variables_of(settings)
    found: list[DeadKeyframe] = []
    for name, keys, moves in _keyed(settings):
        placed = []
        for number, key in enumerate(keys):
            try:
                placed.append((key.frame(variables, count), number))
            except ScheduleError:  # told elsewhere
                continue
        placed.sort()
        behind = [(frame, place) for place, (frame, _) in enumerate(placed) if frame >= count]
        for frame, place in behind:
            first = place == behind[0][1] and place > 0 and placed[place - 1][0] < count - 1
            found.append(DeadKeyframe(name, frame, first and moves[placed[place - 1][1]]))
    return tuple(found)


def _keyed(settings: Settings) -> Iterator[tuple[str, list[Key], list[bool]]]:
    """Yield settings by keyframe that act: name, keyframes, and whether each value moves on to the next one."""
    sampled = Sampling(settings)
    for name in (*PARAMS, *OPTIONS):
        schedule = getattr(settings.params if name in PARAMS else settings, name)
        if not isinstance(schedule, NumberSchedule | TextSchedule) or len(schedule.keyframes) < 2:
            continue
        if not _acts(name, settings, sampled):
            continue
        moves = [getattr(each, "easing", "step") != "step" for each in schedule.keyframes]  # texts are held
        yield name, [each.key for each in schedule.keyframes], moves
    if len(settings.prompts) > 1:
        keys = [parse_key(key, name="prompts") for key, _ in settings.prompts]
        yield "prompts", keys, [settings.blending != "hold"] * len(keys)


def _acts(name: str, settings: Settings, sampled: Sampling) -> bool:
    try:
        return acts(name, settings, sampled)
    except ScheduleError:
        return False


def out_of_range(settings: Settings) -> tuple[str, ...]:
    """Return what is out of range, a line each: values that an old file may have, and that are rendered clipped."""
    count, variables, sampled = settings.max_frames, variables_of(settings), Sampling(settings)
    says = []
    for name, declaration in PARAMS.items():
        schedule: NumberSchedule = getattr(settings.params, name)
        if len(schedule.keyframes) == 1 and isinstance(schedule.keyframes[0].value, float):
            low, high = declaration.bounds
            if low <= schedule.keyframes[0].value <= high and not declaration.odd and not declaration.least:
                continue
        if not _acts(name, settings, sampled):
            continue
        try:
            complaint = complain(declaration, schedule.sample(count, variables))
        except ScheduleError as error:
            says.append(str(error))
            continue
        if complaint:
            says.append(f"{name}{complaint}; the nearest valid value is used")
    return tuple(says)
