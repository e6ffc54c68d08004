"""The command camera: the path of the 3D camera for other programs, and a frame's pixels as points in space."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.files import load_file, name_of
from deforum.errors import UserError, disk_error
from deforum.paths import exists, is_folder, to_path

if TYPE_CHECKING:
    from deforum.cli.console import Console

PLY = ".ply"


def camera_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value",
        help="a settings file, a run, or a camera file to convert; and settings to change",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUT",
        help="the file: shot.chan, shot.glb, shot.gltf, transforms.json, camera_path.json, a folder for COLMAP, "
        "points.ply for a frame of a run as points",
    )  # fmt: skip
    parser.add_argument(
        "--format", help="chan, transforms, camera_path, colmap, gltf, glb, after_effects, deforum "
        "(default: by the name of OUT)",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=float, metavar="N",
        help="translations for a unit of the file (default: 200, a scene unit; 1 for after_effects and deforum)",
    )  # fmt: skip
    parser.add_argument("--order", metavar="XYZ", help="order of the angles of a .chan (default: ZXY, Nuke's)")
    parser.add_argument("--frame", type=int, metavar="N", help="points.ply: the frame (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing files")


def camera(arguments: argparse.Namespace) -> int:
    """Write the camera's path, or the points of a frame; print the path of what was written."""
    from deforum.camera_files.reading import Wanted
    from deforum.camera_files.rotations import ORDERS
    from deforum.camera_files.table import encode, format_of, losses
    from deforum.reports.camera import points_of, shot_of

    console: Console = arguments.console
    if len(arguments.files) != 1:
        raise UserError(f"camera takes one settings file, run or camera file; {len(arguments.files)} were given")
    if arguments.output is None:
        raise UserError("expected -o OUT, such as -o shot.chan or -o shot.glb")
    if arguments.scale is not None and not 1e-6 <= arguments.scale <= 1e6:
        raise UserError(f"--scale: {arguments.scale:g} is out of range; expected 1e-06..1e+06")
    order = (arguments.order or "ZXY").upper()
    if order not in ORDERS:
        raise UserError(f"--order: {arguments.order} is no order of angles; expected {', '.join(ORDERS)}")
    source, target = to_path(arguments.files[0]), to_path(arguments.output)
    is_points = target.suffix.lower() == PLY
    if arguments.frame is not None and not is_points:
        raise UserError("--frame is of points: -o points.ply")
    row = None if is_points else format_of(target, arguments.format)
    loaded = load_file(source, arguments.overrides, to_render=False) if source == Path("-") else None
    shot = shot_of(source, arguments.overrides, loaded)
    for note in shot.notes:
        console.note(note, name_of(source))
    if row is None:
        if not is_folder(source):
            raise UserError(f"{source}: points are those of a frame that is rendered; give the folder of a run")
        files = {"": points_of(source, arguments.frame or 0, arguments.scale or 200, arguments.overrides)}
    else:
        for note in losses(shot.path, row):
            console.note(note, target.name)
        files = dict(encode(shot.path, row, Wanted(rotation_order=order), arguments.scale))
    written = _write(files, target, overwrite=arguments.overwrite)
    if row is not None and shot.path.size is not None:
        width, height = shot.path.size
        console.note(f"{row.title}: {len(shot.path):,} frames of {width}x{height}, {shot.path.rate:g} fps", target.name)
    console.put("".join(f"{path}\n" for path in written[:1]), files=[str(path) for path in written])
    return 0


def _write(files: dict[str, bytes], target: Path, *, overwrite: bool) -> list[Path]:
    """Write files, several into a folder; return their paths, that of the folder first. Raises UserError."""
    from deforum import atomic

    folder = target
    if "" not in files and target.name in files:
        folder = target.parent
    paths = {folder / name if name else target: content for name, content in files.items()}
    taken = [path for path in paths if exists(path)]
    if taken and not overwrite:
        raise UserError(f"{taken[0]}: already exists; choose another one with -o, or add --overwrite")
    try:
        for path, content in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(path, content)
    except OSError as error:
        raise disk_error(error, target) from error
    return [*([folder] if "" not in files else []), *paths]
