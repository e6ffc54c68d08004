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
FULLER = 1.09
"""Gouache: factor of saturation."""
PEN = (1.0, 3.0)
"""Ink: blurs whose difference draws lines, px."""
FAINT, PRESSED = np.float32(0.008), np.float32(0.065)
"""Ink: how much darker than around, 0..1, a line begins, and by how much more it is drawn with the whole pen. Edges
of low contrast, which come and go from frame to frame, get faint lines; the same lines in full would flicker."""
THIN = 0.8
"""Ink: share of paint in a wash; the rest is paper."""
PAPER, INK = np.array([0.98, 0.96, 0.91], np.float32), np.array([0.07, 0.06, 0.09], np.float32)
_SQUARE = np.ones((3, 3), np.uint8)


def _blur(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _half(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.float32)


def _whole(plane: Plane, like: Picture) -> Plane:
    """Enlarge a plane of the half size to that of a picture."""
    return np.asarray(cv2.resize(plane, like.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _blur_half(plane: Plane, sigma: float, taken: float) -> Plane:
    """Blur a plane of half the size as by `sigma` px of the whole; `taken` (px**2): variance that others bring."""
    return _blur(plane, float(np.sqrt(sigma * sigma - taken)) / 2)


def _gray(picture: Picture) -> Plane:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def _gradient(plane: Plane) -> tuple[Plane, Plane]:
    """Return the derivatives of a plane of half the size by x and y, per px of the whole."""
    x, y = cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=1 / 16), cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=1 / 16)
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
    """The edges of a picture, at half its size: how much of one each pixel lies on, and the direction across it.

    `strength` is 0 in flat parts and in gradients as wide as a glow, 1 at an edge. The direction is a unit vector
    (x, y), given by its products, which are the same for either sense.
    """

    strength: Plane
    xx: Plane
    xy: Plane
    yy: Plane


def find_edges(half: Plane) -> Edges:
    """Find edges by the structure tensor. `half` (H/2, W/2): grey levels at half the size of the picture."""
    dx, dy = _gradient(_blur_half(half, FINE, taken=1.25))
    xx, xy, yy = (_blur(product, REACH / 2) for product in (dx * dx, dx * dy, dy * dy))
    # A glow is as steep in a blurred picture, an edge is not.
    # Padded so that slopes go on beyond the border; they would be flatter there, and look like edges.
    room = min(2 * round(WIDE), *(side - 1 for side in half.shape))
    around = (room, room, room, room)
    edge, mirrored = (cv2.copyMakeBorder(half, *around, how) for how in (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101))
    inside = (slice(room, -room or None),) * 2
    x, y = (axis[inside] for axis in _gradient(_blur(np.asarray(2 * edge - mirrored, np.float32), WIDE / 2)))
    # By NumPy: OpenCV's magnitude depends on where the memory lies, by a rounding.
    steep, still = np.sqrt(xx + yy), _blur(np.sqrt(x * x + y * y), REACH / 2)
    strength = _smooth((steep / (still + 1e-4) - 1.25) / 0.5) * _smooth((steep - 0.002) / 0.006)
    angle = np.arctan2(2 * xy, xx - yy)  # twice that of the direction
    across = 0.5 + 0.5 * np.cos(angle), 0.5 * np.sin(angle)
    return Edges(strength, *across, 1 - across[0])


def shock(picture: Picture, rounds: int = ROUNDS) -> Picture:
    """Make edges hard: on either side of one, the colours of that side are pushed up to it, and it becomes smooth.

    Source: J. Weickert, "Coherence-enhancing shock filters", 2003. Here it acts only at edges, more the clearer they
    are, so that a glow stays one. What is smooth anyway, edges and curvature, is computed at half the size.
    """
    edges = find_edges(_half(_gray(picture)))
    strength = _whole(edges.strength, picture)
    for _ in range(rounds):
        soft = _blur_half(_half(_gray(picture)), CURVED, taken=1.25)
        curve = edges.xx * cv2.Sobel(soft, cv2.CV_32F, 2, 0, scale=1 / 64)
        curve += edges.xy * cv2.Sobel(soft, cv2.CV_32F, 1, 1, scale=1 / 8)
        curve += edges.yy * cv2.Sobel(soft, cv2.CV_32F, 0, 2, scale=1 / 64)
        curve = _whole(curve, picture)
        aim = np.asarray(cv2.dilate(picture, _SQUARE), np.float32)
        cv2.copyTo(cv2.erode(picture, _SQUARE), (curve >= 0).view(np.uint8), aim)
        picture = _mix(picture, aim, np.minimum(np.abs(curve) / FIRM, 1) * strength)
    return picture


def plain(picture: Picture) -> Picture:
    """The picture itself, its edges a little harder: the network leaves them softer than they were taught."""
    return shock(picture, rounds=1)


def gouache(picture: Picture) -> Picture:
    """Opaque paint: even areas with hard edges, in slightly fuller colours."""
    even = cv2.bilateralFilter(_half(picture), 9, 0.08, 4)
    firm = shock(np.asarray(cv2.resize(even, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32))
    gray = cv2.cvtColor(_gray(firm), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(firm, FULLER, gray, 1 - FULLER, 0).clip(0, 1), np.float32)


def ink(picture: Picture) -> Picture:
    """Pen and wash: dark lines along edges over thinned colours on paper.

    Lines are where it is darker than around, as in H. Winnemöller et al., "XDoG: an extended difference-of-Gaussians
    compendium", 2012, and only at edges, so that washes stay free of them. The clearer an edge, the darker its line.
    """
    firm = shock(picture)
    gray = _gray(firm)
    half = _half(gray)
    darker = _whole(_blur_half(half, PEN[1], taken=0.9), firm) - _blur(gray, PEN[0])
    cover = 0.9 * _smooth((darker - FAINT) / PRESSED) * _whole(find_edges(half).strength, firm)
    wash = cv2.transform(firm, np.column_stack([THIN * np.diag(PAPER), (1 - THIN) * PAPER]))
    drawn = cv2.resize(INK[None, None], firm.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return _mix(np.asarray(wash, np.float32), np.asarray(drawn, np.float32), np.asarray(cover, np.float32))


LOOKS: Mapping[str, Look] = {"plain": plain, "gouache": gouache, "ink": ink}
"""By finish_look."""
