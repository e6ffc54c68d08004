"""What can be wrong with settings whose every value could be read: ranges over time, and files that are not there.

No model is loaded and no picture is read for any of this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.declare import Declaration
from deforum.document import Place
from deforum.errors import Problem
from deforum.options import OPTIONS, Settings
from deforum.params import PARAMS
from schedules import NumberSchedule, ScheduleError, TextSchedule, Variables

AVAILABLE_MODES: tuple[str, ...] = ("2D",)
"""The animation modes that can be rendered: the one place to add one."""

PATHS = ("init_image", "color_coherence_image_path", "model")
"""Settings whose relative path starts from the settings file's folder."""


@dataclass(frozen=True)
class Origin:
    """What a setting is called where it was given, and where that was."""

    written: str
    place: Place


def check_curves(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Sample the schedules that were given, and that the animation mode reads, and compare them with their ranges."""
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
                    yield Problem(f"{origin.written}{complaint}", str(origin.place))
            elif isinstance(schedule, TextSchedule):
                schedule.sample(count, variables)
        except ScheduleError as error:
            yield Problem(str(error), str(origin.place))


def complain(declaration: Declaration, curve: NDArray[np.float64]) -> str:
    """Say what is wrong with a curve (F,), as the end of a sentence; '' where nothing is."""
    low = -np.inf if declaration.low is None else declaration.low
    high = np.inf if declaration.high is None else declaration.high
    wrong = ~((curve >= low) & (curve <= high) & np.isfinite(curve))
    if declaration.odd and not wrong.any():
        wrong = np.trunc(curve) % 2 == 0
    if not wrong.any():
        return ""
    frame = int(np.argmax(wrong))
    others = int(wrong.sum()) - 1
    also = f" and {others} more" if others else ""
    expected = "an odd number" if declaration.odd and low <= curve[frame] <= high else declaration.range or "a number"
    unit = f" ({declaration.unit})" if declaration.unit else ""
    return f" is {curve[frame]:.6g} at frame {frame}{also}; expected {expected}{unit}"


def within_range(name: str, curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring the curve (F,) of a parameter into its range; what `load` let pass from an old file is clipped here."""
    declaration = PARAMS[name]
    if declaration.low is None and declaration.high is None:
        return curve
    curve = np.clip(curve, declaration.low, declaration.high)
    return np.trunc(curve) // 2 * 2 + 1 if declaration.odd else curve


def check_mode(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """Check that there is a way to render the animation mode."""
    if settings.animation_mode not in AVAILABLE_MODES:
        where = str(origins["animation_mode"].place) if "animation_mode" in origins else ""
        available = " or ".join(AVAILABLE_MODES)
        message = f"animation_mode: {settings.animation_mode} cannot be rendered yet; expected {available}"
        yield Problem(f"{message} (try it with animation_mode={AVAILABLE_MODES[0]})", where)


def find_files(settings: Settings, origins: Mapping[str, Origin], folder: Path) -> tuple[Settings, list[Problem]]:
    """Make paths absolute, trying `folder` before the current one, and list those that lead nowhere."""
    found: dict[str, str] = {}
    problems = []
    for name in PATHS:
        text = getattr(settings, name)
        if not text or is_url(text):
            continue
        path = next((path for path in (folder / text, Path(text)) if path.exists()), None)
        if path is not None:
            found[name] = str(path.resolve())
        elif name != "model" and (name != "color_coherence_image_path" or settings.color_coherence == "Image"):
            origin = origins.get(name, Origin(name, Place("")))
            looked = f"looked in {folder.resolve()}" + ("" if folder.resolve() == Path.cwd() else f" and {Path.cwd()}")
            problems.append(Problem(f"{origin.written}: there is no file {text!r} ({looked})", str(origin.place)))
    return dataclasses.replace(settings, **found), problems  # type: ignore[arg-type]


def is_url(text: str) -> bool:
    """Whether a text names something on a network."""
    return text.startswith(("http://", "https://"))
