"""A camera file as a setting: what it drives, what is said, and that a run of it is the run that it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deforum.build import prepare
from deforum.camera_files.motion import LENS, MOTION
from deforum.camera_files.table import FORMATS
from deforum.errors import UserError
from deforum.loading import load
from deforum.reports.camera import shot_of
from deforum.reports.tabulate import look
from deforum.settings.read import dump
from tests.helpers import write_settings
from tests.helpers.cameras import random_path, write_camera

MOVING: dict[str, object] = {
    "animation_mode": "3D", "max_frames": 20, "width": 128, "height": 64, "prompts": "{0: a}", "seed": 1,
    "fps": 23.976, "translation_x": "5*sin(t/3)", "translation_y": '"0:(1), 10:(-2)"', "translation_z": 3,
    "rotation_3d_x": "0.5*cos(t/4)", "rotation_3d_y": 1.5, "rotation_3d_z": -0.7, "fov": '"0:(50), 19:(80)"',
}  # fmt: skip


def loaded(folder: Path, **values: object) -> Any:
    base = {"animation_mode": "3D", "max_frames": 20, "width": 128, "height": 64, "prompts": "{0: a}", "fps": 23.976}
    return load(write_settings(folder, base | values))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_a_run_of_an_exported_path_is_the_run_itself(name: str, profile: str, tmp_path: Path) -> None:
    first = load(write_settings(tmp_path, MOVING | {"profile": profile})).settings
    shot = shot_of(tmp_path / "settings.yaml")
    file = write_camera(tmp_path, name, shot.path)
    curves = look(first).curves
    again = loaded(tmp_path, profile=profile, camera_file=file.name).settings
    found = look(again).curves
    for each in (*MOTION, *LENS):
        ours, theirs = getattr(curves, each), getattr(found, each)
        # Deforum's lens in a format without the shape of pixels: its pictures are twice as wide as high.
        if each in LENS and profile == "deforum" and not FORMATS[name].pixel:
            continue
        np.testing.assert_allclose(theirs[1:], ours[1:], atol=1e-3 if FORMATS[name].in_seconds else 1e-6)


CAMERA = ("camera: {file: shot.chan, scale: 50, rotation_order: XYZ}", "camera: shot.chan",
          "camera_file: shot.chan", "camera:\n  file: shot.chan\n  near: 100\n")  # fmt: skip


@pytest.mark.parametrize("text", CAMERA)
def test_ways_to_write_it(text: str, tmp_path: Path) -> None:
    write_camera(tmp_path, "chan", random_path(0, 20))
    (tmp_path / "a.yaml").write_text(f"animation_mode: 3D\nprompts: {{0: a}}\n{text}\n")
    settings = load(tmp_path / "a.yaml").settings
    assert settings.camera_file == str(tmp_path / "shot.chan")
    assert settings.camera_scale == (50 if "scale" in text else None)
    (tmp_path / "b.yaml").write_text(dump(settings))
    assert load(tmp_path / "b.yaml").settings == settings
    given = load(tmp_path / "a.yaml", ["camera.scale=7", "camera.name=x"]).settings
    assert (given.camera_scale, given.camera_name, given.params.cfg_scale.text) == (7, "x", "0: (7)")


@pytest.mark.parametrize("override", ["camera=shot.chan", "camera={file: shot.chan}", "camera.file=shot.chan"])
def test_ways_to_say_it_on_the_command_line(override: str, tmp_path: Path) -> None:
    write_camera(tmp_path, "chan", random_path(0, 20))
    (tmp_path / "a.yaml").write_text("animation_mode: 3D\nprompts: {0: a}\n")
    assert load(tmp_path / "a.yaml", [override]).settings.camera_file == str(tmp_path / "shot.chan")


def test_scale_rate_and_start(tmp_path: Path) -> None:
    path = random_path(0, 40, 24)
    write_camera(tmp_path, "chan", path)
    usual = look(loaded(tmp_path, camera_file="shot.chan").settings).curves
    scaled = look(loaded(tmp_path, camera_file="shot.chan", camera_scale=50).settings).curves
    np.testing.assert_allclose(scaled.translation_x, usual.translation_x / 4, atol=1e-9)
    np.testing.assert_allclose(scaled.rotation_3d_x, usual.rotation_3d_x)
    late = look(loaded(tmp_path, camera_file="shot.chan", camera_start=10).settings).curves
    np.testing.assert_allclose(late.translation_x[1:], [*look(loaded(
        tmp_path, camera_file="shot.chan", max_frames=30).settings).curves.translation_x[11:]])  # fmt: skip
    slow = look(loaded(tmp_path, camera_file="shot.chan", camera_rate=12, fps=24).settings).curves
    fovs = np.degrees(2 * np.arctan(np.tan(np.radians(usual.fov) / 2)))
    np.testing.assert_allclose(slow.fov[::2], fovs[:10], atol=1e-9)


def test_what_is_said(tmp_path: Path) -> None:
    write_camera(tmp_path, "chan", random_path(0, 12))
    found = loaded(tmp_path, camera_file="shot.chan", translation_z=5, zoom=2, fov=50)
    assert "in place of the schedules given as translation_z, fov" in "\n".join(found.report)
    notes = "\n".join(prepare(found.settings).notes)
    assert "shot.chan (Nuke, 12 poses) drives translation_x" in notes
    assert "the camera rests from there on" in notes and "frame 11" in notes
    (tmp_path / "shot.chan").write_text("1 0 0 0 0 0 0\n2 1 0 0 0 0 0\n")
    found = loaded(tmp_path, camera_file="shot.chan", fov=50)
    assert "it has no field of view; fov is used" in "\n".join(prepare(found.settings).notes)
    assert look(found.settings).curves.fov[5] == 50
    flat = loaded(tmp_path, camera_file="shot.chan", animation_mode="2D", translation_x=3)
    assert look(flat.settings).curves.translation_x[5] == 3
    assert any("without effect in 2D mode, only in 3D: camera_file" in line for line in flat.report)


MISTAKES = [
    ({"camera_file": "nix.chan"}, "settings.yaml:7:14: camera_file: there is no file 'nix.chan'"),
    ({"camera_file": "bad.chan"}, "bad.chan:1: this line has 2 columns"),
    ({"camera_file": "shot.chan", "camera_start": 99}, "camera_start is 99; the poses of shot.chan are at 0 to 11"),
    ({"camera_file": "shot.chan", "camera_scale": 0}, "camera_scale: 0 is out of range"),
    ({"camera_file": "shot.chan", "camera_scale": 1000000}, "a smaller camera_scale"),
    ({"camera_file": "shot.chan", "camera_rotation_order": "XYX"}, "did you mean"),
    ({"camera_file": "shot.chan", "height": "null"}, "give both width and height"),
    ({"camera_file": "settings.yaml"}, "no camera file that is known"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "says"), MISTAKES, ids=[says for _, says in MISTAKES])
def test_mistakes(values: dict[str, object], says: str, tmp_path: Path) -> None:
    write_camera(tmp_path, "chan", random_path(0, 12, move=3000))
    (tmp_path / "bad.chan").write_text("1 2\n")
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, **values)
    assert says in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    write_camera(tmp_path, "chan", random_path(0, 20))
    settings = loaded(tmp_path, camera_file="shot.chan").settings
    before = look(settings).curves.translation_x
    write_camera(tmp_path, "chan", random_path(1, 21))
    assert not np.allclose(look(settings).curves.translation_x, before)
