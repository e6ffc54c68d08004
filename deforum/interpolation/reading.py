"""Reading of pictures at places, on the processor.

Convention: arrays (H, W) or (H, W, C) float32; places (H, W, 2) px, x then y.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@lru_cache(maxsize=4)
def reading(width: int, height: int) -> Array:
    """Return the places of all pixels, (H, W, 2) px; not to be modified."""
    y, x = np.mgrid[:height, :width]
    here = np.stack((x, y), -1).astype(np.float32)
    here.flags.writeable = False
    return here


def read_at(values: Array, places: Array, kernel: int = cv2.INTER_LINEAR) -> Array:
    """Read values at places; beyond the edge the outermost ones are repeated."""
    return np.asarray(cv2.remap(values, places, None, kernel, borderMode=cv2.BORDER_REPLICATE), np.float32)  # type: ignore[call-overload]


def moved(values: Array, flow: Array) -> Array:
    """Read values where a flow (H, W, 2) px leads to."""
    return read_at(values, reading(flow.shape[1], flow.shape[0]) + flow)
