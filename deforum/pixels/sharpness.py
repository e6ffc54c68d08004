"""Sharpness of pictures: blurring, sharpening, and fine detail brought to a measure."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn.functional import conv2d, pad

from deforum.pixels.image import CPU, Image, Mask, from_array, to_array

FINE = (5, 1.0)  # width and deviation in px of the blur that tells fine detail: antiblur's by default
AMOUNTS = (-0.5, 1.0)  # by which detail is matched
EVEN = 1e-4  # less detail is none: a fortieth of a level


def unsharp_mask(
    image: Image, amount: float, kernel: int = 5, sigma: float = 1.0, threshold: float = 0, mask: Mask | None = None
) -> Image:
    """Sharpen: add `amount` times the difference to a blurred copy.

    Convention: the blur is Gaussian over `kernel` x `kernel` px, an odd number, with deviation `sigma` in px (0 derives
    it from the kernel, as OpenCV does). Channels that differ from the blurred ones by less than `threshold`, in levels
    of 255, stay as they are. Where the mask (H, W) is 0 nothing changes.
    """
    if amount == 0:
        return image
    detail = image - blur(image, kernel, sigma)
    if threshold > 0:
        detail.masked_fill_(detail.abs() < threshold / 255, 0)
    sharpened = torch.add(image, detail, alpha=amount).clamp_(0, 1)
    return sharpened if mask is None else sharpened.sub_(image).mul_(mask).add_(image)


def fine_detail(image: Image) -> float:
    """Measure how much a picture holds that a small blur takes away: root mean square in the mean of R, G, B, 0..1."""
    return float((image - blur(image, *FINE)).mean(0).square().mean().sqrt())


def match_detail(image: Image, wanted: float, share: float = 1) -> Image:
    """Sharpen or soften a picture until its `fine_detail` has come a `share` of the way, in ratios, to `wanted`.

    It is an `unsharp_mask` whose amount is solved for, and kept within AMOUNTS: what is not there cannot be sharpened.
    A picture without any detail stays as it is.
    """
    if share == 0 or wanted < EVEN:
        return image
    fine = image - blur(image, *FINE)
    # The detail of image + a fine is fine + a finest: a parabola in a.
    finest = fine - blur(fine, *FINE)
    one, other = fine.mean(0), finest.mean(0)
    now, slope, bend = torch.stack([(one * one).mean(), (one * other).mean(), (other * other).mean()]).tolist()
    if now < EVEN**2:
        return image
    target = now ** (1 - share) * wanted ** (2 * share)
    amount = (max(slope * slope - bend * (now - target), 0) ** 0.5 - slope) / bend
    least, most = AMOUNTS
    return torch.add(image, fine, alpha=min(max(amount, least), most)).clamp_(0, 1)


def blur(image: Image, kernel: int, sigma: float) -> Image:
    """Soften with a Gaussian of `kernel` x `kernel` px (odd) and deviation `sigma` px.

    Convention: beyond the edge the picture is mirrored, the outermost pixel not repeated (dcb|abcd|cba).
    """
    if image.device == CPU:
        soft = cv2.GaussianBlur(to_array(image), (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT_101)
        return from_array(np.asarray(soft, np.float32))
    return blur_on_device(image, kernel, sigma)


def blur_on_device(image: Image, kernel: int, sigma: float) -> Image:
    """Do what `blur` does without visiting the host."""
    weights = torch.from_numpy(cv2.getGaussianKernel(kernel, sigma, cv2.CV_32F)).to(image.device).view(1, 1, 1, -1)
    around = pad(image[:, None], 4 * (kernel // 2,), "reflect")
    return conv2d(conv2d(around, weights), weights.transpose(2, 3))[:, 0]
