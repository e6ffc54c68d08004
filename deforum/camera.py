"""3D motion: a picture with depth becomes a surface in space, and a moved camera looks at it again.

Two cameras. The physical one back-projects pixels with true intrinsics, moves them as a rigid body and projects them
again, nearest first. The slab is Deforum's: x and y run from -1 to 1 over the picture whatever the depth, and each
pixel of the new picture is fetched from where its namesake in the old one would have come from.

Convention: pixel centres have whole-number coordinates, x goes right, y goes down, z goes away from the camera. Depth
is z, larger is farther, in scene units: Deforum's translations are 1/200 of one, and near things are at about 1.
Positions are (2, H, W) float32, x then y, in px. What a user's number does to the picture is the same for both cameras:
translation x left, y down, z larger; rotation x down, y left, z counter-clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.image import CPU, Device, Image, Mask
from deforum.positions import (
    SAME_PLACE,
    Chart,
    Charts,
    Padding,
    Positions,
    Sampling,
    comes_back,
    follow,
    map_by,
    pixels,
    read_at,
    sample_at,
    within,
)
from deforum.warp import Border, warp_flat

if TYPE_CHECKING:
    from deforum.params import Params

Fill = Literal["stretch", "far"]
Depth = torch.Tensor  # (H, W) float32
Matrix = NDArray[np.float64]

UNITS = 200  # translations, near and far in files are in this part of a scene unit
HALF = 0.501  # px from the middle of a pixel to its edge
STEP = 1.15  # from one inverse depth to the next: less is a slope or noise, more is the outline of a thing
IN_FRONT = 1e-3  # scene units; whatever comes nearer to the camera than this is behind it


@dataclass(frozen=True)
class Pose:
    """How the camera moves: a point X (a row, x y z) of the old view is at X @ rotation + translation in the new."""

    rotation: Matrix  # (3, 3)
    translation: Matrix  # (3,) scene units

    @staticmethod
    def of(params: Params[float]) -> Pose:
        """Read one frame's motion: rotation_3d_x, _y, _z in degrees, translation_x, _y, _z in 1/200 scene unit."""
        p = params
        return Pose(
            _turn(math.radians(p.rotation_3d_x), math.radians(p.rotation_3d_y), math.radians(p.rotation_3d_z)),
            np.array([-p.translation_x, p.translation_y, -p.translation_z], np.float64) / UNITS,
        )

    def inverse(self) -> Pose:
        return Pose(self.rotation.T, -self.translation @ self.rotation.T)

    def then(self, later: Pose) -> Pose:
        return Pose(self.rotation @ later.rotation, self.translation @ later.rotation + later.translation)

    @property
    def still(self) -> bool:
        return not self.translation.any() and bool((self.rotation == np.eye(3)).all())


def _turn(x: float, y: float, z: float) -> Matrix:
    """Rotate about x, then y, then z (radians), in the order that the names of Deforum's Euler angles say: XYZ."""
    about_x = [[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]]
    about_y = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    about_z = [[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]]
    turned: Matrix = np.array(about_x) @ np.array(about_y) @ np.array(about_z)
    return turned


@dataclass(frozen=True)
class Lens:
    """True intrinsics: focal lengths in px; the axis goes through the middle of the picture."""

    x: float
    y: float

    @staticmethod
    def of(fov: float, aspect_ratio: float, width: int, height: int, *, fov_is_vertical: bool = False) -> Lens:
        """Make a lens from its field of view in degrees, across the width (or, `fov_is_vertical`, the height).

        `aspect_ratio` is that of a pixel: 1 is square, 2 is twice as wide as high. With `fov_is_vertical` pixels are
        square; this is what Deforum's "old formula" of the aspect ratio comes to.
        Raises UserError for a field of view that no lens has.
        """
        if not 0 < fov < 180:
            raise UserError(f"fov is {fov:g}; the physical camera needs one between 0 and 180 degrees, 70 is usual")
        reach = math.tan(math.radians(fov) / 2)
        if fov_is_vertical:
            return Lens(height / 2 / reach, height / 2 / reach)
        return Lens(width / 2 / reach / aspect_ratio, width / 2 / reach)


@dataclass(frozen=True)
class Rigid:
    """All that a physical motion follows from: the depth of the old view, and how the camera and its lens change."""

    depth: Depth
    pose: Pose
    old: Lens
    new: Lens
    fill: Fill


@dataclass(frozen=True)
class Lookup:
    """Where each pixel of one view is found in another, whether it is seen there at all, and how far off it is."""

    positions: Positions
    covers: Mask
    """1 where what is here was seen in the other view, 0 where it was hidden, or beyond the edge (soft over a pixel)"""
    depth: Depth


@dataclass(frozen=True)
class DepthWarp:
    """A motion of the picture in space: `source` says, for each pixel of the new picture, where it comes from.

    Satisfies `deforum.animate.Warp`. Beyond the edge `padding` repeats the outermost pixels (border), mirrors
    (reflection), or is black (zeros). Motions are joined before a picture is sampled: physical ones as camera poses,
    so that however many there are the old view is looked at from the last place at once; others as positions.
    """

    chart: Callable[[], Positions]
    """Gives `source`; asked when it is needed, which of a step that is only joined to others it never is."""
    solve: Callable[[], tuple[Lookup, Lookup]]
    """Gives the whole geometry, from the new view to the old and from the old to the new; asked when it is needed."""
    padding: Padding = "border"
    sampling: Sampling = "bicubic"
    still: bool = False
    """Nothing moves: a picture is handed through as it is."""
    flip: tuple[Matrix, Border] | None = None
    """A matrix, source px -> destination px, by which the picture is moved before, in a sampling of its own."""
    rigid: Rigid | None = None
    """For a physical motion without a flip."""

    @cached_property
    def source(self) -> Positions:
        return self.chart()

    @cached_property
    def _joins(self) -> list[tuple[DepthWarp, DepthWarp]]:
        """Motions that were joined to this one, and what came of it: the camera and the loop go the same ways."""
        return []

    @cached_property
    def _solved(self) -> tuple[Lookup, Lookup]:
        return self.solve()

    def __call__(self, image: Image) -> Image:
        """Move a picture, (C, H, W) in 0..1."""
        if self.flip is not None:
            image = warp_flat(image, self.flip[0], border=self.flip[1])
        if self.still:
            return image
        moved = sample_at(image, self.source, self.sampling, self.padding)
        if self.sampling == "bicubic":  # it overshoots at edges
            moved.clamp_(0, 1)
        return moved

    def move_mask(self, mask: Mask) -> Mask:
        """Move a mask, (H, W); where the picture is made up, its nearest part decides."""
        return mask if self.still else read_at(mask[None], self._once().source)[0]

    def move_flow(self, flow: torch.Tensor) -> torch.Tensor:
        """Move a flow field, (H, W, 2) px: a vector between two places becomes that between the moved places."""
        if self.still and self.flip is None:
            return flow
        here, there = self._once()._solved
        start = here.positions
        end = start + read_at(flow.permute(2, 0, 1), start)
        return (follow(there.positions, end) - follow(there.positions, start)).permute(1, 2, 0)

    def coverage(self) -> Mask:
        """Say where the moved picture shows something of the one before: (H, W), 1 there, 0 where it is made up."""
        return self._once()._solved[0].covers

    def charts(self) -> Charts:
        here, there = self._once()._solved
        return Chart(here.positions, here.covers), Chart(there.positions, there.covers)

    @property
    def depth(self) -> Depth:
        """The depth of the new view, carried along."""
        return self._once()._solved[0].depth

    def then(self, later: DepthWarp) -> DepthWarp:
        for other, joined in self._joins:
            if other is later:
                return joined
        self._joins.append((later, self._join(later)))
        return self._joins[-1][1]

    def _join(self, later: DepthWarp) -> DepthWarp:
        first, later = self._once(), later._once()
        if first.still or later.still:
            return later if first.still else first
        if first.rigid and later.rigid:
            pose = first.rigid.pose.then(later.rigid.pose)
            return _warp_rigid(replace(first.rigid, pose=pose, new=later.rigid.new), first.padding, first.sampling)

        def solve() -> tuple[Lookup, Lookup]:
            (here, there), (later_here, later_there) = first._solved, later._solved
            back = follow(later_there.positions, there.positions)
            covers = later_here.covers * read_at(here.covers[None], later_here.positions)[0]
            back_covers = there.covers * read_at(later_there.covers[None], there.positions)[0]
            # What each motion uncovers or hides by less than a pixel shows when they are taken together.
            source = joined.source
            covers, back_covers = covers * comes_back(source, back), back_covers * comes_back(back, source)
            return Lookup(source, covers, later_here.depth), Lookup(back, back_covers, there.depth)

        joined = DepthWarp(lambda: follow(first.source, later.source), solve, first.padding, first.sampling)
        return joined

    def inverse(self) -> DepthWarp:
        once = self._once()
        here, there = once._solved
        rigid = once.rigid
        if rigid is not None:
            rigid = replace(rigid, depth=here.depth, pose=rigid.pose.inverse(), old=rigid.new, new=rigid.old)
        return replace(once, chart=lambda: there.positions, solve=lambda: (there, here), rigid=rigid)

    def flipped(self, matrix: Matrix, border: Border | None = None) -> DepthWarp:
        """Put a flat motion before this one: matrix (3, 3), source px -> destination px.

        With a `border` it is a sampling of its own that knows this border, as Deforum's perspective flip is; without
        one the picture is sampled once.
        """
        if border is None:
            return replace(self, flip=(matrix, "replicate"))._once()
        return replace(self, flip=(matrix, border))

    def _once(self) -> DepthWarp:
        """Give the same motion with the flip, if there is one, joined into the positions."""
        if self.flip is None:
            return self
        matrix = self.flip[0]
        unflipped: Matrix = np.asarray(np.linalg.inv(matrix), np.float64)

        def solve() -> tuple[Lookup, Lookup]:
            here, there = replace(self, flip=None)._solved
            # Depth belongs to the picture before the flip, pixel by pixel, as in Deforum.
            source = map_by(unflipped, here.positions)
            height, width = source.shape[1:]
            covers = here.covers * within(source)
            destination = map_by(matrix, pixels(width, height, source.device))
            back = Lookup(
                follow(there.positions, destination), read_at(there.covers[None], destination)[0], there.depth
            )
            return Lookup(source, covers, here.depth), back

        return DepthWarp(lambda: map_by(unflipped, self.source), solve, self.padding, self.sampling)


def stay(
    depth: Depth | None,
    width: int,
    height: int,
    *,
    padding: Padding = "border",
    sampling: Sampling = "bicubic",
    device: Device = CPU,
) -> DepthWarp:
    """Make the motion that moves nothing."""
    here = pixels(width, height, device)
    seen = torch.ones(height, width, device=device)
    same = Lookup(here, seen, seen if depth is None else depth)
    return DepthWarp(lambda: here, lambda: (same, same), padding, sampling, still=True)


# The slab: Deforum's camera.


def warp_slab(
    depth: Depth | None,
    params: Params[float],
    width: int,
    height: int,
    *,
    old_aspect_formula: bool = False,
    padding: Padding = "border",
    sampling: Sampling = "bicubic",
    device: Device = CPU,
) -> DepthWarp:
    """Move the camera as Deforum does; what comes into view is stretched.

    Convention: depth (H, W) as `deforum.depth.scale.slab_depth` gives it, 1..2 near to far; None is flat at 1.
    `old_aspect_formula` puts width / height in the place of the aspect ratio. Near and far have no effect. `device` is
    asked where there is no depth.
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
    rows = np.vstack((pose.rotation, pose.translation)).T  # of the matrix that takes (x, y, z, 1) to the moved point
    moved_z = _plane(rows[2, [0, 1, 3, 2]], x, y, z)
    offset = torch.empty(2, height, width, device=device)
    for out, row, old, reached in zip(offset, rows, (x, y), (reach * aspect, reach), strict=False):
        size = width if old is x else height
        torch.sub(_plane(row[[0, 1, 3, 2]], x, y, z).div_(moved_z), old / z, out=out).mul_(size / 2 / reached)
    here = pixels(width, height, device)
    source = here - offset

    def solve() -> tuple[Lookup, Lookup]:
        old_z = z.expand(height, width)
        destination = here + offset  # as a surface moves; that the new view fetches pixels is a little different:
        reached = destination
        for _ in range(3):  # source(destination) = here, so the offset is that of the destination
            reached = here + read_at(offset, reached)
        returns = (reached - read_at(offset, reached) - here).abs().amax(0) <= SAME_PLACE
        cells = _cells(destination.flatten(1), width, height)
        covers = within(source) * (_spread(_nearest(cells, (1 / old_z).flatten(), width, height)) > 0)
        carried = read_at(moved_z.expand(1, height, width), source)[0]
        return Lookup(source, covers, carried), Lookup(reached, within(reached) * returns, old_z)

    return DepthWarp(lambda: source, solve, padding, sampling)


# The physical camera.


def warp_physical(
    depth: Depth | None,
    params: Params[float],
    width: int,
    height: int,
    *,
    before: Params[float] | None = None,
    fov_is_vertical: bool = False,
    fill: Fill = "far",
    padding: Padding = "border",
    sampling: Sampling = "bicubic",
    device: Device = CPU,
) -> DepthWarp:
    """Move a real camera: a pan pans, a dolly dollies, and a change of the field of view zooms.

    Convention: depth (H, W), z > 0 in scene units; None is flat at 1. `before` are the parameters of the frame before,
    whose lens took the picture; None is the same lens. `fov_is_vertical` as in `Lens.of`. What the old view did not
    see is filled by `fill`: "stretch" pulls the surface over it, "far" mirrors what is behind into it; `coverage` has
    it as 0 either way.
    Raises UserError for a field of view that no lens has.
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
    return _warp_rigid(Rigid(depth, pose, old_lens, lens, fill), padding, sampling)


def _warp_rigid(motion: Rigid, padding: Padding, sampling: Sampling) -> DepthWarp:
    @cache
    def view() -> View:
        return _see(motion)

    def solve() -> tuple[Lookup, Lookup]:
        seen = view()
        height, width = motion.depth.shape
        here = pixels(width, height, motion.depth.device)
        back = seen.source.flatten(1).index_select(1, _index(seen.destination)).view_as(here)
        returns = ((back - here).abs().amax(0) <= SAME_PLACE) & (seen.moved > 0)
        return (
            Lookup(seen.source, within(seen.source) * ~seen.hole, 1 / seen.inverse_depth),
            Lookup(seen.destination, within(seen.destination) * returns, motion.depth),
        )

    return DepthWarp(lambda: view().source, solve, padding, sampling, rigid=motion)


@dataclass(frozen=True)
class View:
    """What a physical camera sees from its new place: of each pixel, where it was in the old view, and how far off."""

    source: Positions
    inverse_depth: torch.Tensor
    hole: torch.Tensor
    """(H, W) bool: within the old view, but hidden there; made up here."""
    destination: Positions
    """Where the pixels of the old view come to,"""
    moved: torch.Tensor
    """and their inverse depth there; 0 behind the camera."""


@dataclass(frozen=True)
class Sight:
    """The lines of sight of one view's pixels, as another view sees them: inverse depth says which point of each."""

    base: torch.Tensor
    """(3, H, W) or (3, N): x and y in px and z / z, times the last, of what is infinitely far off"""
    slope: tuple[float, float, float]
    """What each of the three gains by inverse depth."""

    @staticmethod
    def of(pose: Pose, old: Lens, new: Lens, width: int, height: int, device: Device) -> Sight:
        """Put back-projection, motion and projection into one matrix: (x, y, 1, 1/z) in px to (x', y', 1) z'/z."""

        def intrinsics(lens: Lens) -> Matrix:
            return np.array([[lens.x, 0, (width - 1) / 2], [0, lens.y, (height - 1) / 2], [0, 0, 1]])

        motion = np.column_stack((pose.rotation.T @ np.linalg.inv(intrinsics(old)), pose.translation))
        rows = (intrinsics(new) @ motion).tolist()
        x = torch.arange(width, dtype=torch.float32, device=device)
        y = torch.arange(height, dtype=torch.float32, device=device)[:, None]
        base = torch.empty(3, height, width, device=device)
        for out, (a, b, c, _) in zip(base, rows, strict=True):
            torch.add(a * x, b * y + c, out=out)
        return Sight(base, (rows[0][3], rows[1][3], rows[2][3]))

    def at(self, index: torch.Tensor) -> Sight:
        """Take those of numbered pixels."""
        return replace(self, base=self.base.flatten(1).index_select(1, index))

    def ratio(self, inverse_depth: torch.Tensor) -> torch.Tensor:
        """Say how many times as far off points are in the other view, z' / z."""
        return torch.add(self.base[2], inverse_depth, alpha=self.slope[2])

    def __call__(self, inverse_depth: torch.Tensor) -> Positions:
        """Find where points are in the other view; those behind its camera are somewhere far outside."""
        ratio = self.ratio(inverse_depth).clamp_(min=IN_FRONT)
        positions = torch.empty_like(self.base[:2])
        for out, base, slope in zip(positions, self.base, self.slope, strict=False):
            torch.add(base, inverse_depth, alpha=slope, out=out).div_(ratio)
        return positions


def _see(motion: Rigid) -> View:
    (height, width), device = motion.depth.shape, motion.depth.device
    to_new = Sight.of(motion.pose, motion.old, motion.new, width, height, device)
    to_old = Sight.of(motion.pose.inverse(), motion.new, motion.old, width, height, device)
    inverse_depth = 1 / motion.depth
    ratio = to_new.ratio(inverse_depth)
    moved = (inverse_depth / ratio.clamp(min=IN_FRONT)).mul_(ratio > IN_FRONT * inverse_depth)
    destination = to_new(inverse_depth)
    source, seen, empty = _look_again(to_old, destination, moved)
    hole = torch.zeros(height, width, dtype=torch.bool, device=device)
    if len(empty):
        _fill(to_old, source, seen, hole, empty, moved, motion.fill)
    return View(source, seen, hole, destination, moved)


def _look_again(
    to_old: Sight, destination: Positions, moved: torch.Tensor
) -> tuple[Positions, torch.Tensor, torch.Tensor]:
    """Find where each pixel of the new view was in the old, and its inverse depth, nearest first.

    Those that see nothing known come as numbers (N,), with an inverse depth of 0.

    A moved surface has cracks where it grew, through which what is behind would show. So each point is first taken to
    cover the four pixels around it. Whether it covers one of them is decided in the old view: the place there that the
    pixel would then see must lie within the point's own pixel. So outlines neither grow nor shrink, however often.
    """
    height, width = moved.shape
    cells = _cells(destination.flatten(1), width, height)
    point = to_old(_spread(_nearest(cells, moved.flatten(), width, height))).round_()
    for axis, size in zip(point, (width, height), strict=True):
        axis.clamp_(0, size - 1)
    seen = moved.flatten().index_select(0, _number(point[0], point[1], width).flatten()).view_as(moved)
    source = to_old(seen)
    x_apart, y_apart = point.sub_(source).abs_()
    doubt = (torch.maximum(x_apart, y_apart) > HALF).logical_or_(seen == 0)

    # What else may be seen comes to the pixel itself; only points beside a pixel in doubt are asked.
    around = torch.zeros(height + 3, width + 3, dtype=torch.bool, device=moved.device)
    around[2:-1, 2:-1] = doubt
    around[:-1] |= around[1:].clone()
    around[:, :-1] |= around[:, 1:].clone()
    asked = torch.nonzero(around.flatten().index_select(0, cells))[:, 0]
    cells = _cells(destination.flatten(1)[:, asked] + 0.5, width, height)
    known = _nearest(cells, moved.flatten()[asked], width, height)[2:-1, 2:-1]
    row, column = torch.nonzero(doubt, as_tuple=True)
    found, index = known[row, column], row * width + column
    seen[row, column] = found
    source.flatten(1)[:, index] = to_old.at(index)(found)
    return source, seen, index[found == 0]


def _cells(positions: Positions, width: int, height: int) -> torch.Tensor:
    """Number the squares between four pixels that positions (2, N) lie in, by their upper left pixel: (N,) int64.

    There are three columns and rows more than pixels: two before, one behind, that take what comes to no pixel.
    """
    x, y = positions.floor()
    return _number(x.clamp_(-2, width).add_(2), y.clamp_(-2, height).add_(2), width + 3).to(torch.int64)


def _nearest(cells: torch.Tensor, inverse_depth: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Keep, for each of the squares, the largest inverse depth (N,) that comes to it; 0 where nothing does."""
    kept = torch.zeros((height + 3) * (width + 3), device=inverse_depth.device)
    return kept.scatter_reduce_(0, cells, inverse_depth, "amax").view(height + 3, width + 3)


def _spread(nearest: torch.Tensor) -> torch.Tensor:
    """Give each pixel the largest of the four squares around it."""
    rows = torch.maximum(nearest[2:-1], nearest[1:-2])
    return torch.maximum(rows[:, 2:-1], rows[:, 1:-2])


def _fill(
    to_old: Sight,
    source: Positions,
    seen: torch.Tensor,
    hole: torch.Tensor,
    empty: torch.Tensor,
    moved: torch.Tensor,
    fill: Fill,
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
        index = _index(sight(inverse), width, height)
        inverse = inverse_depth[index].clamp(min=farthest)
    found = sight(inverse)
    # And cracks are left where depth is rough or steep, but they have no outline beside them.
    point = _place(index, width)
    crack = (found - point).abs().amax(0) <= SAME_PLACE
    crack[crack.clone()] = ~_at_outline(moved, index[crack])
    source[:, empty] = torch.where(crack, point + (found - point).clamp(-HALF, HALF), found)
    seen[empty] = inverse
    known[empty] = (within(found, width, height) == 0) | crack
    todo = empty[~known[empty]]
    if not len(todo):
        return
    hole.view(-1)[todo] = True

    # What a near thing uncovers lies behind it.
    place = _place(todo, width)
    back, reach = _behind(to_old.at(todo), nearest, farthest)
    steps = math.ceil(float(reach.max())) + 2
    far_at, far_steps = _march(place, back, known, steps, width, height)
    if fill == "far":
        # The outermost two pixels of what is behind have something of the near thing in them, once they are sampled
        # between pixels; it must not stay there.
        edge: torch.Tensor = torch.unique(far_at[far_steps == 1])
        inward, _ = _behind(to_old.at(edge), nearest, farthest)
        second = _index(_place(edge, width) + inward, width, height)
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


def _place(index: torch.Tensor, width: int) -> Positions:
    """Give the positions (2, N) of numbered pixels."""
    return torch.stack((index % width, index // width)).float()


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
    index = _index(place, width, height)
    count = torch.zeros(len(index), device=place.device)
    for step in range(1, steps + 1):
        there = _index(place + step * direction, width, height)
        arrives = (count == 0) & known[there]
        index, count = torch.where(arrives, there, index), torch.where(arrives, step, count)
    return index, count


# Positions.


def _plane(row: Matrix, x: torch.Tensor, y: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Sum row * (x, y, 1, depth) over the picture; x and y are a row and a column, so it is two passes."""
    a, b, c, d = row.tolist()
    summed: torch.Tensor = a * x + (b * y + c)
    return torch.add(summed, depth, alpha=d) if d else summed


def _index(positions: Positions, width: int = 0, height: int = 0) -> torch.Tensor:
    """Number the pixels nearest to the positions, row by row: (N,) int; those beyond the edge are brought back."""
    height, width = (height, width) if height else positions.shape[1:]
    x, y = positions.flatten(1).round()
    return _number(x.clamp_(0, width - 1), y.clamp_(0, height - 1), width)


def _number(x: torch.Tensor, y: torch.Tensor, width: int) -> torch.Tensor:
    """Number whole positions row by row: int32."""
    # Exact beyond 2**24, to which float32 counts.
    return torch.add(x.to(torch.int32), y.to(torch.int32), alpha=width)
