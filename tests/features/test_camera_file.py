"""A camera file in a run: the frames are where it says, it is edited, and it is a part of the run's record."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deforum.animation.painter import each
from deforum.build import prepare
from deforum.camera_files.motion import path_of_curves
from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import FORMATS, read_camera
from deforum.loading import load
from deforum.output.inputs import find_inputs
from deforum.pixels.image import Image
from deforum.reports.edit import Part, compare
from tests.helpers import STILL, assembled, keeping, settings_maker
from tests.helpers.cameras import random_curves, random_path, write_camera

SIDE, COUNT = 128, 14
DOTS = [(40, 44), (88, 52), (60, 90)]
MODELLED: dict[str, object] = {
    "animation_mode": "3D", "max_frames": COUNT, "width": SIDE, "height": SIDE, "use_depth_warping": "false",
    "strength": 1, "sampling_mode": "bilinear", "padding_mode": "zeros", "cadence": 3, "fps": 24,
}  # fmt: skip


def dots() -> Image:
    """A wall with round dots; painted once, and moved by the camera alone."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    light = [torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 8.0) for at in DOTS]
    return torch.stack(light).sum(0).expand(3, -1, -1).contiguous()


def found_dots(image: Image, near: np.ndarray) -> np.ndarray:
    """Return the middle of the light around each place, in px."""
    light = image.mean(0).numpy().astype(np.float64)
    y, x = np.mgrid[:SIDE, :SIDE]
    middles = []
    for at in near:
        weight = light * (((x - at[0]) ** 2 + (y - at[1]) ** 2) < 36)
        middles.append(((weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()))
    return np.array(middles)


@pytest.mark.parametrize("cadence", [1, 3])
def test_painted_dots_are_where_the_file_sees_them(cadence: int, tmp_path: Path) -> None:
    """The whole loop, with in-betweens: frame n of the film and pose n of the file belong together."""
    curves = random_curves(8, COUNT, turn=0.6, move=4) | {"fov": np.linspace(60, 75, COUNT)}
    file = write_camera(tmp_path, "chan", path_of_curves(curves, (SIDE, SIDE), 24), scale=50)
    settings = settings_maker(tmp_path, STILL | MODELLED | {"cadence": cadence})(
        camera_file="shot.chan", camera_scale=50
    )
    path = read_camera(file, Wanted())[0]
    assert path.lens is not None
    focal = path.lens.focal(SIDE, SIDE)[0]
    middle = (SIDE - 1) / 2
    # The wall is 1 scene unit, 200 translations, 4 units of the file, ahead of the first camera.
    wall = np.array([((x - middle) / focal[0] * 4, -(y - middle) / focal[0] * 4, -4) for x, y in DOTS])
    seen = np.einsum("fji,fnj->fni", path.rotation, wall[None] - path.position[:, None])
    places = middle + focal[:, None, None] * np.stack((seen[..., 0], -seen[..., 1]), -1) / -seen[..., 2:]
    assert np.abs(places - places[0]).max() > 5
    for frame, image in assembled(settings, each(keeping(dots()))).frames():
        assert found_dots(image, places[frame.index]) == pytest.approx(places[frame.index], abs=0.25)


def test_an_edit_renders_from_the_frame_on_that_moves_otherwise(tmp_path: Path) -> None:
    path = random_path(0, 12)
    write_camera(tmp_path, "chan", path)
    make = settings_maker(tmp_path, STILL | MODELLED | {"cadence": 1, "max_frames": 12})
    then = prepare(make(camera_file="shot.chan"))
    longer = random_curves(0, 12)
    longer["translation_x"] = longer["translation_x"] + 5 * (np.arange(12) >= 7)
    shutil.copy(tmp_path / "shot.chan", tmp_path / "first.chan")
    first = prepare(make(camera_file="first.chan"))
    assert compare([Part(then, 0, 12)], first, 12).first == 12  # another name, the same camera
    (tmp_path / "other").mkdir()
    write_camera(tmp_path / "other", "chan", path_of_curves(longer, (256, 144), 24))
    edited = compare([Part(then, 0, 12)], prepare(make(camera_file="other/shot.chan")), 12)
    assert edited.first == 7 and edited.reasons[0].name == "translation_x"
    scaled = compare([Part(then, 0, 12)], prepare(make(camera_file="shot.chan", camera_scale=50)), 12)
    assert scaled.first == 1


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_of_a_camera_are_inputs_of_the_run(name: str, tmp_path: Path) -> None:
    target = write_camera(tmp_path / "cameras", name, random_path(0, 5))
    (target.parent / "image.raw").write_bytes(b"x" * 1000)
    settings = load(
        {"animation_mode": "3D", "camera_file": str(target), "prompts": {"0": "a"}, "max_frames": 5, "seed": 1}
    ).settings
    inputs = {Path(each.path).name for each in find_inputs(prepare(settings))}
    wanted = {"cameras.txt", "images.txt"} if name == "colmap" else {target.name}
    assert wanted <= inputs and not {"image.raw", "points3D.txt"} & inputs
