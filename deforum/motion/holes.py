"""Hole filling: source and depth for the pixels of a new view that the old view did not see."""

from __future__ import annotations

import math
from typing import Literal

import torch

from deforum.errors import UserError
from deforum.motion.positions import (
    SAME_PLACE,
    Positions,
    inside,
)
from deforum.motion.sight import Sight
from deforum.motion.splat import HALF, index_of, position_of

HoleFill = Literal["stretch", "far"]

NOTHING_LEFT = "the camera moves past everything that the picture shows; move it by less"

STEP = 1.15  # ratio of neighbouring inverse depths: less is a slope or noise, more is a depth edge


def fill_holes(
    to_old: Sight,
    source: Positions,
    seen: torch.Tensor,
    hole: torch.Tensor,
    empty: torch.Tensor,
    moved: torch.Tensor,
    fill: HoleFill,
) -> None:
    """Fill in place, for pixels that no splat reached: their source, their inverse depth, and whether they are holes.

    `empty` (N,) holds their indices in the new view; `source` (2, H, W) px in the old view, `seen` (H, W) inverse depth
    in the new view and `hole` (H, W) bool are written. `moved` (H, W) is the inverse depth in the new view of the old
    view's pixels, 0 behind the camera.
    Raises UserError where all of them are behind the camera.
    """
    height, width = hole.shape
    nearest, farthest = moved.max(), moved.min()
    if not nearest > 0:
        raise UserError(NOTHING_LEFT)
    if farthest == 0:
        farthest = moved[moved > 0].min()
    inverse_depth, source, seen = moved.flatten(), source.flatten(1), seen.flatten()
    known = torch.ones_like(seen, dtype=torch.bool)
    known[empty] = False

    # Beyond the edge of the old view the surface continues at the depth of the edge.
    sight, inverse = to_old.at(empty), farthest.expand(len(empty))
    for _ in range(4):
        index = index_of(sight(inverse), width, height)
        inverse = inverse_depth[index].clamp(min=farthest)
    found = sight(inverse)
    # Cracks remain where depth is rough or steep; unlike disocclusions they are not beside a depth edge.
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

    # A disocclusion shows the background of the near thing that moved.
    place = position_of(todo, width)
    back, reach = _behind(to_old.at(todo), nearest, farthest)
    steps = math.ceil(float(reach.max())) + 2
    far_at, far_steps = _march(place, back, known, steps, width, height)
    if fill == "far":
        # Interpolation mixes the near thing into the outermost two background pixels: read them further inward.
        edge: torch.Tensor = torch.unique(far_at[far_steps == 1])
        inward, _ = _behind(to_old.at(edge), nearest, farthest)
        second = index_of(position_of(edge, width) + inward, width, height)
        clean = source[:, second] + inward, source[:, edge] + 2 * inward
        source[:, second], source[:, edge] = clean
        # Mirror the background into the hole, so that it has the texture of its surroundings.
        source[:, todo] = source[:, far_at] + far_steps * back
        seen[todo] = seen[far_at]
    else:
        near_at, near_steps = _march(place, -back, known, steps, width, height)
        share = far_steps / (far_steps + near_steps).clamp(min=1)
        source[:, todo] = torch.lerp(source[:, far_at], source[:, near_at], share)
        seen[todo] = torch.lerp(seen[far_at], seen[near_at], share)


def _behind(sight: Sight, nearest: torch.Tensor, farthest: torch.Tensor) -> tuple[Positions, torch.Tensor]:
    """Return, for lines of sight, the unit direction (2, N) from a hole to its background, and the largest parallax.

    The background lies opposite to the direction in which parallax moves near things. The parallax is (N,) px.
    """
    apart = sight(nearest) - sight(farthest)
    reach = torch.linalg.vector_norm(apart, dim=0)
    return apart / reach.clamp(min=1e-6), reach


def _at_outline(inverse_depth: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return which pixels of index (N,) lie at a depth edge: inverse depth in 3 x 3 px differs by more than STEP."""
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
    """Walk from each position (2, N) along its direction to the first known pixel: return its index and step count.

    A position that finds none within `steps` keeps its own index, at 0 steps.
    """
    index = index_of(place, width, height)
    count = torch.zeros(len(index), device=place.device)
    for step in range(1, steps + 1):
        there = index_of(place + step * direction, width, height)
        arrives = (count == 0) & known[there]
        index, count = torch.where(arrives, there, index), torch.where(arrives, step, count)
    return index, count
