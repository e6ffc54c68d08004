"""Motion of a run as a group: the motion of each frame as curves, the way of the camera, and back to curves.

Convention: `Path3D` and `Path2D` hold the motion into each of F frames from the one before; that into frame 0 is what
brings a loop round, and acts nowhere else. In 3D a motion takes a point of the old view (row vector, x right, y down,
z away, scene units) to the new view: X @ rotation + translation, as `deforum.motion.pose`. In 2D it takes a point
x + iy of the picture (px from its centre, y down) to a * point + b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from deforum.motion.matrices import turn
from deforum.motion.pose import UNITS
from deforum.settings.params import Params

Curves = Params[NDArray[np.float64]]
Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Path(Protocol):
    """Motions, each into a frame; or views, each from one common view. Operations are for each frame."""

    def then(self, later: Self) -> Self:
        """Compose with later motions, frame by frame."""

    def inverse(self) -> Self: ...

    def views(self) -> Self:
        """Compose the motions: the view of each frame from that of frame 0, whose own motion is left out."""

    def steps(self) -> Self:
        """Invert `views`: the motion into each frame; into frame 0 from the last one."""

    def write(self, curves: Curves) -> Curves:
        """Return curves with these motions."""


@dataclass(frozen=True)
class Path3D:
    """Rigid motions of a camera."""

    rotation: Floats
    """(F, 3, 3)"""
    translation: Floats
    """(F, 3) scene units"""

    @classmethod
    def read(cls, curves: Curves) -> Path3D:
        angles = np.radians(np.stack((curves.rotation_3d_x, curves.rotation_3d_y, curves.rotation_3d_z), 1))
        translation = np.stack((-curves.translation_x, curves.translation_y, -curves.translation_z), 1) / UNITS
        return cls(np.array([turn(*each) for each in angles.tolist()]), translation)

    def then(self, later: Path3D) -> Path3D:
        moved = np.einsum("fi,fij->fj", self.translation, later.rotation) + later.translation
        return Path3D(self.rotation @ later.rotation, moved)

    def inverse(self) -> Path3D:
        back = self.rotation.transpose(0, 2, 1)
        return Path3D(back, -np.einsum("fi,fij->fj", self.translation, back))

    def at(self, *frames: int) -> Path3D:
        chosen = list(frames)
        return Path3D(self.rotation[chosen], self.translation[chosen])

    def views(self) -> Path3D:
        found = [Path3D(np.eye(3)[None], np.zeros((1, 3)))]
        for index in range(1, len(self.rotation)):
            found.append(found[-1].then(self.at(index)))
        return Path3D(np.concatenate([each.rotation for each in found]), np.concatenate([e.translation for e in found]))

    def steps(self) -> Path3D:
        before = Path3D(np.roll(self.rotation, 1, 0), np.roll(self.translation, 1, 0))
        return before.inverse().then(self)

    def write(self, curves: Curves) -> Curves:
        r = self.rotation
        x, y, z = -self.translation[:, 0] * UNITS, self.translation[:, 1] * UNITS, -self.translation[:, 2] * UNITS
        return replace(
            curves,
            translation_x=x,
            translation_y=y,
            translation_z=z,
            rotation_3d_x=np.degrees(np.arctan2(-r[:, 1, 2], r[:, 2, 2])),
            rotation_3d_y=np.degrees(np.arcsin(r[:, 0, 2].clip(-1, 1))),
            rotation_3d_z=np.degrees(np.arctan2(-r[:, 0, 1], r[:, 0, 0])),
        )


@dataclass(frozen=True)
class Path2D:
    """Similarities of the picture: turned, zoomed and moved."""

    a: Complex
    """(F,)"""
    b: Complex
    """(F,) px"""
    pivot: Complex
    """(F,) px: the transform centre, from the picture's."""
    size: tuple[int, int]

    @classmethod
    def read(cls, curves: Curves, size: tuple[int, int]) -> Path2D:
        """Read curves for a picture of a size (width, height) in px."""
        width, height = size
        a = curves.zoom * np.exp(-1j * np.radians(curves.angle))
        pivot = (curves.transform_center_x - 0.5) * width + 1j * (curves.transform_center_y - 0.5) * height
        b = a * (curves.translation_x + 1j * curves.translation_y - pivot) + pivot
        return cls(a, b, pivot, size)

    def then(self, later: Path2D) -> Path2D:
        return replace(self, a=later.a * self.a, b=later.a * self.b + later.b)

    def inverse(self) -> Path2D:
        return replace(self, a=1 / self.a, b=-self.b / self.a)

    def views(self) -> Path2D:
        a, b = np.ones_like(self.a), np.zeros_like(self.b)
        for index in range(1, len(a)):
            a[index], b[index] = self.a[index] * a[index - 1], self.a[index] * b[index - 1] + self.b[index]
        return replace(self, a=a, b=b)

    def steps(self) -> Path2D:
        return replace(self, a=np.roll(self.a, 1), b=np.roll(self.b, 1)).inverse().then(self)

    def write(self, curves: Curves) -> Curves:
        sign = np.sign(curves.zoom)
        moved = (self.b - self.pivot) / self.a + self.pivot
        return replace(
            curves,
            zoom=sign * np.abs(self.a),
            angle=-np.degrees(np.angle(sign * self.a)),
            translation_x=moved.real,
            translation_y=moved.imag,
        )


def undone(way: Sequence[Params[float]]) -> Params[float]:
    """Return the parameters of the first of a way with the one motion in space that takes back those after it."""
    path = Path3D.read(way[0].map(lambda name, _: np.array([getattr(each, name) for each in way])))
    whole = way[0].map(lambda _, value: np.array([value]))
    return path.views().at(-1).inverse().write(whole).map(lambda _, curve: float(curve[0]))
