"""Reprojection of the pixels of one view into another, by inverse depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from deforum.motion.pose import IN_FRONT, Lens, Pose, reprojection
from deforum.motion.positions import Positions
from deforum.pixels.image import Device
from deforum.pixels.strips import strips_of

Depth = torch.Tensor  # (H, W) float32


@dataclass(frozen=True)
class Sight:
    """Epipolar lines: the line of sight of each pixel of one view, projected into another, by inverse depth."""

    base: torch.Tensor
    """(3, H, W) or (3, N): homogeneous position (x w, y w, w) in px of the point at infinity, w = z' / z."""
    slope: tuple[float, float, float]
    """Change of the three per unit of inverse depth."""

    @staticmethod
    def of(pose: Pose, old: Lens, new: Lens, width: int, height: int, device: Device) -> Sight:
        """Make the lines of sight of all pixels of a view of width x height px."""
        matrix = reprojection(pose, old, new, width, height)
        x = torch.arange(width, dtype=torch.float32, device=device)
        y = torch.arange(height, dtype=torch.float32, device=device)[:, None]
        base = torch.empty(3, height, width, device=device)
        for rows in strips_of(height, width, device):
            for out, (a, b, c, _) in zip(base, matrix, strict=True):
                torch.add(a * x, b * y[rows] + c, out=out[rows])
        return Sight(base, (matrix[0][3], matrix[1][3], matrix[2][3]))

    def rows(self, rows: slice) -> Sight:
        """Select the lines of sight of some rows of pixels."""
        return replace(self, base=self.base[:, rows])

    def at(self, index: torch.Tensor) -> Sight:
        """Select the lines of sight of pixels by index (N,)."""
        return replace(self, base=self.base.flatten(1).index_select(1, index))

    def ratio(self, inverse_depth: torch.Tensor) -> torch.Tensor:
        """Return the depth ratio z' / z of points in the other view and in this one."""
        return torch.add(self.base[2], inverse_depth, alpha=self.slope[2])

    def __call__(self, inverse_depth: torch.Tensor) -> Positions:
        """Project points of an inverse depth into the other view: (2, ...) px; far outside where behind its camera."""
        ratio = self.ratio(inverse_depth).clamp_(min=IN_FRONT)
        positions = torch.empty_like(self.base[:2])
        for out, base, slope in zip(positions, self.base, self.slope, strict=False):
            torch.add(base, inverse_depth, alpha=slope, out=out).div_(ratio)
        return positions
