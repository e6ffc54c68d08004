"""nerfstudio's and instant-ngp's transforms.json, and nerfstudio's camera_path.json.

Convention: `transform_matrix` and `camera_to_world` are camera to world, in rows; y up, the camera looks along -z.
Focal lengths are in px, `fov` of a camera path is the vertical field of view in degrees, `camera_angle_x` the
horizontal one in radians.
Source: nerfstudio's documentation of its data conventions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deforum.camera_files.path import CameraPath, Lens, path_of
from deforum.camera_files.reading import (
    CameraFile,
    Node,
    Wanted,
    check_count,
    half_tangent,
    lens_of_focals,
    matrix_at,
    parse_json,
    read_text,
    rotations_in,
    times_of_names,
)
from deforum.camera_files.rotations import Array
from deforum.camera_files.writing import as_json, picture_name, rounded
from schedules.quoting import cut

DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


# --- transforms.json --------------------------------------------------------------------------------------------------


def recognises_transforms(file: CameraFile) -> bool:
    return file.name.endswith(".json") and ("transforms" in file.name or b'"transform_matrix"' in file.head)


def read_transforms(file: CameraFile, wanted: Wanted) -> CameraPath:
    root = Node(parse_json(read_text(file.path), file.path), file.path)
    frames = root.need("frames").items()
    check_count(len(frames), file.path)
    poses = [matrix_at(frame.need("transform_matrix")) for frame in frames]
    matrices = np.stack(poses)
    rotation = rotations_in(matrices[:, :, :3], file.path, [f"{frame.place}.transform_matrix" for frame in frames])
    names = [name.text() for frame in frames if (name := frame.get("file_path")) is not None]
    times = times_of_names(names) if len(names) == len(frames) else None
    lens, size = _lens(root, frames)
    notes = _notes([root, *frames], "transforms.json")
    rate = root.get("fps")
    return path_of(
        range(len(frames)) if times is None else times,
        rotation,
        matrices[:, :, 3],
        lens,
        rate=_rate(rate),
        size=size,
        notes=notes,
    )


def _rate(node: Node | None) -> float | None:
    if node is None:
        return None
    rate = node.number()
    if not 0.01 <= rate <= 10_000:
        node.refuse(f"expected a number of frames per second, not {rate:g}")
    return rate


def _lens(root: Node, frames: Sequence[Node]) -> tuple[Lens | None, tuple[int, int] | None]:
    """Return the lens, from values of each frame or else of the file, and the size of the pictures."""

    def value(frame: Node, name: str) -> float | None:
        found = frame.get(name) or root.get(name)
        if found is None:
            return None
        number = found.number()
        if number <= 0:
            found.refuse(f"expected a number above 0, not {number:g}")
        return number

    def side(frame: Node, name: str, centre: str) -> float | None:
        """Return a side of the picture; where it is missing, twice the place of its middle."""
        middle = value(frame, name) or value(frame, centre)
        return middle if value(frame, name) or middle is None else 2 * middle

    x, y, sizes, has_size = list[float](), list[float](), list[tuple[float, float]](), True
    for frame in frames:
        width, height = side(frame, "w", "cx"), side(frame, "h", "cy")
        focal = {"x": value(frame, "fl_x"), "y": value(frame, "fl_y")}
        angle = {"x": value(frame, "camera_angle_x"), "y": value(frame, "camera_angle_y")}
        if width is None or height is None:
            # As in synthetic data sets, which have square pixels: only the horizontal angle is known.
            if angle["x"] is None:
                return None, None
            width, height, has_size, focal, angle["y"] = 2.0, 2.0, False, {"x": None, "y": None}, None
        for axis, length in (("x", width), ("y", height)):
            degrees = angle[axis]
            if focal[axis] is None and degrees is not None:
                where = f"{frame.where}.camera_angle_{axis}"
                tangent = half_tangent(math.degrees(degrees), frame.path, where, f"camera_angle_{axis}")
                focal[axis] = length / 2 / tangent
        across, down = focal["x"] or focal["y"], focal["y"] or focal["x"]
        if across is None or down is None:
            return None, None
        x.append(across)
        y.append(down)
        sizes.append((width, height))
    first = (round(sizes[0][0]), round(sizes[0][1])) if has_size else None
    return lens_of_focals(x, y, sizes), first


def _notes(nodes: Sequence[Node], name: str) -> list[str]:
    """Return notes on what a path cannot hold: distortion, and a centre beside the middle."""
    notes = []
    if any((found := node.get(each)) is not None and found.number() != 0 for node in nodes for each in DISTORTION):
        notes.append("the lens distortion in it (k1, k2, p1, p2) is left out: the renderer's lens has none")
    for node in nodes:
        for centre, side in (("cx", "w"), ("cy", "h")):
            at, length = node.get(centre), node.get(side) or nodes[0].get(side)
            if at is not None and length is not None and abs(at.number() / length.number() - 0.5) > 0.002:
                notes.append("the centre of its lens is beside the middle of the picture (cx, cy); the middle is used")
                return notes
    return notes


def write_transforms(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    assert path.size is not None and path.lens is not None
    width, height = path.size
    across, down = path.lens.focal(width, height)
    is_steady = np.ptp(across) + np.ptp(down) < 1e-9 * down.mean()
    lens = [{"fl_x": rounded(x), "fl_y": rounded(y)} for x, y in zip(across, down, strict=True)]
    frames = [
        {"file_path": f"frames/{picture_name(index)}", **({} if is_steady else focal), "transform_matrix": matrix}
        for index, focal, matrix in zip(map(round, path.times), lens, _matrices(path), strict=True)
    ]
    root = {
        "camera_model": "OPENCV",
        **(lens[0] if is_steady else {}),
        "cx": width / 2, "cy": height / 2, "w": width, "h": height,
        "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0,
        "frames": frames,
    }  # fmt: skip
    return {"": as_json(root)}


def _matrices(path: CameraPath) -> list[list[list[float]]]:
    whole = np.concatenate((path.rotation, path.position[:, :, None]), axis=2)
    return [[*([rounded(value) for value in row] for row in pose), [0.0, 0.0, 0.0, 1.0]] for pose in whole.tolist()]


# --- camera_path.json -------------------------------------------------------------------------------------------------


def recognises_camera_path(file: CameraFile) -> bool:
    return file.name.endswith(".json") and ("camera_path" in file.name or b'"camera_to_world"' in file.head)


def read_camera_path(file: CameraFile, wanted: Wanted) -> CameraPath:
    root = Node(parse_json(read_text(file.path), file.path), file.path)
    poses = root.need("camera_path").items()
    check_count(len(poses), file.path)
    matrices = np.stack([matrix_at(pose.need("camera_to_world")) for pose in poses])
    rotation = rotations_in(matrices[:, :, :3], file.path, [f"{pose.place}.camera_to_world" for pose in poses])
    width, height = root.get("render_width"), root.get("render_height")
    size = None if width is None or height is None else (width.whole(), height.whole())
    if size is not None and min(size) < 1:
        root.refuse("render_width and render_height have to be above 0")
    notes = []
    kind = root.get("camera_type")
    if kind is not None and kind.text().casefold() not in ("perspective", ""):
        notes.append(f"its camera_type is {cut(kind.text(), 40)}; the renderer's camera is perspective")
    rate, seconds = _rate(root.get("fps")), root.get("seconds")
    if rate is None and seconds is not None and seconds.number() > 0:
        rate = len(poses) / seconds.number()
    lens = _lens_of_path(poses, root.get("default_fov"), size)
    return path_of(range(len(poses)), rotation, matrices[:, :, 3], lens, rate=rate, size=size, notes=notes)


def _lens_of_path(poses: Sequence[Node], usual: Node | None, size: tuple[int, int] | None) -> Lens | None:
    fovs = [pose.get("fov") or usual for pose in poses]
    if any(fov is None for fov in fovs):
        return None
    tangents = [half_tangent(fov.number(), fov.path, fov.where, "fov") for fov in fovs if fov is not None]
    aspect = None if size is None else size[0] / size[1]
    if aspect is None and (given := poses[0].get("aspect")) is not None and given.number() > 0:
        aspect = given.number()
    return Lens(np.array(tangents), np.ones(len(tangents)), aspect)


def write_camera_path(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    assert path.size is not None and path.lens is not None and path.rate is not None
    width, height = path.size
    fovs: Array = 2 * np.degrees(np.arctan(path.lens.vertical))
    poses = [
        {"camera_to_world": [value for row in matrix for value in row], "fov": rounded(fov), "aspect": width / height}
        for matrix, fov in zip(_matrices(path), fovs.tolist(), strict=True)
    ]
    root = {
        "keyframes": [], "camera_type": "perspective", "render_height": height, "render_width": width,
        "camera_path": poses,
        "fps": path.rate, "seconds": rounded(len(path) / path.rate), "smoothness_value": 0.0, "is_cycle": False,
        "crop": None,
    }  # fmt: skip
    return {"": as_json(root)}
