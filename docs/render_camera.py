"""Stand a modelled box in a painted world, as docs/camera.md shows it: python docs/render_camera.py

A run is rendered with its depth; its camera is written for another program, and read back; the box is drawn by that
camera, and hidden by what the depth maps say is nearer.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deforum import load, render
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import FORMATS, encode, read_camera
from deforum.depth.maps import read_exr
from deforum.reports.camera import shot_of

TARGET = Path(__file__).parent / "images" / "camera.webp"
SETTINGS = {
    "animation_mode": "3D", "width": 256, "height": 192, "max_frames": 33, "cadence": 4, "seed": 5, "strength": 0.85,
    "noise": 0.02, "prompts": {0: "snowy mountains with a calm lake and pine trees, on a clear day"},
    "translation_x": 2.5, "translation_z": 1, "rotation_3d_y": -0.45, "rotation_3d_x": 0.02, "fov": 60,
    "near": 200, "far": 3000, "save_depth_maps": True, "depth_format": "exr", "skip_video_creation": True,
}  # fmt: skip
SHOWN, SIZE, QUALITY = (0, 10, 21, 32), (280, 210), 76
CENTRE, HALF, TURNED = (0.0, -0.27, -1.28), 0.12, 0.5  # scene units, radians
COLOR, EDGE, LIGHT = (0.95, 0.5, 0.35), (0.2, 0.15, 0.15), (0.46, 0.84, 0.28)

Picture = NDArray[np.float64]


def box(path: CameraPath, frame: int, width: int, height: int) -> tuple[Picture, Picture]:
    """Return the colours (H, W, 3) of the box in a frame, and its distance along the camera's axis; infinite beside."""
    assert path.lens is not None
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    focal = [float(each[frame]) for each in path.lens.focal(width, height)]
    rays = np.stack((x / focal[0], -y / focal[1], -np.ones_like(x)), axis=-1) @ path.rotation[frame].T
    cos, sin = np.cos(TURNED), np.sin(TURNED)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    colors, nearest = np.zeros((height, width, 3)), np.full((height, width), np.inf)
    for side in (*np.eye(3), *-np.eye(3)):
        normal = turned @ side
        toward = rays @ normal
        place = np.array(CENTRE) + normal * HALF - path.position[frame]
        distance = (place @ normal) / np.where(toward < 0, toward, -np.inf)
        there = (path.position[frame] + rays * distance[..., None] - CENTRE) @ turned
        hit = (np.abs(there).max(axis=-1) < HALF * 1.0001) & (distance > 0) & (distance < nearest)
        is_edge = np.sort(np.abs(there), axis=-1)[..., 1] > HALF * 0.95
        shade = 0.25 + 0.75 * max(0.0, float(normal @ LIGHT))
        colors[hit] = (np.where(is_edge[..., None], EDGE, COLOR) * shade)[hit]
        nearest[hit] = distance[hit]
    return colors, nearest


def composed(run: Path, path: CameraPath, frame: int) -> NDArray[np.uint8]:
    """Return a frame of the run with the box in it, (H, W, 3) BGR."""
    painted = cv2.imread(str(run / "frames" / f"{frame:09d}.png"))
    assert painted is not None
    height, width = painted.shape[:2]
    colors, distance = box(path, frame, width, height)
    depth = cv2.resize(read_exr(run / "depth" / f"{frame:09d}.exr"), (width, height))
    seen = cv2.GaussianBlur((distance < depth).astype(np.float64), (3, 3), 0.6)[..., None]
    mixed = painted * (1 - seen) + 255 * colors[..., ::-1] * seen
    return np.asarray(cv2.resize(mixed, SIZE, interpolation=cv2.INTER_AREA).round(), np.uint8)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = render(load(SETTINGS).settings, output=Path(folder)).folder
        file = Path(folder) / "shot.glb"
        file.write_bytes(encode(shot_of(run).path, FORMATS["glb"], Wanted())[""])
        path = read_camera(file, Wanted())[0]
        strip = np.hstack([composed(run, path, frame) for frame in SHOWN])
    cv2.imwrite(str(TARGET), strip, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    print(f"{TARGET.name}: {TARGET.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
