"""The path of a camera: its pose and lens over time. Every format is read into one, and written from one.

Convention: poses are camera to world. In the world and in the camera x goes right and y up, and the camera looks along
-z, as in OpenGL, Blender and Nuke. The world is that of the file; a path of settings begins at its origin, unturned.
The picture's centre is on the axis of the lens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deforum.camera_files.rotations import Array, of_quaternion, slerp, to_quaternion


@dataclass(frozen=True, eq=False)
class Lens:
    """The lens at each time."""

    vertical: Array
    """(F,): tangent of half the vertical field of view."""
    pixel: Array
    """(F,): width over height of a pixel, 1 where it is square."""
    aspect: float | None = None
    """Width over height of the picture, in pixels; None where the file does not tell."""

    def focal(self, width: int, height: int) -> tuple[Array, Array]:
        """Return focal lengths (F,) along x and y in px, for a picture of width x height px.

        Where the file's picture has another aspect ratio, its width is what is kept.
        """
        side = height if self.aspect is None else width / self.aspect
        y = side / 2 / self.vertical
        return y / self.pixel, y


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Poses and lens of a camera at times; between them it moves straight, and turns the shorter way."""

    times: Array
    """(F,) ascending; `rate` of them are a second."""
    rotation: Array
    """(F, 3, 3) from camera to world."""
    position: Array
    """(F, 3) in units of the file."""
    lens: Lens | None = None
    """None where the file does not tell."""
    rate: float | None = None
    """None: frames of any rate."""
    size: tuple[int, int] | None = None
    """Width and height of the pictures in px."""
    notes: tuple[str, ...] = ()
    """What the file says that a path cannot hold, a line each."""

    def __len__(self) -> int:
        return len(self.times)

    def at(self, times: Array) -> CameraPath:
        """Return the path at other times (N,); before its begin and after its end the camera rests."""
        last = len(self) - 1
        times = np.asarray(times, np.float64).clip(self.times[0], self.times[-1])
        before = np.searchsorted(self.times, times, side="right").clip(1, max(last, 1)) - 1
        after = np.minimum(before + 1, last)
        length = self.times[after] - self.times[before]
        share = np.where(length > 0, (times - self.times[before]) / np.where(length > 0, length, 1), 0)
        quaternions = to_quaternion(self.rotation)
        turned = of_quaternion(slerp(quaternions[before], quaternions[after], share))
        # A time of the file's own has its pose to the last digit.
        turned = np.where((share == 0)[:, None, None], self.rotation[before], turned)
        turned = np.where((share == 1)[:, None, None], self.rotation[after], turned)

        def between(values: Array) -> Array:
            part = share.reshape(-1, *[1] * (values.ndim - 1))
            mixed: Array = values[before] * (1 - part) + values[after] * part
            return mixed

        lens = self.lens
        if lens is not None:
            vertical = np.tan(between(np.arctan(lens.vertical)))
            lens = replace(lens, vertical=vertical, pixel=between(lens.pixel))
        return replace(self, times=times, rotation=turned, position=between(self.position), lens=lens)

    def sampled(self, count: int, fps: float, start: float | None = None) -> CameraPath:
        """Return the path at frames 0..count-1 of a run with `fps`, beginning at the file's own time `start`.

        Times without a rate are frames of the run.
        """
        first = self.times[0] if start is None else start
        step = 1.0 if self.rate is None else self.rate / fps
        if abs(step - 1) < 1e-6:  # 23.976 and 24000/1001 are the same rate
            step = 1.0
        found = self.at(first + step * np.arange(count, dtype=np.float64))
        return replace(found, times=np.arange(count, dtype=np.float64), rate=fps)

    def frames(self, fps: float, start: float | None = None) -> int:
        """Return the number of frames of a run with `fps` until the path's last pose, that one included."""
        first = self.times[0] if start is None else start
        step = 1.0 if self.rate is None else self.rate / fps
        return max(int(np.floor((self.times[-1] - first) / step + 1e-6)) + 1, 1)


def path_of(
    times: Sequence[float] | Array,
    rotation: Array,
    position: Array,
    lens: Lens | None = None,
    *,
    rate: float | None = None,
    size: tuple[int, int] | None = None,
    notes: Sequence[str] = (),
) -> CameraPath:
    """Make a path of poses in any order of time; of equal times the first counts."""
    ordered = np.asarray(times, np.float64)
    _, order = np.unique(ordered, return_index=True)
    if lens is not None:
        lens = replace(lens, vertical=lens.vertical[order], pixel=lens.pixel[order])
    return CameraPath(ordered[order], rotation[order], position[order], lens, rate, size, tuple(notes))
