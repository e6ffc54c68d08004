"""Scene cuts: two frames that nothing moves between."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deforum.pixels.image import Image, to_array

SIDE = 96  # px; shorter side of the small pictures that are compared
SHAPES = 4.0  # px; deviation of the blur that takes light and colour away and leaves shapes
FOUND = 1.0  # px; a place is found again whose way there and back ends this near
ALIKE = (
    0.9  # least sum of the two measures: up to 0.7 between two scenes, from 1.3 between neighbours of rendered films
)
PLAIN = 0.01  # deviation of brightness, 0..1; a plainer picture has nothing to compare

Gray = NDArray[np.float32]


def is_cut(first: Image, last: Image) -> bool:
    """Whether a scene cut lies between two pictures (3, H, W).

    They are made small, and optical flow between them is estimated in both directions. Two measures are added: the
    share of places that are found again, and the correlation of shapes after the motion. A picture of one colour, as in
    fades and flashes, begins no scene.
    """
    a, b = _small(first), _small(last)
    if min(a.std(), b.std()) < PLAIN:
        return False
    there, back = _flow(a, b), _flow(b, a)
    found = float((np.hypot(*np.moveaxis(back + _moved(there, back), -1, 0)) < FOUND).mean())
    return found + _likeness(_shapes(_moved(a, back)), _shapes(b)) < ALIKE


def _small(image: Image) -> Gray:
    height, width = image.shape[1:]
    scale = min(1, SIDE / min(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = cv2.resize(to_array(image), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)


def _flow(a: Gray, b: Gray) -> Gray:
    levels = [np.asarray(np.clip(each, 0, 1) * 255, np.uint8) for each in (a, b)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return np.asarray(dis.calc(*levels, None), np.float32)  # type: ignore[call-overload]


def _moved(values: Gray, flow: Gray) -> Gray:
    """Read values (H, W) or (H, W, C) at the places that a flow (H, W, 2) leads to."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    read = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, np.float32)


def _shapes(gray: Gray) -> Gray:
    return gray - np.asarray(cv2.GaussianBlur(gray, (0, 0), SHAPES), np.float32)


def _likeness(a: Gray, b: Gray) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))
