"""The training device: torch's default device, set by every stage's ``--device``.

Tensors that torch creates (models, noise, masks) are on the default device; arrays from numpy or from disk are moved
there with `put`.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the arguments ``--device`` and ``--threads``, which `use` applies."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")


def use(args: argparse.Namespace) -> None:
    """Set the default device to ``args.device`` and the number of CPU threads to ``args.threads``."""
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)


def current() -> torch.device:
    return torch.get_default_device()


def put(values: Tensor | NDArray[Any]) -> Tensor:
    """Return an array or tensor as a tensor on the default device."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")
    return tensor.to(current(), non_blocking=True)


def bfloat16(enabled: bool = True) -> torch.autocast:
    """Return an autocast context for bfloat16 on the default device."""
    return torch.autocast(current().type, torch.bfloat16, enabled=enabled)
