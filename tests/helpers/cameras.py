"""Camera paths at random, and camera files on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deforum.camera_files.motion import LENS, MOTION, Curves, path_of_curves
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import FORMATS, encode

NAMES = {"chan": "shot.chan", "transforms": "transforms.json", "camera_path": "camera_path.json", "colmap": "model",
         "gltf": "shot.gltf", "glb": "shot.glb", "after_effects": "keys.txt", "deforum": "strings.txt"}  # fmt: skip
SIZE = (256, 144)


def random_curves(seed: int, count: int, turn: float = 3.0, move: float = 20.0) -> Curves:
    """Return motion and lens at random: degrees and translations per frame of about `turn` and `move`."""
    rng = np.random.default_rng(seed)
    curves = {name: rng.normal(0, turn if "rotation" in name else move, count) for name in MOTION}
    for curve in curves.values():
        curve[0] = 0
    return curves | dict(zip(LENS, (rng.uniform(30, 110, count), np.ones(count)), strict=True))


def random_path(seed: int, count: int, fps: float = 24.0, **steps: float) -> CameraPath:
    return path_of_curves(random_curves(seed, count, **steps), SIZE, fps)


def write_camera(folder: Path, name: str, path: CameraPath, scale: float | None = None, order: str = "ZXY") -> Path:
    """Write a path in a format, under the name that belongs to it."""
    target = folder / NAMES[name]
    for inner, content in encode(path, FORMATS[name], Wanted(rotation_order=order), scale).items():
        file = target / inner if inner else target
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return target
