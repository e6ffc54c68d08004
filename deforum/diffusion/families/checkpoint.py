"""Detection of a single-file checkpoint's family from its header: no weights are read and no pickle is executed."""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deforum.diffusion.families import FAMILIES, Family, any_of
from deforum.errors import UserError

_LONGEST_HEADER = 100 << 20  # bytes; the limit of the safetensors library itself

_OTHER_MODELS = (
    # (key prefix, what the file is)
    ("conditioner.embedders.0.model.", "the SDXL refiner, which cannot paint a picture alone; give the base model"),
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 model"),
    ("model.diffusion_model.double_blocks.", "a Flux model"),
)
"""Complete models of unsupported families."""
_OTHER_FILES = (
    ("lora_", "a LoRA: it changes another model and is none itself"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    *_OTHER_MODELS,
    ("double_blocks.", "a Flux model"),
    ("down_blocks.", "one part of a diffusers model; give the folder that holds model_index.json"),
    ("text_model.", "one part of a diffusers model; give the folder that holds model_index.json"),
    ("first_stage_model.", "an autoencoder alone"),
    ("encoder.", "an autoencoder alone"),
    ("emb_params", "a textual inversion"),
)
"""Kinds of file in which no known network was found."""
_KNOWN = f"expected a {any_of()} checkpoint with UNet, text encoder and autoencoder"


@dataclass(frozen=True)
class Checkpoint:
    """A single-file model's family and its prediction type; None where the file does not state it."""

    family: Family
    prediction: str | None


def inspect_checkpoint(path: Path) -> Checkpoint:
    """Return family and prediction type of a `.safetensors` or `.ckpt` file; raises UserError if it is unsupported."""
    shapes, metadata = _read_ckpt(path) if path.suffix == ".ckpt" else _read_safetensors(path)
    return Checkpoint(_family(path, shapes), _prediction(path, shapes, metadata))


def _family(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Family:
    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in shapes)

    def missing(family: Family) -> list[str]:
        file = family.file
        parts = {family.network_name: file.network, "text encoder": file.text_encoder, "autoencoder": file.autoencoder}
        return [part for part, prefix in parts.items() if not has(prefix)]

    family = min(FAMILIES.values(), key=lambda family: len(missing(family)))
    if lacks := missing(family):
        others = _OTHER_FILES if family.network_name in lacks else _OTHER_MODELS
        if other := next((what for prefix, what in others if has(prefix)), None):
            raise UserError(f"{path}: this is {other}; {_KNOWN}")
        raise UserError(f"{path}: the file has no {', no '.join(lacks)}; {_KNOWN}")
    network, usual = family.network_name, family.file.channels
    channels = (shapes.get(family.file.first_layer) or (0, usual))[1]
    if channels != usual:
        kind = {9: "inpainting", 8: "instruct-pix2pix", 5: "depth-to-image"}.get(channels, "special")
        raise UserError(
            f"{path}: this is an {kind} model (its {network} takes {channels} channels instead of {usual}); "
            f"use the plain text-to-image model that it was made from"
        )
    return family


def _prediction(path: Path, shapes: Iterable[str], metadata: Mapping[str, str]) -> str | None:
    """Read the prediction type from the file, or from the A1111 web UI's `.yaml` beside it; None where not stated."""
    if "v_pred" in shapes:  # some SDXL models mark v-prediction with an empty tensor of this name
        return "v_prediction"
    said = " ".join(metadata.get(key, "") for key in ("modelspec.prediction_type", "modelspec.architecture")).lower()
    if "epsilon" in said:
        return "epsilon"
    if said.split()[:1] == ["v"] or "768-v" in said or "v_pred" in said:
        return "v_prediction"
    beside = path.with_suffix(".yaml")
    if beside.is_file():
        return "v_prediction" if 'parameterization: "v"' in beside.read_text(errors="replace") else "epsilon"
    return None


def _read_safetensors(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Read weight names, shapes and metadata from the header: its length in 8 bytes, then JSON."""
    broken = UserError(f"{path}: not a whole .safetensors file (an interrupted download?); fetch it again")
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= _LONGEST_HEADER:
            raise broken
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError:
            raise broken from None
    metadata = header.pop("__metadata__", {})
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if path.stat().st_size != 8 + length + end:
        raise broken
    return {key: tuple(entry["shape"]) for key, entry in header.items()}, metadata


def _read_ckpt(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Read the weight names of a `.ckpt` from its pickle's string opcodes, without unpickling; shapes are empty."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            pickle = archive.read(name)
    except (zipfile.BadZipFile, StopIteration):
        raise UserError(
            f"{path}: not a .ckpt that can be read safely (the format before PyTorch 1.6, or not one at all); "
            f"use the model's .safetensors file"
        ) from None
    strings = (argument for _, argument, _ in pickletools.genops(pickle) if isinstance(argument, str))
    return {string: () for string in strings if "." in string and " " not in string}, {}
