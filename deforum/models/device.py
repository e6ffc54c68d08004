"""What computes, and with which numbers."""

from __future__ import annotations

import torch

from deforum.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Return the device for "auto" (CUDA, then Apple's MPS, then the CPU), or the named one if it is there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there.get(device.split(":")[0], False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"device is {device!r}, which is not to be found here; there is: {found} (or auto)")
    return torch.device(device)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the number format of UNet and text encoders for "fp32", "bf16", "fp16" or "auto".

    "auto" is fp16 on graphics cards: it holds more digits than bf16, and its rare overflows are caught and done again.
    On the CPU it is bf16 where the processor itself multiplies in bf16, and fp32 elsewhere: there bf16 is slower.
    """
    if precision in DTYPES:
        return DTYPES[precision]
    if precision != "auto":
        raise UserError(f"precision is {precision!r}; expected one of auto, {', '.join(DTYPES)}")
    if device.type != "cpu":
        return torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
