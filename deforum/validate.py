"""Checks of settings whose values could all be read: ranges over time, and missing files.

No model is loaded and no picture is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.features.acting import in_mode, needs_file
from deforum.features.table import FEATURES
from deforum.settings.declare import Declaration
from deforum.settings.document import Place
from deforum.settings.files import Lookup, is_url
from deforum.settings.options import OPTIONS, Settings
from deforum.settings.params import PARAMS
from deforum.settings.read import Origin
from deforum.timeline.curves import Sampling, as_in_a_longer_run
from schedules import NumberSchedule, ScheduleError, TextSchedule, Variables


def check_curves(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[tuple[Problem, str]]:
    """Sample the given schedules that the animation mode reads, and compare them with their ranges.

    Yields problems, each with the fallback of a lenient profile in words; "" if there is none.
    """
    count, variables = settings.max_frames, Variables(seed=settings.seed, fps=settings.fps)
    for name, origin in origins.items():
        declaration = PARAMS.get(name) or OPTIONS.get(name)
        if declaration is None or not in_mode(declaration, settings):
            continue
        schedule = getattr(settings.params if name in PARAMS else settings, name)
        try:
            if isinstance(schedule, NumberSchedule):
                complaint = complain(declaration, schedule.sample(count, variables))
                if complaint:
                    yield Problem(f"{origin.written}{complaint}", str(origin.place)), "the nearest valid value is used"
            elif isinstance(schedule, TextSchedule):
                schedule.sample(count, variables)
        except ScheduleError as error:
            way_on = ""
            with contextlib.suppress(ScheduleError):
                if isinstance(schedule, NumberSchedule):
                    first = as_in_a_longer_run(schedule, count, variables)[0]
                    way_on = f"its values are those of a longer run, from {first:.6g} at frame 0"
            yield Problem(f"{origin.written}: {error.message}" if way_on else str(error), str(origin.place)), way_on


def complain(declaration: Declaration, curve: NDArray[np.float64]) -> str:
    """Return what is wrong with a curve (F,), as the end of a sentence; '' if nothing is."""
    low, high = declaration.bounds
    wrong = ~((curve >= low) & (curve <= high) & np.isfinite(curve))
    special = ""
    if declaration.odd and not wrong.any():
        wrong, special = np.trunc(curve) % 2 == 0, "an odd number"
    if declaration.least and not wrong.any():
        wrong, special = np.abs(curve) < declaration.least, f"a number that is not 0, {declaration.range}"
    if not wrong.any():
        return ""
    frame = int(np.argmax(wrong))
    others = int(wrong.sum()) - 1
    also = f" (and {others} more)" if others else ""
    whole = f"{low:.16g}..{high:.16g}"
    # "at least 0" does not tell what is wrong with 1e300.
    told = whole if curve[frame] > high or not declaration.range else declaration.range
    expected = special or told
    unit = f" ({declaration.unit})" if declaration.unit else ""
    return f" is {curve[frame]:.6g} at frame {frame}{also}; expected {expected}{unit}"


def locate_files(settings: Settings, origins: Mapping[str, Origin], files: Lookup) -> tuple[Settings, list[Problem]]:
    """Make paths absolute; also return problems for files that are needed and missing."""
    found: dict[str, str] = {}
    problems = []
    for name in (name for name, declaration in OPTIONS.items() if declaration.path):
        text = getattr(settings, name)
        path = files.find(text or "")
        if path is not None:
            found[name] = str(path.resolve())
        elif needs_file(name, settings, Sampling(settings)):
            origin = origins.get(name, Origin(name, Place("")))
            problems.append(Problem(f"{origin.written}: {files.missing(text or '')}", str(origin.place)))
    settings = replace(settings, **found)  # type: ignore[arg-type]
    for feature in FEATURES:
        settings, missing = feature.locate(settings, files)
        problems += placed(missing, origins)
    return settings, problems


def placed(faults: Iterable[tuple[str, str]], origins: Mapping[str, Origin]) -> list[Problem]:
    """Convert (setting, message) pairs to problems at the places where the settings were given."""
    return [Problem(message, str(origins[name].place) if name in origins else "") for name, message in faults]


def check_features(settings: Settings, origins: Mapping[str, Origin]) -> list[Problem]:
    """Return the problems that features find in their settings."""
    return [problem for feature in FEATURES for problem in placed(feature.check(settings), origins)]


def do_without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Turn off settings whose files are missing or on a network (nothing is downloaded); also return notes on them."""
    notes = []
    if settings.init_image is not None and is_url(settings.init_image):
        notes.append(f"init_image: {settings.init_image} is not fetched; the animation starts from noise")
        settings = replace(settings, init_image=None)
    image = settings.color_coherence_image_path
    if settings.color_coherence == "Image" and (not image or is_url(image)):
        notes.append(f"color_coherence: {image or 'Image'} is missing; colours are matched to the first frame (LAB)")
        settings = replace(settings, color_coherence="LAB")
    for name, sound in (("soundtrack_path", "File"), ("video_init_path", "Init Video")):
        where = getattr(settings, name)
        if settings.add_soundtrack == sound and (not where or is_url(where)):
            notes.append(f"add_soundtrack: {where or name} is missing; the video has no sound")
            settings = replace(settings, add_soundtrack="None")
    for feature in FEATURES:
        settings, missing = feature.without(settings, files)
        notes += missing
    return settings, notes


def check_samplers(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Yield a problem for each unknown sampler."""
    if "sampler" not in origins:
        return
    from deforum.diffusion import resolve_sampler

    for keyframe in settings.sampler.keyframes:
        try:
            resolve_sampler(keyframe.value or "")
        except UserError as error:
            yield Problem(f"{origins['sampler'].written}: {error}", str(origins["sampler"].place))
