"""After Effects' keyframe data, the text that it copies and pastes: keys of a camera's properties.

Convention: x goes right, y down, z ahead, in px of the composition; angles in degrees. A camera's matrix is
T(Position) L Rx Ry Rz(Orientation) Rx Ry Rz(X, Y, Z Rotation), where L looks at the Point of Interest if the camera
has one. Zoom is the focal length in px. Keys are in frames, `Units Per Second` of them are a second.
Source: texts copied from After Effects; Adobe's documentation of its cameras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deforum.camera_files.path import CameraPath, Lens, path_of
from deforum.camera_files.reading import CameraFile, Wanted, check_count, number_of, read_text, refuse
from deforum.camera_files.rotations import Array, of_euler, to_euler
from deforum.camera_files.writing import digits
from deforum.limits import CAMERA_POSES

HEADING = "Keyframe Data"
END = "End of Keyframe Data"
TO_GL = np.diag((1.0, -1.0, -1.0))
ORDER = "ZYX"
"""Order of the angles: Rx @ Ry @ Rz."""
AXES = ("x", "y", "z")
ROTATIONS = {"x rotation": 0, "rotation x": 0, "y rotation": 1, "rotation y": 1, "z rotation": 2, "rotation": 2,
             "rotation z": 2}  # fmt: skip
PLACES = {"x position": 0, "y position": 1, "z position": 2}


@dataclass
class Property:
    """The keys of one property."""

    line: int
    columns: tuple[str, ...] = ()
    times: list[float] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)

    def at(self, times: Array) -> Array:
        """Return the values (F, n) at times; between keys they go straight."""
        order = np.argsort(self.times, kind="stable")
        keys = np.array(self.times)[order]
        return np.stack([np.interp(times, keys, column[order]) for column in np.array(self.rows).T], axis=1)


def recognises(file: CameraFile) -> bool:
    first = file.start.lstrip().partition("\n")[0]
    return first.startswith("Adobe After Effects") and HEADING in first


def read(file: CameraFile, wanted: Wanted) -> CameraPath:
    header, properties = _parse(file.path)
    moving = [each for each in properties.values() if each.times]
    check_count(len(moving), file.path)
    times = np.unique(np.concatenate([each.times for each in moving]))
    if not {"position", *PLACES} & set(properties):
        refuse(file.path, "there is no Transform Position in it; expected the keys of a camera")
    width, height = header.get("source width", 0.0), header.get("source height", 0.0)
    size = (round(width), round(height)) if min(width, height) >= 1 else None
    times = _every_frame(times, file.path)
    position = _vector(properties, "position", PLACES, times)
    turned = _oriented(properties, times) @ of_euler(_vector(properties, "", ROTATIONS, times), ORDER)
    interest = properties.get("point of interest")
    if interest is not None and interest.times:
        turned = _looking(position, interest.at(times)) @ turned
    pixel = header.get("comp pixel aspect ratio", 1.0)
    lens = _lens(properties.get("zoom"), times, size, pixel if pixel > 0 else 1.0, file.path)
    rate = header.get("units per second", 0.0)
    has_zoom = "zoom" in properties and bool(properties["zoom"].times)
    notes = ["its Zoom is left out: Source Width and Source Height are missing"] if has_zoom and size is None else []
    return path_of(
        times, TO_GL @ turned @ TO_GL, position @ TO_GL, lens, rate=rate if rate > 0 else None, size=size, notes=notes
    )


def _oriented(properties: Mapping[str, Property], times: Array) -> Array:
    """Return the matrices (F, 3, 3) of Orientation, which turns the shorter way between its keys."""
    found = properties.get("orientation")
    if found is None or not found.times:
        return np.broadcast_to(np.eye(3), (len(times), 3, 3))
    keys = np.unique(found.times)
    turned = of_euler(_vector(properties, "orientation", {}, keys), ORDER)
    return path_of(keys, turned, np.zeros((len(keys), 3))).at(times).rotation


def _every_frame(keys: Array, path: Path) -> Array:
    """Return the times of keys, and every whole frame between the first and the last."""
    count = keys[-1] - keys[0]
    if count > CAMERA_POSES.most:
        refuse(path, f"{CAMERA_POSES.of} {CAMERA_POSES.exceeded(int(count))}")
    return np.union1d(keys, np.arange(np.ceil(keys[0]), keys[-1] + 1e-9))


def _lens(zoom: Property | None, times: Array, size: tuple[int, int] | None, pixel: float, path: Path) -> Lens | None:
    if zoom is None or not zoom.times or size is None:
        return None
    focal = zoom.at(times)[:, 0]
    if focal.min() <= 0:
        refuse(path, "Zoom has to be above 0", zoom.line)
    return Lens(size[1] / 2 / focal, np.full(len(times), pixel), size[0] / size[1])


def _vector(properties: Mapping[str, Property], name: str, single: Mapping[str, int], times: Array) -> Array:
    """Return a property of three axes (F, 3), from one with all of them or from one for each; 0 without keys."""
    found = np.zeros((len(times), 3))
    whole = properties.get(name)
    if whole is not None and whole.times:
        values = whole.at(times)
        for column, title in enumerate(whole.columns):
            axis = title[:1]
            if axis in AXES:
                found[:, AXES.index(axis)] = values[:, column]
    for title, number in single.items():
        own = properties.get(title)
        if own is not None and own.times:
            found[:, number] = own.at(times)[:, 0]
    return found


def _looking(position: Array, interest: Array) -> Array:
    """Return matrices (F, 3, 3) whose z axis goes from a position to a point, with a level x axis."""
    ahead = interest - position
    length = np.linalg.norm(ahead, axis=1, keepdims=True)
    ahead = np.where(length > 1e-9, ahead / np.where(length > 1e-9, length, 1), (0.0, 0.0, 1.0))
    yaw = np.arctan2(ahead[:, 0], ahead[:, 2])
    pitch = np.arctan2(-ahead[:, 1], np.hypot(ahead[:, 0], ahead[:, 2]))
    return of_euler(np.degrees(np.stack((pitch, yaw, np.zeros_like(yaw)), axis=1)), "XYZ")


# --- the text ---------------------------------------------------------------------------------------------------------


def _parse(path: Path) -> tuple[dict[str, float], dict[str, Property]]:
    """Return the values of the header, and the properties by their names in lower case."""
    header: dict[str, float] = {}
    properties: dict[str, Property] = {}
    current: Property | None = None
    for number, line in enumerate(read_text(path).split("\n")[1:], 2):
        words = [word.strip() for word in line.split("\t")]
        if not any(words) or line.lstrip().startswith(("#", "//")):
            continue
        if words[0] == END:
            break
        if words[0]:
            # Transform<tab>Position: the last name counts, numbers of effects are no properties of cameras.
            name = [word for word in words if word][-1].casefold()
            current = properties.setdefault(name, Property(number))
            current.columns = ()
            continue
        cells = words[1:]
        if current is None:
            named = [cell for cell in cells if cell]
            if len(named) >= 2:
                header[named[0].casefold()] = _header_number(named[-1])
        elif cells[0].casefold() == "frame":
            current.columns = tuple(cell.casefold() for cell in cells[1:] if cell)
        elif current.columns:
            _add(current, cells, number, path)
    return header, properties


def _header_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value < 1e6 else 0.0


def _add(current: Property, cells: Sequence[str], line: int, path: Path) -> None:
    """Add a row: the frame, which is empty for a property without keys, and the values."""
    values = [cell for cell in cells[1:] if cell]
    if len(values) < len(current.columns):
        refuse(path, f"this row has {len(values)} values; expected {len(current.columns)}", line)
    time = number_of(cells[0], path, line, "Frame") if cells[0] else 0.0
    row = [number_of(value, path, line, column) for value, column in zip(values, current.columns, strict=False)]
    if cells[0] or not current.times:
        current.times.append(time)
        current.rows.append(row)


# --- writing ----------------------------------------------------------------------------------------------------------


def write(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    """Write a camera without a point of interest. The world's origin is the middle of the composition, at z 0."""
    assert path.size is not None and path.lens is not None and path.rate is not None
    width, height = path.size
    _, zoom = path.lens.focal(width, height)
    place = path.position @ TO_GL + (width / 2, height / 2, 0)
    angles = to_euler(TO_GL @ path.rotation @ TO_GL, ORDER)
    pixel = digits(float(path.lens.pixel[0]))
    lines = [
        f"Adobe After Effects 8.0 {HEADING}", "",
        f"\tUnits Per Second\t{digits(path.rate)}",
        f"\tSource Width\t{width}", f"\tSource Height\t{height}",
        f"\tSource Pixel Aspect Ratio\t{pixel}", f"\tComp Pixel Aspect Ratio\t{pixel}", "",
    ]  # fmt: skip
    for title, columns, values in (
        ("Camera Options\tZoom", ("pixels",), zoom[:, None]),
        ("Transform\tPosition", ("X pixels", "Y pixels", "Z pixels"), place),
        ("Transform\tOrientation", ("X degrees", "Y degrees", "Z degrees"), angles),
    ):
        lines += [title, "\t".join(("", "Frame", *columns, ""))]
        for time, row in zip(path.times.tolist(), values.tolist(), strict=True):
            lines.append("\t".join(("", digits(time), *map(digits, row), "")))
        lines.append("")
    return {"": ("\r\n".join((*lines, "", END)) + "\r\n").encode("ascii")}
