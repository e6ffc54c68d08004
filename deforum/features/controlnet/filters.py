"""Preprocessors without weights of their own: pictures (3, h, w), RGB 0..1, to control pictures of the same size.

Sources: Canny 1986; Winnemöller et al., "XDoG" (2012); the conventions of the published ControlNets, which were trained
on white lines on black, near things bright, and normals as (x, y, z) in red, green and blue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from deforum.pixels.image import Image, Mask, from_array, from_bytes, to_array, to_bytes

Levels = NDArray[np.uint8]

GRID = 64  # px of a cell of `color`
PAINTED = -1.0
"""Value of the pixels that are to be painted, in control pictures for inpainting."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a preprocessor may use beside the picture."""

    a: float
    b: float
    index: int
    """Of the frame."""
    seed: int
    """Of the run."""
    depth: Callable[[Image, int], torch.Tensor] | None = None
    """Returns inverse depth or depth, (h, w); see `near`."""
    is_inverse: bool = True
    flow: Callable[[Image, Image], torch.Tensor] | None = None
    before: Image | None = None
    """The picture of the frame before, for `flow`; None: there is none."""
    mask: Mask | None = None
    """(h, w): white is painted."""
    more: dict[str, Any] = field(default_factory=dict)
    """Of annotators."""


def as_it_is(image: Image, given: Given) -> Image:
    return image


def invert(image: Image, given: Given) -> Image:
    return 1 - image


def canny(image: Image, given: Given) -> Image:
    return _lines(cv2.Canny(to_bytes(image), given.a, given.b), image)


def blur(image: Image, given: Given) -> Image:
    return from_array(np.asarray(cv2.GaussianBlur(to_array(image), (0, 0), given.a), np.float32), image.device)


def threshold(image: Image, given: Given) -> Image:
    """White where all channels are above a level."""
    return (image.amin(0, keepdim=True) * 255 > given.a).to(image.dtype).expand(3, -1, -1).contiguous()


def tile(image: Image, given: Given) -> Image:
    """The picture at 1/a of the size: what an upscaler sees."""
    height, width = image.shape[1:]
    if given.a <= 1:
        return image
    small = max(round(height / given.a), 1), max(round(width / given.a), 1)
    shrunk = interpolate(image[None], size=small, mode="area")
    return interpolate(shrunk, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 1)[0]


def shuffle(image: Image, given: Given) -> Image:
    """The picture pulled about by a smooth random field: its colours and textures without its composition."""
    height, width = image.shape[1:]
    rng = np.random.default_rng([given.seed & 0xFFFFFFFF, 17])
    columns, rows = (_smooth_field(height, width, rng) * (side - 1) for side in (width, height))
    moved = cv2.remap(to_array(image), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return from_array(np.asarray(moved, np.float32), image.device)


def _smooth_field(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a smooth field (h, w) of 0..1 with features of about 256 px."""
    cells = rng.uniform(0, 1, (4 + height // 256, 4 + width // 256)).astype(np.float32)
    field = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)


def recolor_luminance(image: Image, given: Given) -> Image:
    return _grey(cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2LAB)[..., 0], given.a, image)


def recolor_intensity(image: Image, given: Given) -> Image:
    return _grey(to_bytes(image).max(axis=2), given.a, image)


def _grey(levels: NDArray[Any], gamma: float, image: Image) -> Image:
    return from_array(np.repeat((levels.astype(np.float32) / 255)[..., None] ** gamma, 3, axis=2), image.device)


def color(image: Image, given: Given) -> Image:
    """A coarse grid of the picture's colours."""
    height, width = image.shape[1:]
    small = max(round(height / GRID), 1), max(round(width / GRID), 1)
    return interpolate(interpolate(image[None], size=small, mode="area"), size=(height, width), mode="nearest")[0]


def scribble_xdog(image: Image, given: Given) -> Image:
    """Strokes where the picture is darker than around: differences of two Gaussians, with a threshold."""
    levels = to_array(image) * 255
    fine, coarse = (cv2.GaussianBlur(levels, (0, 0), sigma) for sigma in (0.5, 5.0))
    darker = (coarse - fine).min(axis=2)
    return _lines(np.where(2 * darker > given.a, 255, 0).astype(np.uint8), image)


def lineart_standard(image: Image, given: Given) -> Image:
    """Soft lines where the picture is darker than around, of one brightness in light and dark pictures."""
    levels = to_array(image) * 255
    darker = np.clip((cv2.GaussianBlur(levels, (0, 0), 6.0) - levels).min(axis=2), 0, 255)
    seen = darker[darker > 8]
    usual = max(16.0, float(np.median(seen)) if seen.size else 0.0)
    return _lines(np.clip(darker / usual * 127, 0, 255).astype(np.uint8), image)


def mlsd(image: Image, given: Given) -> Image:
    """Straight lines."""
    grey = cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY)
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    drawn, least = np.zeros(grey.shape, np.uint8), max(8.0, 0.04 * min(grey.shape))
    for x0, y0, x1, y1 in [] if found is None else np.asarray(found).reshape(-1, 4):
        if np.hypot(x1 - x0, y1 - y0) >= least:
            cv2.line(drawn, (round(float(x0)), round(float(y0))), (round(float(x1)), round(float(y1))), 255, 1)
    return _lines(drawn, image)


def depth(image: Image, given: Given) -> Image:
    """Inverse depth: near is bright."""
    return near(image, given).expand(3, -1, -1).contiguous()


def near(image: Image, given: Given) -> torch.Tensor:
    """Return the nearness (1, h, w): 0 is the farthest point of the picture, 1 the nearest."""
    assert given.depth is not None
    found = given.depth(image, given.index).float()
    found = found if given.is_inverse else 1 / found.clamp(min=1e-6)
    low, high = found.amin(), found.amax()
    return ((found - low) / (high - low).clamp(min=1e-6))[None]


def normal_map(image: Image, given: Given) -> Image:
    """Normals from depth; where it is farther than a share of the range, they point at the viewer."""
    nearness = near(image, given)[0].cpu().numpy()
    # The range of nearness as deep as the picture is high: about what MiDaS gives, for which these weights are made.
    relief = nearness * min(nearness.shape)
    x, y = (cv2.Sobel(relief, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    is_far = nearness < given.a
    x[is_far] = y[is_far] = 0
    normal = np.stack([x, y, np.full_like(x, np.pi * 2)], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return from_array(np.asarray(normal * 0.5 + 0.5, np.float32), image.device)


def optical_flow(image: Image, given: Given) -> Image:
    """Motion since the frame before, as a colour: hue is its direction, brightness its length; black is rest."""
    height, width = image.shape[1:]
    if given.before is None or given.flow is None:
        return torch.zeros_like(image)
    moved = given.flow(given.before, image).cpu().numpy()
    length, angle = cv2.cartToPolar(moved[..., 0].copy(), moved[..., 1].copy(), angleInDegrees=True)
    largest = max(float(length.max()), 0.01 * max(height, width))
    colors = np.stack([angle, np.ones_like(angle), length / largest], axis=2).astype(np.float32)
    return from_array(np.asarray(cv2.cvtColor(colors, cv2.COLOR_HSV2RGB), np.float32), image.device)


def inpaint(image: Image, given: Given) -> Image:
    """The picture with a value of its own where it is to be painted."""
    if given.mask is None:
        return image
    return torch.where(given.mask.to(image.device)[None] > 0.5, torch.full_like(image, PAINTED), image)


def _lines(levels: NDArray[Any], image: Image) -> Image:
    return from_bytes(np.repeat(np.asarray(levels, np.uint8)[..., None], 3, axis=2), image.device)
