"""Splatting with a z-buffer: points of one view drawn into the pixels of another, the nearest one wins."""

from __future__ import annotations

import torch

from deforum.motion.positions import (
    Positions,
)

HALF = 0.501  # px from the middle of a pixel to its edge


def cells_of(positions: Positions, width: int, height: int) -> torch.Tensor:
    """Return the cell of each position (2, N): (N,) int64. A cell is the square between four pixel centres.

    Cells are numbered by their upper left pixel, row by row. Three extra columns and rows, two before and one behind,
    take positions outside the picture.
    """
    x, y = (axis.floor() for axis in positions)  # apart, so that a strip needs no second thread of torch's
    return number(x.clamp_(-2, width).add_(2), y.clamp_(-2, height).add_(2), width + 3).to(torch.int64)


def nearest_in(cells: torch.Tensor, inverse_depth: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return the z-buffer of the cells, (H + 3, W + 3): the largest inverse depth (N,) in each, 0 in empty ones."""
    kept = torch.zeros((height + 3) * (width + 3), device=inverse_depth.device)
    return kept.scatter_reduce_(0, cells, inverse_depth, "amax").view(height + 3, width + 3)


def spread(nearest: torch.Tensor) -> torch.Tensor:
    """Return the largest of the four cells around each pixel: (H + 3, W + 3) cells to (H, W)."""
    rows = torch.maximum(nearest[2:-1], nearest[1:-2])
    return torch.maximum(rows[:, 2:-1], rows[:, 1:-2])


def position_of(index: torch.Tensor, width: int) -> Positions:
    """Return the positions (2, N) of pixels by index (N,)."""
    return torch.stack((index % width, index // width)).float()


def index_of(positions: Positions, width: int = 0, height: int = 0) -> torch.Tensor:
    """Return the index, row by row, of the pixel nearest to each position: (N,) int32, clamped to the picture."""
    height, width = (height, width) if height else positions.shape[1:]
    x, y = positions.flatten(1).round()
    return number(x.clamp_(0, width - 1), y.clamp_(0, height - 1), width)


def number(x: torch.Tensor, y: torch.Tensor, width: int) -> torch.Tensor:
    """Return the row-by-row index of whole positions: int32."""
    # Integer arithmetic: float32 is exact only up to 2**24.
    return torch.add(x.to(torch.int32), y.to(torch.int32), alpha=width)
