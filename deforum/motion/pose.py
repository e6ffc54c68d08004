"""Camera geometry without torch: poses (extrinsics), lenses (intrinsics), and the matrix from one view to another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deforum.errors import UserError
from deforum.motion.matrices import Matrix, turn

if TYPE_CHECKING:
    from deforum.settings.params import Params

UNITS = 200  # translations, near and far in files are in 1/200 of a scene unit
IN_FRONT = 1e-3  # scene units; points nearer to the camera than this count as behind it


@dataclass(frozen=True)
class Pose:
    """Rigid camera motion: a point X (row vector x y z) of the old view is X @ rotation + translation in the new."""

    rotation: Matrix  # (3, 3)
    translation: Matrix  # (3,) scene units

    @staticmethod
    def of(params: Params[float]) -> Pose:
        """Make the pose of one frame: rotation_3d_x, _y, _z in degrees, translation_x, _y, _z in 1/200 scene unit."""
        p = params
        rotation = (p.rotation_3d_x, p.rotation_3d_y, p.rotation_3d_z)
        return Pose.by(rotation, (p.translation_x, p.translation_y, p.translation_z))

    @staticmethod
    def by(rotation: Sequence[float], translation: Sequence[float]) -> Pose:
        """Make the pose of a motion: degrees about x, y and z; 1/200 scene unit along them, signs as in files."""
        x, y, z = translation
        return Pose(turn(*map(math.radians, rotation)), np.array([-x, y, -z], np.float64) / UNITS)

    def inverse(self) -> Pose:
        return Pose(self.rotation.T, -self.translation @ self.rotation.T)

    def then(self, later: Pose) -> Pose:
        return Pose(self.rotation @ later.rotation, self.translation @ later.rotation + later.translation)

    @property
    def still(self) -> bool:
        return not self.translation.any() and bool((self.rotation == np.eye(3)).all())


@dataclass(frozen=True)
class Lens:
    """Intrinsics: focal lengths along x and y in px; the principal point is the centre of the picture."""

    x: float
    y: float

    @staticmethod
    def of(fov: float, aspect_ratio: float, width: int, height: int, *, fov_is_vertical: bool = False) -> Lens:
        """Make a lens from its field of view in degrees, across the width (or, `fov_is_vertical`, the height).

        `aspect_ratio` is that of a pixel: 1 is square, 2 is twice as wide as high. With `fov_is_vertical` pixels are
        square, which is equivalent to Deforum's "old formula" of the aspect ratio.
        Raises UserError for a field of view outside 0..180 degrees, ends excluded.
        """
        if not 0 < fov < 180:
            raise UserError(f"fov is {fov:g}; the physical camera needs one between 0 and 180 degrees, 70 is usual")
        reach = math.tan(math.radians(fov) / 2)
        if fov_is_vertical:
            return Lens(height / 2 / reach, height / 2 / reach)
        return Lens(width / 2 / reach / aspect_ratio, width / 2 / reach)


def reprojection(pose: Pose, old: Lens, new: Lens, width: int, height: int) -> list[list[float]]:
    """Compose back-projection, motion and projection into one matrix: (x, y, 1, 1/z) in px to (x', y', 1) z'/z."""

    def intrinsics(lens: Lens) -> Matrix:
        return np.array([[lens.x, 0, (width - 1) / 2], [0, lens.y, (height - 1) / 2], [0, 0, 1]])

    motion = np.column_stack((pose.rotation.T @ np.linalg.inv(intrinsics(old)), pose.translation))
    rows: list[list[float]] = (intrinsics(new) @ motion).tolist()
    return rows
