"""What an exported path says of a point, and where the renderer's own warps move its pixel: the same place."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from deforum.camera_files.motion import MOTION, path_of_curves
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import FORMATS, read_camera
from deforum.motion.surface import DepthWarp, warp_physical
from tests.helpers import motion_of
from tests.helpers.cameras import SIZE, write_camera

WIDTH, HEIGHT = SIZE
FRAMES = 100
LOOKED_AT = [*range(0, FRAMES, 4), FRAMES - 1]
CUBE = np.array([(x, y, z) for x in (-0.3, 0.3) for y in (-0.3, 0.3) for z in (-2.3, -1.7)])
"""Corners in the world, scene units: x right, y up, the first camera looks along -z."""


def shot() -> dict[str, np.ndarray]:
    """An orbit around the cube, up and down, rolling, with a zoom: the cube stays in the picture."""
    t = np.arange(FRAMES, dtype=np.float64)
    curves = {
        "translation_x": 200 * np.full(FRAMES, 0.012) + 0.6 * np.sin(t / 7),
        "translation_y": 0.8 * np.cos(t / 9),
        "translation_z": 0.7 * np.sin(t / 20),
        "rotation_3d_x": 0.12 * np.cos(t / 9),
        "rotation_3d_y": -0.3437 + 0.1 * np.sin(t / 7),
        "rotation_3d_z": 0.4 * np.sin(t / 15),
        "fov": 70 - 15 * np.sin(t / 30),
        "aspect_ratio": np.ones(FRAMES),
    }
    return {name: np.concatenate(([0], curve[1:])) if name in MOTION else curve for name, curve in curves.items()}


def project(path: CameraPath, points: np.ndarray, scale: float) -> np.ndarray:
    """Project world points by plain formulas: (F, N, 2) px, pixel centres at whole numbers."""
    assert path.lens is not None
    seen = np.einsum("fji,fnj->fni", path.rotation, points[None] - path.position[:, None] * scale / 200)
    focal = path.lens.focal(WIDTH, HEIGHT)
    x = (WIDTH - 1) / 2 + focal[0][:, None] * seen[..., 0] / -seen[..., 2]
    y = (HEIGHT - 1) / 2 - focal[1][:, None] * seen[..., 1] / -seen[..., 2]
    return np.stack((x, y), axis=-1)


def tracked(curves: dict[str, np.ndarray]) -> np.ndarray:
    """Follow the pixels of the corners by the renderer's warps, frame by frame: (F, N, 2) px.

    A warp tells where the pixels of a surface go. Each corner is on its own: a wall at its depth. Every 4th frame is
    looked at.
    """
    first = path_of_curves({name: curve[:1] for name, curve in curves.items()}, SIZE)
    places = project(first, CUBE, 1)[0]
    depths = -CUBE[:, 2]
    frames = [motion_of(**{name: float(curves[name][index]) for name in curves}) for index in range(FRAMES)]
    found = []
    for place, depth in zip(places, depths, strict=True):
        whole: DepthWarp | None = None
        column = [place]
        for index, (before, frame) in enumerate(pairwise(frames), 1):
            wall = torch.full((HEIGHT, WIDTH), float(depth))
            step = warp_physical(wall, frame, WIDTH, HEIGHT, before=before)
            whole = step if whole is None else whole.then(step)
            assert whole.rigid is not None
            if index in LOOKED_AT:
                column.append(at(whole, place))
        found.append(column)
    return np.swapaxes(np.array(found), 0, 1)


def at(warp: DepthWarp, place: np.ndarray) -> np.ndarray:
    """Return where a warp moves what is at a place, between pixels: the mean of the four around, by their shares."""
    positions = warp.charts()[1].positions.numpy().astype(np.float64)
    x, y = (int(np.floor(each)) for each in place)
    right, down = place[0] - x, place[1] - y
    rows = positions[:, y : y + 2, x : x + 2] @ np.array([1 - right, right])
    moved: np.ndarray = rows @ np.array([1 - down, down])
    return moved


@pytest.fixture(scope="module")
def warped() -> np.ndarray:
    return tracked(shot())


@pytest.mark.parametrize("name", FORMATS)
def test_a_cube_is_where_the_warps_move_its_pixels(name: str, warped: np.ndarray, tmp_path: Path) -> None:
    """Within half a px over 100 frames; with the scale of 50 that scenes in metres have."""
    assert warped.min() > 0 and (warped < SIZE).all()
    assert np.abs(warped - warped[0]).max() > 25  # it does move
    path = path_of_curves(shot(), SIZE, 23.976)
    found, row = read_camera(write_camera(tmp_path, name, path, scale=50), Wanted(23.976))
    if row.title.startswith("After Effects"):
        found = CameraPath(
            found.times, found.rotation, found.position - (WIDTH / 2, -HEIGHT / 2, 0), found.lens, found.rate
        )
    assert np.abs(project(found, CUBE, 50)[LOOKED_AT] - warped).max() < 0.05


def test_composed_warps_and_steps_are_one_way() -> None:
    """The cube again, moved step by step with the depth that each warp gives, in place of one composed warp."""
    curves = {name: curve[:12] for name, curve in shot().items()}
    frames = [motion_of(**{name: float(curve[index]) for name, curve in curves.items()}) for index in range(12)]
    place = project(path_of_curves(curves, SIZE), CUBE, 1)
    depth = torch.full((HEIGHT, WIDTH), float(-CUBE[0, 2]))
    here = place[0, 0]
    for before, frame in pairwise(frames):
        step = warp_physical(depth, frame, WIDTH, HEIGHT, before=before)
        here, depth = at(step, here), step.depth
    assert here == pytest.approx(place[-1, 0], abs=0.1)
