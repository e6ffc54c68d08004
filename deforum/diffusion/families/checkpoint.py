"""What a checkpoint in one file holds, told from its header alone: no weights are read and nothing in it is run."""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deforum.errors import UserError

_LONGEST_HEADER = 100 << 20  # bytes; the limit of the safetensors library itself

_UNET = "model.diffusion_model."
_TEXT_ENCODERS = {
    # Keys that only this family's text encoders have, in the layout of the original training code.
    "sdxl": "conditioner.embedders.1.model.",
    "sd2": "cond_stage_model.model.",
    "sd1": "cond_stage_model.transformer.",
}
_OTHERS = (
    # (a key begins so, what the file is)
    ("lora_", "a LoRA: it changes another model and is none itself"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("conditioner.embedders.0.model.", "the SDXL refiner, which cannot paint a picture alone; give the base model"),
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 model"),
    ("model.diffusion_model.double_blocks.", "a Flux model"),
    ("double_blocks.", "a Flux model"),
    ("down_blocks.", "one part of a diffusers model; give the folder that holds model_index.json"),
    ("text_model.", "one part of a diffusers model; give the folder that holds model_index.json"),
    ("first_stage_model.", "an autoencoder alone"),
    ("encoder.", "an autoencoder alone"),
    ("emb_params", "a textual inversion"),
)
_KNOWN = "expected a Stable Diffusion 1.x, 2.x or XL checkpoint with UNet, text encoder and autoencoder"


@dataclass(frozen=True)
class Checkpoint:
    """A single-file model: which family it is of, and what its UNet predicts, where the file says so."""

    family: str
    """"sd1", "sd2" or "sdxl"."""
    prediction: str | None


def inspect_checkpoint(path: Path) -> Checkpoint:
    """Tell the family of a `.safetensors` or `.ckpt` file; raises UserError for what cannot be rendered with."""
    shapes, metadata = _read_ckpt(path) if path.suffix == ".ckpt" else _read_safetensors(path)
    return Checkpoint(_family(path, shapes), _prediction(path, shapes, metadata))


def _family(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in shapes)

    family = next((family for family, prefix in _TEXT_ENCODERS.items() if has(prefix)), None)
    if family is None or not has(_UNET + "input_blocks.") or not has("first_stage_model.decoder."):
        other = next((what for prefix, what in _OTHERS if has(prefix) and not has(_UNET + "input_blocks.")), None)
        other = other or next((what for prefix, what in _OTHERS[3:6] if has(prefix)), None)
        if other:
            raise UserError(f"{path}: this is {other}; {_KNOWN}")
        missing = [
            what
            for what, there in {
                "UNet": has(_UNET + "input_blocks."),
                "text encoder": family is not None,
                "autoencoder": has("first_stage_model.decoder."),
            }.items()
            if not there
        ]
        raise UserError(f"{path}: the file has no {', no '.join(missing)}; {_KNOWN}")
    channels = (shapes.get(_UNET + "input_blocks.0.0.weight") or (0, 4))[1]
    if channels != 4:
        kind = {9: "inpainting", 8: "instruct-pix2pix", 5: "depth-to-image"}.get(channels, "special")
        raise UserError(
            f"{path}: this is an {kind} model (its UNet takes {channels} channels instead of 4); use the plain "
            f"text-to-image model that it was made from"
        )
    return family


def _prediction(path: Path, shapes: Iterable[str], metadata: Mapping[str, str]) -> str | None:
    """Find where the file, or the A1111 web UI's `.yaml` beside it, says what the UNet predicts."""
    if "v_pred" in shapes:  # an empty tensor of this name is how some SDXL models say it
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
    """Read names, shapes and metadata: 8 bytes of length, then JSON."""
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
    """Read the names in a `.ckpt` by listing its pickle's strings, without unpickling; shapes stay empty."""
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
