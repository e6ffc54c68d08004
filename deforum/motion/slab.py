"""The slab: Deforum's 3D camera."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from deforum.errors import UserError
from deforum.motion.positions import (
    SAME_PLACE,
    Edge,
    Sampling,
    inside,
    pixels,
    read_at,
)
from deforum.pixels.image import CPU, Device
from deforum.pixels.strips import strips_of

if TYPE_CHECKING:
    from deforum.settings.params import Params
from deforum.motion.matrices import Matrix
from deforum.motion.pose import Pose
from deforum.motion.sight import Depth
from deforum.motion.splat import cells_of, nearest_in, spread
from deforum.motion.surface import DepthWarp, Lookup, stay


def warp_slab(
    depth: Depth | None,
    params: Params[float],
    width: int,
    height: int,
    *,
    old_aspect_formula: bool = False,
    padding: Edge = "border",
    sampling: Sampling = "bicubic",
    device: Device = CPU,
) -> DepthWarp:
    """Move the camera as Deforum does; disoccluded regions are stretched.

    Convention: depth (H, W) as `deforum.depth.scale.slab_depth` returns it, 1..2 near to far; None is flat at 1.
    `old_aspect_formula` replaces the aspect ratio by width / height. Near and far have no effect. `device` is used
    only without a depth.
    Source: the rule behind Deforum's files, checked against recorded sampling positions.
    Raises UserError for a field of view of 0 or +-180 degrees.
    """
    pose = Pose.of(params)
    device = device if depth is None else depth.device
    if pose.still:
        return stay(depth, width, height, padding=padding, sampling=sampling, device=device)
    if params.fov % 180 == 0:
        raise UserError(f"fov is {params.fov:g}, with which nothing can be seen; 70 is usual")
    reach = math.tan(math.radians(params.fov) / 2)
    aspect = width / height if old_aspect_formula else params.aspect_ratio
    x = torch.linspace(-1, 1, width, device=device)
    y = torch.linspace(-1, 1, height, device=device)[:, None]
    z = torch.ones(1, 1, device=device) if depth is None else depth
    matrix = np.vstack((pose.rotation, pose.translation)).T  # from (x, y, z, 1) to the moved point
    column = torch.arange(width, dtype=torch.float32, device=device)
    row = torch.arange(height, dtype=torch.float32, device=device)[:, None]
    moved_z = torch.empty(height, width, device=device)
    offset, source = torch.empty(2, 2, height, width, device=device)

    for rows in strips_of(height, width, device):
        up, far = y[rows], z if depth is None else z[rows]
        moved = _plane(matrix[2, [0, 1, 3, 2]], x, up, far)
        moved_z[rows] = moved
        axes = ((x, column, width / 2 / (reach * aspect)), (up, row[rows], height / 2 / reach))
        for axis, (old, pixel, scale) in enumerate(axes):
            out = offset[axis, rows]
            torch.sub(_plane(matrix[axis, [0, 1, 3, 2]], x, up, far).div_(moved), old / far, out=out).mul_(scale)
            torch.sub(pixel, out, out=source[axis, rows])

    def solve() -> tuple[Lookup, Lookup]:
        here, old_z = pixels(width, height, device), z.expand(height, width)
        destination = here + offset  # of the surface; backward sampling reaches a slightly different position:
        reached = destination
        for _ in range(3):  # fixed point of source(reached) = here: the offset is read at the destination
            reached = here + read_at(offset, reached)
        returns = (reached - read_at(offset, reached) - here).abs().amax(0) <= SAME_PLACE
        cells = cells_of(destination.flatten(1), width, height)
        covers = inside(source) * (spread(nearest_in(cells, (1 / old_z).flatten(), width, height)) > 0)
        carried = read_at(moved_z.expand(1, height, width), source)[0]
        return Lookup(source, covers, carried), Lookup(reached, inside(reached) * returns, old_z)

    return DepthWarp(lambda: source, solve, padding, sampling)


def _plane(row: Matrix, x: torch.Tensor, y: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Return the dot product row . (x, y, 1, depth) per pixel, (H, W); in two passes, as x is a row and y a column."""
    a, b, c, d = row.tolist()
    summed: torch.Tensor = a * x + (b * y + c)
    return torch.add(summed, depth, alpha=d) if d else summed
