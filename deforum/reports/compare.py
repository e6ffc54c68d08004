"""Comparison of two settings by what they render, not by how they are written.

Curves are compared at the frames where both sides read them: every moved frame, or the diffused frames. Settings that
act in neither are listed separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.features.acting import acts
from deforum.features.table import timeline_of
from deforum.reports.tabulate import STAND_IN_SEED
from deforum.settings.declare import Declaration
from deforum.settings.options import CONTROLS, DECLARATIONS, OPTIONS, ControlUnit, Settings
from deforum.settings.params import PARAMS
from deforum.settings.units import kind_of
from deforum.settings.yaml_writer import write_value
from deforum.timeline.prompts import negatives, positives
from schedules import TextSchedule

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame
    from deforum.timeline.timeline import Timeline

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Tolerances within which numbers are equal: equivalent expressions may differ in their last digits."""


@dataclass(frozen=True)
class Side:
    """One of the two settings, with a known seed, and its timeline."""

    settings: Settings
    timeline: Timeline


@dataclass(frozen=True)
class Comparison:
    """The differences in the order of the reference, each a text of one or more lines."""

    differences: tuple[str, ...]
    idle: tuple[str, ...]
    """Names of settings that differ but act in neither."""


def compare(a: Settings, b: Settings) -> Comparison:
    """Compare two settings. Raises UserError or ScheduleError where one of them cannot be sampled."""
    if any(getattr(a, name) != getattr(b, name) for name in SIZED_BY):
        a, b = sized(a), sized(b)
    differences = list(_start(a, b))
    sides = _sides(a, b)
    idle: list[str] = []
    for name, declaration in DECLARATIONS.items():
        if name in ELSEWHERE or _equal(a, b, name):
            continue
        lines = list(_compare_one(name, declaration, *sides))
        if lines and not any(_acts(declaration, side) for side in sides):
            idle.append(name)
        else:
            differences += lines
    differences += _compare_per_frame(*sides)
    for name, declaration, line in _compare_controls(a, b):
        if declaration.pending:
            idle.append(name)
        else:
            differences.append(line)
    return Comparison(tuple(differences), tuple(idle))


ELSEWHERE = {
    "max_frames", "seed", "seed_behavior", "seed_iter_n", "seed_schedule", "subseed", "init_strength", "sampler",
    "scheduler",
    "prompts", "positive_prompt", "negative_prompt",
}  # fmt: skip
"""Settings compared by their effect on the frames: see `_compare_per_frame`, `_start` and the strength curve."""


SIZED_BY = ("width", "height", "model", "profile")
"""Settings that decide the size; looked into only where they differ, as a model on a hub is asked over the network."""


def sized(settings: Settings) -> Settings:
    """Fill in a size that is not given, as far as the model can be found."""
    from deforum.diffusion import resolve_model
    from deforum.diffusion.training_limits import with_size
    from deforum.models.places import roots_of

    if settings.width is not None and settings.height is not None:
        return settings
    try:
        return with_size(
            settings,
            resolve_model(
                settings.model,
                roots=roots_of(settings.models_dir),
                vae=settings.first_vae,
                text_encoder=settings.text_encoder,
            ),
        )
    except UserError:
        return settings


def _sides(a: Settings, b: Settings) -> tuple[Side, Side]:
    """Sample both, with the same known seed in place of a random one."""

    known = next((each.seed for each in (a, b) if each.seed >= 0), STAND_IN_SEED)
    a, b = (replace(each, seed=known) if each.seed < 0 else each for each in (a, b))
    return Side(a, timeline_of(a)), Side(b, timeline_of(b))


def _equal(a: Settings, b: Settings, name: str) -> bool:
    """Whether a setting is the same text or value in both and need not be sampled."""
    holders = (a.params, b.params) if name in PARAMS else (a, b)
    one, other = (getattr(holder, name) for holder in holders)
    # Equal expressions may have other values: they depend on seed, fps and length. `strength` includes init_strength.
    same_variables = (a.seed, a.fps, a.max_frames, a.init_strength) == (b.seed, b.fps, b.max_frames, b.init_strength)
    return bool(one == other) and (same_variables or name in OPTIONS)


# --- what acts --------------------------------------------------------------------------------------------------------

OF_SPEED_ALONE = ("batch_size",)
"""Settings that affect speed but no picture."""


def _acts(declaration: Declaration, side: Side) -> bool:
    """Whether a setting affects the pictures."""
    name = declaration.name
    return name not in OF_SPEED_ALONE and acts(name, side.settings, side.timeline)


def _frames_read(declaration: Declaration, side: Side) -> NDArray[np.intp]:
    """Return the frames that read a parameter: from frame 1 on for motion, the diffused ones for diffusion."""
    timeline = side.timeline
    if not side.settings.mode.goes_on:
        return np.arange(len(timeline))
    if declaration.section in ("motion", "camera"):
        return np.arange(1, len(timeline))
    keys = np.asarray(timeline.keys)
    of_pictures = ("noise", "contrast", "cadence_flow_factor", "redo_flow_factor")
    from_picture = declaration.name in of_pictures or declaration.name.startswith("antiblur")
    from_noise = side.settings.init_image is None
    if from_picture or (declaration.name in ("strength", "noise_multiplier") and from_noise):
        return keys[1:]
    return keys if declaration.section in ("diffusion", "seeds") else np.arange(len(timeline))


# --- what differs -----------------------------------------------------------------------------------------------------


def _start(a: Settings, b: Settings) -> Iterator[str]:
    """Compare the lengths, and whether the seeds are random."""
    if a.max_frames != b.max_frames:
        shorter = min(a.max_frames, b.max_frames)
        yield f"max_frames: {a.max_frames} | {b.max_frames} (compared up to frame {shorter - 1})"
    if (a.seed < 0) != (b.seed < 0):
        yield f"seed: {' | '.join('drawn by chance' if each.seed < 0 else str(each.seed) for each in (a, b))}"


def _compare_one(name: str, declaration: Declaration, a: Side, b: Side) -> Iterator[str]:
    if name in PARAMS:
        yield from _compare_curves(declaration, a, b)
        return
    one, other = getattr(a.settings, name), getattr(b.settings, name)
    if isinstance(one, TextSchedule):
        count = min(len(a.timeline), len(b.timeline))
        texts = [each.sample(len(s.timeline), s.timeline.variables)[:count] for each, s in ((one, a), (other, b))]
        yield from _compare_texts(name, range(count), *texts)
    elif isinstance(one, tuple) and kind_of(declaration.type) is None:
        yield f"{name}: {len(one)} | {len(other)} entries, which are not the same"
    elif name == "prompt_blend":
        ways = (a.settings.blending, b.settings.blending)
        if ways[0] != ways[1] and "hold" not in ways:  # else the prompts of the frames show it
            yield f"{name}: {ways[0]} | {ways[1]}"
    else:
        yield f"{name}: {write_value(one)} | {write_value(other)}"


def _compare_curves(declaration: Declaration, a: Side, b: Side) -> Iterator[str]:
    """Compare two curves at the frames where both are read."""
    name = declaration.name
    frames = np.intersect1d(_frames_read(declaration, a), _frames_read(declaration, b))
    one, other = getattr(a.timeline.curves, name)[frames], getattr(b.timeline.curves, name)[frames]
    differ = ~np.isclose(one, other, rtol=RELATIVE, atol=ABSOLUTE)
    if not differ.any():
        return
    unit = f" {declaration.unit}" if declaration.unit else ""
    if np.ptp(one) == 0 == np.ptp(other):
        yield f"{name}: {one[0]:.6g} | {other[0]:.6g}{unit}"
        return
    most = int(np.argmax(np.abs(one - other)))
    kind = "frames" if len(frames) >= min(len(a.timeline), len(b.timeline)) - 1 else "diffused frames"
    yield (
        f"{name}: from frame {frames[np.argmax(differ)]} on, at {differ.sum()} of {len(frames)} {kind}; "
        f"most at frame {frames[most]}: {one[most]:.6g} | {other[most]:.6g}{unit}"
    )


def _compare_per_frame(a: Side, b: Side) -> Iterator[str]:
    """Compare the inputs of the diffused frames: seeds, samplers and prompts."""
    count = min(len(a.timeline), len(b.timeline))
    keys = sorted(set(a.timeline.keys) & set(b.timeline.keys) & set(range(count)))
    pairs = [(a.timeline[key], b.timeline[key]) for key in keys]

    def compared(name: str, read: Callable[[Frame], str], among: Sequence[tuple[Frame, Frame]]) -> Iterator[str]:
        frames = [one.index for one, _ in among]
        return _compare_texts(name, frames, [read(one) for one, _ in among], [read(other) for _, other in among])

    mixed = [pair for pair in pairs if any(frame.params.subseed_strength for frame in pair)]
    yield from compared("seed", lambda frame: str(frame.seed), pairs)
    yield from compared("subseed", lambda frame: str(frame.subseed), mixed)
    yield from compared("sampler", lambda frame: _sampler(frame.sampler), pairs)
    yield from compared("prompt", lambda frame: _blend(positives(frame.prompts)), pairs)
    yield from compared("negative prompt", lambda frame: _blend(negatives(frame.prompts)), pairs)
    yield from compared("reference", lambda frame: str(frame.reference or ""), pairs)
    yield from compared("ip_adapter", lambda frame: " ".join(map(str, frame.images)), pairs)
    yield from compared("loras", lambda frame: " ".join(map(str, frame.loras)), pairs)


def _blend(prompts: Sequence[tuple[str, float]]) -> str:
    """Join the prompts of a frame, with weights if there are several; whitespace is normalised."""
    parts = [(weight, " ".join(text.split())) for text, weight in prompts]
    return parts[0][1] if len(parts) == 1 else " + ".join(f"{weight:.3g} {text}" for weight, text in parts)


def _sampler(name: str) -> str:
    """Return one name for all spellings of a sampler."""
    from deforum.diffusion import resolve_sampler
    from deforum.errors import UserError

    try:
        return resolve_sampler(name)
    except UserError:
        return name


def _compare_texts(name: str, frames: Sequence[int], one: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    """Compare texts at frames: seeds at the first difference, others by runs of frames with the same difference."""
    differ = [i for i in range(len(frames)) if one[i] != other[i]]
    if not differ:
        return
    if name in ("seed", "subseed"):
        first = differ[0]
        yield f"{name}: from frame {frames[first]} on, at {len(differ)} of {len(frames)} diffused frames: " + (
            f"{one[first]} | {other[first]}"
        )
        return
    start = differ[0]
    for place, i in enumerate(differ):
        following = differ[place + 1] if place + 1 < len(differ) else None
        if following == i + 1 and (one[i], other[i]) == (one[following], other[following]):
            continue
        where = f"frame {frames[start]}" if start == i else f"frames {frames[start]} to {frames[i]}"
        short = len(one[i]) + len(other[i]) < 60
        yield f"{name}, {where}:" + (f" {one[i]} | {other[i]}" if short else f"\n  {one[i]}\n  | {other[i]}")
        if following is not None:
            start = following


def _compare_controls(a: Settings, b: Settings) -> Iterator[tuple[str, Declaration, str]]:
    """Yield (name, declaration, difference) of the ControlNet units that are enabled in at least one of the two."""
    for number in range(max(len(a.control_units), len(b.control_units))):
        one, other = (
            each.control_units[number] if number < len(each.control_units) else ControlUnit() for each in (a, b)
        )
        if not (one.enabled or other.enabled):
            continue
        for setting, declaration in CONTROLS.items():
            values, name = (getattr(one, setting), getattr(other, setting)), f"cn_{number + 1}_{setting}"
            if values[0] != values[1]:
                yield name, declaration, f"{name}: {write_value(values[0])} | {write_value(values[1])}"
