"""Networks run in a faster form where that gives the same results."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import torch

from deforum.models.branches import PLAIN, current

Tensor = torch.Tensor
Run = Callable[..., Any]
"""Returns a tensor, or a tuple of them."""

SMALL = 256 * 2**20
"""Bytes of weights up to which a network may be held twice, in its own form and in the faster one."""
TOLERANCE = 1e-4
"""Largest difference of the results, relative to the largest value where that is over 1."""

_log = logging.getLogger(__name__)


class Faster:
    """A function of tensors by a network, in a faster form that is made when it is first called.

    `make` returns the faster form, a function of the same tensors. Its result is compared with that of `plain` for each
    new shape of inputs. Where it differs by more than `TOLERANCE`, or cannot be made, `plain` is used from then on, and
    a warning says so once. All calls with one shape use the same form, also the first, so that results do not depend on
    what was rendered before. Calls by several threads at once are allowed.

    `plain` is also used while hooks are attached to the network, and where `suits` finds it unsuitable, as after a
    conversion to another precision or device. The faster form is made again after weights have changed; changes through
    `Tensor.data` are not noticed.
    """

    def __init__(
        self, name: str, network: Any, plain: Run, make: Callable[[], Run], suits: Callable[[Any], bool]
    ) -> None:
        """`name` is for the warning: "the UNet"."""
        self._name, self._network, self._plain, self._make, self._suits = name, network, plain, make, suits
        self._lock = threading.Lock()
        self._parts: list[Any] = []
        self._weights: list[Tensor] = []
        self._is_small = False
        self._state: object = None
        self._form: Run | None = None
        self._equal: dict[tuple[Any, ...], bool] = {}

    def __call__(self, *inputs: Tensor | None) -> Any:
        state = None if PLAIN in current() else self._look()
        if state is None:
            return self._plain(*inputs)
        shapes = tuple(None if each is None else (each.shape, each.dtype) for each in inputs)
        key = (shapes, *sorted(current()))  # with an adapter it is another function
        with self._lock:
            if state != self._state:
                self._state, self._form, self._equal = state, None, {}
            if key not in self._equal:
                self._equal[key] = self._try(inputs)
            form = self._form if self._equal[key] else None
        return self._plain(*inputs) if form is None else form(*inputs)

    def _look(self) -> object:
        """Return what the faster form depends on; None where it must not be used."""
        if not torch.is_inference_mode_enabled() or not self._suits(self._network):
            return None
        if not self._parts:  # listing them takes longer than looking at them
            self._weights = list(self._network.parameters())
            self._is_small = sum(weight.nbytes for weight in self._weights) <= SMALL
            self._parts = list(self._network.modules())  # last: other threads take the rest to be there
        if not self._is_small or any(part._forward_hooks or part._forward_pre_hooks for part in self._parts):
            return None
        if any(weight.is_inference() for weight in self._weights):
            return None  # changes to them are not counted
        return self._weights[0].data_ptr(), sum(weight._version for weight in self._weights)

    def _try(self, inputs: tuple[Tensor | None, ...]) -> bool:
        """Make the faster form, unless it is there, and compare."""
        right = _all_of(self._plain(*inputs))
        if not all(each.isfinite().all() for each in right):
            return False
        try:
            if self._form is None:
                self._form = self._make()
            made = _all_of(self._form(*inputs))
            error = max(
                float((one - other).abs().max() / other.abs().max().clamp(min=1))
                for one, other in zip(made, right, strict=True)
            )
            problem = "" if error <= TOLERANCE else f"it differs by {error:.1e}"
        except Exception as reason:  # operations of other versions of torch, or of other processors
            problem = str(reason).splitlines()[0][:200] or type(reason).__name__
        if problem and not any(equal is False for equal in self._equal.values()):
            _log.warning("%s runs in its slower form; the faster one fails here: %s", self._name, problem)
        return not problem


def _all_of(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)
