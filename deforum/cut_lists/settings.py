"""From settings to a cut list, and from a cut list to settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from deforum.cut_lists.cut_list import MARKER, Clip, CutList, Marker
from deforum.errors import Problem, UserError
from deforum.loading import load
from deforum.output.chapters import prompt_clips, shots_of
from deforum.output.labels import without_home
from deforum.settings.options import Settings
from deforum.settings.params import PARAMS
from deforum.settings.read import dump, find_declaration, list_values, name_of_setting
from deforum.shots import PlacedShot
from deforum.timeline.variables import variables_of
from deforum.video.formats import exact_fps
from schedules import NumberKeyframe, NumberSchedule, TextKeyframe, TextSchedule, parse_key
from schedules.quoting import cut, quote

PROMPTS = ("prompt", "prompts")
SHOT = "shot"


def from_settings(settings: Settings, *, name: str, film: Path | None = None) -> CutList:
    """Return the prompts of settings as clips, and the keyframes of the schedules that are given as markers.

    Keyframes that are expressions, such as max_f-2, are at the frame that they mean. Raises ScheduleError where one has
    no value.
    """
    notes: list[str] = []
    parts = shots_of(settings)
    shots = tuple(Clip(part.place.start, part.place.stop, part.name) for part in parts)
    whole = range(settings.first_frame, settings.max_frames)
    parts = parts or (PlacedShot(name, settings, whole, 0),)
    clips = [clip for part in parts for clip in _prompts(part, notes)]
    markers = [marker for part in parts for marker in _keyframes(part, is_alone=len(parts) == 1)]
    fps = exact_fps(settings.fps)
    text = without_home(dump(settings))
    return CutList(
        name, fps, parts[-1].place.stop, tuple(clips), tuple(sorted(markers)), shots, film, text, tuple(notes)
    )  # fmt: skip


def _prompts(part: PlacedShot, notes: list[str]) -> Iterator[Clip]:
    """Yield the prompts of a stretch of settings, in frames of the film."""
    settings, last = part.settings, part.settings.max_frames - 1
    variables = variables_of(settings)
    keys = [parse_key(key).frame(variables, last + 1) for key, _ in settings.prompts]
    outside = [key for key in keys if not 0 <= key <= last]
    if outside and len(keys) > 1:
        notes.append(f"prompts outside of the frames 0 to {last} are left out: those at {', '.join(map(str, outside))}")
    for clip in prompt_clips(settings, part.frames, part.at):
        yield Clip(clip.start, clip.end, clip.text)


def _keyframes(part: PlacedShot, *, is_alone: bool) -> Iterator[Marker]:
    """Yield the keyframes of a stretch of settings, in frames of the film."""
    settings, frames = part.settings, part.frames
    variables = variables_of(settings)
    found: list[tuple[int, str]] = []
    for name, _, value, default in list_values(settings):
        if isinstance(value, NumberSchedule | TextSchedule) and value != default:
            found += [(each.key.frame(variables, settings.max_frames), f"{name}: {_value(each)}")
                      for each in value.keyframes]  # fmt: skip
    if settings.parseq is not None:
        found += [(frame, "keyframe in Parseq") for frame in settings.parseq.keyframes]
    for frame, text in found:
        if frame in frames or (is_alone and not frames.start and frame >= 0):
            yield Marker(part.at + frame - frames.start, text)


def _value(keyframe: NumberKeyframe | TextKeyframe) -> str:
    """Return the value of a keyframe as a mapping in YAML has it."""
    if isinstance(keyframe, TextKeyframe):
        return keyframe.written if keyframe.value is None else keyframe.value
    value = keyframe.text.removeprefix(f"{keyframe.key.text}: ")
    number = re.fullmatch(r"\((-?[\d.]+)\)", value)
    return number[1] if number and isinstance(keyframe.value, float) else value


def to_settings(cuts: CutList, base: Settings | None = None) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings that a cut list means, as changes of `base`; also notes on what was not understood.

    Clips begin prompts. Markers such as `zoom: 1.02` are keyframes, and replace those of their setting; where there are
    no clips, other markers begin prompts. Raises UserError for keyframes that cannot be read.
    """
    notes = list(cuts.notes)
    cuts = _in_frames_of(base, cuts)
    prompts = {clip.start: clip.text for clip in reversed(cuts.clips)}
    schedules: dict[str, dict[int, str]] = {}
    others: list[Marker] = []
    for marker in cuts.markers:
        found = MARKER.fullmatch(marker.text)
        name = name_of_setting(found[1]) if found else None
        if found and found[1].casefold() == SHOT:
            continue
        if found and found[1].casefold() in PROMPTS:
            prompts[marker.frame] = found[2].strip()
        elif found and name is not None and find_declaration(name).type in (NumberSchedule, TextSchedule):
            schedules.setdefault(name, {})[marker.frame] = found[2].strip()
        else:
            others.append(marker)
    if others and not prompts:
        prompts = {marker.frame: marker.text.strip() for marker in others if marker.text.strip()}
    elif others:
        shown = ", ".join(quote(marker.text, 40) for marker in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        notes.append(f"markers without a keyframe (such as zoom: 1.02) are left out: {shown}{more}")
    values: dict[str, Any] = {"max_frames": max(cuts.num_frames, 1), "fps": plain_rate(cuts.fps, base), **schedules}
    if prompts:
        values["prompts"] = dict(sorted(prompts.items()))
    try:
        given = load(values, to_render=False)
    except UserError as error:
        where = f"{cut(cuts.name)}, a marker"
        raise UserError([Problem(each.message, where if each.where else "") for each in error.problems]) from None
    if base is None:
        return given.settings, tuple(notes)
    return _onto(base, given.settings, values, notes), tuple(notes)


def _in_frames_of(base: Settings | None, cuts: CutList) -> CutList:
    """Return a cut list in the frames of settings, whose first frame need not be 0. Raises UserError for some shots."""
    if base is None:
        return cuts
    if any(shot.file or shot.since for shot in base.shots):
        raise UserError(f"{cut(cuts.name)}: the settings have shots with frames of their own; prompts and keyframes of "
                        "the film have no place in them. Give the settings of one shot, or others")  # fmt: skip
    first = base.first_frame
    clips = tuple(
        replace(clip, start=clip.start + first if clip.start else 0, end=clip.end + first) for clip in cuts.clips
    )
    markers = tuple(replace(marker, frame=marker.frame + first) for marker in cuts.markers)
    return replace(cuts, num_frames=cuts.num_frames + first, clips=clips, markers=markers)


def _onto(base: Settings, given: Settings, values: Mapping[str, Any], notes: list[str]) -> Settings:
    """Return settings with those of `values`, as they were read."""
    params = {name: getattr(given.params, name) for name in values if name in PARAMS}
    units = list(base.control_units)
    options: dict[str, Any] = {}
    for name in values:
        control = re.fullmatch(r"cn_(\d+)_(\w+)", name)
        if control is None and name not in PARAMS:
            options[name] = getattr(given, name)
        elif control is not None and int(control[1]) <= len(units):
            place = int(control[1]) - 1
            value = getattr(given.control_units[place], control[2])
            units[place] = replace(units[place], **{control[2]: value})
        elif control is not None:
            notes.append(f"{name}: there is no such control unit in the settings; left out")
    if base.parseq is not None:
        managed = [name for name in values if name in base.parseq.settings]
        if managed:
            left = " ".join(dict.fromkeys([*base.parseq_except.split(), *managed]))
            parseq = replace(base.parseq, settings=base.parseq.settings - set(managed))
            options |= {"parseq_except": left, "parseq": parseq}
    return replace(base, params=replace(base.params, **params), control_units=tuple(units), **options)


def plain_rate(fps: Fraction, base: Settings | None = None) -> float:
    """Return a frame rate as it is commonly written: 23.976 for 24000/1001."""
    if base is not None and exact_fps(base.fps) == fps:
        return base.fps
    short = round(float(fps), 3)
    return short if exact_fps(short) == fps else float(fps)
