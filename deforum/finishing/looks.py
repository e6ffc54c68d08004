"""Looks of finished frames: filters of whole pictures that act along and across edges.

A picture is (H, W, 3) RGB float32 in 0..1. Lengths are in px of a frame of 512 px; they do not grow with the frame, so
that larger frames have finer strokes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Plane = NDArray[np.float32]
Look = Callable[[Picture], Picture]

ROUNDS = 3
"""Rounds of the shock filter; each moves edges by up to a pixel from both sides."""
FINE, WIDE = 1.5, 6.0
"""px; blurs between which an edge and a soft glow are told apart."""
REACH = 5.0
"""px; over which directions of edges are averaged."""
CURVED = 2.0
"""px; blur of the picture whose curvature tells the inner side of an edge from the outer one."""
FIRM = np.float32(0.0008)
"""Curvature, per px**2, from which an edge is pushed with its whole strength."""
FULLER = 1.12
"""Gouache: factor of saturation."""
PEN = (1.0, 3.0)
"""Ink: blurs whose difference draws lines, px."""
THIN = 0.8
"""Ink: share of paint in a wash; the rest is paper."""
PAPER, INK = np.array([0.98, 0.96, 0.91], np.float32), np.array([0.07, 0.06, 0.09], np.float32)


def _blur(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _gray(picture: Picture) -> Plane:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def _gradient(plane: Plane) -> tuple[Plane, Plane]:
    """Return the derivatives by x and y, per px."""
    x, y = cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _mix(picture: Picture, other: Picture, share: Plane) -> Picture:
    """Blend each pixel of a picture with another by a share (H, W) of 0..1."""
    # OpenCV divides by the sum of the weights plus 1e-5: with a larger sum that is no change.
    weight = 1000 * share
    return np.asarray(cv2.blendLinear(other, picture, weight, 1000 - weight), np.float32)


def _smooth(x: Plane) -> Plane:
    """Return the smoothstep of x, clipped to 0..1."""
    x = x.clip(0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a picture: how much of one each pixel lies on, and the direction across it.

    `strength` is 0 in flat parts and in gradients as wide as a glow, 1 at an edge. The direction is a unit vector
    (x, y), given by its products, which are the same for either sense.
    """

    strength: Plane
    xx: Plane
    xy: Plane
    yy: Plane


def find_edges(gray: Plane) -> Edges:
    """Find edges by the structure tensor, averaged at half the size."""
    height, width = gray.shape
    dx, dy = _gradient(_blur(gray, FINE))

    def half(plane: Plane) -> Plane:
        return np.asarray(cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.float32)

    def whole(plane: Plane) -> Plane:
        return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    xx, xy, yy = (_blur(half(product), REACH / 2) for product in (dx * dx, dx * dy, dy * dy))
    # A glow is as steep in a blurred picture, an edge is not. (A step is half as high per px of the half.)
    # Padded so that slopes go on beyond the border; they would be flatter there, and look like edges.
    room = min(2 * round(WIDE), *(side // 2 - 1 for side in (width // 2, height // 2)))
    padded = np.pad(half(gray), room, mode="reflect", reflect_type="odd")
    inside = (slice(room, -room or None),) * 2
    wide = [axis[inside] for axis in _gradient(_blur(padded, WIDE / 2))]
    steep, still = np.sqrt(xx + yy), _blur(np.asarray(np.hypot(*wide) / 2, np.float32), REACH / 2)
    strength = _smooth((steep / (still + 1e-4) - 1.25) / 0.5) * _smooth((steep - 0.002) / 0.006)
    angle = np.arctan2(2 * xy, xx - yy)  # twice that of the direction
    across = 0.5 + 0.5 * np.cos(angle), 0.5 * np.sin(angle)
    return Edges(whole(strength), whole(across[0]), whole(across[1]), whole(1 - across[0]))


def shock(picture: Picture, rounds: int = ROUNDS) -> Picture:
    """Make edges hard: on either side of one, the colours of that side are pushed up to it, and it becomes smooth.

    Source: J. Weickert, "Coherence-enhancing shock filters", 2003. Here it acts only at edges, more the clearer they
    are, so that a glow stays one.
    """
    square = np.ones((3, 3), np.uint8)
    edges = find_edges(_gray(picture))
    for _ in range(rounds):
        soft = _blur(_gray(picture), CURVED)
        curve = edges.xx * cv2.Sobel(soft, cv2.CV_32F, 2, 0, scale=1 / 16)
        curve += edges.xy * cv2.Sobel(soft, cv2.CV_32F, 1, 1, scale=1 / 2)
        curve += edges.yy * cv2.Sobel(soft, cv2.CV_32F, 0, 2, scale=1 / 16)
        aim = np.asarray(cv2.dilate(picture, square), np.float32)
        cv2.copyTo(cv2.erode(picture, square), (curve >= 0).view(np.uint8), aim)
        share = np.minimum(np.abs(curve) / FIRM, 1) * edges.strength
        picture = _mix(picture, aim, share)
    return picture


def gouache(picture: Picture) -> Picture:
    """Opaque paint: even areas with hard edges, in slightly fuller colours."""
    height, width = picture.shape[:2]
    half = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    even = cv2.resize(cv2.bilateralFilter(half, 9, 0.08, 4), (width, height), interpolation=cv2.INTER_CUBIC)
    firm = shock(np.asarray(even, np.float32))
    gray = cv2.cvtColor(_gray(firm), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(firm, FULLER, gray, 1 - FULLER, 0).clip(0, 1), np.float32)


def ink(picture: Picture) -> Picture:
    """Pen and wash: dark lines along edges over thinned colours on paper.

    Lines are where it is darker than around, as in H. Winnemöller et al., "XDoG: an extended difference-of-Gaussians
    compendium", 2012, and only at edges, so that washes stay free of them.
    """
    firm = shock(picture)
    gray = _gray(firm)
    darker = _blur(gray, PEN[1]) - _blur(gray, PEN[0])
    lines = _smooth((darker - 0.006) / 0.02) * find_edges(gray).strength
    cover = np.asarray(0.9 * lines, np.float32)
    wash = (1 - THIN * (1 - firm)) * PAPER
    return _mix(wash, np.ascontiguousarray(np.broadcast_to(INK, wash.shape)), cover)


LOOKS: Mapping[str, Look | None] = {"plain": None, "gouache": gouache, "ink": ink}
"""By finish_look; None: the network's result as it is."""
