"""The matrices of many frames at once, (N, 3, 3): `deforum.motion.matrices` and `deforum.motion.pose`, vectorised.

Convention: as there. Arguments that are arrays (N,) have a value for each frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.motion.matrices import NO_ZOOM, inverse
from deforum.motion.pose import UNITS, Lens
from deforum.settings.params import Params

Array = NDArray[np.float64]
Number = float | Array


def matrices(*rows: tuple[Number, ...]) -> Array:
    """Stack rows of numbers, and of arrays (N,), to matrices: (N, rows, columns)."""
    found = np.empty((max(np.size(entry) for row in rows for entry in row), len(rows), len(rows[0])))
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            found[:, i, j] = entry
    return found


def inverses(of: Array) -> Array:
    """Invert matrices (N, 3, 3); singular ones get their pseudo-inverse."""
    try:
        return np.asarray(np.linalg.inv(of))
    except np.linalg.LinAlgError:
        return np.array([inverse(each) for each in of])


def translations(x: Number, y: Number) -> Array:
    return matrices((1, 0, x), (0, 1, y), (0, 0, 1))


def turns(x: Array, y: Array, z: Array) -> Array:
    """Return Rx @ Ry @ Rz for angles in radians."""
    about_x = matrices((1, 0, 0), (0, np.cos(x), -np.sin(x)), (0, np.sin(x), np.cos(x)))
    about_y = matrices((np.cos(y), 0, np.sin(y)), (0, 1, 0), (-np.sin(y), 0, np.cos(y)))
    about_z = matrices((np.cos(z), -np.sin(z), 0), (np.sin(z), np.cos(z), 0), (0, 0, 1))
    return np.asarray(about_x @ about_y @ about_z)


def flat_matrices(params: Params[Array], width: int, height: int, *, flip: bool, flip_keeps_translation: bool) -> Array:
    """Compose the 2D motion of frames; see `flat_matrix`. Raises UserError where the zoom is 0."""
    p = params
    if not p.zoom.all():
        raise UserError(NO_ZOOM)
    x, y, angle = p.transform_center_x * width, p.transform_center_y * height, np.radians(p.angle)
    cos, sin = p.zoom * np.cos(angle), p.zoom * np.sin(angle)
    about_origin = matrices((cos, sin, 0), (-sin, cos, 0), (0, 0, 1))
    turned = translations(x, y) @ about_origin @ translations(-x, -y)
    moved = turned @ translations(p.translation_x, p.translation_y)
    if not flip:
        return np.asarray(moved)
    return np.asarray(perspective_flips(p, width, height) @ (moved if flip_keeps_translation else turned))


def perspective_flips(params: Params[Array], width: int, height: int) -> Array:
    """Return the homographies of the perspective flip; see `perspective_flip`."""
    p = params
    diagonal, half = math.hypot(width, height), np.radians(p.perspective_flip_fv) / 2
    side, distance = diagonal / np.cos(half), diagonal / (2 * np.sin(half))
    turned = turns(*np.radians((p.perspective_flip_phi, p.perspective_flip_gamma, p.perspective_flip_theta)))
    (a, b), (c, d), (e, f) = np.moveaxis(turned[:, :, :2], 0, 2)
    seen = matrices(
        (distance * a, distance * b, 0), (distance * c, distance * d, 0), (-e, -f, distance + 1)
    )  # fmt: skip
    centred = translations(width / 2, height / 2) @ seen @ translations(-width / 2, -height / 2)
    off_x, off_y = (side - width) / 2, (side - height) / 2
    return np.asarray(translations(off_x, off_y) @ (centred / centred[:, 2:, 2:]) @ translations(-off_x, -off_y))


@dataclass(frozen=True)
class Poses:
    """Rigid camera motions; see `Pose`."""

    rotation: Array
    """(N, 3, 3)"""
    translation: Array
    """(N, 3) scene units."""

    @staticmethod
    def of(params: Params[Array]) -> Poses:
        p = params
        rotation = turns(*np.radians((p.rotation_3d_x, p.rotation_3d_y, p.rotation_3d_z)))
        return Poses(rotation, np.stack((-p.translation_x, p.translation_y, -p.translation_z), axis=-1) / UNITS)

    def inverse(self) -> Poses:
        return Poses(self.rotation.mT, -np.einsum("nij,nj->ni", self.rotation, self.translation))


@dataclass(frozen=True)
class Lenses:
    """Focal lengths along x and y in px, (N,); see `Lens`."""

    x: Array
    y: Array

    @staticmethod
    def of(fov: Array, aspect_ratio: Array, width: int, height: int, *, fov_is_vertical: bool) -> Lenses:
        """Raises UserError for a field of view outside 0..180 degrees, ends excluded."""
        for end in (fov.min(), fov.max()):
            Lens.of(float(end), 1, width, height)  # raises it
        reach = np.tan(np.radians(fov) / 2)
        if fov_is_vertical:
            return Lenses(height / 2 / reach, height / 2 / reach)
        return Lenses(width / 2 / reach / aspect_ratio, width / 2 / reach)


def reprojections(poses: Poses, old: Lenses, new: Lenses, width: int, height: int) -> Array:
    """Map (x, y, 1, 1/z) in px of the old views to (x', y', 1) z'/z of the new: (N, 3, 4); see `reprojection`."""
    x, y = (width - 1) / 2, (height - 1) / 2
    from_old = matrices((1 / old.x, 0, -x / old.x), (0, 1 / old.y, -y / old.y), (0, 0, 1))
    to_new = matrices((new.x, 0, x), (0, new.y, y), (0, 0, 1))
    motion = np.concatenate((poses.rotation.mT @ from_old, poses.translation[..., None]), axis=2)
    return np.asarray(to_new @ motion)
