"""Point clouds as PLY: binary, little-endian, coloured.

Source: the description of the format by Greg Turk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deforum.camera_files.rotations import Array

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
_TYPES = {"f": "float", "u": "uchar"}


def encode_ply(points: Array, colors: NDArray[np.uint8], comments: Sequence[str] = ()) -> bytes:
    """Encode points (N, 3) with colours (N, 3) RGB; comments are a line each."""
    table = np.empty(len(points), POINT)
    for axis, name in enumerate("xyz"):
        table[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        table[name] = colors[:, channel]
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {line}" for line in comments)]
    lines.append(f"element vertex {len(points)}")
    lines += [f"property {_TYPES[POINT[name].kind]} {name}" for name in POINT.names or ()]
    return "\n".join((*lines, "end_header", "")).encode("ascii", "replace") + table.tobytes()


def back_project(depth: NDArray[np.float32], focal: tuple[float, float], rotation: Array, position: Array) -> Array:
    """Return the points (H * W, 3) of the pixels of a depth map (H, W), in the world.

    Convention: focal lengths in px; rotation (3, 3) and position (3,) as in `deforum.camera_files.path`, in the unit of
    the depth. The centre of the lens is in the middle of the picture.
    """
    height, width = depth.shape
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    rays = np.stack((x / focal[0], -y / focal[1], -np.ones_like(x)), axis=-1).reshape(-1, 3)
    points: Array = (rays * depth.reshape(-1, 1).astype(np.float64)) @ rotation.T + position
    return points
