"""What can be wrong with settings whose every value could be read: ranges over time, and files that are not there.

No model is loaded and no picture is read for any of this.
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
    """Sample the schedules that were given, and that the animation mode reads, and compare them with their ranges.

    Gives problems, each with how a lenient profile goes on in spite of it; "" where it cannot.
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
                    yield Problem(f"{origin.written}{complaint}", str(origin.place)), "it is kept within that"
            elif isinstance(schedule, TextSchedule):
                schedule.sample(count, variables)
        except ScheduleError as error:
            way_on = ""
            with contextlib.suppress(ScheduleError):
                if isinstance(schedule, NumberSchedule):
                    first = as_in_a_longer_run(schedule, count, variables)[0]
                    way_on = f"as in a longer run it is {first:.6g} at first"
            yield Problem(f"{origin.written}: {error.message}" if way_on else str(error), str(origin.place)), way_on


def complain(declaration: Declaration, curve: NDArray[np.float64]) -> str:
    """Say what is wrong with a curve (F,), as the end of a sentence; '' where nothing is."""
    low = -np.inf if declaration.low is None else declaration.low
    high = np.inf if declaration.high is None else declaration.high
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
    expected = special or declaration.range or "a number"
    unit = f" ({declaration.unit})" if declaration.unit else ""
    return f" is {curve[frame]:.6g} at frame {frame}{also}; expected {expected}{unit}"


def locate_files(settings: Settings, origins: Mapping[str, Origin], files: Lookup) -> tuple[Settings, list[Problem]]:
    """Make paths absolute, and list those that lead nowhere and are needed."""
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
    """Turn (setting, message) into problems with the places where these settings were given."""
    return [Problem(message, str(origins[name].place) if name in origins else "") for name, message in faults]


def check_features(settings: Settings, origins: Mapping[str, Origin]) -> list[Problem]:
    """Ask the features what is wrong with their settings."""
    return [problem for feature in FEATURES for problem in placed(feature.check(settings), origins)]


def do_without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Do without what is not here: nothing is fetched. Gives notes on what is missing."""
    notes = []
    if settings.init_image is not None and is_url(settings.init_image):
        notes.append(f"init_image: {settings.init_image} is not fetched; the animation starts from noise")
        settings = replace(settings, init_image=None)
    image = settings.color_coherence_image_path
    if settings.color_coherence == "Image" and (not image or is_url(image)):
        notes.append(f"color_coherence: {image or 'Image'} is not there; the first frame's colours are held to (LAB)")
        settings = replace(settings, color_coherence="LAB")
    for name, sound in (("soundtrack_path", "File"), ("video_init_path", "Init Video")):
        where = getattr(settings, name)
        if settings.add_soundtrack == sound and (not where or is_url(where)):
            notes.append(f"add_soundtrack: {where or name} is not there; the video has no sound")
            settings = replace(settings, add_soundtrack="None")
    for feature in FEATURES:
        settings, missing = feature.without(settings, files)
        notes += missing
    return settings, notes


def check_samplers(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Check that there are samplers of the names given."""
    if "sampler" not in origins:
        return
    from deforum.diffusion import resolve_sampler

    for keyframe in settings.sampler.keyframes:
        try:
            resolve_sampler(keyframe.value or "")
        except UserError as error:
            yield Problem(f"{origins['sampler'].written}: {error}", str(origins["sampler"].place))
