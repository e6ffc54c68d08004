"""The table of camera formats, and reading and writing by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.camera_files import after_effects, chan, colmap, gltf, nerfstudio, strings
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import CameraFile, Wanted
from deforum.errors import UserError
from deforum.limits import CAMERA_POSES
from deforum.motion.pose import UNITS
from deforum.paths import is_file, is_folder
from schedules import nearest

HEAD = 65536  # bytes of a file by which its format is recognised


@dataclass(frozen=True)
class CameraFormat:
    """A format of camera files."""

    title: str
    names: tuple[str, ...]
    """Endings of file names that are written in it: suffixes, or whole names."""
    recognises: Callable[[CameraFile], bool]
    read: Callable[[CameraFile, Wanted], CameraPath]
    write: Callable[[CameraPath, Wanted], Mapping[str, bytes]]
    """Returns the contents of files: by name, in a folder, or of one file by the name ""."""
    scale: float = UNITS
    """How many translations, of 1/200 scene unit, a unit of the file is, where the user does not say."""
    in_seconds: bool = False
    """Whether times are in seconds, not in frames."""
    has_order: bool = False
    """Whether the order of its angles is the user's to tell."""
    pixel: bool = True
    """Whether it holds the aspect ratio of pixels, and..."""
    pixel_over_time: bool = False
    """... whether that may change."""


FORMATS: Mapping[str, CameraFormat] = {
    "chan": CameraFormat(
        "Nuke", (".chan",), chan.recognises, chan.read, chan.write, has_order=True, pixel=False
    ),
    "transforms": CameraFormat(
        "nerfstudio and instant-ngp", ("transforms.json",), nerfstudio.recognises_transforms,
        nerfstudio.read_transforms, nerfstudio.write_transforms, pixel_over_time=True,
    ),
    "camera_path": CameraFormat(
        "nerfstudio's camera path", ("camera_path.json",), nerfstudio.recognises_camera_path,
        nerfstudio.read_camera_path, nerfstudio.write_camera_path, pixel=False,
    ),
    "colmap": CameraFormat(
        "COLMAP, a folder of texts", (colmap.IMAGES, colmap.CAMERAS), colmap.recognises, colmap.read, colmap.write,
        pixel_over_time=True,
    ),
    "gltf": CameraFormat("glTF", (".gltf",), gltf.recognises, gltf.read, gltf.write_text, in_seconds=True),
    "glb": CameraFormat("glTF, binary", (".glb",), gltf.is_binary, gltf.read, gltf.write_binary, in_seconds=True),
    "after_effects": CameraFormat(
        "After Effects, keyframe data to paste", (), after_effects.recognises, after_effects.read,
        after_effects.write, scale=1,
    ),
    "deforum": CameraFormat(
        "Deforum's schedules, as of Blender's exporter", (), strings.recognises, strings.read, strings.write,
        scale=1, pixel=False,
    ),
}  # fmt: skip
"""The formats by the name that --format takes; those that are told by their names and contents, in this order."""


def open_camera(path: Path) -> tuple[CameraFile, CameraFormat] | None:
    """Return a camera file and its format; None for what is no camera file. Raises UserError where it is missing."""
    if is_folder(path):
        file = CameraFile(path)
    elif is_file(path):
        try:
            with path.open("rb") as stream:
                file = CameraFile(path, stream.read(HEAD))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from None
    else:
        raise UserError(f"{path}: no such file")
    found = next((row for row in FORMATS.values() if row.recognises(file)), None)
    return None if found is None else (file, found)


def files_of(path: Path) -> tuple[Path, ...]:
    """List the files that are read of a camera file; those of a COLMAP folder begin with its images.txt."""
    if is_folder(path) or path.name.casefold() in (colmap.IMAGES, colmap.CAMERAS):
        return colmap.files_in(path)
    return (path,)


def read_camera(path: Path, wanted: Wanted) -> tuple[CameraPath, CameraFormat]:
    """Read a camera file of any format. Raises UserError."""
    found = open_camera(path)
    if found is None:
        known = ", ".join(f"{name} ({row.title})" for name, row in FORMATS.items())
        raise UserError(f"{path}: this is no camera file that is known; the formats are {known}")
    file, row = found
    camera = row.read(file, wanted)
    if len(camera) > CAMERA_POSES.most:
        raise UserError(f"{path}: {CAMERA_POSES.of} {CAMERA_POSES.exceeded(len(camera))}")
    return camera, row


def format_of(target: Path, name: str | None) -> CameraFormat:
    """Return the format to write a file in, by the format's name or else by that of the file. Raises UserError."""
    if name is not None:
        if name not in FORMATS:
            meant = nearest(name, FORMATS)
            raise UserError(f"{name} is no camera format; {f'did you mean {meant}? ' if meant else ''}expected "
                            f"{', '.join(FORMATS)}")  # fmt: skip
        return FORMATS[name]
    for row in FORMATS.values():
        if target.name.casefold().endswith(tuple(each.casefold() for each in row.names)) and row.names:
            return row
    raise UserError(f"{target}: this name tells no format; add --format with one of {', '.join(FORMATS)}")


def encode(path: CameraPath, row: CameraFormat, wanted: Wanted, scale: float | None = None) -> Mapping[str, bytes]:
    """Write a path whose positions are in 1/200 scene unit, with `scale` of them to a unit of the file."""
    scaled = replace(path, position=path.position / (row.scale if scale is None else scale))
    return row.write(scaled, wanted)


def losses(path: CameraPath, row: CameraFormat) -> list[str]:
    """Return notes on what a format does not hold of a path."""
    if path.lens is None:
        return []
    pixel = path.lens.pixel
    notes = []
    if not row.pixel and abs(pixel - 1).max() > 1e-6:
        notes.append(f"{row.title} has square pixels: aspect_ratio is left out")
    elif row.pixel and not row.pixel_over_time and pixel.max() - pixel.min() > 1e-6:
        notes.append(f"{row.title} has one aspect ratio for all frames: that of the first is written")
    return notes
