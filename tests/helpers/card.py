"""A pretended graphics card: values are computed on the CPU, and what would make the host wait is counted.

    with Card() as card:
        picture = texture(1).to(CARD)
        float(picture.mean())
        assert [read.what for read in card.waits] == ["reads a number", ...]

A tensor on it says that it is on "cuda". As on a card, an operation on tensors of both devices is refused. A copy to
pinned memory with `non_blocking` arrives late: when its event is waited for, or at the next wait. Pinned memory must
not change before a copy from it has been made.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any, Self

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

CARD = torch.device("cuda", 0)
aten = torch.ops.aten

WAITS: dict[str, str] = {
    "aten::_local_scalar_dense": "reads a number",
    "aten::equal": "reads whether all are equal",
    "aten::nonzero": "counts what is not zero",
    "aten::masked_select": "selects by a mask",
    "aten::_unique2": "counts different values",
    "aten::unique_dim": "counts different values",
    "aten::unique_consecutive": "counts different values",
    "aten::bincount": "reads the largest value",
    "aten::repeat_interleave": "reads the length of its result",
}
"""Operations whose result, or its size, has to be known on the host."""


class OnCard(torch.Tensor):
    """A tensor on the pretended card; `host` has its values."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> Self:
        with torch.inference_mode(False):  # views of wrappers are made in and outside of inference mode
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                host.size(),
                strides=host.stride(),
                storage_offset=host.storage_offset(),
                dtype=host.dtype,
                device=CARD,
            )
        made.host = host
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()  # torch's own refuses subclasses

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise RuntimeError(f"{func} on the pretended card after it was closed")


@dataclass(frozen=True)
class Wait:
    """One time that the host waits for the card."""

    what: str
    where: str
    """The innermost lines of the package that led to it."""


@dataclass
class Event:
    """Stands in for torch.cuda.Event."""

    card: Card
    until: int = -1

    def record(self, stream: None) -> None:
        self.until = self.card.enqueued

    def synchronize(self) -> None:
        self.card.arrive(self.until)


class Card(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The pretended card; `waits` has what the host waited for, `copies` counts pictures on their way to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[Wait] = []
        self.copies = 0
        self.enqueued = 0
        self._late: list[tuple[int, Callable[[], None]]] = []
        self._lock = threading.Lock()
        self._pinned: dict[int, torch.Tensor] = {}
        self._outer: list[Any] = []

    def __enter__(self) -> Self:
        self._outer = [
            torch._C._only_lift_cpu_tensors(),
            torch.__future__.get_overwrite_module_params_on_conversion(),
            torch.cuda.Event,
            torch.cuda._lazy_init,
            torch.cuda.current_stream,
            torch.backends.cudnn.enabled,
        ]
        torch.backends.cudnn.enabled = False  # the CPU has none of its operations
        torch._C._set_only_lift_cpu_tensors(True)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        torch.cuda.Event = lambda **_: Event(self)  # type: ignore[assignment, misc]
        torch.cuda._lazy_init = lambda: None
        torch.cuda.current_stream = lambda device=None: None  # type: ignore[assignment, return-value]
        torch._C._ensureCUDADeviceGuardSet()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        lifts, overwrites, event, init, stream, cudnn = self._outer
        torch.cuda.Event, torch.cuda._lazy_init, torch.cuda.current_stream = event, init, stream  # type: ignore[misc]
        torch.backends.cudnn.enabled = cudnn
        torch._C._set_only_lift_cpu_tensors(lifts)
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)

    def take(self) -> list[Wait]:
        """Return the waits since the last call, and forget them."""
        waits, self.waits = self.waits, []
        return waits

    def arrive(self, until: int) -> None:
        """Make the copies that were enqueued up to a point."""
        with self._lock:
            ready = [copy for number, copy in self._late if number <= until]
            self._late = [each for each in self._late if each[0] > until]
        for copy in ready:
            copy()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, is_composite = _about(func)
        tensors = list(_tensors((args, kwargs)))
        given = kwargs.get("device")
        to_card = given is not None and torch.device(given).type == CARD.type
        if not to_card and not any(isinstance(each, OnCard) for each in tensors):
            return self._on_host(func, args, kwargs)
        if is_composite:
            TorchDispatchMode.__enter__(self)  # type: ignore[no-untyped-call]
            try:
                return func.decompose(*args, **kwargs)
            finally:
                TorchDispatchMode.__exit__(self, None, None, None)  # type: ignore[no-untyped-call]
        if name in ("aten::_to_copy", "aten::copy_"):
            return self._copy(func, args, kwargs, to_card)
        if name in WAITS:
            self._wait(WAITS[name])
        if name in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
            self._index(args)
        elif any(each.ndim and not isinstance(each, OnCard) for each in tensors):
            raise RuntimeError(f"{func}: tensors are on different devices\n{_where()}")
        return self._run(func, args, kwargs)

    def _on_host(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not kwargs.get("pin_memory"):
            return func(*args, **kwargs)
        made = func(*args, **{**kwargs, "pin_memory": False})
        made.fill_(77)  # what is read too early is seen
        self._pinned[made.untyped_storage().data_ptr()] = made
        return made

    def _is_pinned(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._pinned

    def _index(self, args: Any) -> None:
        """Indexing by a mask counts its pixels; indices on the host are copied to the card."""
        for index in args[1]:
            if index is None:
                continue
            if index.dtype in (torch.bool, torch.uint8):
                self._wait("indexes by a mask")
            if not isinstance(index, OnCard):
                self._wait("copies indices to the card")

    def _copy(self, func: Any, args: Any, kwargs: Any, to_card: bool) -> Any:
        is_into = func._schema.name == "aten::copy_"
        to: Any = args[0] if is_into else None
        come: Any = args[1] if is_into else args[0]
        target_is_card = isinstance(to, OnCard) if is_into else (to_card or kwargs.get("device") is None)
        source_is_card = isinstance(come, OnCard)
        late = bool(args[2] if is_into and len(args) > 2 else kwargs.get("non_blocking"))
        if source_is_card == target_is_card or (is_into and come.ndim == 0 and target_is_card):
            return self._run(func, args, kwargs)
        if target_is_card:  # to the card
            if late and self._is_pinned(come):
                self._enqueue(_unchanged(come, come.clone(), _where()))
            else:
                self._wait("copies to the card")
            return self._run(func, args, kwargs)
        if late and is_into and self._is_pinned(to):
            self.copies += 1
            snapshot = come.host.clone()
            self._enqueue(lambda: _plainly(lambda: to.copy_(snapshot)))
            return to
        self._wait("copies to the host")
        made = self._run(func, args, kwargs)
        return made.host if isinstance(made, OnCard) else made

    def _enqueue(self, copy: Callable[[], None]) -> None:
        with self._lock:
            self.enqueued += 1
            self._late.append((self.enqueued, copy))

    def _wait(self, what: str) -> None:
        self.waits.append(Wait(what, _where()))
        self.arrive(self.enqueued)

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        known = {id(each.host): each for each in _tensors((args, kwargs)) if isinstance(each, OnCard)}

        def come(value: Any) -> Any:
            if isinstance(value, OnCard):
                return value.host
            return torch.device("cpu") if isinstance(value, torch.device) else value

        def go(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return known[id(value)] if id(value) in known else OnCard(value)

        found = func(*_mapped(come, args), **_mapped(come, kwargs))
        if func._schema.name == "aten::copy_" and not isinstance(args[0], OnCard):
            return found
        return _mapped(go, found)


@cache
def _about(func: Any) -> tuple[str, bool]:
    """Return an operation's name, and whether it is made of others."""
    return func._schema.name, torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """List the tensors in an operation's arguments; torch's own function for it is slow."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)([_mapped(change, each) for each in value])
    if isinstance(value, dict):
        return {name: _mapped(change, each) for name, each in value.items()}
    return change(value)


def at_once(network: torch.nn.Module) -> Callable[..., Any]:
    """Return a `forward` by which a network on the card is one operation, as with a CUDA graph."""
    forward = network.forward

    def computed(*args: Any, **kwargs: Any) -> Any:
        weights = {name: _to_host(each) for name, each in (*network.named_parameters(), *network.named_buffers())}
        with torch.utils._python_dispatch._disable_current_modes(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, "forward", forward)
            made = torch.func.functional_call(network, weights, _mapped(_to_host, args), _mapped(_to_host, kwargs))
        return type(made)(sample=OnCard(made.sample)) if hasattr(made, "sample") else OnCard(made)

    return computed


def _to_host(value: Any) -> Any:
    return value.host if isinstance(value, OnCard) else value


def _plainly(work: Callable[[], object]) -> None:
    with torch.utils._python_dispatch._disable_current_modes():
        work()


def _unchanged(source: torch.Tensor, was: torch.Tensor, where: str) -> Callable[[], None]:
    def check() -> None:
        same: list[bool] = []
        _plainly(lambda: same.append(torch.equal(source, was)))
        assert same[0], f"pinned memory changed before its copy was made:\n{where}"

    return check


def _where() -> str:
    frame: FrameType | None = sys._getframe(1)
    lines: list[str] = []
    while frame is not None and len(lines) < 4:
        file = frame.f_code.co_filename
        if "/deforum/" in file and "/tests/" not in file:
            lines.append(f"{file.rpartition('/deforum/')[2]}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(lines)
