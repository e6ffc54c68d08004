"""The view of a moved camera on a render device, without a copy to the host: `surface` and `holes` for all pixels.

On the CPU only the pixels in doubt, and those of holes, are looked at. To select them here, the host would have to wait
for their number. So the same arithmetic is done for all pixels, and taken where it applies.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import max_pool2d

from deforum.errors import UserError
from deforum.models.checks import refuse_where
from deforum.motion.holes import NOTHING_LEFT, STEP, HoleFill
from deforum.motion.positions import SAME_PLACE, Positions, inside, pixels
from deforum.motion.sight import Sight
from deforum.motion.splat import HALF, cells_of, index_of, nearest_in, number, spread

Tensor = torch.Tensor

AT_ONCE = 8  # steps of a walk that are taken together: each costs the memory of three pictures' channels


def look_again(to_old: Sight, destination: Positions, moved: Tensor) -> tuple[Positions, Tensor, Tensor]:
    """Return the source (2, H, W), the inverse depth (H, W), and which pixels no splat reaches, (H, W) bool.

    See `surface._look_again`.
    """
    height, width = moved.shape
    flat = destination.flatten(1)
    point = to_old(spread(nearest_in(cells_of(flat, width, height), moved.flatten(), width, height))).round_()
    x, y = (axis.clamp_(0, size - 1) for axis, size in zip(point, (width, height), strict=True))
    seen = moved.flatten().index_select(0, number(x, y, width).flatten()).view_as(moved)
    source = to_old(seen)
    doubt = ((point - source).abs().amax(0) > HALF) | (seen == 0)
    known = nearest_in(cells_of(flat + 0.5, width, height), moved.flatten(), width, height)[2:-1, 2:-1]
    seen = torch.where(doubt, known, seen)
    return torch.where(doubt, to_old(seen), source), seen, doubt & (seen == 0)


def fill(
    to_old: Sight, source: Positions, seen: Tensor, empty: Tensor, moved: Tensor, way: HoleFill, most: int
) -> tuple[Positions, Tensor, Tensor]:
    """Fill the `empty` pixels (H, W) bool: return source, inverse depth and which pixels are holes, (H, W) bool.

    See `holes.fill_holes`. A hole that is wider than `most` px, along the way to its background, stays stretched.
    A camera that moves past everything is a check, see `deforum.models.checks`.
    """
    height, width = moved.shape
    in_front = moved > 0
    nothing = ~in_front.any()
    refuse_where(nothing, UserError(NOTHING_LEFT))
    # Whatever is computed after a failed check must still be an index of a pixel.
    nearest = torch.where(nothing, 1, moved.max())
    farthest = torch.where(nothing, 1, torch.where(in_front, moved, torch.inf).min())

    inverse_depth, inverse = moved.flatten(), farthest.expand(height, width)
    for _ in range(4):
        index = index_of(to_old(inverse))
        inverse = inverse_depth.index_select(0, index).view_as(moved).clamp(min=farthest)
    found, point = to_old(inverse), _position_of(index, width, height)
    outline = _outlines(moved).flatten().index_select(0, index).view_as(moved)
    crack = ((found - point).abs().amax(0) <= SAME_PLACE) & ~outline
    own = torch.where(crack, point + (found - point).clamp(-HALF, HALF), found)
    source, seen = torch.where(empty, own, source), torch.where(empty, inverse, seen)
    hole = empty & (inside(found, width, height) != 0) & ~crack
    known = ~hole

    apart = to_old(nearest) - to_old(farthest)
    reach = torch.linalg.vector_norm(apart, dim=0)
    back = apart / reach.clamp(min=1e-6)
    limit = torch.where(hole, reach, 0).max().ceil() + 2
    far_steps = _march(back, known, limit, most)
    far_at = _walked(back, far_steps)
    if way == "far":
        return *_mirrored(source, seen, hole, back, far_steps, far_at), hole
    near_steps = _march(-back, known, limit, most)
    near_at = _walked(-back, near_steps)
    share = far_steps / (far_steps + near_steps).clamp(min=1)
    joined = torch.lerp(_read(source, far_at), _read(source, near_at), share)
    between = torch.lerp(_read(seen[None], far_at), _read(seen[None], near_at), share)[0]
    return torch.where(hole, joined, source), torch.where(hole, between, seen), hole


def _mirrored(
    source: Positions, seen: Tensor, hole: Tensor, back: Positions, steps: Tensor, far_at: Tensor
) -> tuple[Positions, Tensor]:
    """Mirror the background into the holes, after the two pixels at its edge were read further inward."""
    height, width = hole.shape
    count = height * width
    here = torch.arange(count, device=hole.device)
    beside = (hole & (steps == 1)).flatten()
    # One entry more takes what is not beside the background.
    edge = torch.zeros(count + 1, dtype=torch.bool, device=hole.device)
    edge = edge.scatter_(0, torch.where(beside, far_at, count), True)[:-1]
    second = index_of(pixels(width, height, hole.device) + back)
    # Of several edge pixels with the same one behind them, the last decides.
    first = torch.full((count + 1,), -1, dtype=torch.int64, device=hole.device)
    first = first.scatter_reduce_(0, torch.where(edge, second, count).long(), here, "amax")[:-1]
    flat, inward = source.flatten(1), back.flatten(1)
    clean = torch.where(first >= 0, flat + inward.index_select(1, first.clamp(min=0)), flat)
    clean = torch.where(edge, flat + 2 * inward, clean).view_as(source)
    mirrored = _read(clean, far_at) + steps * back
    return torch.where(hole, mirrored, clean), torch.where(hole, _read(seen[None], far_at)[0], seen)


def _outlines(inverse_depth: Tensor) -> Tensor:
    """Return which pixels lie at a depth edge, (H, W) bool: see `holes._at_outline`."""
    ends = max_pool2d(torch.stack((inverse_depth, -inverse_depth))[None], 3, 1, 1)[0]
    outline: Tensor = ends[0] > -STEP * ends[1]
    return outline


def _march(direction: Positions, known: Tensor, limit: Tensor, most: int) -> Tensor:
    """Walk from each pixel along its direction; return the number of steps to the first known pixel, (H, W).

    0 where none is found within `limit`, () steps, or within `most`.
    """
    height, width = known.shape
    place, count = pixels(width, height, known.device)[:, None], torch.zeros(height, width, device=known.device)
    for first in range(1, most + 1, AT_ONCE):
        steps = torch.arange(first, first + AT_ONCE, device=known.device).view(-1, 1, 1)
        x, y = (place + steps * direction[:, None]).round_()
        there = number(x.clamp_(0, width - 1), y.clamp_(0, height - 1), width).flatten()
        arrives = known.flatten().index_select(0, there).view(-1, height, width) & (steps <= limit)
        nearest = torch.where(arrives, steps, torch.inf).amin(0)
        count = torch.where((count == 0) & nearest.isfinite(), nearest, count)
    return count


def _walked(direction: Positions, steps: Tensor) -> Tensor:
    """Return the index, (H W,) int64, of where each pixel arrives after its number of steps."""
    height, width = steps.shape
    return index_of(pixels(width, height, steps.device) + steps * direction).long()


def _read(values: Tensor, index: Tensor) -> Tensor:
    """Read (C, H, W) at the indices (H W,) of pixels."""
    return values.flatten(1).index_select(1, index).view_as(values)


def _position_of(index: Tensor, width: int, height: int) -> Positions:
    return torch.stack((index % width, index // width)).float().view(2, height, width)


def widest_hole(sight: tuple[list[list[float]], int, int], nearest: float) -> int:
    """Return a bound in px for the width of holes between two views, with nothing nearer than `nearest` in the new one.

    `sight` is the matrix of `reprojection`, and the width and height of the picture.
    """
    rows, width, height = sight
    widest = 0.0
    for x in (0.0, width / 2, float(width)):
        for y in (0.0, height / 2, float(height)):
            near, far = (_project(rows, x, y, inverse) for inverse in (1 / nearest, 0.0))
            widest = max(widest, math.dist(near, far))
    return math.ceil(min(widest, math.hypot(width, height))) + 3


def _project(rows: list[list[float]], x: float, y: float, inverse: float) -> tuple[float, float]:
    a, b, ratio = (row[0] * x + row[1] * y + row[2] + row[3] * inverse for row in rows)
    ratio = max(ratio, 1e-3)
    return a / ratio, b / ratio
