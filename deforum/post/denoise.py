"""The step denoise: less noise and flicker, by ffmpeg's hqdn3d, which follows each pixel through time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deforum.pixels.image import Image, from_array, quantized
from deforum.post.at import At
from deforum.settings.steps import Denoise
from deforum.video.filtering import filtered

USUAL = (4.0, 3.0, 6.0, 4.5)
"""hqdn3d's own strengths: in space of brightness and colour, in time of both. They are those of amount 0.2."""


def denoise(step: Denoise, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Remove noise. What a frame becomes depends on all frames before it."""
    strengths = ":".join(f"{step.amount / 0.2 * each:.6g}" for each in USUAL)
    levels = (np.asarray(quantized(image, 16).cpu().numpy(), np.uint16) for image in frames)
    made = filtered(levels, at.reel.width, at.reel.height, f"format=yuv444p16le,hqdn3d={strengths},format=rgb48le")
    return (from_array(pixels.astype(np.float32) * np.float32(1 / 65535), at.device) for pixels in made)
