"""Copies between the host and the render device that nothing waits for.

On a CUDA device a copy from or to pinned memory is only enqueued: the card makes it when it gets there, while the host
goes on. PyTorch keeps pinned buffers for reuse, and gives none away before the card is done with it, so that the
pictures on their way to the writers go round in as many buffers as the writers' queues hold. On other devices a copy is
made at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import DTypeLike, NDArray


def stays_on(device: torch.device) -> bool:
    """Whether a frame stays on a device. Others lack operations or float64 for it: there it visits the host."""
    return device.type not in ("cpu", "mps")


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor of the host to a device, without waiting for what the device is doing.

    The tensor may be changed or dropped afterwards. A tensor on the device already is returned as it is.
    """
    import torch

    if tensor.device.type != "cpu" or device.type != "cuda":
        return tensor.to(device)
    pinned = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
    return pinned.to(device, non_blocking=True)


@lru_cache(maxsize=256)
def constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return a tensor of numbers that do not change; it is copied to the device once. Do not modify it."""
    import torch

    with torch.inference_mode(False):
        return upload(torch.tensor(values, dtype=dtype), device)


@dataclass(frozen=True, eq=False)
class Arriving:
    """An array on its way from the device; `pixels` waits for it. May be asked by several threads."""

    _buffer: torch.Tensor
    _arrived: Any
    """The event after the copy; None: it is here."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._buffer.shape)

    @property
    def dtype(self) -> DTypeLike:
        return self._array().dtype

    def pixels(self) -> NDArray[Any]:
        """Return the array, read-only, once it is here."""
        if self._arrived is not None:
            self._arrived.synchronize()
        array = self._array()
        array.flags.writeable = False
        return array

    def _array(self) -> NDArray[np.generic]:
        array: NDArray[np.generic] = self._buffer.numpy()
        return array


def download(tensor: torch.Tensor) -> Arriving:
    """Start the copy of a tensor to the host."""
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.device.type != "cuda":
        return Arriving(tensor.cpu(), None)
    buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    buffer.copy_(tensor, non_blocking=True)
    # Blocking: a waiting thread leaves its core to others.
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensor.device))
    return Arriving(buffer, event)
