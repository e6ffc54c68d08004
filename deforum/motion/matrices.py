"""Matrices of flat (2D) motion: the homography of one frame's motion, without torch.

Convention: a matrix is (3, 3) float64 and maps a source position (x, y, 1) in px to its destination. Pixel centres
have whole-number coordinates, x goes right, y goes down. A picture keeps its size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError

if TYPE_CHECKING:
    from deforum.settings.params import Params

Matrix = NDArray[np.float64]
NO_ZOOM = "zoom is 0, which leaves nothing of the picture; 1 keeps its size, 0.98 shrinks it by 2 %"


def flat_matrix(params: Params[float], width: int, height: int, *, flip: bool, flip_keeps_translation: bool) -> Matrix:
    """Compose one frame's 2D motion: translate, then rotate and zoom about the centre, then perspective flip.

    Convention: (3, 3), source px -> destination px. `angle` in degrees turns the picture counter-clockwise, `zoom`
    above 1 enlarges it, `translation_x` and `translation_y` in px move it right and down (and are scaled by the
    zoom). `flip` enables the perspective flip; `flip_keeps_translation` False then drops the translation, as Deforum
    does.
    Raises UserError where the zoom is 0.
    """
    if params.zoom == 0:
        raise UserError(NO_ZOOM)
    center_x, center_y = params.transform_center_x * width, params.transform_center_y * height
    turned = rotation(params.angle, params.zoom, center_x, center_y)
    moved = translation(params.translation_x, params.translation_y)
    if not flip:
        return turned @ moved
    flipped = perspective_flip(
        params.perspective_flip_theta,
        params.perspective_flip_phi,
        params.perspective_flip_gamma,
        params.perspective_flip_fv,
        width,
        height,
    )
    return flipped @ turned @ moved if flip_keeps_translation else flipped @ turned


def translation(x: float, y: float) -> Matrix:
    """Return the matrix (3, 3) that moves by x px to the right and y px down."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def rotation(angle: float, zoom: float, center_x: float, center_y: float) -> Matrix:
    """Return the matrix (3, 3) of a counter-clockwise turn by `angle` degrees and a `zoom`, about a centre in px."""
    cos, sin = zoom * math.cos(math.radians(angle)), zoom * math.sin(math.radians(angle))
    about_origin: Matrix = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float64)
    return translation(center_x, center_y) @ about_origin @ translation(-center_x, -center_y)


def perspective_flip(theta: float, phi: float, gamma: float, fv: float, width: int, height: int) -> Matrix:
    """Return the homography (3, 3) of the picture turned by theta about z, gamma about y, phi about x, and projected.

    Convention: degrees, source px -> destination px; `fv` is the camera's field of view. The camera's distance keeps
    the size of an unturned picture, to within one part in `distance`.
    Source: the rule behind Deforum's files, found from recorded matrices. Files rely on two oddities of it. The
    distance is one unit too large, so that zero angles still shrink the picture by 0.2-0.3 %. The pivot is the centre
    of the square that the camera sees, its upper left corner at the picture's, instead of the picture's centre.
    """
    diagonal = math.hypot(width, height)
    half = math.radians(fv) / 2
    side = diagonal / math.cos(half)  # px; of the square that the camera sees
    distance = diagonal / (2 * math.sin(half))
    (a, b), (c, d), (e, f) = turn(math.radians(phi), math.radians(gamma), math.radians(theta))[:, :2]
    # The focal length equals the distance: a point that stays at that distance keeps its position.
    seen = distance * np.array([[a, b, 0], [c, d, 0], [0, 0, 1]]) + np.array([[0, 0, 0], [0, 0, 0], [-e, -f, 1]])
    centred = translation(width / 2, height / 2) @ seen @ translation(-width / 2, -height / 2)
    off_x, off_y = (side - width) / 2, (side - height) / 2
    flipped: Matrix = translation(off_x, off_y) @ (centred / centred[2, 2]) @ translation(-off_x, -off_y)
    return flipped


def turn(x: float, y: float, z: float) -> Matrix:
    """Return the rotation matrix Rx @ Ry @ Rz, (3, 3), for angles in radians: the order of Deforum's Euler angles."""
    about_x = [[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]]
    about_y = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    about_z = [[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]]
    turned: Matrix = np.array(about_x) @ np.array(about_y) @ np.array(about_z)
    return turned


def inverse(matrix: Matrix) -> Matrix:
    """Return the inverse of a motion (3, 3); a singular one (a picture seen edge-on) gets its pseudo-inverse."""
    try:
        return np.asarray(np.linalg.inv(matrix), np.float64)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(matrix), np.float64)
