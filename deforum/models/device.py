"""Choice of the compute device and of the floating-point precision."""

from __future__ import annotations

from typing import Any

import torch

from deforum.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Return the device for "auto" (CUDA, then Apple's MPS, then the CPU), or the named one.

    Raises UserError where the named one is not available.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there.get(device.split(":")[0], False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"device is {device!r}, which is not to be found here; there is: {found} (or auto)")
    return torch.device(device)


def choose_dtype(precision: str, device: torch.device, on_cards: str = "fp16") -> torch.dtype:
    """Return the dtype of UNet and text encoders for "fp32", "bf16", "fp16" or "auto".

    "auto" is `on_cards` on graphics cards: fp16 has more digits than bf16, and its rare overflows are caught and
    computed again; networks that often overflow need bf16. On the CPU it is bf16 where the processor has bf16
    instructions, and fp32 elsewhere, where bf16 is slower; `load_model` makes it fp32 for small models, which are as
    fast in it.
    Raises UserError for any other name.
    """
    if precision in DTYPES:
        return DTYPES[precision]
    if precision != "auto":
        raise UserError(f"precision is {precision!r}; expected one of auto, {', '.join(DTYPES)}")
    if device.type != "cpu":
        return DTYPES[on_cards]
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def execution_device(module: Any) -> torch.device:
    """Return the device that a module computes on, where its inputs belong.

    Its weights may wait on the host until then, or be on "meta", see `deforum.models.offload`.
    """
    device: torch.device = getattr(module, "computes_on", None) or module.device
    return device
