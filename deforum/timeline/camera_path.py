"""Motion of a run as a group: the motion of each frame as curves, the way of the camera, and back to curves.

Convention: `Path3D` and `Path2D` hold the motion into each of F frames from the one before; that into frame 0 is what
brings a loop round, and acts nowhere else. In 3D a motion takes a point of the old view (row vector, x right, y down,
z away, scene units) to the new view: X @ rotation + translation, as `deforum.motion.pose`. In 2D it takes a point
x + iy of the picture (px from its centre, y down) to a * point + b.
"""

from __future__ import annotations

import math
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

FOV = 70.0
"""Degrees; the lens that a shake is seen through in 2D."""
NEARLY = 1e-9


@dataclass(frozen=True)
class Drift:
    """How far a path is from its start after one round."""

    turn: float
    """degrees"""
    move: float
    """px; in 3D 1/200 scene unit"""
    zoom: float
    """factor"""
    share: float
    """Distance from the start over the length of the path, of what is largest: 0 for a closed path."""

    @property
    def is_none(self) -> bool:
        return abs(self.turn) < 1e-3 and abs(self.move) < 1e-3 and abs(self.zoom - 1) < 1e-4

    def __str__(self) -> str:
        parts = [
            f"{self.zoom:.3g} times as large" if abs(self.zoom - 1) >= 1e-4 else "",
            f"turned by {self.turn:.3g} degrees" if abs(self.turn) >= 1e-3 else "",
            f"moved by {self.move:.3g}" if abs(self.move) >= 1e-3 else "",
        ]
        return ", ".join(filter(None, parts))


class Path(Protocol):
    """The motion of a run. Motions and views are composed for each frame at once."""

    def then(self, later: Self) -> Self:
        """Compose with later motions, frame by frame."""

    def inverse(self) -> Self: ...

    def before(self) -> Self:
        """Return what belongs to the frame before each; to the last one, for frame 0."""

    def views(self) -> Self:
        """Compose the motions: the views (F + 1) of each frame from frame 0, and of frame 0 after one round."""

    def drift(self) -> Drift:
        """Measure what is missing to a closed path."""

    def closed(self) -> Self:
        """Spread what is missing to a closed path evenly over its frames."""

    def swayed(self, poses: Floats, scale: float) -> Self:
        """Shake the camera by poses (F, 6), as `deforum.timeline.shakes` has them; `scale` is units per metre."""

    def write(self, curves: Curves) -> Curves:
        """Return curves with these motions."""


def _share(*ways: tuple[float, float]) -> float:
    """Return the largest share of a distance from the start in the length of the path; tiny distances are none."""
    return max((distance / length for distance, length in ways if distance > NEARLY and length > 0), default=0.0)


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

    @classmethod
    def of_poses(cls, poses: Floats, scale: float) -> Path3D:
        """Return the views of a shaken camera from the steady one."""
        place = poses[:, :3] * (1, -1, -1) * scale / UNITS
        # Our axes are Blender's turned about x by half a turn, and points are row vectors: angles about y and z change
        # their sign, and Euler XYZ is Rz Ry Rx.
        rotation = np.array([turn(0, 0, -z) @ turn(0, -y, 0) @ turn(x, 0, 0) for x, y, z in poses[:, 3:].tolist()])
        return cls(rotation, -np.einsum("fi,fij->fj", place, rotation))

    def then(self, later: Path3D) -> Path3D:
        moved = np.einsum("fi,fij->fj", self.translation, later.rotation) + later.translation
        return Path3D(self.rotation @ later.rotation, moved)

    def inverse(self) -> Path3D:
        back = self.rotation.transpose(0, 2, 1)
        return Path3D(back, -np.einsum("fi,fij->fj", self.translation, back))

    def before(self) -> Path3D:
        return Path3D(np.roll(self.rotation, 1, 0), np.roll(self.translation, 1, 0))

    def at(self, chosen: slice) -> Path3D:
        return Path3D(self.rotation[chosen], self.translation[chosen])

    def views(self) -> Path3D:
        found = [Path3D(np.eye(3)[None], np.zeros((1, 3)))]
        for index in (*range(1, len(self.rotation)), 0):
            found.append(found[-1].then(self.at(slice(index, index + 1))))
        return Path3D(np.concatenate([each.rotation for each in found]), np.concatenate([e.translation for e in found]))

    def drift(self) -> Drift:
        end = self.views().at(slice(-1, None))
        turned, moved = _angle(end.rotation[0]), float(np.linalg.norm(end.translation))
        lengths = sum(map(_angle, self.rotation)), float(np.linalg.norm(self.translation, axis=1).sum())
        return Drift(turned, moved * UNITS, 1.0, _share((turned, lengths[0]), (moved, lengths[1])))

    def closed(self) -> Path3D:
        views, count = self.views(), len(self.rotation)
        missing = views.at(slice(-1, None)).inverse()
        along, axis = np.arange(count + 1) / count, _rotation_vector(missing.rotation[0])
        steer = Path3D(np.array([_rotation(axis * share) for share in along]), np.outer(along, missing.translation[0]))
        steered = views.then(steer)
        steps = steered.at(slice(count)).inverse().then(steered.at(slice(1, None)))
        return steps.before()

    def swayed(self, poses: Floats, scale: float) -> Path3D:
        views = Path3D.of_poses(poses, scale)
        return views.before().inverse().then(self).then(views)

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
    width: int
    """px, of the picture."""

    @classmethod
    def read(cls, curves: Curves, width: int, height: int) -> Path2D:
        """Read curves for a picture of width x height px."""
        a = curves.zoom * np.exp(-1j * np.radians(curves.angle)).astype(complex)
        pivot: Complex = (curves.transform_center_x - 0.5) * width + 1j * (curves.transform_center_y - 0.5) * height
        b: Complex = a * (curves.translation_x + 1j * curves.translation_y - pivot) + pivot
        return cls(a, b, pivot, width)

    def of_poses(self, poses: Floats, scale: float) -> Path2D:
        """Return how a shaken camera sees a picture that is 1 scene unit away, through a lens of FOV degrees.

        Tilt and pan move the picture, roll turns it, and going forward enlarges it.
        """
        focal = self.width / 2 / math.tan(math.radians(FOV) / 2)
        x, y, z = (poses[:, :3] * (1, 1, -1) * scale / UNITS).T
        tilt, pan, roll = poses[:, 3], -poses[:, 4], -poses[:, 5]
        a = np.exp(-1j * roll) / np.maximum(1 - z, 0.05)
        return replace(self, a=a, b=focal * (-np.tan(pan) - x + 1j * (np.tan(tilt) + y)))

    def then(self, later: Path2D) -> Path2D:
        return replace(self, a=later.a * self.a, b=later.a * self.b + later.b)

    def inverse(self) -> Path2D:
        return replace(self, a=1 / self.a, b=-self.b / self.a)

    def before(self) -> Path2D:
        return replace(self, a=np.roll(self.a, 1), b=np.roll(self.b, 1))

    def views(self) -> Path2D:
        a, b = [complex(1)], [complex(0)]
        for index in (*range(1, len(self.a)), 0):
            a.append(complex(self.a[index] * a[-1]))
            b.append(complex(self.a[index] * b[-1] + self.b[index]))
        return replace(self, a=np.array(a), b=np.array(b))

    def drift(self) -> Drift:
        views = self.views()
        a, b = complex(views.a[-1]), complex(views.b[-1])
        turned, zoom, moved = -math.degrees(np.angle(a)), abs(a), abs(b)
        is_shift = abs(math.log(zoom)) < 0.01 and abs(turned) < 0.5
        share = _share(
            (abs(turned), float(np.abs(np.degrees(np.angle(self.a))).sum())),
            (abs(math.log(zoom)), float(np.abs(np.log(np.abs(self.a))).sum())),
            (moved if is_shift else 0.0, float(np.abs(self.b).sum())),
        )
        return Drift(turned, moved, zoom, share)

    def closed(self) -> Path2D:
        views, along = self.views(), np.arange(len(self.a) + 1) / len(self.a)
        turned = np.exp(-along * np.log(views.a[-1]))
        moved = -along * views.b[-1] / views.a[-1]
        steered = views.then(replace(self, a=turned, b=moved))
        first, last = (replace(self, a=steered.a[part], b=steered.b[part]) for part in (slice(-1), slice(1, None)))
        return first.inverse().then(last).before()

    def swayed(self, poses: Floats, scale: float) -> Path2D:
        views = self.of_poses(poses, scale)
        return views.before().inverse().then(self).then(views)

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


def _angle(rotation: Floats) -> float:
    """Return the angle of a rotation (3, 3) in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _rotation_vector(rotation: Floats) -> Floats:
    """Return axis times angle (3,) of a rotation of points as row vectors."""
    axis: Floats = np.linalg.svd(rotation - np.eye(3))[2][-1]
    off = rotation.T - rotation
    sine = float(axis @ (off[2, 1], off[0, 2], off[1, 0])) / 2
    return axis * math.atan2(sine, (float(np.trace(rotation)) - 1) / 2)


def _rotation(vector: Floats) -> Floats:
    """Invert `_rotation_vector` (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    found: Floats = (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T
    return found


def undone(way: Sequence[Params[float]]) -> Params[float]:
    """Return the parameters of the first of a way with the one motion in space that takes back those after it."""
    path = Path3D.read(way[0].map(lambda name, _: np.array([getattr(each, name) for each in way])))
    whole = way[0].map(lambda _, value: np.array([value]))
    return path.views().at(slice(-2, -1)).inverse().write(whole).map(lambda _, curve: float(curve[0]))
