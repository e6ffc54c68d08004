"""Detail of pictures by its size: a mix of two pictures given the contrast that they have."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import torch

from deforum.pixels.image import Image, Mask, for_channels, to_array
from deforum.pixels.sharpness import LUMINANCE, blur, mean_around

BANDS = ((5, 1.0), (9, 2.0), (17, 4.0))  # px; kernels and deviations of the blurs, one after the other, between bands
MOST = 1.6  # greatest factor of a band; two unrelated pictures need 1.4
EVEN = 1e-7  # mean square of detail below a tenth of a level, which is left as it is


def bands_of(image: Image) -> list[Image]:
    """Return the detail (C, H, W) that each of the BANDS' blurs takes away, fine to coarse, without the finest."""
    softened = [image]
    for kernel, deviation in BANDS:
        softened.append(blur(softened[-1], kernel, deviation))
    return [finer - softer for finer, softer in pairwise(softened[1:])]


def keep_contrast(mixed: Image, a: Image, b: Image, share: float | Mask, still: torch.Tensor | None = None) -> Image:
    """Give a mix of two pictures (3, H, W) the local contrast of its parts, in each band but the finest.

    Where detail of the two differs, a mix has less of it than either: up to a half of its mean square. Each band is
    multiplied so that its mean square around a pixel is that of `a` and `b`, weighted by the `share` of `b`, 0..1 or
    (H, W). Where `still` (H, W) is True nothing changes. The finest band is left to `pixels.sharpness.sharpen_to`.
    """
    found = bands_of(mixed)
    parts = zip(found, bands_of(_luminance(a)), bands_of(_luminance(b)), strict=True)
    for band, of_a, of_b in parts:
        wanted = torch.lerp(_energy(of_a), _energy(of_b), share)
        factor = ((wanted + EVEN) / (_energy(_luminance(band)) + EVEN)).sqrt_().clamp_(1 / MOST, MOST)
        amount = factor.sub_(1) if still is None else factor.sub_(1).masked_fill_(still, 0)
        mixed = torch.addcmul(mixed, for_channels(amount), band)
    return mixed.clamp_(0, 1)


def _energy(band: Image) -> Mask:
    return mean_around(band[0] * band[0])


def _luminance(image: Image) -> Image:
    """Return the luminance, (1, H, W)."""
    if image.device.type != "cpu":
        red, green, blue = (channel * weight for channel, weight in zip(image, LUMINANCE, strict=True))
        luminance: Image = (red + green + blue)[None]
        return luminance
    gray = cv2.transform(to_array(image), np.array([LUMINANCE], np.float32))
    return torch.from_numpy(np.asarray(gray, np.float32))[None]
