"""Moving of modules between the host and the device that computes, by hooks of accelerate on their `forward`.

A module that waits elsewhere has the device that it computes on in `computes_on` (see `device.execution_device`): its
own `device` is the host's, or "meta".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

Tensor = torch.Tensor


class Host(Protocol):
    """What decides which visitors are on the device."""

    @property
    def device(self) -> torch.device: ...

    def enter(self, visitor: Visitor) -> None:
        """Bring a visitor to the device."""


class Visitor:
    """Keeps a module on the host until it runs; a `ModelHook` of accelerate by its methods.

    The copy on the device is thrown away when the module leaves: its weights do not change while it runs.
    """

    no_grad = False

    def __init__(self, module: nn.Module, host: Host) -> None:
        self._module, self._host = module, host
        self.size = size_of(module)
        self.is_inside = False
        self._kept: list[tuple[Tensor, Tensor]] = []
        self.read()

    def read(self) -> None:
        """Take the module's present weights as those to keep, in pinned memory where there is CUDA."""
        pins = self._host.device.type == "cuda" and torch.cuda.is_available()
        for tensor in tensors_of(self._module):
            kept = tensor.data.to("cpu")
            tensor.data = kept.pin_memory() if pins else kept
        self._kept = [(tensor, tensor.data) for tensor in tensors_of(self._module)]
        self.is_inside = False

    def arrive(self) -> None:
        """Copy the weights to the device."""
        with torch.inference_mode(False):  # a parameter cannot hold an inference tensor
            for tensor, kept in self._kept:
                tensor.data = kept.to(self._host.device, non_blocking=True, copy=True)
        self.is_inside = True

    def leave(self) -> None:
        """Give the memory on the device back."""
        for tensor, kept in self._kept:
            tensor.data = kept
        self.is_inside = False

    def init_hook(self, module: nn.Module) -> nn.Module:
        return module

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        from accelerate.utils import send_to_device

        self._host.enter(self)
        return send_to_device(args, self._host.device), send_to_device(kwargs, self._host.device)

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        return output

    def detach_hook(self, module: nn.Module) -> nn.Module:
        self.leave()
        return module


def park(module: nn.Module, host: Host) -> None:
    """Let a module wait on the host until it runs."""
    from accelerate.hooks import add_hook_to_module

    settle(module, torch.device("cpu"))
    add_hook_to_module(module, Visitor(module, host))
    module.__dict__["computes_on"] = host.device


def stream(module: nn.Module, device: torch.device) -> None:
    """Keep a module on the host; the weights of each of its layers are on the device only while that layer runs."""
    from accelerate import cpu_offload

    settle(module, torch.device("cpu"))
    weights = dict(module.state_dict())
    cpu_offload(module, execution_device=device, offload_buffers=True, state_dict=weights)
    module.__dict__ |= {"computes_on": device, "streamed": weights}


def settle(module: nn.Module, device: torch.device) -> None:
    """Move a whole module to a device, and end `park` and `stream`."""
    if "computes_on" in module.__dict__:
        from accelerate.hooks import remove_hook_from_module

        remove_hook_from_module(module, recurse=True)
        for name in ("computes_on", "streamed"):
            module.__dict__.pop(name, None)
    with torch.inference_mode(False):
        torch.nn.Module.to(module, device)


@contextmanager
def cast(module: Any, dtype: torch.dtype) -> Iterator[None]:
    """Convert a module, wherever its weights are. Afterwards they are as before, bit for bit."""
    before: torch.dtype = module.dtype
    visitors = [hook for part in module.modules() if isinstance(hook := getattr(part, "_hf_hook", None), Visitor)]
    streamed = [(weights, dict(weights)) for part in module.modules() if (weights := part.__dict__.get("streamed"))]
    for visitor in visitors:
        visitor.leave()
    kept = [(tensor, tensor.data) for tensor in tensors_of(module)] if visitors else []
    try:
        for weights, whole in streamed:
            weights.update({name: _converted(tensor, dtype) for name, tensor in whole.items()})
        _convert(module, dtype, visitors)
        yield
    finally:
        for weights, whole in streamed:
            weights.update(whole)
        for visitor in visitors:
            visitor.leave()
        _convert(module, before, [])
        for tensor, data in kept:
            tensor.data = data
        for visitor in visitors:
            visitor.read()


def _convert(module: nn.Module, dtype: torch.dtype, visitors: Sequence[Visitor]) -> None:
    # Weights are ordinary tensors: in inference mode, torch would put new parameters in their place.
    with torch.inference_mode(False):
        # Called directly because the libraries' own `to` warns of casts.
        torch.nn.Module.to(module, dtype)
    for visitor in visitors:
        visitor.read()


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def tensors_of(module: nn.Module) -> list[Tensor]:
    """List a module's weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def size_of(module: nn.Module) -> int:
    """Return the bytes of a module's weights and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(module))
