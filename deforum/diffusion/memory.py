"""Estimate of the memory that rendering takes, from the sizes of a model's parts; no weights are loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from deforum.diffusion.families import FAMILIES
from deforum.diffusion.families.find import ModelSource

PROGRAM = 900_000_000
"""Bytes of the program and its libraries, loaded."""

LIVE_MAPS = 4
"""Feature maps of the autoencoder's second width, at the size of the frame, that are in memory at once while it
decodes, which is the peak of a render. Measured in float32 on a CPU: 3.0 to 3.6 for Stable Diffusion's, 3.2 to 4.3 for
the embedded one from 1024 px on. On graphics cards in 16 bits the peak is 4 maps of float32 too."""

PER_PIXEL = 100
"""Bytes per pixel of the pictures of the loop: float32 RGB, several at once."""


BATCH_ON_CPU = 4
"""Independent frames that are diffused at once on a CPU: larger batches take more memory and are hardly faster."""


def estimate_memory(model: ModelSource, width: int, height: int, *, batch: int = 1, half: bool = False) -> int | None:
    """Return about how many bytes a render of frames of width x height px takes; None for a model not fetched yet.

    `batch` frames are diffused at once; `half` is for weights of 16 bits. Depth, flow and other models are not counted.
    """
    if model.path is None:
        return None
    folder = model.path if model.config is None else model.config
    try:
        widths = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))["block_out_channels"]
    except (OSError, ValueError, KeyError):
        return None
    maps = LIVE_MAPS * int(widths[min(1, len(widths) - 1)]) * 4
    weights = count_weights(model) * (2 if half else 4)
    return PROGRAM + weights + batch * width * height * (maps + PER_PIXEL)


def count_weights(model: ModelSource) -> int:
    """Count the numbers in the weights of a model that is here."""
    assert model.path is not None
    if model.path.is_file():
        return _weights_in(model.path)
    family = FAMILIES[model.family]
    chosen: list[Path] = []
    for part in (family.network, "vae", *family.text_encoders):
        is_fp16 = part in model.fp16_parts
        for kind in ("*.safetensors", "*.bin"):
            found = [file for file in (model.path / part).glob(kind) if (".fp16" in file.name) == is_fp16]
            if found:
                chosen += found
                break
    return sum(map(_weights_in, chosen))


def _weights_in(file: Path) -> int:
    """Count the numbers in a file of weights: by the header of a .safetensors file, else as if they had 16 bits."""
    size = file.stat().st_size
    if file.suffix != ".safetensors":
        return size // 2
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, size)))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, struct.error):
        return size // 2
