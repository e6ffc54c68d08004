"""What can be wrong with settings whose every value could be read: ranges over time, and files that are not there.

No model is loaded and no picture is read for any of this.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.features import hybrid, video_input
from deforum.features.masks import find as masks
from deforum.features.masks.language import name_files, parse_masks
from deforum.settings.declare import Declaration
from deforum.settings.document import Place
from deforum.settings.options import OPTIONS, Settings
from deforum.settings.params import PARAMS
from deforum.settings.read import Origin
from deforum.timeline.curves import _as_in_a_longer_run
from schedules import NumberSchedule, ScheduleError, TextSchedule, Variables

PATHS: Mapping[str, Callable[[Settings], bool]] = {
    "model": lambda settings: False,  # may be a name as well: the diffusion package looks at it
    "init_image": lambda settings: settings.init_image is not None or hybrid.needs_init_image(settings),
    "color_coherence_image_path": lambda settings: settings.color_coherence == "Image",
    "mask_file": lambda settings: masks.needs_mask_file(settings),
    "video_mask_path": lambda settings: settings.use_mask_video,
    "soundtrack_path": lambda settings: settings.add_soundtrack == "File",
    "video_init_path": lambda settings: (
        settings.add_soundtrack == "Init Video" or hybrid.needs_clip(settings) or video_input.needs_clip(settings)
    ),
}
"""Settings that name files, and when the file has to be there."""


def check_curves(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[tuple[Problem, str]]:
    """Sample the schedules that were given, and that the animation mode reads, and compare them with their ranges.

    Gives problems, each with how a lenient profile goes on in spite of it; "" where it cannot.
    """
    count, variables = settings.max_frames, Variables(seed=settings.seed, fps=settings.fps)
    for name, origin in origins.items():
        declaration = PARAMS.get(name) or OPTIONS.get(name)
        if declaration is None or (declaration.modes and settings.animation_mode not in declaration.modes):
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
                    first = _as_in_a_longer_run(schedule, count, variables)[0]
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


def find_files(settings: Settings, origins: Mapping[str, Origin], folder: Path) -> tuple[Settings, list[Problem]]:
    """Make paths absolute, trying `folder` before the current one, and list those that lead nowhere."""
    found: dict[str, str] = {}
    problems = []
    for name, is_needed in PATHS.items():
        text = getattr(settings, name)
        path = next((path for path in (folder / text, Path(text)) if path.exists()), None) if text else None
        origin = origins.get(name, Origin(name, Place("")))
        if path is not None:
            found[name] = str(path.resolve())
        elif is_needed(settings):
            looked = " and ".join(dict.fromkeys((str(folder.resolve()), str(Path.cwd()))))
            missing = f"there is no file {text!r} (looked in {looked})" if text else "this has to name a file"
            if text and is_url(text):
                missing = f"{text} is not fetched; download it and give the file"
            problems.append(Problem(f"{origin.written}: {missing}", str(origin.place)))
    settings = dataclasses.replace(settings, **found)  # type: ignore[arg-type]
    if settings.use_looper:
        settings = _find_guided_images(settings, origins, folder, problems)
    return _find_mask_files(settings, origins, folder, problems), problems


def _find_guided_images(
    settings: Settings, origins: Mapping[str, Origin], folder: Path, problems: list[Problem]
) -> Settings:
    """Make the paths of guided images absolute."""
    found: list[tuple[str, str]] = []
    origin = origins.get("init_images", Origin("init_images", Place("")))
    for key, text in settings.init_images:
        path = next((path for path in (folder / text, Path(text)) if text and path.is_file()), None)
        found.append((key, text if path is None else str(path.resolve())))
        if path is None:
            looked = " and ".join(dict.fromkeys((str(folder.resolve()), str(Path.cwd()))))
            missing = f"there is no file {text!r} (looked in {looked})"
            if is_url(text):
                missing = f"{text} is not fetched; download it and give the file"
            problems.append(Problem(f"{origin.written}: {key}: {missing}", str(origin.place)))
    return dataclasses.replace(settings, init_images=tuple(found))


def _find_mask_files(
    settings: Settings, origins: Mapping[str, Origin], folder: Path, problems: list[Problem]
) -> Settings:
    """Make the paths in masks absolute, where the masks are in use."""

    def find(text: str) -> str | None:
        path = next((path for path in (folder / text, Path(text)) if path.is_file()), None)
        return None if path is None else str(path.resolve())

    found: dict[str, TextSchedule] = {}
    for name in masks.active(settings):
        try:
            found[name] = name_files(getattr(settings, name), find)
        except ScheduleError as error:
            problems.append(Problem(str(error), str(origins[name].place) if name in origins else ""))
    return dataclasses.replace(settings, **found)  # type: ignore[arg-type]


def drop_urls(settings: Settings) -> tuple[Settings, list[str]]:
    """Do without what is on a network: nothing is fetched. Gives notes on what is missing."""
    notes = []
    if settings.init_image is not None and is_url(settings.init_image):
        notes.append(f"init_image: {settings.init_image} is not fetched; the animation starts from noise")
        settings = dataclasses.replace(settings, init_image=None)
    image = settings.color_coherence_image_path
    if settings.color_coherence == "Image" and (not image or is_url(image)):
        notes.append(f"color_coherence: {image or 'Image'} is not there; the first frame's colours are held to (LAB)")
        settings = dataclasses.replace(settings, color_coherence="LAB")
    if settings.use_looper and (not settings.init_images or any(is_url(path) for _, path in settings.init_images)):
        notes.append("init_images: pictures on a network are not fetched; the animation goes without guided images")
        settings = dataclasses.replace(settings, use_looper=False)
    for switch, name in (("use_mask", "mask_file"), ("use_mask_video", "video_mask_path")):
        if getattr(settings, switch) and is_url(getattr(settings, name)):
            notes.append(f"{name}: {getattr(settings, name)} is not fetched; the animation goes without this mask")
            settings = dataclasses.replace(settings, **{switch: False})  # type: ignore[arg-type]
    for name, sound in (("soundtrack_path", "File"), ("video_init_path", "Init Video")):
        where = getattr(settings, name)
        if settings.add_soundtrack == sound and (not where or is_url(where)):
            notes.append(f"add_soundtrack: {where or name} is not there; the video has no sound")
            settings = dataclasses.replace(settings, add_soundtrack="None")
    return settings, notes


def drop_hybrid(settings: Settings, folder: Path) -> tuple[Settings, list[str]]:
    """Do without hybrid video where its clip is not there. Gives notes, as `drop_urls` does."""
    needed = {"video_init_path": hybrid.needs_clip, "init_image": hybrid.needs_init_image}
    for name, is_needed in needed.items():
        text = getattr(settings, name)
        if is_needed(settings) and not (text and any((place / text).exists() for place in (folder, Path()))):
            settings = dataclasses.replace(settings, hybrid_motion="None", hybrid_composite="None")
            return settings, [f"hybrid video: there is no clip {text or name!r}; the animation goes without one"]
    return settings, []


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


def check_masks(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Check that the masks in use can be read."""
    for name in masks.active(settings):
        try:
            parse_masks(getattr(settings, name))
        except ScheduleError as error:
            yield Problem(str(error), str(origins[name].place) if name in origins else "")


def is_url(text: str) -> bool:
    """Whether a text names something on a network."""
    return text.startswith(("http://", "https://"))
