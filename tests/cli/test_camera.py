"""The command camera: paths of settings and of camera files, and a frame of a run as points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import read_camera
from deforum.depth.maps import to_exr, to_levels, to_png
from deforum.features.depth_record import ends_of
from deforum.loading import load
from deforum.reports.tabulate import look
from tests.helpers.cameras import random_path, write_camera
from tests.helpers.command import Say

MOVING = "animation_mode: 3D\nmax_frames: 6\nwidth: 64\nheight: 32\nprompts: {0: a}\nrotation_3d_y: 10\nseed: 1\n"


def test_the_path_of_settings(say: Say) -> None:
    Path("b.yaml").write_text(MOVING)
    said = say("camera", "b.yaml", "max_frames=7", "-o", "new/shot.chan")
    assert (said.status, said.out) == (0, "new/shot.chan\n")
    assert "Nuke: 7 frames of 128x64, 15 fps" in said.err  # as the frames are written
    found, _ = read_camera(Path("new/shot.chan"), Wanted())
    assert found.position[1] == pytest.approx(np.array((0, 0, -1.75 / 200)) @ _turned(10).T)
    np.testing.assert_allclose(found.rotation[3], _turned(30), atol=1e-9)
    again = say("camera", "b.yaml", "-o", "new/shot.chan")
    assert again.status == 2 and "already exists" in again.err
    assert say("camera", "b.yaml", "-o", "new/shot.chan", "--overwrite", "--scale", "50", "--order", "xyz").status == 0
    scaled, _ = read_camera(Path("new/shot.chan"), Wanted(rotation_order="XYZ"))
    np.testing.assert_allclose(scaled.position[:6], 4 * found.position[:6], atol=1e-9)


def _turned(degrees: float) -> np.ndarray:
    """The camera turned to the right."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])


def test_a_camera_file_in_another_format(say: Say) -> None:
    write_camera(Path(), "glb", random_path(0, 9, 24), scale=50)
    assert say("camera", "shot.glb", "-o", "model", "--format", "colmap", "--scale", "50").status == 0
    ours, theirs = read_camera(Path("shot.glb"), Wanted())[0], read_camera(Path("model"), Wanted())[0]
    # Its unit is a scene unit where nothing is said: 4 of the 50 that were written.
    np.testing.assert_allclose(theirs.position, 4 * ours.position, atol=1e-5)
    np.testing.assert_allclose(theirs.rotation, ours.rotation, atol=1e-6)
    assert theirs.size == (256, 144) and sorted(each.name for each in Path("model").iterdir()) == [
        "cameras.txt", "images.txt", "points3D.txt",
    ]  # fmt: skip
    said = say("camera", "model", "fps=12", "camera_rate=24", "-o", "x.txt", "--format", "after_effects")
    assert said.status == 0 and len(read_camera(Path("x.txt"), Wanted())[0]) == 5


def test_camera_files_are_no_settings(say: Say) -> None:
    """In a folder they are passed over; given as settings, the message says what they are for."""
    Path("a.yaml").unlink()
    for name in ("transforms", "camera_path", "gltf"):
        target = write_camera(Path(), name, random_path(0, 3)).rename(f"{name}.json")
        said = say("check", target)
        assert said.status == 2 and "give it as camera_file" in said.err
    folder = Path("folder")
    for name in ("transforms", "camera_path", "colmap"):
        write_camera(folder, name, random_path(0, 3))
    for file in (folder / "model").iterdir():
        file.rename(folder / file.name)
    (folder / "b.yaml").write_text(MOVING + "camera: .\n")
    said = say("check", folder)
    assert said.status == 0 and "b.yaml: good" in said.out
    assert "images.txt (COLMAP" in said.err


MISTAKES = [
    (("a.yaml", "-o", "a.chan"), "only the camera of 3D moves in space"),
    (("b.yaml",), "expected -o OUT"),
    (("b.yaml", "-o", "a.txt"), "add --format"),
    (("b.yaml", "-o", "a.chan", "--format", "chn"), "did you mean chan"),
    (("b.yaml", "-o", "a.chan", "--order", "XX"), "no order of angles"),
    (("b.yaml", "-o", "a.chan", "--scale", "0"), "out of range"),
    (("b.yaml", "-o", "a.chan", "--frame", "1"), "--frame is of points"),
    (("b.yaml", "-o", "a.ply"), "give the folder of a run"),
    (("a.yaml", "b.yaml", "-o", "a.ply"), "2 were given"),
    (("run", "-o", "a.ply"), "there is no depth of frame 0"),
    (("run", "-o", "a.ply", "--frame", "9"), "the run has frames 0 to 5"),
    (("nix.chan", "-o", "a.chan"), "no such file"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "says"), MISTAKES, ids=[says for _, says in MISTAKES])
def test_mistakes(words: tuple[str, ...], says: str, say: Say) -> None:
    Path("b.yaml").write_text(MOVING)
    Path("run").mkdir()
    Path("run/settings.yaml").write_text(MOVING)
    said = say("camera", *words)
    assert said.status == 2 and says in said.err and "Traceback" not in said.err


@pytest.mark.parametrize("suffix", ["exr", "png"])
def test_a_frame_as_points(suffix: str, say: Say) -> None:
    """A wall of two colours: its points lie where the camera of frame 3 sees them."""
    cv2 = pytest.importorskip("cv2")
    for folder in ("run/depth", "run/frames"):
        Path(folder).mkdir(parents=True)
    Path("run/settings.yaml").write_text(MOVING)
    depth = torch.full((32, 64), 4.0)
    settings = load("run/settings.yaml", to_render=False).settings
    ends = ends_of(settings, look(settings))
    assert ends is not None
    encoded = to_exr(depth) if suffix == "exr" else to_png(to_levels(depth, *ends))
    Path(f"run/depth/000000003.{suffix}").write_bytes(encoded)
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, :64], picture[:, 64:] = (0, 0, 255), (255, 0, 0)  # BGR: red at the left, blue at the right
    cv2.imwrite("run/frames/000000003.png", picture)
    assert say("camera", "run", "-o", "points.ply", "--frame", "3", "--scale", "100").status == 0
    table, comments = read_ply(Path("points.ply"))
    assert "frame 3; x right, y up, z back; a unit is 0.5 scene units" in comments
    points = np.stack([table[name] for name in "xyz"], axis=1).astype(float)
    assert say("camera", "run", "-o", "a.chan", "--scale", "100").status == 0
    path = read_camera(Path("a.chan"), Wanted())[0]
    seen = (points - path.position[3]) @ path.rotation[3]
    assert seen[:, 2] == pytest.approx(np.full(2048, -8), rel=1e-3)  # 4 scene units ahead
    focal = 32 / np.tan(np.radians(35))
    assert 31.5 + focal * seen[:64, 0] / -seen[:64, 2] == pytest.approx(np.arange(64), abs=1e-2)
    assert 15.5 - focal * seen[::64, 1] / -seen[::64, 2] == pytest.approx(np.arange(32), abs=1e-2)
    assert table["red"][0] == 255 and table["blue"][0] == 0 and table["blue"][63] == 255


def read_ply(path: Path) -> tuple[np.ndarray, str]:
    """Read points by plyfile where it is, else as the format says."""
    head, _, content = path.read_bytes().partition(b"end_header\n")
    try:
        from plyfile import PlyData
    except ImportError:
        kinds = {"float": "<f4", "uchar": "u1"}
        fields = [line.split() for line in head.decode().splitlines() if line.startswith("property")]
        return np.frombuffer(content, [(name, kinds[kind]) for _, kind, name in fields]), head.decode()
    return np.asarray(PlyData.read(str(path))["vertex"].data), head.decode()
