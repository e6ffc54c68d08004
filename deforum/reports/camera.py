"""The path of the 3D camera through an animation, for other programs; and a frame's pixels as points in its world."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum.camera_files.motion import LENS, MOTION, path_of_curves
from deforum.camera_files.path import CameraPath, Lens
from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import FORMATS, open_camera, read_camera
from deforum.errors import UserError
from deforum.loading import Loaded, load
from deforum.motion.pose import UNITS
from deforum.paths import exists, is_file, is_folder
from deforum.reports.compare import sized
from deforum.reports.tabulate import look
from deforum.settings.profiles import PROFILES
from deforum.sources import FRAMES_FOLDER, SETTINGS_FILE
from deforum.timeline.camera import camera_track, drives_camera, lens_rule
from deforum.timeline.curves import sample_curve
from schedules.quoting import printable

if TYPE_CHECKING:
    from deforum.depth.maps import Map
    from deforum.settings.options import Settings
    from deforum.timeline.timeline import Timeline
    from schedules import NumberSchedule

OTHER_RATE = 30.0  # frames/s at which a camera file that tells no rate is sampled
OTHER_SIZE = (1280, 720)  # px of the pictures of a camera file that tells no size


@dataclass(frozen=True)
class Shot:
    """A camera's path, and what to say about it."""

    path: CameraPath
    """Positions in 1/200 scene unit; the size is that of the frames as they are written."""
    notes: tuple[str, ...]


def shot_of(source: Path, overrides: Sequence[str] = (), loaded: Loaded | None = None) -> Shot:
    """Compose the path of settings, as the renderer's warps move its pictures; or read that of a camera file.

    `loaded` are the settings where they are read already. Raises UserError.
    """
    camera = None if loaded is not None else camera_in(source)
    if camera is not None:
        return _shot_of_file(camera, overrides)
    return _shot_of_settings(load(source, overrides, to_render=False) if loaded is None else loaded)


def camera_in(source: Path) -> Path | None:
    """Return the camera file that a path names; None where it names settings, a run, or nothing."""
    if not exists(source) or (is_folder(source) and is_file(source / SETTINGS_FILE)):
        return None
    if source.suffix.lower() in (".yaml", ".yml"):
        return None
    found = open_camera(source)
    if found is None:
        return None
    # Deforum's own settings have schedules of motion too.
    is_settings = found[1] is FORMATS["deforum"] and b"max_frames" in found[0].head
    return None if is_settings else source


def _shot_of_settings(loaded: Loaded) -> Shot:
    settings, timeline = _animation_of(loaded)
    curves = {name: getattr(timeline.curves, name) for name in (*MOTION, *LENS)}
    path = path_of_curves(curves, settings.written_size, settings.fps, rule=lens_rule(settings))
    return Shot(path, tuple(map(printable, (*loaded.report, *_notes(settings)))))


def _animation_of(loaded: Loaded) -> tuple[Settings, Timeline]:
    """Return settings with their size, and their timeline. Raises UserError where their camera is flat."""
    settings = sized(loaded.settings)
    if not settings.mode.has_depth:
        raise UserError(f"animation_mode is {settings.animation_mode}: only the camera of 3D moves in space")
    return settings, look(settings)


def _shot_of_file(camera: Path, overrides: Sequence[str]) -> Shot:
    """Read a camera file; its frames are those of `fps`, or else its own, and begin with `camera_start`."""
    wish = load({"animation_mode": "3D"}, overrides, to_render=False).settings
    wishes = {override.partition("=")[0].strip().rpartition(".")[2] for override in overrides}
    fps = wish.fps if "fps" in wishes else None
    own = Wanted(fps, wish.camera_name, wish.camera_rotation_order)
    found, row = read_camera(camera, own)
    rate = found.rate if wish.camera_rate is None else wish.camera_rate
    timed = replace(found, rate=rate)
    fps = fps or rate or OTHER_RATE
    start = None if wish.camera_start is None else float(np.clip(wish.camera_start, timed.times[0], timed.times[-1]))
    path = timed.sampled(timed.frames(fps, start), fps, start)
    notes = list(found.notes)
    size = (wish.width, wish.height)
    width, height = size = found.size or OTHER_SIZE if size[0] is None or size[1] is None else (size[0], size[1])
    if found.size is None and wish.width is None:
        notes.append(f"its size is not in it: {width}x{height} px is taken; width=... height=... gives another one")
    lens = path.lens
    if lens is None:
        notes.append("it has no field of view: that of the setting fov is taken")
        fov = sample_curve("fov", wish.params.fov, replace(wish, max_frames=len(path)))
        lens = path_of_curves({"fov": fov}, size).lens
    if lens is not None:
        x, y = lens.focal(width, height)
        lens = Lens(height / 2 / y, y / x, width / height)
    scale = row.scale if wish.camera_scale is None else wish.camera_scale
    path = replace(path, position=path.position * scale, lens=lens, size=size)
    return Shot(path, tuple(map(printable, notes)))


def _notes(settings: Settings) -> list[str]:
    """Say what moves pictures that no camera does, and what of a camera file is left out."""
    notes = [f"camera_file: {note}" for note in camera_track(settings).notes] if drives_camera(settings) else []
    if settings.seed < 0 and any(_has_seed(getattr(settings.params, name)) for name in MOTION):
        notes.append("seed: -1 draws a new one for each run; where motion depends on it, the path is that of seed 0")
    if settings.shots:
        notes.append("shots: each one begins a world of its own; the folder of a shot's run gives its path")
    if settings.enable_perspective_flip:
        notes.append("enable_perspective_flip turns the picture itself; the path is that of the camera alone")
    if settings.hybrid_motion != "None":
        notes.append("hybrid_motion moves the picture with the clip; the path is that of the camera alone")
    if not PROFILES[settings.profile].physical_camera:
        notes.append(
            "profile: deforum: its camera moves pixels as no lens does; a modelled object keeps its place in the "
            "picture with profile: corrected alone"
        )
    return notes


def _has_seed(schedule: NumberSchedule) -> bool:
    return re.search(r"\bs\b|rand|noise", schedule.text) is not None


# --- points -----------------------------------------------------------------------------------------------------------


def points_of(run: Path, frame: int, scale: float, overrides: Sequence[str] = ()) -> bytes:
    """Return a frame of a run as a PLY: a point for each pixel of its depth map, with the frame's colours.

    `scale` is how many translations a unit of the file is. Raises UserError where the run has no depth of the frame.
    """
    from deforum.camera_files.ply import back_project, encode_ply

    loaded = load(run, overrides, to_render=False)
    settings, timeline = _animation_of(loaded)
    path = _shot_of_settings(loaded).path
    if not 0 <= frame < len(path):
        raise UserError(f"frame {frame}: the run has frames 0 to {len(path) - 1}")
    depth = _depth_of(run, settings, timeline, frame) * (UNITS / scale)
    height, width = depth.shape
    colors = _colors_of(run, frame, width, height)
    assert path.lens is not None
    x, y = (float(focal[frame]) for focal in path.lens.focal(width, height))
    points = back_project(depth, (x, y), path.rotation[frame], path.position[frame] / scale)
    comments = (f"frame {frame}; x right, y up, z back; a unit is {scale / UNITS:g} scene units",)
    return encode_ply(points, colors.reshape(-1, 3), comments)


def _depth_of(run: Path, settings: Settings, timeline: Timeline, frame: int) -> Map:
    """Return the saved depth of a frame in scene units."""
    from deforum.depth.maps import from_levels, read_exr, read_levels
    from deforum.features.depth_record import RANGE, ends_of

    folder = run / "depth"
    if is_file(folder / f"{frame:09d}.exr"):
        return read_exr(folder / f"{frame:09d}.exr")
    levels = folder / f"{frame:09d}.png"
    if not is_file(levels):
        raise UserError(
            f"{run}: there is no depth of frame {frame} in it; render it with save_depth_maps=true depth_format=exr"
        )
    ends = ends_of(settings, timeline)
    if ends is None:
        try:
            found = json.loads((folder / RANGE).read_text("utf-8"))
            ends = float(found["nearest"]), float(found["farthest"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            raise UserError(f"{folder / RANGE}: the range of the depth maps cannot be read") from None
    return from_levels(read_levels(levels), *ends)


def _colors_of(run: Path, frame: int, width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a frame of a run in another size, (H, W, 3) RGB."""
    import cv2

    from deforum.pixels.files import decode

    pictures = sorted((run / FRAMES_FOLDER).glob(f"{frame:09d}.*"))
    if not pictures:
        raise UserError(f"{run / FRAMES_FOLDER}: there is no picture of frame {frame}")
    picture = decode(pictures[0])
    if picture.shape[:2] != (height, width):
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(picture[..., ::-1], np.uint8)
