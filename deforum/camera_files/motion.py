"""The renderer's own motion and a camera's path: one is the other, exactly.

The poses are composed as the physical 3D camera composes its warps, from the same `Pose`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from deforum.camera_files.path import CameraPath, Lens
from deforum.camera_files.rotations import Array, to_euler
from deforum.motion.pose import UNITS, Pose
from deforum.motion.pose import Lens as FrameLens

TURNS = ("rotation_3d_x", "rotation_3d_y", "rotation_3d_z")
MOVES = ("translation_x", "translation_y", "translation_z")
MOTION = (*MOVES, *TURNS)
"""Parameters of a frame's motion."""
LENS = ("fov", "aspect_ratio")

LensRule = Literal["across", "down", "slab"]
"""What fov and aspect_ratio mean. across: fov is that of the width, aspect_ratio that of a pixel. down: fov is that of
the height, and pixels are square. slab, Deforum's camera: fov is that of the height, and aspect_ratio times as wide
the tangent of that of the width."""

Curves = dict[str, Array]
"""Parameters by name, each (F,)."""
TO_GL = np.diag((1.0, -1.0, -1.0))  # x right, y down, z ahead <-> x right, y up, z behind


def path_of_curves(
    curves: Mapping[str, Array],
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    *,
    rule: LensRule = "across",
    notes: Sequence[str] = (),
) -> CameraPath:
    """Compose the path of parameters: frame 0 is at the origin, each other frame moves from the one before.

    Convention: positions are in 1/200 scene unit, as translations are. A parameter that is missing is 0; without a
    fov there is no lens. Raises UserError for a field of view that no lens has.
    """
    count = max(map(len, curves.values()))
    still = np.zeros(count)
    moves, turns = (np.stack([curves.get(name, still) for name in names], axis=1).tolist() for names in (MOVES, TURNS))
    pose = Pose(np.eye(3), np.zeros(3))
    poses = [pose]
    for move, turn in zip(moves[1:], turns[1:], strict=True):
        pose = pose.then(Pose.by(turn, move))
        poses.append(pose)
    rotation = np.stack([each.rotation for each in poses])
    places = -np.einsum("fj,fij->fi", np.stack([each.translation for each in poses]), rotation)
    lens = None
    if "fov" in curves:
        aspects = curves.get("aspect_ratio", np.ones(count))
        lens = _lens(curves["fov"], aspects, size, rule)
    return CameraPath(
        np.arange(count, dtype=np.float64), TO_GL @ rotation @ TO_GL, places @ TO_GL * UNITS, lens, fps, size,
        tuple(notes),
    )  # fmt: skip


def _lens(fovs: Array, aspects: Array, size: tuple[int, int] | None, rule: LensRule) -> Lens:
    """Return the lens of fields of view; without a size they belong to a picture as wide as high."""
    width, height = size or (2, 2)
    both = [
        FrameLens.of(fov, aspect, width, height, fov_is_vertical=rule != "across")
        for fov, aspect in zip(fovs.tolist(), aspects.tolist(), strict=True)
    ]
    down = np.array([lens.y for lens in both])
    pixel = aspects * height / width if rule == "slab" else down / np.array([lens.x for lens in both])
    return Lens(height / 2 / down, pixel, width / height)


def curves_of(
    path: CameraPath, size: tuple[int, int] = (2, 2), scale: float = 1.0, rule: LensRule = "across"
) -> Curves:
    """Return the parameters that move the renderer's camera along a path, whose poses are one frame apart.

    `scale` is how many translations, of 1/200 scene unit, a unit of the path is. fov and aspect_ratio are in it where
    the path has a lens.
    """
    rotation = TO_GL @ path.rotation @ TO_GL
    places = path.position @ TO_GL * (scale / UNITS)
    steps = np.broadcast_to(np.eye(3), rotation.shape).copy()
    steps[1:] = rotation[:-1].transpose(0, 2, 1) @ rotation[1:]
    moved = np.zeros((len(path), 3))
    moved[1:] = -np.einsum("fi,fij->fj", np.diff(places, axis=0), rotation[1:])
    turns = to_euler(steps, "ZYX", smooth=False)
    moved *= (-UNITS, UNITS, -UNITS)
    curves = {name: moved[:, axis] + 0.0 for axis, name in enumerate(MOVES)}
    curves |= {name: turns[:, axis] + 0.0 for axis, name in enumerate(TURNS)}
    if path.lens is None:
        return curves
    width, height = size
    _, down = path.lens.focal(width, height)
    side = width if rule == "across" else height
    shares = {"across": path.lens.pixel, "down": np.ones(len(path)), "slab": path.lens.pixel * width / height}
    return curves | {"fov": 2 * np.degrees(np.arctan(side / 2 / down)), "aspect_ratio": shares[rule] + 0.0}
