"""COLMAP's text model: a folder with cameras.txt (lenses) and images.txt (poses).

    cameras.txt   CAMERA_ID MODEL WIDTH HEIGHT PARAMS...
    images.txt    IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and a line of points, which may be empty

Convention: poses are world to camera; in the camera x goes right, y down, and it looks along z. Lengths of the lens are
in px.
Source: COLMAP's documentation of its output format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deforum.camera_files.path import CameraPath, path_of
from deforum.camera_files.reading import (
    CameraFile,
    Wanted,
    check_count,
    lens_of_focals,
    lines_of,
    number_of,
    refuse,
    times_of_names,
)
from deforum.camera_files.rotations import of_quaternion, to_quaternion
from deforum.camera_files.writing import digits, picture_name
from deforum.errors import UserError
from deforum.paths import is_file, is_folder
from schedules.quoting import cut, quote

CAMERAS, IMAGES, POINTS = "cameras.txt", "images.txt", "points3D.txt"
TO_GL = np.diag((1.0, -1.0, -1.0))  # x right, y down, z ahead <-> x right, y up, z behind

MODELS = {
    # name: (number of focal lengths, of all parameters)
    "SIMPLE_PINHOLE": (1, 3), "PINHOLE": (2, 4), "SIMPLE_RADIAL": (1, 4), "RADIAL": (1, 5), "OPENCV": (2, 8),
    "FULL_OPENCV": (2, 12), "FOV": (2, 5), "OPENCV_FISHEYE": (2, 8), "SIMPLE_RADIAL_FISHEYE": (1, 4),
    "RADIAL_FISHEYE": (1, 5), "THIN_PRISM_FISHEYE": (2, 12),
}  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """A lens of cameras.txt, in px."""

    width: float
    height: float
    x: float
    y: float
    is_plain: bool
    """Whether its centre is in the middle, and it has no distortion."""


def recognises(file: CameraFile) -> bool:
    if file.name in (CAMERAS, IMAGES):
        return True
    return is_folder(file.path) and bool(files_in(file.path))


def files_in(path: Path) -> tuple[Path, ...]:
    """Return images.txt and cameras.txt of a model, given its folder or one of them; empty where there is none."""
    folders = _folders(path) if is_folder(path) else (path.parent,)
    folder = next((each for each in folders if is_file(each / IMAGES)), None)
    return () if folder is None else (folder / IMAGES, folder / CAMERAS)


def _folders(path: Path) -> tuple[Path, ...]:
    """Return where a model may be: in the folder itself, or where COLMAP puts it in a project."""
    return path, path / "sparse" / "0", path / "sparse"


def read(file: CameraFile, wanted: Wanted) -> CameraPath:
    files = files_in(file.path)
    if not files:
        raise UserError(f"{file.path}: there is no {IMAGES} in it")
    path, cameras = files[0], read_cameras(files[1])
    names, rows, used = list[str](), list[list[float]](), list[Camera]()
    for number, words in _images(path):
        if len(words) < 10:
            refuse(path, f"this line has {len(words)} words; expected 10: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME",
                   number)  # fmt: skip
        values = [number_of(word, path, number, "a number of the pose") for word in words[1:8]]
        if not any(values[:4]):
            refuse(path, "the quaternion of this pose is 0", number)
        if words[8] not in cameras:
            refuse(path, f"there is no camera {quote(words[8], 40)} in {CAMERAS}", number)
        rows.append(values)
        used.append(cameras[words[8]])
        names.append(words[9])
        check_count(len(rows), path)
    check_count(len(rows), path)
    poses = np.array(rows)
    to_camera = of_quaternion(poses[:, :4])
    rotation = to_camera.transpose(0, 2, 1)
    position = -np.einsum("fij,fj->fi", rotation, poses[:, 4:])
    lens = lens_of_focals(
        [each.x for each in used], [each.y for each in used], [(each.width, each.height) for each in used]
    )
    plain = all(each.is_plain for each in used)
    notes = [] if plain else ["distortion and centre of its lenses are left out: the renderer's lens has none"]
    size = (round(used[0].width), round(used[0].height))
    return path_of(times_of_names(names), rotation @ TO_GL, position, lens, size=size, notes=notes)


def _images(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of poses; lines of points, which may be missing, are left out."""
    is_pose = True
    for number, line in lines_of(path, ("#",)):
        words = line.split(maxsplit=9)
        if not is_pose and _is_points(line):
            is_pose = True
            continue
        yield number, words
        is_pose = False


def _is_points(line: str) -> bool:
    """Whether a line has the form of X Y POINT3D_ID, repeated."""
    words = line.split()
    return len(words) % 3 == 0 and all(map(_is_number, (*words[:3], words[-1])))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_cameras(path: Path) -> dict[str, Camera]:
    """Read cameras.txt: the lenses by their ID. Raises UserError."""
    if not is_file(path):
        raise UserError(f"{path}: there is no such file; a model of COLMAP has {CAMERAS} beside {IMAGES}")
    cameras: dict[str, Camera] = {}
    for number, line in lines_of(path, ("#",)):
        words = line.split()
        if len(words) < 4:
            refuse(path, f"this line has {len(words)} words; expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS", number)
        name, model = words[0], words[1].upper()
        if model not in MODELS:
            refuse(path, f"{cut(words[1], 40)} is no camera model; known are {', '.join(MODELS)}", number)
        focals, count = MODELS[model]
        width, height, *params = [number_of(word, path, number, "a number of the lens") for word in words[2:]]
        if len(params) != count:
            refuse(path, f"{model} has {count} parameters, not {len(params)}", number)
        x, y = params[0], params[focals - 1]
        if min(x, y, width, height) <= 0:
            refuse(path, "width, height and focal lengths have to be above 0", number)
        centre = params[focals : focals + 2]
        middle = all(abs(at / size - 0.5) < 0.002 for at, size in zip(centre, (width, height), strict=True))
        plain = middle and not any(params[focals + 2 :])
        cameras[name] = Camera(width, height, x, y, plain)
    return cameras


def write(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    assert path.size is not None and path.lens is not None
    width, height = path.size
    to_camera = TO_GL @ path.rotation.transpose(0, 2, 1)
    quaternions = to_quaternion(to_camera)
    places = -np.einsum("fij,fj->fi", to_camera, path.position)
    lenses: dict[str, int] = {}
    images = []
    rows = zip(path.times, quaternions.tolist(), places.tolist(), *path.lens.focal(width, height), strict=True)
    for index, (time, quaternion, place, x, y) in enumerate(rows, 1):
        lens = f"PINHOLE {width} {height} {digits(x)} {digits(y)} {digits(width / 2)} {digits(height / 2)}"
        camera = lenses.setdefault(lens, len(lenses) + 1)
        numbers = " ".join(map(digits, (*quaternion, *place)))
        images.append(f"{index} {numbers} {camera} {picture_name(round(time))}\n\n")
    cameras = [f"{camera} {lens}\n" for lens, camera in lenses.items()]
    return {
        CAMERAS: ("# CAMERA_ID MODEL WIDTH HEIGHT FX FY CX CY\n" + "".join(cameras)).encode("ascii"),
        IMAGES: (
            "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and an empty line of points\n" + "".join(images)
        ).encode("ascii"),
        POINTS: b"# POINT3D_ID X Y Z R G B ERROR TRACK: no points\n",
    }
