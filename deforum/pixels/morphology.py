"""Shapes of masks on a render device: closing of gaps, and distances to the edge.

Masks are (H, W) bool. What lies beyond the picture's edge is neither inside nor outside of a shape.
"""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool2d, pad

Tensor = torch.Tensor


def dilate(mask: Tensor, side: int) -> Tensor:
    """Return where a mask is set within a square of `side` px (odd) around a pixel."""
    return max_pool2d(mask[None, None].float(), side, 1, side // 2)[0, 0] > 0


def close(mask: Tensor, side: int) -> Tensor:
    """Close a mask by a square of `side` px (odd): gaps in which no such square has room are filled."""
    return ~dilate(~dilate(mask, side), side)


def distance_to_zero(mask: Tensor, most: int) -> Tensor:
    """Return the distance in px from each pixel of a mask to the nearest one that is not set, (H, W) float32.

    Distances above `most` px are at least `most`. Source: the squared distance is separable; A. Meijster et al., "A
    General Algorithm for Computing Distance Transforms in Linear Time", 2000.
    """
    height, width = mask.shape
    column = torch.arange(width, device=mask.device).expand(height, width)
    before = torch.where(mask, -most, column).cummax(1).values
    behind = torch.where(mask, width + most, column).flip(1).cummin(1).values.flip(1)
    across = torch.minimum(column - before, behind - column).clamp_(max=most).float().square_()
    nearest = across
    beyond = pad(across, (0, 0, most, most), value=float(most * most))
    for down in range(-most, most + 1):
        if down:
            nearest = torch.minimum(nearest, beyond[most + down : most + down + height] + down * down)
    return nearest.sqrt()
