"""3D motion: a picture with depth becomes a surface in space, rendered again from a moved camera.

Two cameras. The physical one back-projects pixels with true intrinsics, moves them as a rigid body and reprojects them
with a z-buffer. The slab camera is Deforum's: x and y run from -1 to 1 over the picture at every depth, and each pixel
of the new picture is remapped by the displacement of the old picture's pixel at the same position.

Convention: pixel centres have whole-number coordinates, x goes right, y goes down, z goes away from the camera. Depth
is z, larger is farther, in scene units: Deforum's translations are in 1/200 of one, and near things are at about 1.
Positions are (2, H, W) float32, x then y, in px. A positive parameter moves the picture alike with both cameras:
translation x left, y down, z larger; rotation x down, y left, z counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from deforum.models.transfer import stays_on
from deforum.motion import holes_on_device
from deforum.motion.flat import Border, warp_flat
from deforum.motion.positions import (
    SAME_PLACE,
    Chart,
    Charts,
    Edge,
    Positions,
    Sampling,
    comes_back,
    follow,
    inside,
    map_by,
    pixels,
    read_at,
    sample_at,
)
from deforum.pixels.image import CPU, Device, Image, Mask, clip_
from deforum.pixels.strips import alone, strips_of

if TYPE_CHECKING:
    from deforum.settings.params import Params
from deforum.motion.holes import HoleFill, fill_holes
from deforum.motion.matrices import Matrix
from deforum.motion.pose import IN_FRONT, Lens, Pose, reprojection
from deforum.motion.sight import Depth, Sight
from deforum.motion.splat import HALF, cells_of, index_of, nearest_in, number, spread


@dataclass(frozen=True)
class Rigid:
    """Inputs of a physical motion: depth (H, W) of the old view, camera motion, old and new lens, hole filling."""

    depth: Depth
    pose: Pose
    old: Lens
    new: Lens
    fill: HoleFill
    nearest: float
    """Distance in scene units that nearly nothing is nearer than, in the old view; for the width of holes."""


@dataclass(frozen=True)
class Lookup:
    """Position of each pixel of one view in another, its visibility there, and its own depth."""

    positions: Positions
    covers: Mask
    """(H, W), 1 where visible in the other view, 0 where occluded or beyond the edge (soft over a pixel)."""
    depth: Depth


@dataclass(frozen=True)
class DepthWarp:
    """A motion of the picture in space: `source` is the old position of each pixel of the new picture.

    Satisfies `deforum.motion.warps.Warp`. Beyond the border `edge` repeats the outermost pixels (border), mirrors
    (reflection), or is black (zeros). Motions are composed before a picture is sampled: physical ones as camera poses,
    so that any number of them is one reprojection of the old view; others as positions.
    """

    chart: Callable[[], Positions]
    """Computes `source`; called when first needed. Steps that are only composed never need it."""
    solve: Callable[[], tuple[Lookup, Lookup]]
    """Computes both directions, from the new view to the old and from the old to the new; called when first needed."""
    edge: Edge = "border"
    sampling: Sampling = "bicubic"
    still: bool = False
    """True where nothing moves: the picture is returned unchanged."""
    flip: tuple[Matrix, Border] | None = None
    """Flat motion applied first, with a resampling of its own: matrix (3, 3), source px -> destination px; border."""
    rigid: Rigid | None = None
    """Set for a physical motion without a flip."""

    @cached_property
    def source(self) -> Positions:
        return self.chart()

    @cached_property
    def _solved(self) -> tuple[Lookup, Lookup]:
        return self.solve()

    def __call__(self, image: Image) -> Image:
        """Warp a picture, (C, H, W) in 0..1."""
        if self.flip is not None:
            image = warp_flat(image, self.flip[0], border=self.flip[1])
        if self.still:
            return image
        moved = sample_at(image, self.source, self.sampling, self.edge)
        if self.sampling == "bicubic":  # bicubic overshoots at edges
            clip_(moved)
        return moved

    def coverage(self) -> Mask:
        """Return the coverage mask, (H, W): 1 where the old picture is visible, 0 where disoccluded or beyond it."""
        return self._once()._solved[0].covers

    def charts(self) -> Charts:
        here, there = self._once()._solved
        return Chart(here.positions, here.covers), Chart(there.positions, there.covers)

    @property
    def depth(self) -> Depth:
        """The depth of the new view, (H, W) in scene units, reprojected from the old one."""
        return self._once()._solved[0].depth

    def then(self, later: DepthWarp) -> DepthWarp:
        first, later = self._once(), later._once()
        if first.still or later.still:
            return later if first.still else first
        if first.rigid and later.rigid:
            pose = first.rigid.pose.then(later.rigid.pose)
            return _warp_rigid(replace(first.rigid, pose=pose, new=later.rigid.new), first.edge, first.sampling)

        def solve() -> tuple[Lookup, Lookup]:
            (here, there), (later_here, later_there) = first._solved, later._solved
            back = follow(later_there.positions, there.positions)
            covers = later_here.covers * read_at(here.covers[None], later_here.positions)[0]
            back_covers = there.covers * read_at(later_there.covers[None], there.positions)[0]
            # Disocclusions and occlusions of less than a pixel in each motion add up: test the round trip of both.
            source = joined.source
            covers, back_covers = covers * comes_back(source, back), back_covers * comes_back(back, source)
            return Lookup(source, covers, later_here.depth), Lookup(back, back_covers, there.depth)

        joined = DepthWarp(lambda: follow(first.source, later.source), solve, first.edge, first.sampling)
        return joined

    def inverse(self) -> DepthWarp:
        once = self._once()
        here, there = once._solved
        rigid = once.rigid
        if rigid is not None:
            rigid = replace(rigid, depth=here.depth, pose=rigid.pose.inverse(), old=rigid.new, new=rigid.old)
        return replace(once, chart=lambda: there.positions, solve=lambda: (there, here), rigid=rigid)

    def flipped(self, matrix: Matrix, border: Border | None = None) -> DepthWarp:
        """Prepend a flat motion: matrix (3, 3), source px -> destination px.

        With a `border` it is a separate resampling with that border, as Deforum's perspective flip is; without one it
        is composed, and the picture is sampled once.
        """
        if border is None:
            return replace(self, flip=(matrix, "replicate"))._once()
        return replace(self, flip=(matrix, border))

    def _once(self) -> DepthWarp:
        """Return the same motion with a flip composed into the positions."""
        if self.flip is None:
            return self
        matrix = self.flip[0]
        unflipped: Matrix = np.asarray(np.linalg.inv(matrix), np.float64)

        def solve() -> tuple[Lookup, Lookup]:
            here, there = replace(self, flip=None)._solved
            # The depth map is of the picture before the flip, as in Deforum.
            source = map_by(unflipped, here.positions)
            height, width = source.shape[1:]
            covers = here.covers * inside(source)
            destination = map_by(matrix, pixels(width, height, source.device))
            back = Lookup(
                follow(there.positions, destination), read_at(there.covers[None], destination)[0], there.depth
            )
            return Lookup(source, covers, here.depth), back

        return DepthWarp(lambda: map_by(unflipped, self.source), solve, self.edge, self.sampling)


def stay(
    depth: Depth | None,
    width: int,
    height: int,
    *,
    padding: Edge = "border",
    sampling: Sampling = "bicubic",
    device: Device = CPU,
) -> DepthWarp:
    """Make the identity motion; depth (H, W), None is flat at 1."""
    here = pixels(width, height, device)
    seen = torch.ones(height, width, device=device)
    same = Lookup(here, seen, seen if depth is None else depth)
    return DepthWarp(lambda: here, lambda: (same, same), padding, sampling, still=True)


def warp_physical(
    depth: Depth | None,
    params: Params[float],
    width: int,
    height: int,
    *,
    before: Params[float] | None = None,
    fov_is_vertical: bool = False,
    fill: HoleFill = "far",
    padding: Edge = "border",
    sampling: Sampling = "bicubic",
    nearest: float = 1,
    device: Device = CPU,
) -> DepthWarp:
    """Move a physical camera: a pan pans, a dolly dollies, and a change of the field of view zooms.

    Convention: depth (H, W), z > 0 in scene units; None is flat at 1. `before` are the parameters of the frame before,
    for the lens of the old view; None is the same lens. `fov_is_vertical` as in `Lens.of`. Disocclusions are filled by
    `fill`: "stretch" stretches the surface over them, "far" mirrors the background into them; `coverage` is 0 there
    either way. `nearest` is a distance that nearly nothing is nearer than: on a render device it bounds the width of
    the holes that are searched for their background.
    Raises UserError for a field of view outside 0..180 degrees, and where the whole picture ends up behind the camera
    (when the positions are first needed).
    """
    pose = Pose.of(params)
    device = device if depth is None else depth.device
    lens = Lens.of(params.fov, params.aspect_ratio, width, height, fov_is_vertical=fov_is_vertical)
    old_lens = lens
    if before is not None:
        old_lens = Lens.of(before.fov, before.aspect_ratio, width, height, fov_is_vertical=fov_is_vertical)
    if pose.still and lens == old_lens:
        return stay(depth, width, height, padding=padding, sampling=sampling, device=device)
    if depth is None:
        depth = torch.ones(height, width, device=device)
    return _warp_rigid(Rigid(depth, pose, old_lens, lens, fill, nearest), padding, sampling)


def _warp_rigid(motion: Rigid, padding: Edge, sampling: Sampling) -> DepthWarp:
    @cache
    def view() -> NewView:
        on_device = stays_on(motion.depth.device)
        return see_on_device(motion) if on_device else alone(lambda: _see(motion))

    def solve() -> tuple[Lookup, Lookup]:
        seen = view()
        height, width = motion.depth.shape
        here = pixels(width, height, motion.depth.device)
        back = seen.source.flatten(1).index_select(1, index_of(seen.destination)).view_as(here)
        returns = ((back - here).abs().amax(0) <= SAME_PLACE) & (seen.moved > 0)
        return (
            Lookup(seen.source, inside(seen.source) * ~seen.hole, 1 / seen.inverse_depth),
            Lookup(seen.destination, inside(seen.destination) * returns, motion.depth),
        )

    return DepthWarp(lambda: view().source, solve, padding, sampling, rigid=motion)


@dataclass(frozen=True)
class NewView:
    """View of a moved physical camera: source position in the old view and inverse depth of each new pixel."""

    source: Positions
    inverse_depth: torch.Tensor
    hole: torch.Tensor
    """(H, W) bool: disoccluded and filled; within the old view, but hidden there."""
    destination: Positions
    """Positions in the new view of the old view's pixels."""
    moved: torch.Tensor
    """(H, W): their inverse depth in the new view; 0 behind the camera."""


def _see(motion: Rigid) -> NewView:
    (height, width), device = motion.depth.shape, motion.depth.device
    to_new = Sight.of(motion.pose, motion.old, motion.new, width, height, device)
    to_old = Sight.of(motion.pose.inverse(), motion.new, motion.old, width, height, device)
    moved, destination = torch.empty_like(motion.depth), torch.empty(2, height, width, device=device)

    for rows in strips_of(height, width, device):
        inverse_depth, sight = 1 / motion.depth[rows], to_new.rows(rows)
        ratio = sight.ratio(inverse_depth)
        in_front = ratio > IN_FRONT * inverse_depth
        torch.div(inverse_depth, ratio.clamp_(min=IN_FRONT), out=moved[rows]).mul_(in_front)
        destination[:, rows] = sight(inverse_depth)
    source, seen, empty = _look_again(to_old, destination, moved)
    hole = torch.zeros(height, width, dtype=torch.bool, device=device)
    if len(empty):
        fill_holes(to_old, source, seen, hole, empty, moved, motion.fill)
    return NewView(source, seen, hole, destination, moved)


def see_on_device(motion: Rigid) -> NewView:
    """Return the view as on the CPU, without a copy to the host."""
    (height, width), device = motion.depth.shape, motion.depth.device
    to_new = Sight.of(motion.pose, motion.old, motion.new, width, height, device)
    back = motion.pose.inverse(), motion.new, motion.old, width, height
    to_old = Sight.of(*back, device)
    # A depth that is no number must not become the index of a pixel.
    inverse_depth = (1 / motion.depth).nan_to_num(1.0)
    ratio = to_new.ratio(inverse_depth)
    moved = (inverse_depth / ratio.clamp(min=IN_FRONT)).mul_(ratio > IN_FRONT * inverse_depth)
    destination = to_new(inverse_depth)
    source, seen, empty = holes_on_device.look_again(to_old, destination, moved)
    apart = float(np.linalg.norm(motion.pose.translation))
    nearest = max(motion.nearest - apart, motion.nearest / 4)
    most = holes_on_device.widest_hole((reprojection(*back), width, height), nearest)
    source, seen, hole = holes_on_device.fill(to_old, source, seen, empty, moved, motion.fill, most)
    return NewView(source, seen, hole, destination, moved)


def _look_again(
    to_old: Sight, destination: Positions, moved: torch.Tensor
) -> tuple[Positions, torch.Tensor, torch.Tensor]:
    """Return the source (2, H, W) and inverse depth (H, W) of each pixel of the new view, by splatting with a z-buffer.

    Pixels that no splat reaches have an inverse depth of 0; their indices (N,) are returned too.

    A magnified surface has cracks, through which the background would show. So each point is first splatted to the
    four pixels around it. The old view decides whether it covers one of them: the pixel, traced back at the point's
    depth, must land within the point's own pixel. So outlines neither grow nor shrink over repeated motions.
    """
    height, width = moved.shape
    cells = torch.empty(height, width, dtype=torch.int64, device=moved.device)

    for rows in strips_of(height, width, moved.device):
        cells[rows] = cells_of(destination[:, rows].flatten(1), width, height).view(-1, width)
    cells = cells.flatten()
    nearest = nearest_in(cells, moved.flatten(), width, height)
    seen, source = torch.empty_like(moved), torch.empty_like(destination)
    doubt = torch.empty(height, width, dtype=torch.bool, device=moved.device)

    for rows in strips_of(height, width, moved.device):
        sight = to_old.rows(rows)
        point = sight(spread(nearest[rows.start : rows.stop + 3]))
        for axis, size in zip(point, (width, height), strict=True):
            axis.round_().clamp_(0, size - 1)
        found = moved.flatten().index_select(0, number(point[0], point[1], width).flatten()).view(-1, width)
        seen[rows] = found
        at = sight(found)
        x_apart, y_apart = (axis.sub_(other).abs_() for axis, other in zip(point, at, strict=True))
        source[:, rows] = at
        doubt[rows] = (torch.maximum(x_apart, y_apart) > HALF).logical_or_(found == 0)

    # Pixels in doubt take the nearest point that lands within them; only points beside such a pixel are splatted.
    around = torch.zeros(height + 3, width + 3, dtype=torch.bool, device=moved.device)
    around[2:-1, 2:-1] = doubt
    around[:-1] |= around[1:].clone()
    around[:, :-1] |= around[:, 1:].clone()
    asked = torch.nonzero(around.flatten().index_select(0, cells))[:, 0]
    cells = cells_of(destination.flatten(1)[:, asked] + 0.5, width, height)
    known = nearest_in(cells, moved.flatten()[asked], width, height)[2:-1, 2:-1]
    row, column = torch.nonzero(doubt, as_tuple=True)
    found, index = known[row, column], row * width + column
    seen[row, column] = found
    source.flatten(1)[:, index] = to_old.at(index)(found)
    return source, seen, index[found == 0]
