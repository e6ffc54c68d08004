"""What fills the places of a new view that the old one did not see."""

from __future__ import annotations

import math
from typing import Literal

import torch

from deforum.errors import UserError
from deforum.motion.pose import Sight
from deforum.motion.positions import (
    SAME_PLACE,
    Positions,
    inside,
)
from deforum.motion.splat import HALF, index_of, position_of

HoleFill = Literal["stretch", "far"]

STEP = 1.15  # from one inverse depth to the next: less is a slope or noise, more is the outline of a thing


def fill_holes(
    to_old: Sight,
    source: Positions,
    seen: torch.Tensor,
    hole: torch.Tensor,
    empty: torch.Tensor,
    moved: torch.Tensor,
    fill: HoleFill,
) -> None:
    """Give numbered pixels (N,), that see nothing known, a source and an inverse depth; mark those that are holes."""
    height, width = hole.shape
    nearest, farthest = moved.max(), moved.min()
    if not nearest > 0:
        raise UserError("the camera moves past everything that the picture shows; move it by less")
    if farthest == 0:
        farthest = moved[moved > 0].min()
    inverse_depth, source, seen = moved.flatten(), source.flatten(1), seen.flatten()
    known = torch.ones_like(seen, dtype=torch.bool)
    known[empty] = False

    # Beyond the edge of the old view the surface goes on as it is at the edge.
    sight, inverse = to_old.at(empty), farthest.expand(len(empty))
    for _ in range(4):
        index = index_of(sight(inverse), width, height)
        inverse = inverse_depth[index].clamp(min=farthest)
    found = sight(inverse)
    # And cracks are left where depth is rough or steep, but they have no outline beside them.
    point = position_of(index, width)
    crack = (found - point).abs().amax(0) <= SAME_PLACE
    crack[crack.clone()] = ~_at_outline(moved, index[crack])
    source[:, empty] = torch.where(crack, point + (found - point).clamp(-HALF, HALF), found)
    seen[empty] = inverse
    known[empty] = (inside(found, width, height) == 0) | crack
    todo = empty[~known[empty]]
    if not len(todo):
        return
    hole.view(-1)[todo] = True

    # What a near thing uncovers lies behind it.
    place = position_of(todo, width)
    back, reach = _behind(to_old.at(todo), nearest, farthest)
    steps = math.ceil(float(reach.max())) + 2
    far_at, far_steps = _march(place, back, known, steps, width, height)
    if fill == "far":
        # The outermost two pixels of what is behind have something of the near thing in them, once they are sampled
        # between pixels; it must not stay there.
        edge: torch.Tensor = torch.unique(far_at[far_steps == 1])
        inward, _ = _behind(to_old.at(edge), nearest, farthest)
        second = index_of(position_of(edge, width) + inward, width, height)
        clean = source[:, second] + inward, source[:, edge] + 2 * inward
        source[:, second], source[:, edge] = clean
        # Mirrored from there, so that it has the texture of what is around it.
        source[:, todo] = source[:, far_at] + far_steps * back
        seen[todo] = seen[far_at]
    else:
        near_at, near_steps = _march(place, -back, known, steps, width, height)
        share = far_steps / (far_steps + near_steps).clamp(min=1)
        source[:, todo] = torch.lerp(source[:, far_at], source[:, near_at], share)
        seen[todo] = torch.lerp(seen[far_at], seen[near_at], share)


def _behind(sight: Sight, nearest: torch.Tensor, farthest: torch.Tensor) -> tuple[Positions, torch.Tensor]:
    """Say where, seen from pixels, what is far was before a near thing moved off it; and how far off at most.

    It is against the direction in which nearness moves things.
    """
    apart = sight(nearest) - sight(farthest)
    reach = torch.linalg.vector_norm(apart, dim=0)
    return apart / reach.clamp(min=1e-6), reach


def _at_outline(inverse_depth: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Tell which numbered pixels have something much nearer or farther beside them."""
    height, width = inverse_depth.shape
    steps = torch.tensor((-1, 0, 1), device=index.device)
    rows = (index // width + steps[:, None]).clamp(0, height - 1)
    columns = (index % width + steps[:, None]).clamp(0, width - 1)
    around = inverse_depth[rows[:, None], columns[None]].flatten(0, 1)  # (9, N)
    outline: torch.Tensor = around.amax(0) > STEP * around.amin(0)
    return outline


def _march(
    place: Positions, direction: Positions, known: torch.Tensor, steps: int, width: int, height: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Go from each place in its direction to the first known pixel: its index, and how many steps away it is.

    A place that finds none stays where it is, at 0 steps.
    """
    index = index_of(place, width, height)
    count = torch.zeros(len(index), device=place.device)
    for step in range(1, steps + 1):
        there = index_of(place + step * direction, width, height)
        arrives = (count == 0) & known[there]
        index, count = torch.where(arrives, there, index), torch.where(arrives, step, count)
    return index, count
