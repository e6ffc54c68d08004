"""Checks of settings whose values could all be read: ranges over time, and missing files.

No model is loaded and no picture is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.features.acting import in_mode, needs_file
from deforum.features.table import FEATURES
from deforum.settings.declare import Declaration
from deforum.settings.document import Mapping as NodeMapping
from deforum.settings.document import Place
from deforum.settings.document import Sequence as NodeSequence
from deforum.settings.faults import inside
from deforum.settings.files import Lookup, is_url
from deforum.settings.options import OPTIONS, Settings
from deforum.settings.params import PARAMS
from deforum.settings.parseq.find import is_inline
from deforum.settings.read import Origin
from deforum.settings.steps import Chain, Step, kind_of, located
from deforum.timeline.curves import Sampling, as_in_a_longer_run
from deforum.timeline.prompts import place_prompts
from deforum.timeline.timeline import prompt_faults
from deforum.timeline.variables import variables_of
from deforum.timeline.wildcards import wildcard_faults
from schedules import NumberSchedule, ScheduleError, TextSchedule, Variables, parse_key, parse_text

DEFAULT_SAMPLER = "Euler a"


def check_curves(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[tuple[Problem, str]]:
    """Sample the given schedules that the animation mode reads, and compare them with their ranges.

    Yields problems, each with the fallback of a lenient profile in words; "" if there is none.
    """
    count, variables = settings.max_frames, variables_of(settings)
    if settings.first_frame >= count:
        place = str(origins["first_frame"].place) if "first_frame" in origins else ""
        yield Problem(f"first_frame is {settings.first_frame} of {count} frames; expected 0..{count - 1}", place), ""
        return
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
            if error.said_elsewhere:
                continue
            way_on = ""
            with contextlib.suppress(ScheduleError):
                if isinstance(schedule, NumberSchedule):
                    first = as_in_a_longer_run(schedule, count, variables)[0]
                    way_on = f"its values are those of a longer run, from {first:.6g} at frame 0"
            yield Problem(f"{origin.written}: {error.message}" if way_on else str(error), str(origin.place)), way_on


def check_prompts(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[tuple[Problem, str]]:
    """Check the back-quoted expressions in prompts, at every frame at which they act; yields as `check_curves`."""
    count, variables = settings.max_frames, variables_of(settings)
    unplaced = list(_unplaced(settings, origins, variables))
    if unplaced:
        yield from ((problem, "") for problem in unplaced if problem is not None)
        return
    try:
        track = place_prompts(settings.prompts, settings.positive_prompt, settings.negative_prompt, count, variables)
    except UserError as error:
        yield from ((problem, "") for problem in error.problems)
        return
    for fault in (*wildcard_faults(settings), *prompt_faults(settings, track)):
        if fault.error.said_elsewhere:
            continue
        setting, index = fault.source.setting, fault.source.index
        origin = origins.get(setting, Origin(setting, Place("")))
        node = origin.node
        if setting == "prompts" and isinstance(node, NodeMapping) and index < len(node.entries):
            node = node.entries[index][1]
        place = str(origin.place if node is None else inside(node, fault.error.column))
        renamed = fault.error.within(fault.error.text, 0, fault.error.name.replace(setting, origin.written, 1))
        yield Problem(str(renamed), place), fault.instead


def _unplaced(settings: Settings, origins: Mapping[str, Origin], variables: Variables) -> Iterator[Problem | None]:
    """Yield a problem for each prompt whose keyframe has no frame, at its place; None for one said elsewhere."""
    origin = origins.get("prompts", Origin("prompts", Place("")))
    for index, (key, _) in enumerate(settings.prompts):
        try:
            parse_key(key, name=origin.written).frame(variables, settings.max_frames)
        except ScheduleError as error:
            place = origin.place
            if isinstance(origin.node, NodeMapping) and index < len(origin.node.entries):
                place = inside(origin.node.entries[index][0], error.column)
            yield None if error.said_elsewhere else Problem(str(error), str(place))


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
    for name, declaration in OPTIONS.items():
        text = getattr(settings, name)
        if not declaration.path or text in declaration.words:
            continue
        try:
            path = files.find(text or "") or files.find_model(declaration.models, text or "", settings.models_dir)
        except UserError as error:
            problems += placed([(name, str(error))], origins)
            continue
        if path is not None:
            found[name] = os.path.abspath(path)  # a link keeps its name, which may tell what it is
        elif needs_file(name, settings, Sampling(settings)):
            origin = origins.get(name, Origin(name, Place("")))
            what = files.missing(text or "", declaration.words)
            problems.append(Problem(f"{origin.written}: {what}", str(origin.place)))
    settings = replace(settings, **found)  # type: ignore[arg-type]
    settings = replace(settings, checkpoint=_located(settings.checkpoint, files), vae=_located(settings.vae, files))
    manifest = settings.parseq_manifest
    if manifest.strip() and not is_inline(manifest) and (path := files.find_file(manifest)) is not None:
        settings = replace(settings, parseq_manifest=str(path.absolute()))
    post, lost = locate_steps(settings.post, origins.get("post", Origin("post", Place(""))), files, settings.models_dir)
    settings, problems = replace(settings, post=post), problems + lost
    for feature in FEATURES:
        settings, missing = feature.locate(settings, files)
        problems += placed(missing, origins)
    return settings, problems


def locate_steps(chain: Chain, origin: Origin, files: Lookup, models_dir: str) -> tuple[Chain, list[Problem]]:
    """Make the paths in the steps behind the render absolute; also return problems for files that are missing."""
    steps, problems = list[Step](), list[Problem]()
    nodes = origin.node.items if isinstance(origin.node, NodeSequence) else ()
    for number, step in enumerate(chain.steps):
        found, missing = located(step, files, models_dir)
        place = nodes[number].place if number < len(nodes) else origin.place
        before = f"{origin.written}, {kind_of(step).name}"
        problems += [Problem(f"{before}: {option}: {message}", str(place)) for option, message in missing]
        steps.append(found)
    return Chain(tuple(steps)), problems


def _located(names: TextSchedule, files: Lookup) -> TextSchedule:
    """Make paths of models by keyframe absolute; names that are no path are looked up later, as those of `model`."""
    found = {each.value: files.find(each.value) for each in names.keyframes if each.value}
    if not any(found.values()):
        return names
    texts: dict[object, object] = {}
    for keyframe in names.keyframes:
        path = found.get(keyframe.value or "")
        texts[keyframe.key.text] = keyframe.value if path is None else str(path.resolve())
    return parse_text(texts, name=names.name)


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


def join_scheduler(settings: Settings, scheduler: str) -> tuple[Settings, list[str]]:
    """Join the scheduler of another host's file to each sampler; also return notes. Unknown samplers stay."""
    from deforum.diffusion.sampling.samplers import with_scheduler

    return _with_samplers(settings, lambda name: with_scheduler(name, scheduler))


def replace_samplers(settings: Settings) -> tuple[Settings, list[str]]:
    """Replace unknown samplers by the known one that their name begins with, else by Euler a; also return notes."""
    from deforum.diffusion.sampling.samplers import find_beginning, find_sampler

    def known(name: str) -> tuple[str, str]:
        try:
            find_sampler(name)
            return name, ""
        except UserError as error:
            instead = find_beginning(name) or DEFAULT_SAMPLER
            return instead, f"sampler: {str(error).partition(';')[0]}; {instead} is used"

    return _with_samplers(settings, known)


def _with_samplers(settings: Settings, change: Callable[[str], tuple[str, str]]) -> tuple[Settings, list[str]]:
    """Apply change(name) -> (name, note) to each sampler of the schedule; unknown samplers that it refuses stay."""
    names: dict[object, object] = {}
    notes: list[str] = []
    for keyframe in settings.sampler.keyframes:
        if keyframe.value is None:
            continue
        names[keyframe.key.text] = keyframe.value
        with contextlib.suppress(UserError):
            names[keyframe.key.text], note = change(keyframe.value)
            notes += [note] if note else []
    if list(names.values()) == [
        keyframe.value for keyframe in settings.sampler.keyframes if keyframe.value is not None
    ]:
        return settings, notes
    return replace(settings, sampler=parse_text(names, name="sampler")), list(dict.fromkeys(notes))


def check_schedulers(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Yield a problem for each unknown scheduler."""
    if "scheduler" not in origins:
        return
    from deforum.diffusion.sampling.samplers import scheduler_problem

    for name in (keyframe.value for keyframe in settings.scheduler.keyframes if keyframe.value is not None):
        problem = scheduler_problem(name)
        if problem:
            yield Problem(f"{origins['scheduler'].written}: {problem}", str(origins["scheduler"].place))


def check_samplers(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Yield a problem for each unknown sampler."""
    if "sampler" not in origins:
        return
    from deforum.diffusion import resolve_sampler

    for name in (keyframe.value for keyframe in settings.sampler.keyframes if keyframe.value is not None):
        try:
            resolve_sampler(name)
        except UserError as error:
            yield Problem(f"{origins['sampler'].written}: {error}", str(origins["sampler"].place))
