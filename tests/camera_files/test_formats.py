"""Camera files: paths come back from every format, and files of other programs are read as their formats say."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deforum.camera_files.motion import LENS, MOTION, curves_of, path_of_curves
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import Wanted
from deforum.camera_files.rotations import of_euler, to_quaternion
from deforum.camera_files.table import FORMATS, format_of, losses, read_camera
from deforum.errors import UserError
from tests.helpers.cameras import NAMES, SIZE, random_curves, random_path, write_camera

EXACT = 1e-5


def read(path: Path, **wanted: Any) -> CameraPath:
    return read_camera(path, Wanted(**wanted))[0]


def apart(found: CameraPath, path: CameraPath, scale: float) -> float:
    """Return the largest difference of poses, relative to the first one: in rotation, and in scene units."""
    turned = found.rotation[0] @ path.rotation[0].T
    place = (found.position - found.position[0]) * scale @ turned - (path.position - path.position[0])
    return float(max(np.abs(found.rotation - turned @ path.rotation).max(), np.abs(place).max() / 200))


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [24.0, 24000 / 1001, 59.94])
@pytest.mark.parametrize("name", FORMATS)
def test_paths_come_back(name: str, fps: float, tmp_path: Path) -> None:
    for seed, steps in enumerate(({}, {"turn": 90.0, "move": 500.0}, {"turn": 0.0, "move": 0.01})):
        path = random_path(seed, 40, fps, **steps)
        file = write_camera(tmp_path, name, path)
        found, row = read_camera(file, Wanted(fps))
        assert row.title == FORMATS[name].title
        assert len(found) == 40 and (found.rate is None or found.rate == pytest.approx(fps, rel=1e-9))
        assert apart(found, path, row.scale) < EXACT
        assert found.lens is not None and path.lens is not None
        # Strings tell no size: their field of view is that of any width.
        ours, theirs = path.lens.focal(*SIZE)[1], found.lens.focal(*SIZE)[1]
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_parameters_come_back(name: str, tmp_path: Path) -> None:
    """From curves to a file and back: what a run of the file renders is what the first run rendered."""
    curves = random_curves(5, 30)
    file = write_camera(tmp_path, name, path_of_curves(curves, SIZE, 23.976), scale=50)
    found, row = read_camera(file, Wanted(23.976))
    back = curves_of(found.sampled(30, 23.976), SIZE, 50)
    for each in MOTION:
        np.testing.assert_allclose(back[each], curves[each], atol=2e-4 if row.in_seconds else 1e-6)
    np.testing.assert_allclose(back["fov"], curves["fov"], atol=1e-4)


@pytest.mark.parametrize("name", ["transforms", "colmap", "after_effects", "gltf"])
def test_pixels_that_are_not_square_come_back(name: str, tmp_path: Path) -> None:
    curves = random_curves(2, 5) | {"aspect_ratio": np.full(5, 1.5)}
    found = read(write_camera(tmp_path, name, path_of_curves(curves, SIZE, 24)), fps=24.0)
    back = curves_of(found, SIZE)
    assert back["aspect_ratio"] == pytest.approx(np.full(5, 1.5))
    assert back["fov"] == pytest.approx(curves["fov"])
    assert not losses(path_of_curves(curves, SIZE, 24), FORMATS[name])


def test_formats_say_what_they_leave_out() -> None:
    path = path_of_curves(random_curves(2, 5) | {"aspect_ratio": np.linspace(1, 2, 5)}, SIZE, 24)
    told = {name: losses(path, row) for name, row in FORMATS.items()}
    assert {name for name, notes in told.items() if not notes} == {"transforms", "colmap"}
    assert "square" in told["chan"][0] and "first" in told["glb"][0]


@pytest.mark.parametrize("order", ["XYZ", "ZXY", "YXZ"])
def test_gimbal_places_and_orders_of_chan(order: str, tmp_path: Path) -> None:
    turns = np.array([(x, y, z) for x in (0, 90, -90) for y in (0, 90, 180) for z in (0, 45, 90)], float)
    path = random_path(0, len(turns))
    path = CameraPath(path.times, of_euler(turns, "YZX"), path.position, path.lens, path.rate, path.size)
    found = read(write_camera(tmp_path, "chan", path, order=order), rotation_order=order)
    assert apart(found, path, 200) < EXACT
    with pytest.raises(AssertionError):
        assert apart(read(tmp_path / NAMES["chan"], rotation_order="ZYX"), path, 200) < EXACT


@pytest.mark.parametrize("rule", ["across", "down", "slab"])
def test_lenses_come_back_by_every_rule_of_the_renderer(rule: Any) -> None:
    curves = random_curves(4, 6)
    if rule == "slab":
        curves["aspect_ratio"] = np.full(6, 16 / 9)
    path = path_of_curves(curves, SIZE, 24, rule=rule)
    back = curves_of(path, SIZE, 1, rule)
    for each in (*MOTION, *LENS):
        np.testing.assert_allclose(back[each], curves[each], atol=1e-9)


def test_another_rate_keeps_the_time() -> None:
    path = random_path(3, 49, 24)
    at_12 = path.sampled(25, 12)
    assert np.array_equal(at_12.rotation, path.rotation[::2]) and np.array_equal(at_12.position, path.position[::2])
    at_48 = path.sampled(97, 48)
    np.testing.assert_allclose(at_48.position[1::2], (path.position[1:] + path.position[:-1]) / 2, atol=1e-9)
    assert path.frames(12) == 25 and path.frames(48) == 97 and path.frames(24, 10) == 39
    late = path.sampled(3, 24, 47)
    assert np.array_equal(late.position, path.position[[47, 48, 48]])  # after its end the camera rests


# --- files of other programs ------------------------------------------------------------------------------------------

CHAN = "1\t0 0 0\t0 0 0\t45\n2\t1 0 -2\t0 90 0\t45\n"
"""Two frames: at the origin; then one to the right, two ahead, turned to the left."""


def two_poses(found: CameraPath, scale: float = 1.0) -> None:
    """Assert the motion of CHAN: relative to the first pose."""
    to_first = found.rotation[0].T
    np.testing.assert_allclose(to_first @ (found.position[1] - found.position[0]) * scale, (1, 0, -2), atol=1e-6)
    np.testing.assert_allclose(to_first @ found.rotation[1] @ (0, 0, -1), (-1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(to_first @ found.rotation[1] @ (0, 1, 0), (0, 1, 0), atol=1e-6)
    assert list(found.times) == [found.times[0], found.times[0] + 1]


def chan(text: str) -> dict[str, str | bytes]:
    return {"a.chan": text}


POSES = (
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    [[0, 0, 1, 1], [0, 1, 0, 0], [-1, 0, 0, -2], [0, 0, 0, 1]],
)


def transforms(top: dict[str, Any], frames: list[dict[str, Any]] | None = None) -> dict[str, str | bytes]:
    frames = frames or [{"file_path": f"images/{n + 1:04}.png", "transform_matrix": p} for n, p in enumerate(POSES)]
    return {"transforms.json": json.dumps({**top, "frames": frames})}


def camera_path(top: dict[str, Any], **each: Any) -> dict[str, str | bytes]:
    poses = [{"camera_to_world": [float(v) for row in pose for v in row], **each} for pose in POSES]
    return {"camera_path.json": json.dumps({**top, "camera_path": poses})}


HALF = math.sqrt(0.5)
# World to camera, x right, y down, z ahead: R = F turn(-90 about y) F, t = -R c with c = (1, 0, 2).
IMAGES = ("1 1 0 0 0 0 0 0 1 a_1.png\n{}\n", f"2 {HALF} 0 {HALF} 0 -2 0 1 1 a_2.png\n{{}}\n")
PINHOLE = "1 PINHOLE 200 100 120 120 100 50\n"


def colmap(cameras: str, images: str, folder: str = "m") -> dict[str, str | bytes]:
    return {f"{folder}/cameras.txt": cameras, f"{folder}/images.txt": images}


def gltf(root: dict[str, Any], numbers: list[float] | None = None, at: str = "a.gltf") -> dict[str, str | bytes]:
    binary = struct.pack(f"<{len(numbers or [])}f", *(numbers or []))
    uri = "data:application/gltf-buffer;base64," + base64.b64encode(binary).decode()
    return {at: json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": uri, "byteLength": len(binary)}], **root})}


def keys(*, way: str = "LINEAR", node: int = 0) -> dict[str, Any]:
    """Keys of CHAN at 0 s and 1/24 s: times, then places, then quaternions."""
    views = [{"buffer": 0, "byteOffset": at, "byteLength": size} for at, size in ((0, 8), (8, 24), (32, 32))]
    kinds = ("SCALAR", "VEC3", "VEC4")
    return {
        "bufferViews": views,
        "accessors": [{"bufferView": n, "componentType": 5126, "count": 2, "type": kinds[n]} for n in range(3)],
        "animations": [{
            "samplers": [{"input": 0, "output": 1, "interpolation": way}, {"input": 0, "output": 2}],
            "channels": [{"sampler": 0, "target": {"node": node, "path": "translation"}},
                         {"sampler": 1, "target": {"node": node, "path": "rotation"}}],
        }],
    }  # fmt: skip


NUMBERS = [0, 1 / 24, 0, 0, 0, 1, 0, -2, 0, 0, 0, 1, 0, -HALF, 0, -HALF]  # the second quaternion has the other sign
LENS_GLTF = {"cameras": [{"type": "perspective", "perspective": {"yfov": math.radians(45), "znear": 0.1}}]}

AE = """Adobe After Effects 8.0 Keyframe Data

\tUnits Per Second\t24
\tSource Width\t200
\tSource Height\t100
\tSource Pixel Aspect Ratio\t1
\tComp Pixel Aspect Ratio\t1

Transform\tPosition
\tFrame\tX pixels\tY pixels\tZ pixels\t
\t0\t100\t50\t-120\t
\t1\t101\t50\t-118\t

Transform\tOrientation
\tFrame\tX degrees\tY degrees\tZ degrees\t
\t0\t0\t0\t0\t
\t1\t0\t270\t0\t

Camera Options\tZoom
\tFrame\tpixels\t
\t\t120\t

End of Keyframe Data
"""

ORIENTATION = AE[AE.index("Transform\tOrientation") : AE.index("\n\nCamera Options")]
AXES = "Transform\tY Rotation\n\tFrame\tdegrees\t\n\t0\t0\t\n\t1\t-90\t\n\nTransform\tRotation\n\tFrame\tdegrees\n\t\t0"

STRINGS = """# Camera 1
translation_x = "0: (0), 1: (1)"
translation_y = "0:(0)" #@param {type:"string"}
translation_z = "0:(0), 1:(2)"
rotation_3d_x = "0:(0)"
rotation_3d_y = "0:(0), 1:(-90)"
rotation_3d_z = "0:(0)"
"""
# A step turns first: what is one right and two ahead of the old camera is two left and one ahead of the new one.
TURNED = STRINGS.replace("1: (1)", "1: (2)").replace("1:(2)", "1:(-1)")

FILES: list[tuple[str, dict[str, str | bytes], float | None]] = [
    # (what is special, files, vertical field of view in degrees; None: not in the file)
    ("chan", chan(CHAN), 45),
    ("chan without lens", chan(CHAN.replace("\t45", "")), None),
    ("chan with comments and empty lines", chan("# exported\n\n" + CHAN.replace("\n2", "\n  // x\n\n2")), 45),
    ("chan with comments behind", chan(CHAN.replace("45\n", "45  # a key, 3\n")), 45),
    ("chan of Windows", chan(CHAN.replace("\n", "\r\n")), 45),
    ("chan of an old Mac, without a last line break", chan(CHAN.strip().replace("\n", "\r")), 45),
    ("chan with a byte order mark", {"a.chan": b"\xef\xbb\xbf" + CHAN.encode()}, 45),
    ("chan in UTF-16", {"a.chan": CHAN.encode("utf-16")}, 45),
    ("chan in another order of frames", chan("".join(reversed(CHAN.splitlines(keepends=True)))), 45),
    ("chan with commas, exponents and more columns",
     chan("1.0, 0,0,0, 0,0,0, 4.5e1, 7\n2.0, 1,0,-2, 0,9e1,0, 45, 7\n"), 45),
    ("chan with names of columns", chan("# vfov frame rx ry rz tx ty tz\n45 1 0 0 0 0 0 0\n45 2 0 90 0 1 0 -2\n"), 45),
    ("chan with a line of names", chan("frame tx ty tz rx ry rz vfov\n" + CHAN), 45),
    ("transforms", transforms({"fl_x": 120, "fl_y": 120, "cx": 100, "cy": 50, "w": 200, "h": 100}), None),
    ("transforms, frames in another order", transforms({"camera_angle_x": 0.7}, [
        {"file_path": f"./train/r_{n}.png", "rotation": 0.01, "transform_matrix": POSES[n]} for n in (1, 0)]), None),
    ("transforms without names", transforms({}, [{"transform_matrix": pose} for pose in POSES]), None),
    ("transforms of 3 x 4, scaled", transforms({}, [
        {"file_path": f"{n}.jpg", "transform_matrix": [[*(2 * v for v in row[:3]), row[3]] for row in POSES[n][:3]]}
        for n in (0, 1)]), None),
    ("transforms under another name", {"x.json": str(transforms({})["transforms.json"])}, None),
    ("camera path", camera_path({"fps": 24, "render_width": 200, "render_height": 100}, fov=45, aspect=2), 45),
    ("camera path with one field of view", camera_path({"default_fov": 45}), 45),
    ("transforms, other names", transforms({}, [
        {"file_path": name, "transform_matrix": POSES[n]} for n, name in ((1, "b10/x2"), (0, "b9/x30"))]), None),
    ("camera path, of seconds, with null", camera_path({"seconds": 2, "fps": None, "crop": None}, fov=45), 45),
    ("camera path without lens", camera_path({"camera_type": "perspective"}), None),
    ("COLMAP", colmap("# cameras\n" + PINHOLE, "# images\n" + "".join(IMAGES).format("", "")), None),
    ("COLMAP with points", colmap(PINHOLE, "".join(IMAGES).format("1.5 2.5 -1 3 4 7", "9 9 -1")), None),
    ("COLMAP without lines of points", colmap(PINHOLE, "".join(IMAGES).replace("{}\n", "")), None),
    ("COLMAP of Windows, in another order", colmap(PINHOLE, (IMAGES[1] + IMAGES[0]).format("", "")
                                                   .replace("\n", "\r\n")), None),
    ("COLMAP's project", colmap(PINHOLE, "".join(IMAGES).format("", ""), "m/sparse/0"), None),
    ("COLMAP with distortion", colmap("7 SIMPLE_RADIAL 200 100 120 100 50 0\n",
                                      "".join(IMAGES).format("", "").replace(" 1 a_", " 7 a_")), None),
    ("glTF", gltf({"nodes": [{"camera": 0}], **LENS_GLTF, **keys()}, NUMBERS), 45),
    ("glTF with its numbers in a file beside", gltf(
        {"nodes": [{"camera": 0}], **LENS_GLTF, **keys(), "buffers": [{"uri": "my%20numbers.bin"}]})
        | {"my numbers.bin": struct.pack(f"<{len(NUMBERS)}f", *NUMBERS)}, 45),
    ("glTF, a parent with a matrix", gltf({
        "nodes": [{"camera": 0}, {"children": [0], "matrix": [0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 7, 8, 9, 1]}],
        **LENS_GLTF, **keys()}, NUMBERS), 45),
    ("glTF, a parent that moves and turns", gltf({
        "nodes": [{"camera": 0}, {"children": [0], "scale": [3, 3, 3]}, {"children": [1]}], **LENS_GLTF,
        **keys(node=2)}, NUMBERS), 45),
    ("glTF, the camera turned within what moves", gltf({
        "nodes": [{"children": [1]}, {"camera": 0, "rotation": [HALF, 0, 0, -HALF]}], **LENS_GLTF,
        "scene": 0, **keys(node=0)}, NUMBERS), -1),
    ("After Effects", {"k.txt": AE}, None),
    ("After Effects of Windows, 6.0", {"k.txt": AE.replace("\n", "\r\n").replace("8.0", "6.0")}, None),
    ("After Effects, one property for each axis", {"k.txt": AE.replace(ORIENTATION, AXES)}, None),
    ("After Effects, looking at a point", {"k.txt": AE.replace("Orientation", "Point of Interest")
                                           .replace("degrees", "pixels").replace("\t0\t0\t0\t0\t", "\t0\t100\t50\t0\t")
                                           .replace("\t1\t0\t270\t0\t", "\t1\t-900\t50\t-118\t")}, None),
    ("strings", {"s.txt": TURNED}, None),
    ("strings as JSON", {"s.json": json.dumps(
        {line.split(" = ")[0]: line.split(' = ')[1].split('"')[1] for line in TURNED.splitlines()[1:]}, indent=1)},
     None),
    ("strings of several cameras", {"s.txt": TURNED + STRINGS}, None),
]  # fmt: skip


@pytest.mark.parametrize(("files", "vertical"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_files_of_other_programs(files: dict[str, str | bytes], vertical: float | None, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    first = next(iter(files)).partition("/")[0]
    found, row = read_camera(tmp_path / first, Wanted(24))
    if vertical == -1:  # turned about its own x axis: the way is another one, as seen from the camera
        np.testing.assert_allclose(found.position, ((0, 0, 0), (1, 0, -2)), atol=1e-6)
        np.testing.assert_allclose(found.rotation[1] @ (0, 0, -1), of_euler(np.array((0, 90.0, 0)), "XYZ") @ (0, -1, 0),
                                   atol=1e-6)  # fmt: skip
        return
    two_poses(found, row.scale if row.title.startswith("Deforum") else 1)
    if vertical is not None:
        assert found.lens is not None
        assert np.degrees(2 * np.arctan(found.lens.vertical)) == pytest.approx(np.full(2, vertical))
    else:
        check_lens(first, found)


def check_lens(first: str, found: CameraPath) -> None:
    """Files with focal lengths in px have one of 120 for 200 x 100; others have an angle of 0.7, or no lens."""
    if found.size == (200, 100):
        assert found.lens is not None
        assert found.lens.focal(200, 100)[0] == pytest.approx(np.full(2, 120))
        assert found.lens.focal(400, 400)[1] == pytest.approx(np.full(2, 240))  # its width is kept
    elif found.lens is not None:
        assert found.lens.focal(300, 200)[0] == pytest.approx(np.full(2, 150 / math.tan(0.35)))
    else:
        assert first.rpartition(".")[2] in ("chan", "json", "txt")


REFUSED: list[tuple[dict[str, str | bytes], str]] = [
    (chan("1 0 0 0 0 0\n"), "a.chan:1: this line has 6 columns"),
    (chan("1 0 0 0 0 0 0 45\n2 0 0 0 0 0 0\n"), "a.chan:2: this line has 7 columns, and the lines before have 8"),
    (chan(CHAN + "# a\n2 0 0 0 0 0 0 45\n"), "a.chan:4: frame 2 is given twice; first in line 2"),
    (chan("1 0 0 zero 0 0 0 45\n"), "a.chan:1: tz: 'zero' is no number"),
    (chan("1 0 0 nan 0 0 0 45\n"), "a.chan:1: tz: nan is out of range"),
    (chan("1 0 0 1e300 0 0 0 45\n"), "out of range"),
    (chan("1 0 0 0 0 0 0 180\n"), "a.chan:1: vfov is 180; expected a field of view between 0 and 180"),
    (chan("# nothing\n"), "there is no camera pose in it"),
    (transforms({}, [{"file_path": "a"}]), "frames[0]: transform_matrix is missing"),
    (transforms({}, [{"transform_matrix": [[1, 0], [0, 1]]}]), "expected 4 numbers, not 2"),
    (transforms({}, [{"transform_matrix": [[0] * 4] * 3}]), "turns nothing"),
    (transforms({}, [{"transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]}]), "mirrors"),
    (transforms({}, [{"transform_matrix": [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}]), "right angles"),
    (transforms({}, [{"transform_matrix": [[1, 0, 0, "x"], [0, 1, 0, 0], [0, 0, 1, 0]]}]), "[0][3]: expected a number"),
    ({"transforms.json": "{\n  \"frames\": [,]\n}"}, "transforms.json:2:"),
    (transforms({"w": 0, "h": 2, "fl_x": 1}), "w: expected a number above 0"),
    (camera_path({}, fov=200), "camera_path[0].fov"),
    (colmap("1 PINHOLE 200 100 120 120 100\n", IMAGES[0].format("")), "cameras.txt:1: PINHOLE has 4 parameters, not 3"),
    (colmap("1 LENS 200 100 120\n", IMAGES[0].format("")), "LENS is no camera model"),
    (colmap(PINHOLE, IMAGES[0].format("").replace(" 1 a_", " 9 a_")), "images.txt:1: there is no camera '9'"),
    (colmap(PINHOLE, "1 0 0 0 0 0 0 0 1 a.png\n\n"), "images.txt:1: the quaternion of this pose is 0"),
    ({"m/images.txt": IMAGES[0].format("")}, "cameras.txt: there is no such file"),
    (gltf({"nodes": [{"name": "empty"}]}), "there is no camera in it"),
    (gltf({"nodes": [{"camera": 0}], "cameras": [{"type": "orthographic"}]}), "orthographic"),
    (gltf({"nodes": [{"camera": 0}], **LENS_GLTF, **keys()}, NUMBERS[:9]), "does not hold"),
    (gltf({"nodes": [{"camera": 0}], **LENS_GLTF, **keys(way="WAVY")}, NUMBERS), "no interpolation"),
    (gltf({"nodes": [{"camera": 0}], **LENS_GLTF, **keys()}, [1, 1, *NUMBERS[2:]]), "do not ascend"),
    (gltf({"nodes": [{"camera": 5}], **LENS_GLTF}), "there is no number 5 in it"),
    ({"a.glb": b"glTF" + struct.pack("<IIII", 2, 28, 90, 0x4E4F534A) + b"{}"}, "cut off"),
    ({"k.txt": AE.replace("Position", "Opacity")}, "no Transform Position"),
    ({"k.txt": AE.replace("\t101\t50\t-118\t", "\t101\t50")}, "k.txt:12: this row has 2 values; expected 3"),
    ({"k.txt": AE.replace("\t\t120", "\t\t-1")}, "Zoom has to be above 0"),
    ({"s.txt": 'translation_x = "0: (1 2)"\n'}, "s.txt:1"),
    ({"s.txt": 'translation_x = "0: (import os)"\n'}, "s.txt:1"),
    ({"a.usda": "#usda 1.0"}, "no camera file that is known; the formats are chan (Nuke)"),
    ({"m/x.txt": "1"}, "no camera file that is known"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "says"), REFUSED, ids=[f"{n}" for n in range(len(REFUSED))])
def test_what_cannot_be_read_is_refused_with_its_place(
    files: dict[str, str | bytes], says: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        read(tmp_path / next(iter(files)).partition("/")[0])
    assert says in str(caught.value)


@pytest.mark.parametrize(("name", "place"), [(None, 1.0), ("still", 5.0), ("moving", 1.0)])
def test_the_camera_of_a_scene_that_is_named_or_moves(name: str | None, place: float, tmp_path: Path) -> None:
    nodes = [{"name": "still", "camera": 0, "translation": [5, 0, 0]}, {"name": "moving", "camera": 0}]
    for file, content in gltf({"nodes": nodes, **LENS_GLTF, **keys(node=1)}, NUMBERS).items():
        (tmp_path / file).write_text(str(content))
    found = read(tmp_path / "a.gltf", camera=name, fps=24.0)
    assert found.position[-1, 0] == pytest.approx(place)
    assert bool(found.notes) == (name is None)
    with pytest.raises(UserError, match="'moving'"):
        read(tmp_path / "a.gltf", camera="nobody")


CURVES: list[tuple[str, list[float], Callable[[float], float]]] = [
    ("LINEAR", [0, 8], lambda t: 8 * t),
    ("STEP", [0, 8], lambda t: 8.0 * (t >= 1)),
    # in-tangent, value, out-tangent of both keys: the cubic through 0 and 8 with slopes 3 and -2
    ("CUBICSPLINE", [0, 0, 3, -2, 8, 0], lambda t: 3 * t + (3 * 8 - 2 * 3 + 2) * t**2 + (-2 * 8 + 3 - 2) * t**3),
]


@pytest.mark.parametrize(("way", "values", "right"), CURVES, ids=[row[0] for row in CURVES])
def test_curves_between_keys_of_gltf(
    way: str, values: list[float], right: Callable[[float], float], tmp_path: Path
) -> None:
    places = [part for value in values for part in (value, 0.0, 0.0)]
    root = {
        "nodes": [{"camera": 0}], **LENS_GLTF,
        "bufferViews": [{"buffer": 0, "byteLength": 8}, {"buffer": 0, "byteOffset": 8, "byteLength": 4 * len(places)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 2, "type": "SCALAR"},
                      {"bufferView": 1, "componentType": 5126, "count": len(values), "type": "VEC3"}],
        "animations": [{"samplers": [{"input": 0, "output": 1, "interpolation": way}],
                        "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}]}],
    }  # fmt: skip
    for file, content in gltf(root, [0.0, 1.0, *places]).items():
        (tmp_path / file).write_text(str(content))
    found = read(tmp_path / "a.gltf", fps=10.0)
    assert found.position[:, 0] == pytest.approx([right(round(t, 9)) for t in np.arange(11) / 10], abs=1e-5)


def test_orientation_turns_the_shorter_way(tmp_path: Path) -> None:
    """From 350 to 10 degrees, as After Effects does; its rotations go through all angles between."""
    head = AE[: AE.index("Transform\tOrientation")].replace("\t1\t101\t50\t-118\t\n", "")
    for title, columns, before, middle in (
        ("Orientation", "X degrees\tY degrees\tZ degrees", "0\t0\t", 0),
        ("Z Rotation", "degrees", "", 180),
    ):
        rows = "".join(f"\t{time}\t{before}{angle}\n" for time, angle in ((0, 350), (10, 10)))
        (tmp_path / "k.txt").write_text(f"{head}Transform\t{title}\n\tFrame\t{columns}\n{rows}")
        found = read(tmp_path / "k.txt")
        assert len(found) == 11
        expected = np.diag((1.0, -1, -1)) @ of_euler(np.array((0, 0, middle)), "XYZ") @ np.diag((1.0, -1, -1))
        np.testing.assert_allclose(found.rotation[5], expected, atol=1e-9)


# --- independent readers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gltf", "glb"])
def test_pygltflib_reads_what_is_written(name: str, tmp_path: Path) -> None:
    library = pytest.importorskip("pygltflib")
    path = random_path(1, 12, 24)
    scene = library.GLTF2().load(str(write_camera(tmp_path, name, path)))
    if name == "gltf":
        scene.convert_buffers(library.BufferFormat.BINARYBLOB)
    blob = scene.binary_blob()

    def values(number: int) -> np.ndarray:
        accessor = scene.accessors[number]
        view = scene.bufferViews[accessor.bufferView]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        flat = np.frombuffer(blob, "<f4", accessor.count * width, view.byteOffset)
        assert flat.reshape(-1, width).min(0) == pytest.approx(accessor.min)
        return flat.reshape(-1, width)

    animation = scene.animations[0]
    by_path = {each.target.path: animation.samplers[each.sampler] for each in animation.channels}
    assert values(by_path["translation"].input)[:, 0] == pytest.approx(np.arange(12) / 24)
    assert values(by_path["translation"].output) == pytest.approx(path.position / 200, abs=1e-6)
    quaternions = to_quaternion(path.rotation)[:, [1, 2, 3, 0]]
    assert values(by_path["rotation"].output) == pytest.approx(quaternions, abs=1e-6)
    assert path.lens is not None
    yfov = 2 * np.arctan(path.lens.vertical)
    assert values(by_path["pointer"].output)[:, 0] == pytest.approx(yfov, abs=1e-6)
    camera = scene.cameras[scene.nodes[0].camera].perspective
    assert (camera.yfov, camera.aspectRatio) == pytest.approx((yfov[0], SIZE[0] / SIZE[1]))


NAMES_TO_FORMATS = [
    ("a/shot.chan", "chan"), ("x_transforms.json", "transforms"), ("camera_path.json", "camera_path"),
    ("m/images.txt", "colmap"), ("a.GLTF", "gltf"), ("a.glb", "glb"),
]  # fmt: skip


def test_the_name_tells_the_format() -> None:
    for name, row in NAMES_TO_FORMATS:
        assert format_of(Path(name), None) is FORMATS[row]
    assert format_of(Path("a.txt"), "after_effects") is FORMATS["after_effects"]
    with pytest.raises(UserError, match="add --format"):
        format_of(Path("a.txt"), None)
    with pytest.raises(UserError, match="did you mean colmap"):
        format_of(Path("a.txt"), "colmp")
