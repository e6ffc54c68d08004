"""Global motion between two pictures of a clip, by feature matching."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deforum.motion.matrices import Matrix
from deforum.pixels.image import Image, to_bytes

Kind = Literal["Affine", "Perspective"]

FEWEST_MATCHES = 8
RATIO = 0.75  # a match counts where it is this much better than the second best
REACH = 5.0  # px, RANSAC reprojection threshold
STRAIGHT = 1e-3  # least turn at a moved corner, as a share of the picture's area; below it the match is false


def match_features(a: Image, b: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Match SIFT features of two pictures: (N, 2) px each, x and y.

    Source: D. Lowe, "Distinctive image features from scale-invariant keypoints", 2004, with its ratio test.
    """
    sift = cv2.SIFT.create()
    (here, described), (there, described_there) = (
        sift.detectAndCompute(cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY), None) for image in (a, b)
    )
    if min(len(here), len(there)) < 2:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    pairs = cv2.BFMatcher().knnMatch(described, described_there, k=2)
    good = [best for best, second in pairs if best.distance < RATIO * second.distance]
    return (
        np.array([here[match.queryIdx].pt for match in good], np.float32).reshape(-1, 2),
        np.array([there[match.trainIdx].pt for match in good], np.float32).reshape(-1, 2),
    )


def find_matrix(a: Image, b: Image, kind: Kind) -> Matrix:
    """Find the motion of a whole picture, from `a` to `b`; the identity where they have too little in common.

    Convention: (3, 3), source px -> destination px. Affine is turning, scaling and moving; Perspective is any
    homography.
    Source: RANSAC (M. Fischler, R. Bolles, 1981) over matched features.
    """
    before, after = match_features(a, b)
    if len(before) <= FEWEST_MATCHES:
        return np.eye(3)
    if kind == "Affine":
        found, _ = cv2.estimateAffinePartial2D(before, after, method=cv2.RANSAC, ransacReprojThreshold=REACH)
        matrix = None if found is None else np.vstack((found, (0, 0, 1)))
    else:
        matrix, _ = cv2.findHomography(before, after, cv2.RANSAC, REACH)
    if matrix is None or not np.isfinite(matrix).all() or not _keeps_shape(matrix, *a.shape[:0:-1]):
        return np.eye(3)
    return np.asarray(matrix, np.float64)


def _keeps_shape(matrix: Matrix, width: int, height: int) -> bool:
    """Whether the picture's corners stay in front of the camera and keep their orientation."""
    corners = matrix @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    if (corners[2] <= 0).any():
        return False
    x, y = corners[:2] / corners[2]
    sides = np.roll((x, y), -1, axis=1) - (x, y)
    turns = sides[0] * np.roll(sides[1], -1) - sides[1] * np.roll(sides[0], -1)
    return bool((turns > STRAIGHT * width * height).all())
