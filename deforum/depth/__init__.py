"""Depth estimation: the models by name, found before anything is loaded, and their common protocol.

To add a model, add a row to `MODELS` and a function of type `LoadDepth`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from deforum.embedded import DEPTH
from deforum.errors import Problem, UserError
from deforum.models import catalogue
from deforum.models import hub as model_hub  # `hub` is a module of this package
from deforum.models.catalogue import Row, existing
from deforum.models.config import check_network, read_config
from deforum.models.weights import read_header
from deforum.pixels.files import check_pictures
from schedules.quoting import cut

if TYPE_CHECKING:
    import torch

    from deforum.pixels.image import Device, Image

Gives = Literal["inverse depth", "depth"]

WEIGHTS = Path("models/depth")  # relative to the working folder
PICTURES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp"}
VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"}


class DepthModel(Protocol):
    """Estimates depth: calling it returns a map (H, W) float32 of the picture's size, on its device."""

    @property
    def gives(self) -> Gives:
        """Kind of map: larger inverse depth is nearer, larger depth is farther; scale and shift are unknown."""

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        """Return the depth map of a picture, (3, H, W) in 0..1; only the user's own maps use the frame `index`."""


@dataclass(frozen=True)
class DepthSource:
    """A depth model that was found and looks complete, before it is loaded."""

    name: str
    """The model's own name, a row of `MODELS`."""
    path: Path | None
    """Its weights, a file or a folder; None: it needs none, or they are to be downloaded from the hub."""
    says: str = ""
    """Note to the user: which model replaces the one asked for, and why; or empty."""
    raw: bool = False
    """For Deforum's "(old)" algorithms: the camera uses the values directly as distances, without equalising."""
    midas: DepthSource | None = None
    """A MiDaS model whose distances are mixed in."""
    midas_share: float = 0.0
    """Weight of MiDaS in the mix; 0 is none, 1 is MiDaS alone."""


LoadDepth = Callable[[DepthSource, "Device"], DepthModel]


_MIDAS = "https://github.com/isl-org/MiDaS/releases/download/"

MODELS: Mapping[str, Row] = {
    "embedded": Row("deforum.depth.embedded:load", licence="as this program"),
    "midas-dpt-large": Row(
        "deforum.depth.midas:load",
        ("dpt_large-midas-2f21e586.pt", "dpt_large_384.pt"),
        _MIDAS + "v3/dpt_large-midas-2f21e586.pt",
        licence="MIT",
    ),
    "midas-dpt-hybrid": Row(
        "deforum.depth.midas:load",
        ("dpt_hybrid-midas-501f0c75.pt", "dpt_hybrid_384.pt"),
        _MIDAS + "v3/dpt_hybrid-midas-501f0c75.pt",
        licence="MIT",
    ),
    "midas-small": Row(
        "deforum.depth.midas:load",
        ("model-small-70d6b9c8.pt", "midas_v21_small-70d6b9c8.pt", "midas_v21_small_256.pt"),
        _MIDAS + "v2_1/model-small-70d6b9c8.pt",
        licence="MIT",
    ),
    "depth-anything-v2-small": Row(
        "deforum.depth.hub:load", hub="depth-anything/Depth-Anything-V2-Small-hf", licence="Apache 2.0"
    ),
    "depth-anything-v2-base": Row(
        "deforum.depth.hub:load", hub="depth-anything/Depth-Anything-V2-Base-hf", licence="CC BY-NC 4.0"
    ),
    "depth-anything-v2-large": Row(
        "deforum.depth.hub:load", hub="depth-anything/Depth-Anything-V2-Large-hf", licence="CC BY-NC 4.0"
    ),
    "zoe": Row("deforum.depth.hub:load", hub="Intel/zoedepth-nyu-kitti", licence="MIT"),
    "maps": Row("deforum.depth.maps:load"),
}

MIXED = "deforum.depth.network:Mixed"
"""Import path of the model that mixes two others: module:class."""


@dataclass(frozen=True)
class Stand:
    """The substitute for a model name in existing files."""

    model: str
    why: str
    raw: bool = False
    """As in `DepthSource`."""
    midas: str = ""
    """The MiDaS model to mix in, if its weights are found; empty: none."""


_LERES = "LeReS is no longer to be had, and was not for commercial use"
_ADABINS = "AdaBins is no longer to be had; ZoeDepth grew out of it and gives distances of the same kind"

STANDS: Mapping[str, Stand] = {
    "Midas-3-Hybrid": Stand("midas-dpt-large", "by this name Deforum loads DPT-Large, not the hybrid"),
    "Midas-3.1-BeitLarge": Stand("midas-dpt-large", "of the same family; BEiT's does not run on today's timm"),
    "AdaBins": Stand("zoe", _ADABINS),
    "Zoe": Stand("zoe", "ZoeDepth"),
    "Leres": Stand("depth-anything-v2-small", _LERES),
    "Midas+AdaBins (old)": Stand("zoe", _ADABINS, raw=True, midas="midas-dpt-large"),
    "Zoe+AdaBins (old)": Stand("zoe", f"{_ADABINS}, so that midas_weight is of no effect", raw=True),
    "Depth-Anything-V2-Small": Stand("depth-anything-v2-small", "Depth Anything V2"),
}


def resolve_depth(name: str, where: str = "") -> DepthSource | None:
    """Find a depth model; None for "none" (a flat scene).

    `name` is a row of `MODELS`, a name used in Deforum's files, a file of MiDaS weights, the folder of a transformers
    model, or a folder or a video of depth maps. Raises UserError with `where` for an unknown name, or for missing
    weights: which, where they are looked for, and how to get them. Does not import torch.
    """
    try:
        return _resolve(name.strip())
    except UserError as error:
        if not where:
            raise
        raise UserError(Problem(problem.message, where) for problem in error.problems) from None


def load_depth(source: DepthSource, device: Device) -> DepthModel:
    """Load a depth model that was found. Raises UserError where its files are not what their names say."""
    load: LoadDepth = catalogue.find_function(MODELS[source.name].load)
    model = load(source, device)
    if source.midas is None:
        return model
    mix: Callable[[DepthModel, DepthModel, float], DepthModel] = catalogue.find_function(MIXED)
    return mix(load_depth(source.midas, device), model, source.midas_share)


def _resolve(name: str) -> DepthSource | None:
    names = {known.lower(): known for known in (*MODELS, *STANDS)}
    known = names.get(name.lower(), name)
    if known.lower() == "none":
        return None
    if known in STANDS:
        stand = STANDS[known]
        says = f"{known} is served by {stand.model}: {stand.why}"
        found = _find(stand.model, f"{says}. ")
        midas = None
        if stand.midas:
            with suppress(UserError):
                midas = _find(stand.midas)
            mixed = f"midas_weight of {stand.midas} is mixed in"
            says += f"; {mixed}" if midas else f"; {stand.midas} is not here, so that it is alone"
        return DepthSource(found.name, found.path, says, stand.raw, midas)
    if known in MODELS and known != "maps":
        return _find(known)
    path = existing(name)
    if path is not None:
        return _look_into(path)
    choices = ", ".join(row for row in MODELS if row != "maps")
    raise UserError(
        f"{cut(name)}: no depth model, file or folder of this name; expected {choices}, none, or the path of a folder "
        f"or a video of depth maps, or of a model"
    )


def map_files(folder: Path) -> list[Path]:
    """List the pictures of a folder in natural order: 2 before 10."""

    def order(path: Path) -> list[tuple[int, str]]:
        return [(int(part or -1), text) for text, part in re.findall(r"(\D*)(\d*)", path.name)]

    return sorted((path for path in folder.iterdir() if path.suffix.lower() in PICTURES), key=order)


def _look_into(path: Path) -> DepthSource:
    """Identify the user's path by its files. Raises UserError where they are neither a model nor depth maps."""
    if path.is_dir():
        if (path / "config.json").is_file():
            return DepthSource(_hub_kind(path), path)
        if maps := map_files(path):
            problems = check_pictures(maps, "depth_algorithm", decoded=False)
            if problems:
                raise UserError(problems)
            return DepthSource("maps", path)
        raise UserError(f"{path}: neither a model (config.json) nor depth maps (PNG, TIFF) in this folder")
    if path.suffix.lower() in VIDEOS:
        from deforum.video import resolve_clip

        resolve_clip(path, name="depth_algorithm")
        return DepthSource("maps", path)
    for name, row in MODELS.items():
        if path.name in row.files:
            read_header(path)
            return DepthSource(name, path)
    files = ", ".join(file for row in MODELS.values() for file in row.files)
    raise UserError(f"{path}: not a video, and not weights known by their file name ({files})")


def _hub_kind(folder: Path) -> str:
    """Return a row of `MODELS` of the same family as a transformers folder; all of one family load alike."""
    path = folder / "config.json"
    config = read_config(path)
    kind = config.get("model_type")
    families = {"depth_anything": "depth-anything-v2-small", "zoedepth": "zoe"}
    if not isinstance(kind, str) or kind not in families:
        raise UserError(f"{folder}: a model of type {str(kind)[:60]!r}; expected depth_anything or zoedepth")
    check_network(path, config)
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".bin"):
            read_header(file)
    return families[kind]


def _find(name: str, says: str = "") -> DepthSource:
    row = MODELS[name]
    if name == "embedded":
        if not (DEPTH / "depth.safetensors").is_file():
            raise UserError("the embedded depth model is missing from this installation; install the package again")
        return DepthSource(name, DEPTH / "depth.safetensors")
    if row.hub:
        return DepthSource(name, _find_on_hub(row, says))
    found = catalogue.find(row.files, WEIGHTS)
    if found is None:
        raise UserError(says + catalogue.missing(f"{name} needs its weights", row.files, WEIGHTS, row.url, row.licence))
    read_header(found)
    return DepthSource(name, found)


def _find_on_hub(row: Row, says: str) -> Path | None:
    """Find a model in the local hub cache; None where loading has to download it, and may.

    Raises UserError where it is not here, and downloads are forbidden or the hub does not give it.
    """
    cached = model_hub.find_cached(row.hub, "config.json", "model.safetensors")
    if cached is not None:
        _hub_kind(cached)
        return cached
    try:
        model_hub.expect_on_hub(row.hub, "the path of its folder")
    except UserError as error:
        raise UserError(f"{says}{error} ({row.licence})") from None
    return None
