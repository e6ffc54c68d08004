"""Curves of a camera file: what moves the 3D camera in place of schedules (`camera_file` and its neighbours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deforum.camera_files.motion import LENS, MOTION, LensRule, curves_of
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import files_of, read_camera
from deforum.errors import UserError
from deforum.limits import VALUE
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES

CAMERA_PARAMS = frozenset((*MOTION, *LENS))
"""The parameters that a camera file may drive."""
NO_CURVES: Mapping[str, NDArray[np.float64]] = {}


@dataclass(frozen=True, eq=False)
class CameraTrack:
    """A camera file on the timeline of a run."""

    path: Path
    files: tuple[Path, ...]
    title: str
    """Its format, in words."""
    curves: Mapping[str, NDArray[np.float64]]
    """The parameters that it drives, each (F,)."""
    frames: int
    """Frames of the run until its last pose, that one included."""
    poses: int
    notes: tuple[str, ...]


def drives_camera(settings: Settings) -> bool:
    """Whether a camera file moves the camera."""
    return settings.mode.has_depth and bool(settings.camera_file)


def camera_track(settings: Settings) -> CameraTrack:
    """Read the camera file of settings that have one. Raises UserError for what cannot be read or rendered."""
    path = Path(settings.camera_file)
    return _track(
        path, _signature(path), settings.max_frames, settings.fps, settings.width, settings.height,
        settings.camera_scale, settings.camera_rate, settings.camera_start, settings.camera_name,
        settings.camera_rotation_order, lens_rule(settings),
    )  # fmt: skip


def camera_curves(settings: Settings) -> Mapping[str, NDArray[np.float64]]:
    """Return the curves that a camera file drives, each (F,); empty without one. Raises UserError."""
    return camera_track(settings).curves if drives_camera(settings) else NO_CURVES


def driven(settings: Settings) -> tuple[str, ...]:
    """List the parameters whose schedules the camera file of settings replaces. Raises UserError."""
    return tuple(camera_curves(settings))


def lens_rule(settings: Settings) -> LensRule:
    """Return what fov and aspect_ratio mean in these settings."""
    if settings.aspect_ratio_use_old_formula:
        return "down"
    return "across" if PROFILES[settings.profile].physical_camera else "slab"


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what tells that a file, or the texts in a folder, changed."""
    try:
        return tuple((str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in files_of(path))
    except OSError:
        return ()


@lru_cache(maxsize=4)
def _track(
    path: Path, signature: object, count: int, fps: float, width: int | None, height: int | None,
    scale: float | None, own_fps: float | None, start: float | None, name: str | None, order: str, rule: LensRule,
) -> CameraTrack:  # fmt: skip
    found, row = read_camera(path, Wanted(fps, name, order))
    notes = list(found.notes)
    rate = found.rate
    if own_fps is not None and row.in_seconds:
        notes.append(f"camera_rate is without effect: {row.title} has its times in seconds")
    elif own_fps is not None:
        rate = own_fps
    timed = CameraPath(found.times, found.rotation, found.position, found.lens, rate, found.size)
    if start is not None and not timed.times[0] <= start <= timed.times[-1]:
        ends = f"{timed.times[0]:g} to {timed.times[-1]:g}"
        raise UserError(f"camera_start is {start:g}; the poses of {path.name} are at {ends}")
    sampled = timed.sampled(count, fps, start)
    # Sizes that are not given are those of models, which are square.
    size = (width or height or 2, height or width or 2)
    if found.lens is not None:
        if found.lens.aspect is None and (width is None) != (height is None):
            raise UserError(f"{path.name} has a vertical field of view; give both width and height")
        if found.lens.aspect is not None and abs(found.lens.aspect / (size[0] / size[1]) - 1) > 0.01:
            notes.append(
                f"its pictures are {found.lens.aspect:.4g} times as wide as high, and frames {size[0] / size[1]:.4g} "
                "times: its horizontal field of view is kept"
            )
    scale = row.scale if scale is None else scale
    curves = curves_of(sampled, size, scale, rule)
    if rule == "across" and not row.pixel:
        curves.pop("aspect_ratio", None)
    for name_of_curve, curve in curves.items():
        if name_of_curve in MOTION and (far := np.flatnonzero(np.abs(curve) > VALUE.most)).size:
            frame = int(far[0])
            raise UserError(
                f"{path.name}: {name_of_curve} becomes {curve[frame]:.6g} at frame {frame}; expected at most "
                f"{VALUE.most:,}; a smaller camera_scale moves the camera less"
            )
    return CameraTrack(path, files_of(path), row.title, curves, timed.frames(fps, start), len(found), tuple(notes))
