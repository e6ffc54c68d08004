"""The motion of a run: its schedules, the camera shake, and the closing of a loop, written as curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from deforum.settings.options import Settings
from deforum.timeline.camera_path import NEARLY, Curves, Drift, Floats, Path, Path2D, Path3D
from deforum.timeline.shakes import Shake, shake_of, times

UNKNOWN_SIZE = (256, 256)
"""px; in place of a size that only the model tells, for motion that depends on it."""
COMES_BACK = 0.4
"""A path whose end is nearer to its start than this share of its length is taken for one that is meant to come back."""
MARGIN = 0.1
"""Share of a curve's range by which its value at frame 0, the last step of a loop, may lie beyond those beside it."""
MOTIONS_2D = ("zoom", "angle", "translation_x", "translation_y")
MOTIONS_3D = ("translation_x", "translation_y", "translation_z", "rotation_3d_x", "rotation_3d_y", "rotation_3d_z")


@dataclass(frozen=True)
class Motion:
    """Curves with the motion of a run, and what a loop had to change about it."""

    curves: Curves
    drift: Drift | None = None
    """That of the schedules; None without a loop."""
    is_steered: bool = False
    """Whether the drift was removed."""


def motion_of(settings: Settings, curves: Curves) -> Motion:
    """Return the motion of settings whose schedules were sampled: with the shake, and closed where it loops.

    The motion at frame 0 is the one that brings a loop from its last frame to its first. Raises UserError for an
    unknown shake.
    """
    if not settings.mode.goes_on:
        return Motion(curves)
    shake, closes = shake_of(settings), settings.loops and settings.max_frames > 1
    if shake is None and not closes:
        return Motion(curves)
    if closes:
        curves = _smooth_last_step(settings, curves)
    path = _path(settings, curves)
    drift, steered = None, False
    if closes:
        drift = path.drift()
        steered = not drift.is_none and (settings.loop_drift == "remove" or (
            settings.loop_drift == "auto" and drift.share < COMES_BACK))  # fmt: skip
        if steered:
            path = path.closed()
    if shake is not None:
        path = path.swayed(_sway(settings, curves, shake), settings.shake_scale)
    written = path.write(curves)
    if not closes:
        # Frame 0 has no motion: what its schedules say stays.
        for name in _motions(settings):
            getattr(written, name)[0] = getattr(curves, name)[0]
    return Motion(written if shake is not None or steered else curves, drift, steered)


def _motions(settings: Settings) -> tuple[str, ...]:
    return MOTIONS_3D if settings.mode.has_depth else MOTIONS_2D


def _path(settings: Settings, curves: Curves) -> Path:
    if settings.mode.has_depth:
        return Path3D.read(curves)
    width, height = settings.width or UNKNOWN_SIZE[0], settings.height or UNKNOWN_SIZE[1]
    return Path2D.read(curves, width, height)


def _smooth_last_step(settings: Settings, curves: Curves) -> Curves:
    """Bring the motion at frame 0, which acts as the last step of a loop, near those before and after it."""
    changed: dict[str, Floats] = {}
    for name in _motions(settings):
        curve: Floats = getattr(curves, name)
        margin = MARGIN * float(np.ptp(curve[1:])) if len(curve) > 1 else 0.0
        beside = curve[-1], curve[min(1, len(curve) - 1)]
        value = min(max(curve[0], min(beside) - margin), max(beside) + margin)
        if value != curve[0]:
            changed[name] = np.concatenate(([value], curve[1:]))
    return replace(curves, **changed) if changed else curves


def _sway(settings: Settings, curves: Curves, shake: Shake) -> Floats:
    """Return the poses (F, 6) of a shake at each frame."""
    count, time = settings.max_frames, times(curves.shake_speed, settings.fps)
    poses = shake.at(time)
    if settings.loops and count > 1:
        # The frames after the last one fade into the first ones, so that the shake closes over the loop.
        over = max(min(round(settings.fps), count // 4), 1)
        later = shake.at(2 * time[-1] - time[-2] + time[:over])
        fade = (np.arange(over) / over)[:, None]
        fade = fade * fade * (3 - 2 * fade)
        poses[:over] = later * (1 - fade) + poses[:over] * fade
    return poses * curves.shake_intensity[:, None]


# --- loops ------------------------------------------------------------------------------------------------------------


EASED = ("fov", "aspect_ratio", "symmetry_segments", "symmetry_center_x", "symmetry_center_y", "symmetry_strength",
         "symmetry_angle", "perspective_flip_theta")  # fmt: skip


def ease_back(curves: Curves, start: int) -> tuple[Curves, tuple[str, ...]]:
    """Let curves whose jump from the last frame to the first would show return over the frames after `start`.

    The trail of echo_amount, which frame 0 does not have, fades out. Also returns the names of what was changed.
    """
    changed: dict[str, Floats] = {}
    for name in EASED:
        curve: Floats = getattr(curves, name)
        steps = np.abs(np.diff(curve))
        if len(steps) and abs(curve[0] - curve[-1]) > 1.5 * steps.max() + NEARLY:
            changed[name] = curve + (curve[0] - curve) * _ease(len(curve), start)
    if curves.echo_amount.any():
        changed["echo_amount"] = curves.echo_amount * (1 - _ease(len(curves.echo_amount), start))
    return (replace(curves, **changed) if changed else curves), tuple(changed)


def _ease(count: int, start: int) -> Floats:
    along = ((np.arange(count) - start) / max(count - start, 1)).clip(0, 1)
    found: Floats = along * along * (3 - 2 * along)
    return found


def drift_notes(settings: Settings, motion: Motion) -> Iterator[str]:
    """Yield what a loop does about motion that does not come back."""
    drift = motion.drift
    if drift is None or drift.is_none:
        return
    if motion.is_steered:
        yield (f"loop: after its {settings.max_frames} frames the picture would be {drift}; this drift is removed, a "
               "little in each frame (loop_drift: keep leaves it)")  # fmt: skip
    else:
        yield (f"loop: the motion goes on, after {settings.max_frames} frames the picture is {drift}; the last frames "
               "are painted over into the first one, moved along (loop_drift: remove holds it in place)")  # fmt: skip
