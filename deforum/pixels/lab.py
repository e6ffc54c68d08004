"""CIE LAB of float pictures by tables: the channels of a picture, and how its RGB changes when they change.

Convention: pixels are (H, W, 3) RGB, sRGB with a white of D65; L is 0..100, a and b are -128..128. `swapped` reads red
as blue and the reverse. Levels are 0..65535.
Source: the formulas and constants of OpenCV's COLOR_RGB2LAB; its own float conversion interpolates in a coarse grid of
colours, which is off by up to 0.6 levels of 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]
Levels = NDArray[np.uint16]

TOP = 65535  # the highest level
KNEE = 6 / 29  # below this root, the cube root of a tristimulus value is replaced by its tangent
SLOPE = 3 * KNEE**2  # of that tangent
# Rows sum to 1: white has tristimulus values of 1.
TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]], np.float64
) / np.array([[0.950456], [1.0], [1.088754]])
# L, a, b of the roots: 116 fy - 16, 500 (fx - fy), 200 (fy - fz)
OF_ROOTS = np.array([[0, 116, 0, -16], [500, -500, 0, 0], [0, 200, -200, 0]], np.float64)


@dataclass(frozen=True, eq=False)
class LabPixels:
    """A picture on its way to LAB, each (H, W, 3)."""

    levels: Levels
    """Of R, G, B, clipped."""
    linear: Floats32
    """Linear light of R, G, B, in levels."""
    xyz: Levels
    """Tristimulus values relative to white."""
    roots: Floats32
    """Their cube roots, with a straight toe: LAB is linear in them."""
    swapped: bool

    @classmethod
    def of(cls, pixels: Floats32, *, swapped: bool) -> LabPixels:
        levels = np.asarray(cv2.addWeighted(pixels, TOP, pixels, 0, 0, dtype=cv2.CV_16U), np.uint16)
        linear = np.asarray(cv2.LUT(levels, _tables().linear), np.float32)
        to_xyz = TO_XYZ[:, ::-1] if swapped else TO_XYZ
        xyz = cv2.transform(linear, np.column_stack((to_xyz, np.full(3, 0.5)))).astype(np.uint16)
        return cls(levels, linear, xyz, np.asarray(cv2.LUT(xyz, _tables().root), np.float32), swapped)

    def channels(self, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> Floats32:
        """Return scale * (L, a, b) + offset for each pixel, (H, W, 3); both are (3,)."""
        matrix = OF_ROOTS * scale[:, None]
        matrix[:, 3] += offset
        return np.asarray(cv2.transform(self.roots, matrix), np.float32)

    def rgb_change(self, change: Floats32) -> Floats32:
        """Return the change of R, G, B where L, a, b change by `change` (H, W, 3); exactly 0 where that is 0.

        Both ends are computed by the same tables and rounded alike, to 0.05 levels of 255 in black and less elsewhere.
        """
        tables = _tables()
        roots = cv2.transform(change, np.linalg.inv(OF_ROOTS[:, :3]))
        roots += self.roots
        xyz = _cube(roots)
        xyz -= cv2.LUT(self.xyz, tables.cube)
        to_rgb = np.linalg.inv(TO_XYZ) * TOP
        brighter = cv2.transform(xyz, to_rgb[::-1] if self.swapped else to_rgb)
        moved = cv2.add(self.linear, brighter, dtype=cv2.CV_16U)
        after = np.asarray(cv2.LUT(moved, tables.gamma), np.float32)
        after -= cv2.LUT(self.levels, tables.returned)
        return after


def _cube(roots: Floats32) -> Floats32:
    """Return the tristimulus values of roots: their cube, or below KNEE its tangent."""
    # Twice as fast as np.maximum; a row of one channel, because OpenCV's scalar is for the first channel alone.
    above = np.asarray(cv2.max(roots.reshape(len(roots), -1), KNEE), np.float32).reshape(roots.shape)
    toe = np.subtract(roots, above)
    toe *= np.float32(SLOPE)
    cube = above * above
    cube *= above
    cube += toe
    return cube


@dataclass(frozen=True, eq=False)
class _Tables:
    """Functions of a level, (65536,) float32."""

    linear: Floats32
    """Gamma levels to linear levels."""
    gamma: Floats32
    """Linear levels to 0..1."""
    returned: Floats32
    """Gamma levels to linear levels, rounded, and back to 0..1."""
    root: Floats32
    cube: Floats32
    """Tristimulus values to their roots and back."""


@cache
def _tables() -> _Tables:
    value = np.arange(TOP + 1) / TOP
    decoded = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    root = np.where(value > KNEE**3, np.cbrt(value), (value - KNEE**3) / SLOPE + KNEE).astype(np.float32)
    linear, gamma = (TOP * decoded).astype(np.float32), encoded.astype(np.float32)
    rounded = cv2.add(linear, np.zeros_like(linear), dtype=cv2.CV_16U).ravel()
    return _Tables(linear, gamma, gamma[rounded], root, _cube(root))
