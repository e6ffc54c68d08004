"""The pixel convention of the project, and all conversions to and from it.

Convention: an `Image` is a torch tensor (3, H, W), RGB, float32, 0..1, on the render device. On the CPU it is stored
channels last (as in OpenCV and video files), so that conversion to a NumPy view and back copies nothing.
A `Mask` is a tensor (H, W), float32, 0..1. Pixel centres have whole-number coordinates; x goes right, y goes down.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.models.transfer import upload
from deforum.pixels.files import decode

Image = torch.Tensor
Mask = torch.Tensor
Device = torch.device
CPU = torch.device("cpu")


def from_array(pixels: NDArray[np.float32], device: Device = CPU) -> Image:
    """View (H, W, 3) RGB float32 pixels as an image; shares memory on the CPU."""
    return upload(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1), device)


def to_array(image: Image) -> NDArray[np.float32]:
    """View an image as contiguous (H, W, 3) RGB float32 pixels; shares memory on the CPU where the storage permits."""
    array: NDArray[np.float32] = image.detach().permute(1, 2, 0).contiguous().cpu().numpy()
    return array


def from_bytes(pixels: NDArray[np.uint8], device: Device = CPU) -> Image:
    """Convert (H, W, 3) RGB levels 0..255 to an image."""
    return from_array(pixels.astype(np.float32) * np.float32(1 / 255), device)


def to_bytes(image: Image) -> NDArray[np.uint8]:
    """Round an image to the nearest (H, W, 3) RGB levels 0..255; values outside 0..1 are clipped."""
    if image.device != CPU:
        return np.asarray(quantized(image, 8).cpu().numpy(), np.uint8)
    return round_levels(to_array(image))


def round_levels(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round pixels (H, W, C) to the nearest levels 0..255; values outside 0..1 are clipped."""
    # convertScaleAbs would turn a negative overshoot positive: clip first.
    return np.asarray(cv2.convertScaleAbs(np.clip(pixels, 0, 1), alpha=255.0), np.uint8).reshape(pixels.shape)


def quantized(image: Image, bits: int) -> torch.Tensor:
    """Round an image to levels on its device: (H, W, 3) RGB, uint8 or uint16 for 8 or 16 `bits`; clipped to 0..1."""
    whole = image.detach().permute(1, 2, 0).clamp(0, 1).mul_((1 << bits) - 1).round_()
    # Few devices convert float32 to uint16 themselves.
    return whole.to(torch.uint8) if bits == 8 else whole.to(torch.int32).to(torch.uint16)


def blend(a: Image, b: Image, weight: float) -> Image:
    """Mix two images: `weight` 0 is `a`, 1 is `b`."""
    return torch.lerp(a, b, weight)


def quantize(image: Image | Mask) -> NDArray[np.uint8]:
    """Round a picture (3, H, W), or a mask (H, W), of 0..1 to levels of 8 bits: (H, W, 3) RGB, or (H, W)."""
    return to_bytes(image) if image.ndim == 3 else image.mul(255).round().byte().cpu().numpy()


def for_channels(mask: Mask) -> torch.Tensor:
    """Repeat a mask (H, W) for the three channels of a picture, to broadcast with it."""
    if mask.device != CPU:
        return mask[None]
    # In the memory layout of pictures: with mixed layouts arithmetic takes two to five times as long.
    plane = mask.numpy()
    return from_array(np.asarray(cv2.merge((plane, plane, plane)), np.float32))


def read(path: Path, width: int, height: int, device: Device = CPU) -> Image:
    """Read a picture file and stretch it to width x height (area averaging down, Lanczos up).

    Raises UserError where the file is missing or cannot be decoded.
    """
    levels = decode(path)
    if levels.shape[:2] != (height, width):
        shrinks = levels.shape[0] >= height and levels.shape[1] >= width
        levels = cv2.resize(levels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
    return from_bytes(np.asarray(cv2.cvtColor(levels, cv2.COLOR_BGR2RGB), np.uint8), device)


def adjust_contrast(image: Image, contrast: float) -> Image:
    """Multiply a picture by a factor and clip it to 0..1; a factor of 1 returns the same image."""
    if contrast == 1:
        return image
    if image.device != CPU:
        return image.mul(contrast).clamp_(0, 1)
    # By NumPy, as torch would ask for other threads (see `deforum.pixels.strips`).
    return clip_(from_array(to_array(image) * np.float32(contrast)))


def clip_(image: Image) -> Image:
    """Clip an image to 0..1 in place, and return it."""
    if image.device != CPU:
        return image.clamp_(0, 1)
    values = image.detach().numpy()
    np.clip(values, 0, 1, out=values)
    return image


def to_gray(image: Image) -> Image:
    """Convert to grey, (3, H, W): each channel becomes the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B."""
    red, green, blue = image
    luma: torch.Tensor = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma.expand(1, 3, -1, -1).contiguous(memory_format=torch.channels_last)[0]
