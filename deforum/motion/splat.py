"""Points of one view that come to the pixels of another: the nearest one wins."""

from __future__ import annotations

import torch

from deforum.motion.positions import (
    Positions,
)

HALF = 0.501  # px from the middle of a pixel to its edge


def cells_of(positions: Positions, width: int, height: int) -> torch.Tensor:
    """Number the squares between four pixels that positions (2, N) lie in, by their upper left pixel: (N,) int64.

    There are three columns and rows more than pixels: two before, one behind, that take what comes to no pixel.
    """
    x, y = positions.floor()
    return number(x.clamp_(-2, width).add_(2), y.clamp_(-2, height).add_(2), width + 3).to(torch.int64)


def nearest_in(cells: torch.Tensor, inverse_depth: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Keep, for each of the squares, the largest inverse depth (N,) that comes to it; 0 where nothing does."""
    kept = torch.zeros((height + 3) * (width + 3), device=inverse_depth.device)
    return kept.scatter_reduce_(0, cells, inverse_depth, "amax").view(height + 3, width + 3)


def spread(nearest: torch.Tensor) -> torch.Tensor:
    """Give each pixel the largest of the four squares around it."""
    rows = torch.maximum(nearest[2:-1], nearest[1:-2])
    return torch.maximum(rows[:, 2:-1], rows[:, 1:-2])


def position_of(index: torch.Tensor, width: int) -> Positions:
    """Give the positions (2, N) of numbered pixels."""
    return torch.stack((index % width, index // width)).float()


def index_of(positions: Positions, width: int = 0, height: int = 0) -> torch.Tensor:
    """Number the pixels nearest to the positions, row by row: (N,) int; those beyond the edge are brought back."""
    height, width = (height, width) if height else positions.shape[1:]
    x, y = positions.flatten(1).round()
    return number(x.clamp_(0, width - 1), y.clamp_(0, height - 1), width)


def number(x: torch.Tensor, y: torch.Tensor, width: int) -> torch.Tensor:
    """Number whole positions row by row: int32."""
    # Exact beyond 2**24, to which float32 counts.
    return torch.add(x.to(torch.int32), y.to(torch.int32), alpha=width)
