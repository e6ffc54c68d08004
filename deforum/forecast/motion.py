"""The motion on the screen, from frame to frame, on a coarse grid and without torch.

Convention: a motion is the displacement (2, R, C) in px, x then y, of what is seen at the middle of each part of the
new picture, since the frame before. A cover (R, C), 0..1, is the share of each part that the frame before shows too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deforum.forecast.matrices import Lenses, Poses, flat_matrices, inverses, perspective_flips, reprojections
from deforum.forecast.scenes import Scene, at_grid
from deforum.motion.pose import IN_FRONT, UNITS
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import PROFILES
from deforum.timeline.timeline import Timeline

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

FLAT = ("angle", "zoom", "translation_x", "translation_y", "transform_center_x", "transform_center_y")
DEEP = (
    *("translation_x", "translation_y", "translation_z", "rotation_3d_x", "rotation_3d_y", "rotation_3d_z"),
    *("fov", "aspect_ratio", "near", "far"),
)
FLIP = ("perspective_flip_theta", "perspective_flip_phi", "perspective_flip_gamma", "perspective_flip_fv")
"""The parameters that move the camera, in 2D, in 3D, and with the perspective flip."""
PARTS = 18
"""Parts of the picture along either side: speeds are within 0.3 % of those of finer grids."""
FARTHEST = 2.0
"""Depth of the farthest things of the slab."""
MOST_HIDDEN = 0.5
"""Share of a frame that holes take at most."""
OF_SHAPES = 0.85
"""Share of the kernel's own motion, which is that of a ramp, by which waves of 11 px are moved, as in pictures."""
TRIED = 32
"""Frames by which the difference between seeds is foreseen."""
AT_ONCE = 64
"""Frames whose motions are computed at once: with few enough the processor's cache holds them."""


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
            # How wide a part of the new picture is in the old one, on average.
            across = np.abs(at[..., -1] - at[..., 0]).mean(-1) + np.abs(at[..., -1, :] - at[..., 0, :]).mean(-1)
            wide = np.clip(across / (PARTS - 1), part / 4, part * 2)[..., None, None]
            nearest = np.minimum(at + 0.5, size - 0.5 - at)  # px to the nearer edge
            shares.append(np.clip(nearest / wide + 0.5, 0, 1))
        return np.asarray(shares[0] * shares[1])

    def enlargement(self, source: Array) -> Array:
        """Return how many times larger things became, (N,), given the old positions (N, 2, R, C)."""
        coarse = source[:, :, 1::3, 1::3]  # enough for a mean
        across, down = np.diff(coarse, axis=3), np.diff(coarse, axis=2)
        wide = np.median(np.hypot(across[:, 0], across[:, 1]), axis=(1, 2)) * PARTS / 3 / self.width
        high = np.median(np.hypot(down[:, 0], down[:, 1]), axis=(1, 2)) * PARTS / 3 / self.height
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


Sources = Callable[[Indices], tuple[Array, Array]]
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
        source, cover = sources(keys[chosen])
        shift = (grid.positions - source)[place]
        zoom[frames] = grid.enlargement(source)[place]
        cover = cover[place]
        if added is not None:
            shift = shift + added[frames]
            cover = cover * grid.cover(grid.positions - added[frames])
        if is_sampled_each_time(settings, timeline):
            shift = as_sampled(shift)
        # What comes from behind the camera, or from the horizon, has no length that one would see.
        shift = np.clip(shift, -settings.size[0], settings.size[0])
        speed[frames] = mean_length(shift, cover)
        uncovered[frames] = 1 - cover.mean((1, 2))
        before = np.concatenate((shift[:1] if last is None else last[None], shift[:-1]))
        change[frames] = mean_length(shift - before, cover)
        last = shift[-1]
    return Motions(speed, change, uncovered, zoom)


def is_sampled_each_time(settings: Settings, timeline: Timeline) -> bool:
    """Whether each frame is sampled from the one before, bicubically; in-betweens on time are, over longer ways."""
    is_bicubic = settings.sampling_mode == "bicubic" and settings.mode.has_depth  # in 2D it is always bilinear
    return is_bicubic and (timeline.cadence == 1 or not timeline.on_time)


def as_sampled(shift: Array) -> Array:
    """Return how far bicubic sampling moves a picture for shifts (...) px along an axis.

    The kernel of OpenCV and of torch, with a = -0.75, moves shapes too far for shifts below half a pixel, by up to
    0.048 px, and not far enough above. In slow motion that is a quarter of it.
    """
    part = shift - np.floor(shift)
    return np.asarray(shift + OF_SHAPES * part * (1 - part) * (1 - 2 * part) / 2)


def mean_length(shift: Array, cover: Array) -> Array:
    """Return the mean length of motions (N, 2, R, C), (N,), over what their covers (N, R, C) say was seen before."""
    lengths = np.sqrt(np.square(shift[:, 0]) + np.square(shift[:, 1])) * cover  # np.hypot takes four times as long
    return np.asarray(lengths.sum((1, 2)) / np.maximum(cover.sum((1, 2)), 1e-9))


def seed_range(settings: Settings, timeline: Timeline, scene: Scene, shown: range) -> tuple[float, float]:
    """Return the shares of the speeds foreseen between which those of most runs lie: (1, 1) without depth.

    Each seed paints a scene of its own, nearer or farther than the typical one. Where the camera only turns, that does
    not matter. A few of the frames stand for all.
    """
    if not settings.mode.has_depth or not settings.use_depth_warping or len(shown) < 2:
        return 1.0, 1.0
    grid, keys = Frame(*settings.size), distinct(settings, timeline)[0]
    some = keys[(keys > shown.start) & (keys < shown.stop)]
    some = np.sort(some)[:: max(len(some) // TRIED, 1)] if len(some) else np.array([shown.start + 1])

    def speed(way: float) -> float:
        source, cover = sources_of(settings, timeline, scene.nearer(way), grid)(some)
        return float(mean_length(np.clip(grid.positions - source, -grid.width, grid.width), cover).mean())

    usual = max(speed(0), 1e-9)
    return min(speed(-1) / usual, 1.0), max(speed(1) / usual, 1.0)


def distinct(settings: Settings, timeline: Timeline) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return frames with the different values of what moves the camera, and which of them each frame is like: (F,)."""
    curves = timeline.curves
    rows = np.array([getattr(curves, name) for name in moving(settings)]).reshape(-1, len(timeline))
    if settings.mode.has_depth:  # the lens of the frame before counts too
        lens = np.array([curves.fov, curves.aspect_ratio])
        rows = np.vstack((rows, lens[:, [0, *range(len(timeline) - 1)]]))
    differs = (rows != rows[:, :1]).any(axis=1)
    _, first, of_frame = np.unique(rows[differs], axis=1, return_index=True, return_inverse=True)
    return first, of_frame.reshape(-1)


def moving(settings: Settings) -> tuple[str, ...]:
    """Return the names of the parameters that move the camera in an animation mode."""
    flip = FLIP if settings.enable_perspective_flip else ()
    return (*(DEEP if settings.mode.has_depth else FLAT), *flip) if settings.mode.goes_on else ()


def params_at(settings: Settings, timeline: Timeline, frames: Indices) -> Params[Array]:
    """Return the parameters that move the camera, (N,) each, and only those."""
    values = {name: np.asarray(getattr(timeline.curves, name), np.float64)[frames] for name in moving(settings)}
    return cast("Params[Array]", SimpleNamespace(**values))


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
    flip, keeps = settings.enable_perspective_flip, PROFILES[settings.profile].flip_keeps_translation

    def sources(frames: Indices) -> tuple[Array, Array]:
        params = params_at(settings, timeline, frames)
        forward = flat_matrices(params, grid.width, grid.height, flip=flip, flip_keeps_translation=keeps)
        back = inverses(forward)[..., None, None]
        x, y = grid.positions
        w = back[:, 2, 0] * x + back[:, 2, 1] * y + back[:, 2, 2]
        mapped = back[:, :2, 0] * x + back[:, :2, 1] * y + back[:, :2, 2]
        source = mapped / np.where(np.abs(w) < 1e-9, 1e-9, w)[:, None]
        return source, grid.cover(source) * (w > 0)

    return sources


def _physical(settings: Settings, timeline: Timeline, scene: Scene, grid: Frame) -> Sources:
    nearness = at_grid(scene.nearness, PARTS, PARTS)
    x, y = grid.positions
    size = grid.width, grid.height

    def lenses(params: Params[Array]) -> Lenses:
        vertical = settings.aspect_ratio_use_old_formula
        return Lenses.of(params.fov, params.aspect_ratio, *size, fov_is_vertical=vertical)

    def sources(frames: Indices) -> tuple[Array, Array]:
        params, before = (params_at(settings, timeline, each) for each in (frames, np.maximum(frames - 1, 0)))
        new, old, poses = lenses(params), lenses(before), Poses.of(params)
        to_old = reprojections(poses.inverse(), new, old, *size)[..., None, None]
        to_new = reprojections(poses, old, new, *size)[:, 2, :, None, None]
        rays = to_old[:, :, 0] * x + to_old[:, :, 1] * y + to_old[:, :, 2]
        ratios = to_new[:, 0] * x + to_new[:, 1] * y + to_new[:, 2]
        ends = np.stack((UNITS / params.far, UNITS / params.near))[..., None, None]
        # Without depth all is at 1.
        least, most = ends if settings.use_depth_warping else np.ones_like(ends)

        def mapped(inverse_depth: Array) -> Array:
            # The depth is that of the old view; things are nearer in the new one where the camera comes closer.
            seen = inverse_depth / np.maximum(ratios + to_new[:, 3] * inverse_depth, 0.1)
            return np.asarray(rays + to_old[:, :, 3] * seen[:, None])

        found, farthest = mapped(least + nearness * (most - least)), mapped(least)
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
    edges = scene.slab_edges if settings.use_depth_warping else (0.0, 0.0)

    def sources(frames: Indices) -> tuple[Array, Array]:
        params = params_at(settings, timeline, frames)
        poses, reach = Poses.of(params), np.tan(np.radians(params.fov) / 2)
        aspect = grid.width / grid.height if settings.aspect_ratio_use_old_formula else params.aspect_ratio
        scale = np.stack((grid.width / 2 / (reach * aspect), grid.height / 2 / reach), axis=1)[..., None, None]
        back, translation = poses.rotation.mT[..., None, None], poses.translation[..., None, None]
        # Of a point's x and y; its depth comes on top.
        aside = back[:, :, 0] * at[0] + back[:, :, 1] * at[1] + translation

        def found(z: Array) -> Array:
            moved = aside + back[:, :, 2] * z
            return np.asarray(grid.positions - (moved[:, :2] / moved[:, 2:] - at / z) * scale)

        source = found(1 / inverse_depth)
        apart = (source - found(np.array(FARTHEST))) / (inverse_depth.mean() - 1 / FARTHEST)
        return source, grid.cover(source) * grid.not_hidden(apart, edges)

    return sources


def _flipped(settings: Settings, timeline: Timeline, grid: Frame, deep: Sources) -> Sources:
    """Apply the perspective flip before a camera's motion."""

    def sources(frames: Indices) -> tuple[Array, Array]:
        source, cover = deep(frames)
        params = params_at(settings, timeline, frames)
        back = inverses(perspective_flips(params, grid.width, grid.height))[..., None, None]
        x, y = source[:, 0], source[:, 1]
        mapped = back[:, :, 0] * x[:, None] + back[:, :, 1] * y[:, None] + back[:, :, 2]
        w = mapped[:, 2:]
        flipped = mapped[:, :2] / np.where(np.abs(w) < 1e-9, 1e-9, w)
        return flipped, cover * grid.cover(flipped)

    return sources
