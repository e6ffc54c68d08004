"""Rotations as matrices, Euler angles and quaternions, for many frames at once.

Convention: matrices (..., 3, 3) act on column vectors and are right-handed. Quaternions (..., 4) are w, x, y, z.
An order of Euler angles names the axes in the order in which they turn a vector: ZXY is the matrix Ry @ Rx @ Rz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
LOCKED = 1e-9  # cosine of the middle angle below which two axes coincide (gimbal lock)


def of_euler(degrees: Array, order: str) -> Array:
    """Return the matrices (..., 3, 3) of angles (..., 3) about x, y and z, in that order whatever `order` is."""
    angles = np.radians(degrees)
    cos, sin = np.cos(angles), np.sin(angles)
    total = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for axis in map("XYZ".index, order):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        single = np.zeros_like(total)
        single[..., axis, axis] = 1
        single[..., one, one] = single[..., other, other] = cos[..., axis]
        single[..., one, other], single[..., other, one] = -sin[..., axis], sin[..., axis]
        total = single @ total
    return np.asarray(total, np.float64)


def to_euler(matrices: Array, order: str, *, smooth: bool = True) -> Array:
    """Return angles (F, 3) in degrees about x, y and z for matrices (F, 3, 3).

    `smooth`: angles go on from frame to frame, beyond 180 degrees too; else they are the smallest. Where the middle
    angle is 90 degrees, the angle that is applied first is 0.
    """
    inner, middle, outer = map("XYZ".index, order)
    sign = 1 if (middle - outer) % 3 == 1 else -1
    across = np.hypot(matrices[:, outer, outer], matrices[:, outer, middle])
    locked = across < LOCKED
    angles = np.empty((len(matrices), 3))
    angles[:, middle] = np.arctan2(sign * matrices[:, outer, inner], across)
    angles[:, outer] = np.where(
        locked,
        np.arctan2(sign * matrices[:, inner, middle], matrices[:, middle, middle]),
        np.arctan2(-sign * matrices[:, middle, inner], matrices[:, inner, inner]),
    )
    angles[:, inner] = np.where(locked, 0, np.arctan2(-sign * matrices[:, outer, middle], matrices[:, outer, outer]))
    return _continuous(np.degrees(angles), middle) if smooth else np.degrees(angles)


def _continuous(angles: Array, middle: int) -> Array:
    """Choose, of the equal triples of angles, those nearest to the frame before."""
    other = angles + 180
    other[:, middle] = 180 - angles[:, middle]
    for index in range(1, len(angles)):
        before = angles[index - 1]
        both = np.stack((angles[index], other[index]))
        both -= 360 * np.round((both - before) / 360)
        angles[index] = both[np.abs(both - before).sum(axis=1).argmin()]
    return angles


def of_quaternion(quaternions: Array) -> Array:
    """Return the matrices (..., 3, 3) of quaternions (..., 4), which need not have length 1."""
    w, x, y, z = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def to_quaternion(matrices: Array) -> Array:
    """Return quaternions (F, 4) of matrices (F, 3, 3); neighbours have the sign by which they are near each other."""
    m = matrices
    four = np.empty((len(m), 4, 4))  # 4 q q^T; each row is the quaternion times a factor
    x, y, z = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    four[:, 0, 0], four[:, 1, 1] = 1 + x + y + z, 1 + x - y - z
    four[:, 2, 2], four[:, 3, 3] = 1 - x + y - z, 1 - x - y + z
    for (row, column), (a, b), sign in (
        ((0, 1), (2, 1), -1), ((0, 2), (0, 2), -1), ((0, 3), (1, 0), -1),
        ((1, 2), (1, 0), 1), ((1, 3), (0, 2), 1), ((2, 3), (2, 1), 1),
    ):  # fmt: skip
        four[:, row, column] = four[:, column, row] = m[:, a, b] + sign * m[:, b, a]
    best = np.argmax(np.einsum("fii->fi", four), axis=1)
    found = four[np.arange(len(m)), best]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found * _signs(found)[:, None], np.float64)


def _signs(quaternions: Array) -> Array:
    """Return 1 or -1 for each quaternion (F, 4): the first has a positive w, each other is near the one before."""
    if not len(quaternions):
        return np.ones(0)
    steps = np.sign(np.einsum("fi,fi->f", quaternions[1:], quaternions[:-1]))
    first = 1.0 if quaternions[0, 0] >= 0 else -1.0
    signs = np.concatenate((np.array([first]), np.where(steps < 0, -1.0, 1.0)))
    return np.asarray(np.cumprod(signs), np.float64)


def slerp(a: Array, b: Array, share: Array) -> Array:
    """Return the quaternions (F, 4) on the shorter way from `a` to `b`, (F, 4), at shares (F,)."""
    dot = np.einsum("fi,fi->f", a, b)
    b, dot = np.where(dot < 0, -1.0, 1.0)[:, None] * b, np.abs(dot).clip(max=1)
    angle = np.arccos(dot)
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1, sine)
    from_a = np.where(near, 1 - share, np.sin((1 - share) * angle) / safe)
    from_b = np.where(near, share, np.sin(share * angle) / safe)
    mixed = from_a[:, None] * a + from_b[:, None] * b
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float64)


def nearest_rotation(matrices: Array) -> tuple[Array, Array]:
    """Return the rotations nearest to matrices (F, 3, 3), and how far these are from them (F,), whatever their scale.

    A mirrored matrix is about 2 from any rotation.
    """
    left, sizes, right = np.linalg.svd(matrices)
    proper = left @ right
    flip = np.linalg.det(proper) < 0
    left[flip, :, -1] *= -1
    rotations: Array = left @ right
    scale = sizes.mean(axis=-1)
    scale = np.where(scale > 0, scale, 1)
    return rotations, np.abs(matrices / scale[:, None, None] - rotations).max(axis=(-2, -1))
