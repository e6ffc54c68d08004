"""Where training computes: torch's default device, which every stage's ``--device`` sets.

What torch makes (models, noise, masks) is on the default device by itself; what comes from numpy or from disk is `put`
there.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Ask for the device and the threads; `use` then sets them."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")


def use(args: argparse.Namespace) -> None:
    """Compute on ``args.device`` from now on, with ``args.threads`` threads on the CPU."""
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)


def current() -> torch.device:
    return torch.get_default_device()


def put(values: Tensor | NDArray[Any]) -> Tensor:
    """A tensor on the device."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")
    return tensor.to(current(), non_blocking=True)


def bfloat16(enabled: bool = True) -> torch.autocast:
    """Compute what bears it in bfloat16."""
    return torch.autocast(current().type, torch.bfloat16, enabled=enabled)
