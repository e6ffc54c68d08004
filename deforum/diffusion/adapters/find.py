"""Finding control units: which kind a file or folder is, and whether it fits the model. Does not import torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from deforum.diffusion.adapters.names import PREFIX, todays_names
from deforum.diffusion.families import FAMILIES
from deforum.diffusion.families.find import ModelSource
from deforum.embedded import CONTROL
from deforum.errors import UserError
from deforum.models import library
from deforum.models.config import check_network, read_config
from deforum.models.places import entries
from deforum.models.weights import SUFFIXES, Header, read_header

Kind = Literal["controlnet", "control-lora", "union", "t2i-adapter", "sd3", "flux"]

FOLDERS = (Path("models/ControlNet"), Path("models/controlnet"))
"""Where models are looked for by name, relative to the working folder."""
EMBEDDED = "embedded"

_HASH = re.compile(r"\s*\[[0-9a-fA-F]{6,64}\]$")
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
_OTHERS = (
    (r"lllite_", "a ControlNet-LLLite, which is not supported; use a ControlNet or a Control-LoRA"),
    (r"image_proj\.|ip_adapter\.", "an IP-Adapter"),
    (r".*motion_modules\.", "a SparseCtrl or AnimateDiff module"),
    (r"model\.diffusion_model\.", "a whole diffusion model"),
    (r"lora_(unet|te)|.*\.lora_[AB]\.", "a LoRA"),
)  # fmt: skip
"""Kinds of file in which no unit is: (pattern of a weight's name, what it is)."""
FAMILY_OF: Mapping[Kind, str] = {"sd3": "stable_diffusion_3", "flux": "flux"}
"""The family of models that a kind is made for, where it is one."""
TASKS: Mapping[str, int] = {
    "openpose": 0, "depth": 1, "softedge": 2, "canny": 3, "normal": 4, "segment": 5, "tile": 6, "inpaint": 7,
}  # fmt: skip
"""Kinds of control picture of a union of ControlNets, with their indices in xinsir's networks."""
FLUX_TASKS: Mapping[str, int] = {"canny": 0, "tile": 1, "depth": 2, "openpose": 4}
"""Likewise, in InstantX's networks for Flux."""
_EXPECTED = "expected a ControlNet, Control-LoRA or T2I-Adapter: a diffusers folder, or a .safetensors or .pth file"


@dataclass(frozen=True)
class ControlSource:
    """A unit that was found and looks complete, not loaded yet."""

    name: str
    """As the user gave it."""
    kind: Kind
    file: Path
    config: Mapping[str, Any] = field(hash=False)
    """Of its network, as in a diffusers folder."""
    base: ModelSource
    """The model that it acts on."""
    pools: bool
    """Whether it acts by means over the picture, as networks that take over a style do."""
    task: int | None = None
    """Of a union: the index of the kind of picture."""
    shards: tuple[Path, ...] = ()
    """The files behind `file` that its weights are spread over."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of its weights."""
        return self.file, *self.shards

    @property
    def is_union(self) -> bool:
        """Whether it has to be told the kind of control picture, see `for_task`."""
        return self.kind == "union" or bool(self.config.get("num_mode"))

    @property
    def tasks(self) -> Mapping[str, int]:
        """Of a union: its kinds of control picture, with their indices."""
        return FLUX_TASKS if self.kind == "flux" else TASKS

    def for_task(self, task: int) -> ControlSource:
        """Return the union for one kind of picture."""
        return replace(self, task=task)


def find_control(name: str, base: ModelSource, *, roots: Sequence[Path] = ()) -> ControlSource:
    """Find a unit for a model: "embedded", a path, or a name below `roots` and `FOLDERS`, see `models.library`.

    As in the web UI, a name may be a part of a file's name, of which the shortest is taken, and a hash in brackets
    that is that of another file does not count. Raises UserError.
    """
    if name.strip() == EMBEDDED:
        return _embedded(base)
    places = (*roots, *(folder for folder in FOLDERS if folder.is_dir()))
    bare = _HASH.sub("", name.strip())
    try:
        path = library.look_up("controlnet", name, places)
    except UserError:
        path = library.look_up("controlnet", bare, places) if bare else None
    path = path or _by_part(bare, places)
    if path is None:
        raise library.missing("controlnet", name, places)
    return look_at(name, path, base)


def _by_part(name: str, roots: Sequence[Path]) -> Path | None:
    """Return the model whose name has this text in it; the shortest of several."""
    wanted = name.casefold()
    if not wanted or "/" in wanted or "\\" in wanted:
        return None
    there = [entry.path for entry in entries(("controlnet",), roots) if wanted in entry.path.stem.casefold()]
    return min(there, key=lambda path: (len(path.stem), path), default=None)


def look_at(name: str, path: Path, base: ModelSource) -> ControlSource:
    """Recognise the unit in a file or folder. Raises UserError where there is none, or it is made for another model."""
    config: dict[str, Any] = {}
    shards: list[Path] = []
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{path}: no config.json in this folder; {_EXPECTED}")
        config = read_config(path / "config.json")
        check_network(path / "config.json", config)
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        whole = [file for file in files if ".fp16" not in file.name] or files
        if not whole:
            raise UserError(f"{path}: no weights in this folder (.safetensors or .bin); is its download complete?")
        path, *shards = _of_one_kind(path, whole)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: not a file of weights; {_EXPECTED}")
    header = _header((path, *shards))
    kind = _kind(path, header.shapes)
    unet = unet_config(base)
    wanted = FAMILY_OF.get(kind)
    if wanted is not None:
        if wanted != base.family:
            raise UserError(f"{path}: made for {FAMILIES[wanted].title}; the model is {FAMILIES[base.family].title}")
        if not config:
            raise UserError(f"{path}: give the folder that it is in with its config.json, which says how it is built")
    elif unet and "block_out_channels" not in unet:
        raise UserError(f"{path}: made for a UNet; the model is {FAMILIES[base.family].title}")
    elif kind == "t2i-adapter":
        config = config or _adapter_config(header)
    elif not config:
        config = _network_config(path, header, unet)
    pools = bool(config.get("global_pool_conditions")) or "shuffle" in path.stem.casefold()
    source = ControlSource(name, kind, path, config, base, pools, shards=tuple(shards))
    if wanted is None:
        _check_fit(source, header, unet)
    return source


def _of_one_kind(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Return the first file of weights in a folder, or all those that weights are spread over. Raises UserError."""
    found = _SHARD.fullmatch(files[0].name)
    whole = [file for file in files if not _SHARD.fullmatch(file.name)]
    if found is None or whole:
        return whole[:1]
    stem, _, count, end = found.groups()
    names = [f"{stem}-{number:05d}-of-{count}{end}" for number in range(1, int(count) + 1)]
    lacking = [name for name in names if folder / name not in files]
    if lacking:
        raise UserError(
            f"{folder}: {len(lacking)} of {len(names)} files of its weights are missing, among them {lacking[0]}; is "
            f"its download complete?"
        )
    return [folder / name for name in names]


def _header(files: Sequence[Path]) -> Header:
    """Read the headers of the files of one network as one."""
    headers = [read_header(path) for path in files]
    shapes = {name: shape for header in headers for name, shape in header.shapes.items()}
    kinds = {name: kind for header in headers for name, kind in header.kinds.items()}
    return Header(shapes, kinds, headers[0].metadata)


def _embedded(base: ModelSource) -> ControlSource:
    if base.name != EMBEDDED:
        raise UserError(
            f"{EMBEDDED}: this control model acts on the embedded diffusion model alone; give one for yours"
        )
    file = CONTROL / "outlines.safetensors"
    if not file.is_file():
        raise UserError("the embedded control model is missing from this installation; install the package again")
    return look_at(EMBEDDED, file, base)


def unet_config(base: ModelSource) -> dict[str, Any]:
    """Read the configuration of a model's UNet or transformer; empty for a model not fetched yet."""
    folder = base.path if base.config is None else base.config
    if folder is None or base.family not in FAMILIES:
        return {}
    path = folder / FAMILIES[base.family].network / "config.json"
    return read_config(path) if path.is_file() else {}


def _kind(path: Path, shapes: Iterable[str]) -> Kind:
    names = [name.removeprefix(PREFIX) for name in shapes]
    known = set(names)
    if "lora_controlnet" in known:
        return "control-lora"
    if "task_embedding" in known:
        return "union"
    if "controlnet_cond_embedding.conv_in.weight" in known or "input_hint_block.0.weight" in known:
        return "controlnet"
    if "pos_embed_input.proj.weight" in known:
        return "sd3"
    if "controlnet_x_embedder.weight" in known:
        return "flux"
    if {"adapter.body.0.resnets.0.block1.weight", "body.0.block1.weight", "body.0.body.0.block1.weight"} & known:
        return "t2i-adapter"
    what = next((what for start, what in _OTHERS if any(re.match(start, name) for name in names)), "")
    raise UserError(f"{path}: {f'this is {what}' if what else 'no control model was found in it'}; {_EXPECTED}")


def _network_config(path: Path, header: Header, unet: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a ControlNet in a single file: of the model's UNet, with its own layers' widths."""
    if not unet:
        raise UserError(f"{path}: a single file of a ControlNet needs a model of Stable Diffusion 1, 2 or XL")
    config = {name: value for name, value in unet.items() if not name.startswith(("up_", "_", "out_", "sample_size"))}
    config["conditioning_embedding_out_channels"] = [16] * 4
    shapes = {name.removeprefix(PREFIX): shape for name, shape in header.shapes.items()}
    widths = [shape[0] for shape in _hint_layers(shapes)]
    if len(widths) < 2:
        raise UserError(f"{path}: its layers that read the picture are missing; fetch it again")
    # conv_in, then pairs that keep and change the width, then the last layer.
    config["conditioning_embedding_out_channels"] = [widths[0], *widths[2:-1:2]]
    config["conditioning_channels"] = _hint_layers(shapes)[0][1]
    if "task_embedding" in shapes:
        config["num_control_type"], config["num_trans_channel"] = shapes["task_embedding"]
    named = todays_names(header.shapes, config)
    found = {named[name]: shape for name, shape in header.shapes.items() if name in named}
    levels = range(len(config["block_out_channels"]))
    if not any(name == "lora_controlnet" for name in named):
        depths = [_depth(found, f"down_blocks.{level}.attentions.0.transformer_blocks.") for level in levels]
        usual = config.get("transformer_layers_per_block", 1)
        usual = list(usual) if isinstance(usual, list) else [usual] * len(depths)
        middle = _depth(found, "mid_block.attentions.0.transformer_blocks.")
        config["down_block_types"] = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
        config["transformer_layers_per_block"] = [
            *(depth or other for depth, other in zip(depths[:-1], usual, strict=False)),
            middle or depths[-1] or usual[-1],
        ]
        if not middle:
            config["mid_block_type"] = "UNetMidBlock2D"
    return config


def _hint_layers(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the shapes of the convolutions that read the control picture, in order."""
    todays = "controlnet_cond_embedding."
    if f"{todays}conv_in.weight" in shapes:
        names = [f"{todays}conv_in", *(f"{todays}blocks.{i}" for i in range(64)), f"{todays}conv_out"]
    else:
        names = [f"input_hint_block.{i}" for i in range(0, 128, 2)]
    return [shapes[f"{name}.weight"] for name in names if f"{name}.weight" in shapes]


def _depth(shapes: Iterable[str], prefix: str) -> int:
    numbers = {int(name.removeprefix(prefix).split(".")[0]) for name in shapes if name.startswith(prefix)}
    return max(numbers, default=-1) + 1


def _adapter_config(header: Header) -> dict[str, Any]:
    """Return the configuration of a T2I-Adapter in a single file, of TencentARC or with diffusers' names."""
    shapes = {name.removeprefix("adapter."): shape for name, shape in header.shapes.items()}
    out, taken = shapes.get("conv_in.weight", (320, 192))[:2]
    if any(name.startswith("body.0.body.") for name in shapes):
        return {"adapter_type": "light_adapter", "in_channels": 3, "channels": [320, 640, 1280],
                "num_res_blocks": 4, "downscale_factor": 8}  # fmt: skip
    # XL's have 16x16 px in a cell, the others 8x8; adapters of lines have one channel.
    is_xl = taken in (768, 256)
    channels = taken // (256 if is_xl else 64)
    widths = [out, 2 * out, 4 * out, 4 * out]
    return {"adapter_type": "full_adapter_xl" if is_xl else "full_adapter", "in_channels": channels,
            "channels": widths, "num_res_blocks": 2, "downscale_factor": 16 if is_xl else 8}  # fmt: skip


def _check_fit(source: ControlSource, header: Header, unet: Mapping[str, Any]) -> None:
    """Raise UserError for a unit that is made for another family than the model."""
    if not unet:
        return
    title = FAMILIES[source.base.family].title
    wide = unet["block_out_channels"]
    if source.kind == "t2i-adapter":
        is_xl = source.config.get("adapter_type") == "full_adapter_xl"
        if is_xl != (source.base.family == "sdxl"):
            made = "Stable Diffusion XL" if is_xl else "Stable Diffusion 1 or 2"
            raise UserError(f"{source.file}: a T2I-Adapter for {made}; the model is {title}")
        return
    named = header.shapes if source.kind == "union" else None
    renames = {name: name for name in header.shapes} if named else todays_names(header.shapes, source.config)
    read = {shape[1] for name, shape in header.shapes.items()
            if renames.get(name, "").endswith("attn2.to_k.weight") and len(shape) == 2}  # fmt: skip
    first = next((shape for name, shape in header.shapes.items() if renames.get(name) == "conv_in.weight"), None)
    context = unet.get("cross_attention_dim")
    others = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}
    if (read and read != {context}) or (first is not None and tuple(first[:2]) != (wide[0], unet["in_channels"])):
        made = others.get(next(iter(read)), "another model") if read else "another model"
        raise UserError(f"{source.file}: made for {made}; the model is {title}")
