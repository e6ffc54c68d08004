"""Where pixels are and where they come from: charts of positions, and pictures read at them.

Convention: positions are (2, H, W) float32, x then y, in px; pixel centres have whole-number coordinates. A chart says
for each pixel of one picture where it is in another.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from deforum.image import Device, Mask

Padding = Literal["border", "reflection", "zeros"]
Sampling = Literal["bicubic", "bilinear", "nearest"]
Positions = torch.Tensor  # (2, H, W) float32 px
Matrix = NDArray[np.float64]

SAME_PLACE = 1.0  # px that a pixel may land beside itself on the way there and back


def pixels(width: int, height: int, device: Device) -> Positions:
    """Give each pixel its own position."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack((x, y))


def within(positions: Positions, width: int = 0, height: int = 0) -> Mask:
    """Tell which positions are within the picture: 1 inside, 0 beyond its edge, soft over a pixel."""
    height, width = (height, width) if height else positions.shape[1:]
    x, y = positions
    covered: Mask = torch.minimum(x + 1, width - x).clamp_(0, 1) * torch.minimum(y + 1, height - y).clamp_(0, 1)
    return covered


def sample_at(image: torch.Tensor, positions: Positions, sampling: Sampling, padding: Padding) -> torch.Tensor:
    """Sample (C, H, W) at positions: (1, C, H, W)."""
    height, width = image.shape[1:]
    # grid_sample counts from -1 to 1, from the outer edge of the first pixel to that of the last.
    grid = torch.empty_like(positions)
    torch.mul(positions[0], 2 / width, out=grid[0]).add_(1 / width - 1)
    torch.mul(positions[1], 2 / height, out=grid[1]).add_(1 / height - 1)
    return F.grid_sample(image[None], grid.permute(1, 2, 0)[None], sampling, padding, align_corners=False)


def read_at(values: torch.Tensor, positions: Positions) -> torch.Tensor:
    """Read values (C, H, W) at positions, between pixels linearly, beyond the edge as at the edge."""
    return sample_at(values, positions, "bilinear", "border")[0]


def follow(chart: Positions, at: Positions) -> Positions:
    """Read positions at positions; beyond the edge the way from one to the other goes on as at the edge."""
    height, width = chart.shape[1:]
    found: Positions = at + read_at(chart - pixels(width, height, chart.device), at)
    return found


def comes_back(there: Positions, back: Positions) -> torch.Tensor:
    """Tell which pixels come back to their own place when they go there and back."""
    height, width = there.shape[1:]
    return (follow(back, there) - pixels(width, height, there.device)).abs().amax(0) <= SAME_PLACE


def map_by(matrix: Matrix, positions: Positions) -> Positions:
    """Move positions by a matrix (3, 3)."""
    x, y, w = (a * positions[0] + b * positions[1] + c for a, b, c in matrix.tolist())
    w = torch.where(w == 0, torch.finfo(w.dtype).eps, w)
    return torch.stack((x / w, y / w))
