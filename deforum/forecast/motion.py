"""The motion on the screen, from frame to frame, on a coarse grid and without torch.

Convention: a motion is the displacement (2, R, C) in px, x then y, of what is seen at the middle of each part of the
new picture, since the frame before. A cover (R, C), 0..1, is the share of each part that the frame before shows too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deforum.forecast.scenes import Scene, at_grid
from deforum.motion.matrices import flat_matrix, inverse, perspective_flip
from deforum.motion.pose import IN_FRONT, UNITS, Lens, Pose, reprojection
from deforum.settings.options import Settings
from deforum.settings.params import PARAMS, Params
from deforum.settings.profiles import PROFILES
from deforum.timeline.timeline import Timeline

Array = NDArray[np.float64]

MOVING = tuple(name for name, each in PARAMS.items() if each.section in ("motion", "camera"))
"""The parameters that move the camera."""
PARTS = 24
"""Parts of the picture along either side."""
FARTHEST = 2.0
"""Depth of the farthest things of the slab."""
MOST_HIDDEN = 0.5
"""Share of a frame that holes take at most."""
TRIED = 8
"""Frames by which the difference between seeds is foreseen."""
AT_ONCE = 256
"""Frames whose motions are computed at once."""


@dataclass(frozen=True, eq=False)
class Motions:
    """The motion of frames in a row; the first one does not move."""

    speed: Array
    """(F,) px/frame: the mean length of the displacements, of what was seen in the frame before."""
    change: Array
    """(F,) px: how far that motion differs from the motion of the frame before."""
    uncovered: Array
    """(F,) share of the picture that the frame before does not show."""
    zoom: Array
    """(F,) how many times larger things are than in the frame before, on average over the picture."""

    @property
    def left(self) -> Array:
        """(F,) the share of the first frame's picture that is still to be seen, where nothing is painted."""
        return np.asarray(np.cumprod((1 - self.uncovered) / np.maximum(self.zoom, 1) ** 2))


@dataclass(frozen=True)
class Frame:
    """The grid of a picture: the middles of its parts."""

    width: int
    height: int

    @cached_property
    def positions(self) -> Array:
        """(2, R, C) px."""
        x = (np.arange(PARTS) + 0.5) * self.width / PARTS - 0.5
        y = (np.arange(PARTS) + 0.5) * self.height / PARTS - 0.5
        return np.stack(np.meshgrid(x, y))

    def cover(self, source: Array) -> Array:
        """Return the share of each part that lies within the old picture, given the old positions (..., 2, R, C)."""
        shares = []
        for axis, size in ((0, self.width), (1, self.height)):
            part, at = size / PARTS, source[..., axis, :, :]
            nearest = np.minimum(at + 0.5, size - 0.5 - at)  # px to the nearer edge
            shares.append(np.clip(nearest / part + 0.5, 0, 1))
        return np.asarray(shares[0] * shares[1])

    def enlargement(self, source: Array) -> Array:
        """Return how many times larger things became, (N,), given the old positions (N, 2, R, C)."""
        across, down = np.diff(source, axis=3) * PARTS / self.width, np.diff(source, axis=2) * PARTS / self.height
        wide = np.median(np.hypot(across[:, 0], across[:, 1]), axis=(1, 2))
        high = np.median(np.hypot(down[:, 0], down[:, 1]), axis=(1, 2))
        return np.asarray(1 / np.sqrt(np.maximum(wide * high, 1e-6)))

    def not_hidden(self, apart: Array, edges: tuple[float, float]) -> Array:
        """Return the share that is not newly seen behind things: (N, 1, 1), the same for all parts.

        `apart` (N, 2, R, C) is by how many px more the nearest things move than the farthest, per unit of nearness.
        At each edge the nearer side moves off the farther one, or over it: half of the edges uncover something.
        """
        holes = [
            np.abs(apart[:, axis]).mean((1, 2)) * edges[axis] / size / 2
            for axis, size in ((0, self.width), (1, self.height))
        ]
        return np.asarray(1 - np.minimum(holes[0] + holes[1], MOST_HIDDEN))[:, None, None]


Sources = Callable[[list[int]], tuple[Array, Array]]
"""Returns, for frames, the old positions (N, 2, R, C) of the parts of the new picture, and their cover (N, R, C)."""


def motions_of(
    settings: Settings, timeline: Timeline, scene: Scene, shown: range, added: Array | None = None
) -> Motions:
    """Compute the motion of the frames `shown` of a timeline, as the camera makes it, from the first one on.

    In 3D things are as far away as in the scene. `added` (F, 2, R, C) px is the motion of a clip at those frames.
    """
    count, grid = len(shown), Frame(*settings.size)
    sources = sources_of(settings, timeline, scene, grid)
    keys, of_frame = distinct(settings, timeline)
    speed, change, uncovered, zoom = np.zeros(count), np.zeros(count), np.zeros(count), np.ones(count)
    last: Array | None = None
    for first in range(1, count, AT_ONCE):
        frames = np.arange(first, min(first + AT_ONCE, count))
        chosen, place = np.unique(of_frame[shown.start + frames], return_inverse=True)
        source, cover = sources([int(keys[each]) for each in chosen])
        shift = (grid.positions - source)[place]
        zoom[frames] = grid.enlargement(source)[place]
        cover = cover[place]
        if added is not None:
            shift = shift + added[frames]
            cover = cover * grid.cover(grid.positions - added[frames])
        # What comes from behind the camera, or from the horizon, has no length that one would see.
        shift = np.clip(shift, -settings.size[0], settings.size[0])
        speed[frames] = mean_length(shift, cover)
        uncovered[frames] = 1 - cover.mean((1, 2))
        before = np.concatenate((shift[:1] if last is None else last[None], shift[:-1]))
        change[frames] = mean_length(shift - before, cover)
        last = shift[-1]
    return Motions(speed, change, uncovered, zoom)


def mean_length(shift: Array, cover: Array) -> Array:
    """Return the mean length of motions (N, 2, R, C), (N,), over what their covers (N, R, C) say was seen before."""
    lengths = np.hypot(shift[:, 0], shift[:, 1]) * cover
    return np.asarray(lengths.sum((1, 2)) / np.maximum(cover.sum((1, 2)), 1e-9))


def seed_range(settings: Settings, timeline: Timeline, scene: Scene, shown: range) -> tuple[float, float]:
    """Return the shares of the speeds foreseen between which those of most runs lie: (1, 1) without depth.

    Each seed paints a scene of its own, nearer or farther than the typical one. Where the camera only turns, that does
    not matter. A few of the frames stand for all.
    """
    if not settings.mode.has_depth or not settings.use_depth_warping or len(shown) < 2:
        return 1.0, 1.0
    grid, keys = Frame(*settings.size), distinct(settings, timeline)[0]
    some = [int(each) for each in keys[(keys > shown.start) & (keys < shown.stop)]]
    some = some[:: max(len(some) // TRIED, 1)] or [shown.start + 1]

    def speed(way: float) -> float:
        source, cover = sources_of(settings, timeline, scene.nearer(way), grid)(some)
        return float(mean_length(np.clip(grid.positions - source, -grid.width, grid.width), cover).mean())

    usual = max(speed(0), 1e-9)
    return min(speed(-1) / usual, 1.0), max(speed(1) / usual, 1.0)


def distinct(settings: Settings, timeline: Timeline) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return frames with the different values of what moves the camera, and which of them each frame is like: (F,)."""
    curves = timeline.curves
    rows = np.array([getattr(curves, name) for name in MOVING])
    if settings.mode.has_depth:  # the lens of the frame before counts too
        lens = np.array([getattr(curves, name) for name in ("fov", "aspect_ratio")])
        rows = np.vstack((rows, lens[:, [0, *range(len(timeline) - 1)]]))
    _, first, of_frame = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    return first, of_frame.reshape(-1)


def params_at(timeline: Timeline, index: int) -> Params[float]:
    """Return the parameters of a frame that move the camera, and only those."""
    values = {name: float(getattr(timeline.curves, name)[index]) for name in MOVING}
    # A whole Params takes longer than the rest of a frame's forecast.
    return cast("Params[float]", SimpleNamespace(**values))


def sources_of(settings: Settings, timeline: Timeline, scene: Scene, grid: Frame) -> Sources:
    """Choose the camera of the animation mode."""
    if not settings.mode.goes_on:
        return _still(grid)
    if not settings.mode.has_depth:
        return _flat(settings, timeline, grid)
    of_camera = _physical if PROFILES[settings.profile].physical_camera else _slab
    deep = of_camera(settings, timeline, scene, grid)
    return _flipped(settings, timeline, grid, deep) if settings.enable_perspective_flip else deep


def _still(grid: Frame) -> Sources:
    return lambda frames: (np.repeat(grid.positions[None], len(frames), 0), np.ones((len(frames), PARTS, PARTS)))


def _flat(settings: Settings, timeline: Timeline, grid: Frame) -> Sources:
    profile = PROFILES[settings.profile]

    def sources(frames: list[int]) -> tuple[Array, Array]:
        matrices = [
            inverse(
                flat_matrix(
                    params_at(timeline, index), grid.width, grid.height,
                    flip=settings.enable_perspective_flip, flip_keeps_translation=profile.flip_keeps_translation,
                )
            )
            for index in frames
        ]  # fmt: skip
        return _projected(np.array(matrices), grid)

    return sources


def _projected(matrices: Array, grid: Frame) -> tuple[Array, Array]:
    """Map the grid by matrices (N, 3, 3) from new px to old."""
    x, y = grid.positions
    mapped = np.einsum("nij,jrc->nirc", matrices, np.stack((x, y, np.ones_like(x))))
    w = mapped[:, 2]
    source = mapped[:, :2] / np.where(np.abs(w) < 1e-9, 1e-9, w)[:, None]
    return source, grid.cover(source) * (w > 0)


def _physical(settings: Settings, timeline: Timeline, scene: Scene, grid: Frame) -> Sources:
    nearness = at_grid(scene.nearness, PARTS, PARTS)
    sights = np.stack((*grid.positions, np.ones_like(nearness)))

    def lens(params: Params[float]) -> Lens:
        vertical = settings.aspect_ratio_use_old_formula
        return Lens.of(params.fov, params.aspect_ratio, grid.width, grid.height, fov_is_vertical=vertical)

    def sources(frames: list[int]) -> tuple[Array, Array]:
        rows, nearing, ends = list[list[list[float]]](), list[list[float]](), list[tuple[float, float]]()
        for index in frames:
            params = params_at(timeline, index)
            new, old, pose = lens(params), lens(params_at(timeline, max(index - 1, 0))), Pose.of(params)
            rows.append(reprojection(pose.inverse(), new, old, grid.width, grid.height))
            nearing.append(reprojection(pose, old, new, grid.width, grid.height)[2])
            # Without depth all is at 1.
            ends.append((UNITS / params.far, UNITS / params.near) if settings.use_depth_warping else (1, 1))
        to_old, to_new = np.array(rows)[..., None, None], np.array(nearing)[..., None, None]
        least, most = np.array(ends).T[..., None, None]
        rays = np.einsum("nij,jrc->nirc", to_old[:, :, :3, 0, 0], sights)
        ratios = np.einsum("nj,jrc->nrc", to_new[:, :3, 0, 0], sights)

        def mapped(inverse_depth: Array) -> Array:
            # The depth is that of the old view; things are nearer in the new one where the camera comes closer.
            seen = inverse_depth / np.maximum(ratios + to_new[:, 3] * inverse_depth, 0.1)
            return np.asarray(rays + to_old[:, :, 3] * seen[:, None])

        found, farthest = mapped(least + nearness * (most - least)), mapped(least + 0 * nearness)
        w = found[:, 2]
        source = found[:, :2] / np.maximum(w, IN_FRONT)[:, None]
        behind = farthest[:, :2] / np.maximum(farthest[:, 2], IN_FRONT)[:, None]
        apart = (source - behind) / nearness.mean()
        return source, grid.cover(source) * (w > IN_FRONT) * grid.not_hidden(apart, scene.edges)

    return sources


def _slab(settings: Settings, timeline: Timeline, scene: Scene, grid: Frame) -> Sources:
    """Deforum's camera: x and y run from -1 to 1 at every depth; see `deforum.motion.slab`."""
    inverse_depth = at_grid(scene.slab, PARTS, PARTS) if settings.use_depth_warping else np.ones((PARTS, PARTS))
    size = np.array([grid.width, grid.height], np.float64)[:, None, None]
    at = (grid.positions + 0.5) * 2 / size - 1

    def sources(frames: list[int]) -> tuple[Array, Array]:
        found, farthest = list[Array](), list[Array]()
        for index in frames:
            params = params_at(timeline, index)
            pose, reach = Pose.of(params), math.tan(math.radians(params.fov) / 2)
            aspect = grid.width / grid.height if settings.aspect_ratio_use_old_formula else params.aspect_ratio
            scale = np.array([grid.width / 2 / (reach * aspect), grid.height / 2 / reach])[:, None, None]
            for into, z in ((found, 1 / inverse_depth), (farthest, np.full((PARTS, PARTS), FARTHEST))):
                points = np.stack((at[0], at[1], z))
                moved = np.einsum("ji,jrc->irc", pose.rotation, points) + pose.translation[:, None, None]
                into.append(grid.positions - (moved[:2] / moved[2] - at / z) * scale)
        source = np.array(found)
        apart = (source - np.array(farthest)) / (inverse_depth.mean() - 1 / FARTHEST)
        edges = scene.slab_edges if settings.use_depth_warping else (0.0, 0.0)
        return source, grid.cover(source) * grid.not_hidden(apart, edges)

    return sources


def _flipped(settings: Settings, timeline: Timeline, grid: Frame, deep: Sources) -> Sources:
    """Apply the perspective flip before a camera's motion."""

    def sources(frames: list[int]) -> tuple[Array, Array]:
        source, cover = deep(frames)
        flipped = np.empty_like(source)
        for place, index in enumerate(frames):
            p = params_at(timeline, index)
            back = inverse(
                perspective_flip(
                    p.perspective_flip_theta, p.perspective_flip_phi, p.perspective_flip_gamma, p.perspective_flip_fv,
                    grid.width, grid.height,
                )
            )  # fmt: skip
            x, y = source[place]
            mapped = np.einsum("ij,jrc->irc", back, np.stack((x, y, np.ones_like(x))))
            flipped[place] = mapped[:2] / np.where(np.abs(mapped[2]) < 1e-9, 1e-9, mapped[2])
        return flipped, cover * grid.cover(flipped)

    return sources
