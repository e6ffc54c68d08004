"""A camera file, which moves the 3D camera: its checks, and what is said about it. Its curves are in the timeline."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.paths import exists
from deforum.settings.options import Settings
from deforum.settings.params import PARAMS
from deforum.settings.profiles import PROFILES
from deforum.timeline.camera import CameraTrack, camera_track, driven, drives_camera

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Report a camera file that is there, and cannot be read or rendered."""
    from pathlib import Path

    if not drives_camera(settings) or not exists(Path(settings.camera_file)):
        return
    try:
        camera_track(settings)
    except UserError as error:
        for problem in error.problems:
            yield "camera_file", str(problem)


def notes(settings: Settings, found: CameraTrack) -> Iterable[str]:
    """Say what the file drives, and what of it is left out."""
    names = ", ".join(found.curves)
    what = f"{found.path.name} ({found.title}, {found.poses:,} poses) drives {names}"
    yield f"camera_file: {what}"
    if "fov" not in found.curves:
        yield "camera_file: it has no field of view; fov is used"
    managed = [name for name in found.curves if settings.parseq is not None and name in settings.parseq.settings]
    if managed:
        yield f"camera_file: it acts in place of the Parseq manifest's {', '.join(managed)}"
    rest = settings.max_frames - found.frames
    if rest > 0 and found.frames > 1:
        yield f"camera_file: its last pose is that of frame {found.frames - 1}; the camera rests from there on"
    elif rest < -1:
        yield f"camera_file: it is {found.frames:,} frames long, and max_frames is {settings.max_frames:,}"
    for note in found.notes:
        yield f"camera_file: {note}"
    if not PROFILES[settings.profile].physical_camera:
        yield "camera_file: with profile: deforum pixels do not move as a real lens shows them; the path is kept"


def replaced(settings: Settings, given: Collection[str]) -> list[str]:
    """List the given schedules that the camera file replaces."""
    if not drives_camera(settings):
        return []
    with contextlib.suppress(UserError):  # reported by `check`
        names = driven(settings)
        return [name for name in PARAMS if name in names and name in given]
    return []


def attach(stages: Stages, found: CameraTrack, kit: Kit) -> Stages:
    """Return the stages as they are: the camera is moved by the curves of the timeline."""
    return stages
