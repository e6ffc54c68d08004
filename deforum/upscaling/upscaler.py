"""Running an upscaler on one picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from deforum.pixels.image import CPU, Device, Image, from_array, to_array

Upscaler = Callable[[Image, int, int], Image]
"""Makes of a picture (3, H, W) one of a height and width, on the same device, in 0..1."""


def load_upscaler(name: str, factor: float, device: Device = CPU) -> Upscaler:
    """Load an upscaler for a factor onto a device: a name of the table, or a model's file. Raises UserError."""
    return lanczos


def lanczos(image: Image, height: int, width: int) -> Image:
    """Resize a picture by Lanczos, 8 x 8 px; overshoots are clamped to 0..1."""
    sized = cv2.resize(to_array(image), (width, height), interpolation=cv2.INTER_LANCZOS4)
    return from_array(np.asarray(sized, np.float32).clip(0, 1), image.device)
