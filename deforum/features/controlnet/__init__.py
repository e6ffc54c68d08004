"""Control units: ControlNets and T2I-Adapters that guide the painting by clips, pictures, or the animation itself.

This module works before anything is loaded; `preprocessors` has the table of what makes control pictures, `filters` and
`annotators` make them, `attach` adds the units to the loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.features.controlnet.preprocessors import Preprocessor, find_preprocessor
from deforum.features.depth import depth_named
from deforum.settings.files import Lookup
from deforum.settings.options import CONTROLS, ControlUnit, Settings
from deforum.timeline.curves import as_in_a_longer_run
from deforum.timeline.variables import variables_of
from schedules import NumberSchedule, ScheduleError, Variables
from schedules.quoting import quote

if TYPE_CHECKING:
    from deforum.depth import DepthSource
    from deforum.diffusion.adapters.find import ControlSource
    from deforum.flow import FlowSource
    from deforum.video import ClipSource

NO_MODEL = ("none", "")
CURVES = ("weight", "guidance_start", "guidance_end")


@dataclass(frozen=True, eq=False)
class UnitSource:
    """A unit before anything is loaded."""

    number: int
    """As in its settings, cn_1_model."""
    settings: ControlUnit
    model: ControlSource
    preprocessor: Preprocessor
    clip: ClipSource | None
    """None: it is guided by the animation itself."""
    mask: ClipSource | None
    depth: DepthSource | None
    flow: FlowSource | None
    weight: NDArray[np.float64]
    """(F,), like `start` and `end`."""
    start: NDArray[np.float64]
    end: NDArray[np.float64]


def enabled(settings: Settings) -> Iterator[tuple[int, ControlUnit]]:
    """Yield (number, unit) of the units that are on."""
    return ((number, unit) for number, unit in enumerate(settings.control_units, 1) if unit.enabled)


def is_on(settings: Settings) -> bool:
    return any(enabled(settings))


def source_of(unit: ControlUnit) -> str:
    """Return what guides a unit, see `ControlUnit.source`."""
    return "init" if unit.loopback_mode else unit.source


def unit_variables(settings: Settings) -> Variables:
    """Return the variables of the units' schedules; the seed is -1 there in Deforum."""
    found = variables_of(settings)
    return replace(found, seed=-1) if settings.is_lenient else found


def curve_of(name: str, unit: ControlUnit, settings: Settings) -> NDArray[np.float64]:
    """Sample a schedule of a unit, (F,), within its range. Raises ScheduleError."""
    schedule: NumberSchedule = getattr(unit, name)
    variables = unit_variables(settings)
    try:
        curve = schedule.sample(settings.max_frames, variables)
    except ScheduleError:
        if not settings.is_lenient:
            raise
        curve = as_in_a_longer_run(schedule, settings.max_frames, variables)
    clipped: NDArray[np.float64] = np.clip(curve, *CONTROLS[name].bounds)
    return clipped


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Report schedules without values or out of range, starts after ends, and preprocessors that are not known."""
    for number, unit in enabled(settings):
        prefix = f"cn_{number}_"
        curves = {}
        for name in CURVES:
            declared, schedule = CONTROLS[name], getattr(unit, name)
            try:
                curves[name] = curve_of(name, unit, settings)
                raw = (
                    schedule.sample(settings.max_frames, unit_variables(settings)) if not settings.is_lenient else None
                )
            except ScheduleError as error:
                if error.said_elsewhere:
                    continue
                yield prefix + name, str(error)
                continue
            if raw is not None and (raw != curves[name]).any():
                frame = int(np.argmax(raw != curves[name]))
                yield prefix + name, f"{prefix}{name} is {raw[frame]:.6g} at frame {frame}; {declared.expected}"
        if len(curves) == len(CURVES) and (curves["guidance_start"] > curves["guidance_end"]).any():
            frame = int(np.argmax(curves["guidance_start"] > curves["guidance_end"]))
            what = (
                f"{curves['guidance_start'][frame]:g} is after {prefix}guidance_end, {curves['guidance_end'][frame]:g}"
            )
            yield (
                f"{prefix}guidance_start",
                f"{prefix}guidance_start: at frame {frame} {what}; the unit would never act",
            )
        try:
            find_preprocessor(unit.module)
        except UserError as error:
            yield f"{prefix}module", f"{prefix}module: {error}"


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths of units absolute."""
    units, problems = list(settings.control_units), []
    for number, unit in enabled(settings):
        found = {}
        for name in ("vid_path", "mask_vid_path", "model"):
            text = getattr(unit, name).strip().strip("\"'")
            path = files.find(text) if text else None
            if path is not None:
                found[name] = str(path.resolve())
            elif text and name != "model" and (name != "vid_path" or source_of(unit) == "clip"):
                problems.append((f"cn_{number}_{name}", f"cn_{number}_{name}: {files.missing(text)}"))
        if source_of(unit) == "clip" and not unit.vid_path.strip() and not _takes_the_clip(settings, unit):
            what = (
                "this has to name a clip, a picture or a folder; or set source: init, the picture that is painted over"
            )
            problems.append((f"cn_{number}_vid_path", f"cn_{number}_vid_path: {what}"))
        units[number - 1] = replace(unit, **found)  # type: ignore[arg-type]
    return replace(settings, control_units=tuple(units)), problems


def _takes_the_clip(settings: Settings, unit: ControlUnit) -> bool:
    """Whether a unit without a clip of its own takes the one that is painted over. Deforum leaves such a unit out."""
    return settings.mode.reads_clip and not settings.is_lenient


def without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Turn off the units whose model, clip or preprocessor is not here."""
    units, notes = list(settings.control_units), []
    for number, unit in enabled(settings):
        alone = replace(settings, control_units=(unit,))
        located, lost = locate(alone, files)
        reason = lost[0][1].replace("cn_1_", f"cn_{number}_") if lost else ""
        if not reason:
            with contextlib.suppress(ScheduleError):  # reported elsewhere
                try:
                    _find(number, located.control_units[0], settings)
                except UserError as error:
                    reason = str(error.problems[0].message)
        if reason:
            notes.append(f"{reason.splitlines()[0]}. The animation goes without this unit")
            units[number - 1] = replace(unit, enabled=False)
    return replace(settings, control_units=tuple(units)), notes


def find_units(settings: Settings) -> tuple[UnitSource, ...]:
    """Find the models, clips and preprocessors of the units. Raises UserError with everything that is missing."""
    problems: list[Problem] = []
    found = []
    for number, unit in enabled(settings):
        try:
            found.append(_find(number, unit, settings))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return tuple(found)


def _find(number: int, unit: ControlUnit, settings: Settings) -> UnitSource:
    from deforum.diffusion import resolve_model
    from deforum.diffusion.adapters.find import find_control
    from deforum.flow import resolve_flow
    from deforum.models.places import roots_of

    prefix = f"cn_{number}_"
    problems: list[Problem] = []

    def named(name: str, error: UserError) -> None:
        problems.extend(Problem(f"{prefix}{name}: {problem.message}") for problem in error.problems)

    model: ControlSource | None = None
    row: Preprocessor | None = None
    clip = mask = depth = None
    try:
        row = find_preprocessor(unit.module)
        if row.annotator:
            from deforum.features.controlnet.annotators import check as check_annotator

            check_annotator(row.name, row.annotator)
    except UserError as error:
        named("module", error)
    try:
        if unit.model.strip().casefold() in NO_MODEL:
            raise UserError("this has to name a control model, such as embedded, a file, or a diffusers folder")
        roots = roots_of(settings.models_dir)
        first, *others = _models(settings)
        model = find_control(unit.model, resolve_model(first, roots=roots), roots=roots)
        for name in others:  # it is loaded once, and has to fit them all
            find_control(unit.model, resolve_model(name, roots=roots), roots=roots)
        if model.is_union and row is not None:
            model = model.for_task(_task(unit, row, model.tasks))
    except UserError as error:
        named("model", error)
    try:
        if source_of(unit) == "clip":
            clip = _clip(unit.vid_path or settings.video_init_path, f"{prefix}vid_path", settings)
        if unit.mask_vid_path.strip():
            mask = _clip(unit.mask_vid_path, f"{prefix}mask_vid_path", settings)
    except UserError as error:
        problems += error.problems
    try:
        depth = _depth(row, settings) if row is not None and row.needs == "depth" else None
    except UserError as error:
        named("module", error)
    if problems or model is None or row is None:
        raise UserError(problems)
    flow = resolve_flow("DIS Medium") if row.needs == "flow" else None
    weight, start, end = (curve_of(name, unit, settings) for name in CURVES)
    return UnitSource(number, unit, model, row, clip, mask, depth, flow, weight, start, end)


def _models(settings: Settings) -> tuple[str, ...]:
    """List the models of a run, that of frame 0 first."""
    names = settings.checkpoint.sample(settings.max_frames, variables_of(settings))
    return tuple(dict.fromkeys(name or settings.model for name in names))


def _task(unit: ControlUnit, row: Preprocessor, tasks: Mapping[str, int]) -> int:
    kind = unit.control_type if unit.control_type != "auto" else row.task
    if kind not in tasks:
        kinds = ", ".join(tasks)
        raise UserError(
            f"a union of ControlNets has to be told the kind of its control picture: set control_type to one of {kinds}"
        )
    return tasks[kind]


def _clip(path: str, name: str, settings: Settings) -> ClipSource:
    """Find a clip. It keeps pace with the clip that is painted over, of which only some frames may be used."""
    from deforum.video import resolve_clip

    text = path.strip().strip("\"'")
    if settings.mode.reads_clip or (text and Path(text) == Path(settings.video_init_path or "")):
        return resolve_clip(
            text,
            name=name,
            nth=settings.extract_nth_frame,
            first=settings.extract_from_frame,
            last=settings.extract_to_frame,
        )
    return resolve_clip(text, name=name)


def _depth(row: Preprocessor, settings: Settings) -> DepthSource:
    """Find the depth model of a preprocessor: its own, or the run's, or the embedded one. Raises UserError."""
    from deforum.depth import resolve_depth

    if row.depth:
        with contextlib.suppress(UserError):
            own = resolve_depth(row.depth)
            if own is not None:
                return own
    found = depth_named(settings) or resolve_depth("embedded")
    assert found is not None
    return found


def notes(settings: Settings, found: Sequence[UnitSource]) -> Iterator[str]:
    """Note which models were taken, and what is different from Deforum's."""
    for unit in found:
        prefix = f"cn_{unit.number}_"
        written, file = unit.settings.model, unit.model.file
        if unit.model.name != "embedded" and Path(written).name not in (file.name, file.parent.name):
            yield f"{prefix}model: {quote(written)} is {file}"
        if unit.preprocessor.note:
            yield f"{prefix}module: {unit.settings.module}: {unit.preprocessor.note}"
        if unit.preprocessor.depth and unit.depth is not None and unit.depth.name != unit.preprocessor.depth:
            what = f"{unit.preprocessor.depth} is not here; the depth is that of {unit.depth.name}"
            yield f"{prefix}module: {unit.settings.module}: {what}"
        if not unit.weight.any():
            yield f"{prefix}weight: is 0 in all frames; the unit has no effect"
        has_sliders = unit.settings.threshold_a == 64 or unit.settings.processor_res == 64
        is_picture = unit.preprocessor.name == "none"
        if settings.is_lenient and has_sliders and not is_picture and not unit.settings.pixel_perfect:
            yield (
                f"{prefix}processor_res, {prefix}threshold_a: 64 is what Deforum's sliders show before a preprocessor "
                f"is chosen; it acts as written, with a coarse control picture. Set {prefix}pixel_perfect to true, or "
                f"use profile: corrected"
            )
        for clip, name in ((unit.clip, "vid_path"), (unit.mask, "mask_vid_path")):
            yield from (f"{prefix}{name}: {note}" for note in (clip.notes if clip is not None else []))
