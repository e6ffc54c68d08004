"""Estimate of the memory that rendering takes, from the sizes of a model's parts; no weights are loaded."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deforum.diffusion.families import FAMILIES
from deforum.diffusion.families.find import ModelSource
from deforum.errors import UserError
from deforum.models.machine import renders_on_gpu
from deforum.settings.options import Settings

PROGRAM = 900_000_000
"""Bytes of the program and its libraries, loaded."""

LIVE_MAPS = 4
"""Feature maps of the autoencoder's second width, at the size of the frame, that are in memory at once while it
decodes, which is the peak of a render. Measured in float32 on a CPU: 3.0 to 3.6 for Stable Diffusion's, 3.2 to 4.3 for
the embedded one from 1024 px on. On graphics cards in 16 bits the peak is 4 maps of float32 too."""

PER_PIXEL = 100
"""Bytes per pixel of the pictures of the loop: float32 RGB, several at once."""


SIDE = 512
"""Side of the tiles in px in which frames are encoded and decoded where memory is short."""

BATCH_ON_CPU = 4
"""Independent frames that are diffused at once on a CPU: larger batches take more memory and are hardly faster."""


def estimate_memory(
    model: ModelSource, width: int, height: int, *, batch: int = 1, half: bool = False, tiled: bool = False
) -> int | None:
    """Return about how many bytes a render of frames of width x height px takes; None for a model not fetched yet.

    `batch` frames are diffused at once; `half` is for weights of 16 bits; `tiled`: frames are decoded in tiles. Depth,
    flow and other models are not counted.
    """
    if model.path is None:
        return None
    folder = model.path if model.config is None else model.config
    try:
        widths = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))["block_out_channels"]
    except (OSError, ValueError, KeyError):
        return None
    weights = count_weights(model) * (2 if half else 4)
    if tiled:
        whole = memory_of_frame(widths, min(width, SIDE), min(height, SIDE)) + batch * width * height * PER_PIXEL
        return PROGRAM + weights + whole
    return PROGRAM + weights + batch * memory_of_frame(widths, width, height)


def memory_of_frame(widths: Sequence[int], width: int, height: int) -> int:
    """Return about how many bytes a frame of width x height px takes beside the weights.

    `widths` are the channels of the autoencoder's resolutions, the finest first.
    """
    maps = LIVE_MAPS * int(widths[min(1, len(widths) - 1)]) * 4
    return width * height * (maps + PER_PIXEL)


@contextmanager
def shortage_explained(settings: Settings) -> Iterator[None]:
    """Raise a UserError with settings to change where memory runs out, in whatever part of the program."""
    try:
        yield
    except Exception as error:
        from deforum.models.room import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
    else:
        return
    raise UserError(_shortage(settings, reason))


def _shortage(settings: Settings, reason: str) -> str:
    width, height = settings.size
    half = [max(64, round(side * 0.7 / 64) * 64) for side in (width, height)]
    ways = [f"width={half[0]} height={half[1]} (half of {width}x{height})"]
    if settings.memory != "lowest":
        ways.append("memory=lowest")
    if settings.batch_size > 1 and not settings.mode.goes_on:
        ways.append(f"batch_size={max(1, settings.batch_size // 2)} (now {settings.batch_size})")
    if settings.precision == "fp32" and renders_on_gpu(settings.device):
        ways.append("precision=fp16 (half of the model's weights)")
    said = f" ({reason})" if reason else ""
    return f"out of memory, after less was tried{said}. What was rendered is kept. Set {', or '.join(ways)}"


def count_weights(model: ModelSource) -> int:
    """Count the numbers in the weights of a model that is here, with its refiner and the parts that lie apart."""
    assert model.path is not None
    apart = [path for path in (model.vae, *(path for _, path in model.text_encoders)) if path is not None]
    beside = [file for path in apart for file in ([path] if path.is_file() else path.glob("*.safetensors"))]
    more = sum(map(weights_in, beside)) + (count_weights(model.refiner) if model.refiner else 0)
    if model.path.is_file():
        return weights_in(model.path) + more
    family = FAMILIES[model.family]
    chosen: list[Path] = []
    for part in (family.network, "vae", *family.text_encoders):
        is_fp16 = part in model.fp16_parts
        for kind in ("*.safetensors", "*.bin"):
            found = [file for file in (model.path / part).glob(kind) if (".fp16" in file.name) == is_fp16]
            if found:
                chosen += found
                break
    return sum(map(weights_in, chosen)) + more


def weights_in(file: Path) -> int:
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
