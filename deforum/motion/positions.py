"""Position maps between pictures (charts): sampling at positions, composition, and round-trip checks.

Convention: positions are (2, H, W) float32, x then y, in px; pixel centres have whole-number coordinates. A chart maps
each pixel of one picture to its position in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from deforum.models.transfer import constant
from deforum.motion.matrices import Matrix
from deforum.pixels.image import Device, Mask, from_array, to_array
from deforum.pixels.strips import in_strips

Sampling = Literal["bicubic", "bilinear", "nearest"]
Positions = torch.Tensor  # (2, H, W) float32 px
Edge = Literal["border", "reflection", "zeros", "wrap", "mirror"]
"""Padding beyond the edge: aaa|abc|ccc, cba|abc|cba, zeros, abc|abc|abc, or (the edge not repeated) cb|abc|ba."""

SAME_PLACE = 1.0  # px; tolerance of a round trip from one picture to another and back
SEEN = 0.99  # coverage; pixels below this are disoccluded (newly visible)
MARGIN = 2  # px; reach of bicubic sampling beyond a position, on either side

CV_SAMPLING: dict[Sampling, int] = {
    "bicubic": cv2.INTER_CUBIC,
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
}

CV_EDGE: dict[Edge, int] = {
    "border": cv2.BORDER_REPLICATE,
    "reflection": cv2.BORDER_REFLECT,
    "zeros": cv2.BORDER_CONSTANT,
    "wrap": cv2.BORDER_WRAP,
    "mirror": cv2.BORDER_REFLECT_101,
}


@dataclass(frozen=True)
class Chart:
    """Position of each pixel of one picture in another, and its visibility there."""

    positions: Positions
    covers: Mask
    """(H, W), 1 where the pixel is visible there, 0 where occluded or beyond the edge (soft over a pixel)."""

    def both(self) -> torch.Tensor:
        """Return x, y and visibility as one tensor, (3, H, W)."""
        return torch.cat((self.positions, self.covers[None]))


Charts = tuple[Chart, Chart]
"""Both directions of a motion: from the new picture to the old one, and from the old one to the new."""


def pixels(width: int, height: int, device: Device) -> Positions:
    """Return the identity positions, (2, H, W) px."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack((x, y))


def inside(positions: Positions, width: int = 0, height: int = 0) -> Mask:
    """Return the mask of positions within the picture: 1 inside, 0 beyond its edge, soft over a pixel."""
    height, width = (height, width) if height else positions.shape[1:]
    x, y = positions
    covered: Mask = torch.minimum(x + 1, width - x).clamp_(0, 1) * torch.minimum(y + 1, height - y).clamp_(0, 1)
    return covered


def sample_at(image: torch.Tensor, positions: Positions, sampling: Sampling, edge: Edge) -> torch.Tensor:
    """Sample (C, H, W) at positions (2, h, w): (C, h, w). Bicubic sampling may overshoot 0..1 slightly."""
    if image.device.type == "cpu":
        return _remap(image, positions, sampling, edge)
    if edge == "wrap" or edge == "mirror":
        positions = _fold(positions, edge, *image.shape[:0:-1]) + MARGIN
        image = F.pad(image[None], (MARGIN,) * 4, "circular" if edge == "wrap" else "reflect")[0]
    height, width = image.shape[1:]
    # grid_sample counts from -1 to 1, from the outer edge of the first pixel to that of the last.
    grid = torch.empty_like(positions)
    torch.mul(positions[0], 2 / width, out=grid[0]).add_(1 / width - 1)
    torch.mul(positions[1], 2 / height, out=grid[1]).add_(1 / height - 1)
    padding = "border" if edge == "wrap" or edge == "mirror" else edge
    return F.grid_sample(image[None], grid.permute(1, 2, 0)[None], sampling, padding, align_corners=False)[0]


def _remap(image: torch.Tensor, positions: Positions, sampling: Sampling, edge: Edge) -> torch.Tensor:
    """Sample as `sample_at` does, three times as fast as torch on a CPU; for either memory layout of the image."""
    x, y = (axis.contiguous().numpy() for axis in positions)

    def remap(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        sampled = np.empty((*x.shape, *pixels.shape[2:]), np.float32)

        def sample(rows: slice) -> None:
            strip = cv2.remap(pixels, x[rows], y[rows], CV_SAMPLING[sampling], borderMode=CV_EDGE[edge])
            sampled[rows] = strip.reshape(sampled[rows].shape)

        in_strips(sample, *x.shape)
        return sampled

    if image.is_contiguous():
        return torch.stack([torch.from_numpy(remap(plane.numpy())) for plane in image])
    return from_array(remap(to_array(image)))


def _fold(positions: Positions, edge: Edge, width: int, height: int) -> Positions:
    """Map positions beyond the edge to the equivalent ones inside; `edge` is wrap or mirror."""
    size = constant((width, height), positions.dtype, positions.device).view(2, 1, 1)
    if edge == "wrap":
        return positions.remainder(size)
    period = (2 * size - 2).clamp(min=1)
    folded: Positions = positions.remainder(period)
    return torch.minimum(folded, period - folded)


def read_at(values: torch.Tensor, positions: Positions) -> torch.Tensor:
    """Sample values (C, H, W) at positions, bilinearly; beyond the edge the outermost values are repeated."""
    return sample_at(values, positions, "bilinear", "border")


def follow(chart: Positions, at: Positions) -> Positions:
    """Compose positions: read `chart` at positions `at`; beyond the edge the displacement is that of the edge."""
    height, width = chart.shape[1:]
    found: Positions = at + read_at(chart - pixels(width, height, chart.device), at)
    return found


def comes_back(there: Positions, back: Positions) -> torch.Tensor:
    """Return which pixels come back to within SAME_PLACE px of their start on a round trip: (H, W) bool."""
    height, width = there.shape[1:]
    return (follow(back, there) - pixels(width, height, there.device)).abs().amax(0) <= SAME_PLACE


def map_by(matrix: Matrix, positions: Positions) -> Positions:
    """Transform positions by a homography (3, 3)."""
    x, y, w = (a * positions[0] + b * positions[1] + c for a, b, c in matrix.tolist())
    w = torch.where(w == 0, torch.finfo(w.dtype).eps, w)
    return torch.stack((x / w, y / w))
