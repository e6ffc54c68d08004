"""The motion of a run: its schedules, the camera shake, and the closing of a loop, written as curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from deforum.motion.pose import UNITS
from deforum.settings.options import Settings
from deforum.timeline.camera_path import Curves, Floats, Path2D, Path3D
from deforum.timeline.shakes import shake_of, times, views_2d, views_3d

UNKNOWN_SIZE = (256, 256)
"""px; in place of a size that only the model tells, for motion that depends on it."""
COMES_BACK = 0.4
"""A path whose end is nearer to its start than this share of its length is taken for one that is meant to come back."""
MARGIN = 0.1
"""Share of a curve's range by which its value at frame 0, the last step of a loop, may lie beyond those beside it."""
NEARLY = 1e-9
MOTIONS_2D = ("zoom", "angle", "translation_x", "translation_y")
MOTIONS_3D = ("translation_x", "translation_y", "translation_z", "rotation_3d_x", "rotation_3d_y", "rotation_3d_z")


@dataclass(frozen=True)
class Drift:
    """How far a path is from its start after one round, and how long it is on the way."""

    turn: float
    """degrees"""
    move: float
    """px; in 3D 1/200 scene unit"""
    zoom: float
    """factor"""
    share: float
    """The distance from the start over the length of the path, of what is largest: 0 for a closed path."""

    @property
    def is_none(self) -> bool:
        return abs(self.turn) < 1e-3 and abs(self.move) < 1e-3 and abs(self.zoom - 1) < 1e-4

    def __str__(self) -> str:
        parts = [
            f"{self.zoom:.3g} times as large" if abs(self.zoom - 1) >= 1e-4 else "",
            f"turned by {self.turn:.3g} degrees" if abs(self.turn) >= 1e-3 else "",
            f"moved by {self.move:.3g}" if abs(self.move) >= 1e-3 else "",
        ]
        return ", ".join(filter(None, parts))


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
    shaken, closes = shake_of(settings) is not None, settings.loop and settings.max_frames > 1
    if not (shaken or closes):
        return Motion(curves)
    if closes:
        curves = _smooth_last_step(settings, curves)
    path = _path(settings, curves)
    drift, steered = None, False
    if closes:
        drift = _drift(path, settings)
        steered = not drift.is_none and (settings.loop_drift == "remove" or (
            settings.loop_drift == "auto" and drift.share < COMES_BACK))  # fmt: skip
        if steered:
            path = _closed(path)
    if shaken:
        path = _shaken(path, settings, curves)
    written = path.write(curves)
    if not closes:
        # Frame 0 has no motion: what its schedules say stays.
        for name in MOTIONS_3D if isinstance(path, Path3D) else MOTIONS_2D:
            getattr(written, name)[0] = getattr(curves, name)[0]
    if not (shaken or steered):
        written = curves
    return Motion(written, drift, steered)


def _path(settings: Settings, curves: Curves) -> Path2D | Path3D:
    if settings.mode.has_depth:
        return Path3D.read(curves)
    width, height = settings.width or UNKNOWN_SIZE[0], settings.height or UNKNOWN_SIZE[1]
    return Path2D.read(curves, (width, height))


def _smooth_last_step(settings: Settings, curves: Curves) -> Curves:
    """Bring the motion at frame 0, which acts as the last step of a loop, near those before and after it."""
    changed: dict[str, Floats] = {}
    for name in MOTIONS_3D if settings.mode.has_depth else MOTIONS_2D:
        curve: Floats = getattr(curves, name)
        margin = MARGIN * float(np.ptp(curve[1:])) if len(curve) > 1 else 0.0
        beside = curve[-1], curve[min(1, len(curve) - 1)]
        value = min(max(curve[0], min(beside) - margin), max(beside) + margin)
        if value != curve[0]:
            changed[name] = np.concatenate(([value], curve[1:]))
    return replace(curves, **changed) if changed else curves


def _shaken(path: Path2D | Path3D, settings: Settings, curves: Curves) -> Path2D | Path3D:
    shake = shake_of(settings)
    assert shake is not None
    count = settings.max_frames
    time = times(curves.shake_speed, settings.fps)
    poses = shake.at(time)
    if settings.loop:
        # The frames after the last one fade into the first ones, so that the shake closes over the loop.
        step = time[-1] - time[-2] if count > 1 else 0.0
        over = max(min(round(settings.fps), count // 4), 1)
        later = shake.at(time[-1] + step + time[:over])
        fade = (np.arange(over) / over)[:, None]
        fade = fade * fade * (3 - 2 * fade)
        poses[:over] = later * (1 - fade) + poses[:over] * fade
    poses = poses * curves.shake_intensity[:, None]
    if isinstance(path, Path3D):
        view3 = views_3d(poses, settings.shake_scale)
        return Path3D(np.roll(view3.rotation, 1, 0), np.roll(view3.translation, 1, 0)).inverse().then(path).then(view3)
    view2 = views_2d(poses, settings.shake_scale, path)
    return replace(view2, a=np.roll(view2.a, 1), b=np.roll(view2.b, 1)).inverse().then(path).then(view2)


# --- loops ------------------------------------------------------------------------------------------------------------


def _drift(path: Path2D | Path3D, settings: Settings) -> Drift:
    if isinstance(path, Path3D):
        views = path.views()
        end = views.at(-1).then(path.at(0))
        turned, moved = _angle(end.rotation[0]), float(np.linalg.norm(end.translation[0]))
        ways = (
            (turned, sum(_angle(each) for each in path.rotation)),
            (moved, float(np.linalg.norm(path.translation, axis=1).sum())),
        )
        return Drift(turned, moved * UNITS, 1.0, _share(ways))
    flat = path.views()
    a, b = path.a[0] * flat.a[-1], path.a[0] * flat.b[-1] + path.b[0]
    turned, zoom, moved = -float(np.degrees(np.angle(a))), float(np.abs(a)), float(np.abs(b))
    ways = (
        (abs(turned), float(np.abs(np.degrees(np.angle(path.a))).sum())),
        (abs(np.log(zoom)), float(np.abs(np.log(np.abs(path.a))).sum())),
        (moved if abs(np.log(zoom)) < 0.01 and abs(turned) < 0.5 else 0.0, float(np.abs(path.b).sum())),
    )
    return Drift(turned, moved, zoom, _share(ways))


def _share(ways: tuple[tuple[float, float], ...]) -> float:
    """Return the largest share of a distance from the start in the length of the path; tiny distances are none."""
    return max((distance / length for distance, length in ways if distance > NEARLY and length > 0), default=0.0)


def _angle(rotation: Floats) -> float:
    """Return the angle of a rotation (3, 3) in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _closed(path: Path2D | Path3D) -> Path2D | Path3D:
    """Spread what is missing to a closed path evenly over its frames."""
    if isinstance(path, Path3D):
        views = path.views()
        end = views.at(-1).then(path.at(0)).inverse()
        along = np.arange(len(path.rotation) + 1) / len(path.rotation)
        axis = _rotation_vector(end.rotation[0])
        steer = Path3D(np.array([_rotation(axis * share) for share in along]), np.outer(along, end.translation[0]))
        rotation = np.concatenate((views.rotation, end.inverse().rotation))
        translation = np.concatenate((views.translation, end.inverse().translation))
        steered = Path3D(rotation, translation).then(steer)
        count = len(path.rotation)
        before, after = (Path3D(steered.rotation[i : i + count], steered.translation[i : i + count]) for i in (0, 1))
        steps = before.inverse().then(after)
        return Path3D(np.roll(steps.rotation, 1, 0), np.roll(steps.translation, 1, 0))
    flat, count = path.views(), len(path.a)
    a = np.append(flat.a, path.a[0] * flat.a[-1])
    b = np.append(flat.b, path.a[0] * flat.b[-1] + path.b[0])
    along = np.arange(count + 1) / count
    steer_a = np.exp(-along * np.log(a[-1]))
    steer_b = -along * b[-1] / a[-1]
    views = replace(path, a=steer_a * a, b=steer_a * b + steer_b)
    before2 = replace(views, a=views.a[:-1], b=views.b[:-1])
    steps2 = before2.inverse().then(replace(views, a=views.a[1:], b=views.b[1:]))
    return replace(path, a=np.roll(steps2.a, 1), b=np.roll(steps2.b, 1))


def _rotation_vector(rotation: Floats) -> Floats:
    """Return axis times angle (3,) of a rotation of points as row vectors."""
    axis: Floats = np.linalg.svd(rotation - np.eye(3))[2][-1]
    off = rotation.T - rotation
    sine = axis @ (off[2, 1], off[0, 2], off[1, 0]) / 2
    return axis * float(np.arctan2(sine, (np.trace(rotation) - 1) / 2))


def _rotation(vector: Floats) -> Floats:
    """Invert `_rotation_vector` (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    found: Floats = (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T
    return found


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
