"""Networks on a graphics card without Python's overhead: recorded as CUDA graphs, and compiled where that is wanted.

A network of Stable Diffusion is a thousand small operations. Starting each from Python takes longer than the card
needs to compute it; a graph starts all of them at once. It holds the addresses of its inputs, weights and results:
inputs are copied to the same place each time, and a graph is forgotten when the weights move.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from deforum.models.branches import PLAIN, adapting, current
from deforum.models.room import is_out_of_memory

Tensor = torch.Tensor
Record = Callable[[Callable[[], Any]], tuple[Callable[[], object], Any]]
"""Records some work on the device; returns how to repeat it, and the result that each repetition overwrites."""

MOST = 4
"""Shapes of inputs that are recorded at a time. A graph holds the memory of all intermediate results."""

_log = logging.getLogger(__name__)


class CudaRecord:
    """Records CUDA graphs, which share their memory: they run one after the other."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        self._pool = torch.cuda.graph_pool_handle() if self._pool is None else self._pool
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            work()  # libraries set themselves up, which cannot be recorded
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = work()
        return graph.replay, result


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recording for inputs of one shape."""

    inputs: Sequence[Tensor]
    replay: Callable[[], object]
    result: Any

    def __call__(self, given: Sequence[Tensor]) -> Any:
        for place, value in zip(self.inputs, given, strict=True):
            place.copy_(value)
        self.replay()
        return _copied(self.result)


@contextmanager
def plainly(network: nn.Module) -> Iterator[None]:
    """Have a network that may be recorded or compiled compute by itself within the block, for hooks on its layers."""
    if not isinstance(network, Captured):
        yield
        return
    before, network.is_plain = network.is_plain, True
    try:
        yield
    finally:
        network.is_plain = before


class Captured(nn.Module):
    """A network that is recorded at the second use of a shape, and gives the same results, bit for bit.

    Its weights are those of the network: `to` and hooks act on both. It computes plainly while its weights are not at
    their place on the device, or in another precision, and for good after recording has failed, which is said once.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        *,
        record: Record | None,
        compile: Callable[[nn.Module], Callable[..., Any]] | None = None,
        most: int = MOST,
    ) -> None:
        """`record` None: no graphs. `compile` returns a faster function; it is called where that is first run."""
        super().__init__()
        self.network = network
        self._name, self._record, self._most = name, record, most
        self.is_plain = False
        """Compute by the network itself; see `plainly`."""
        self._dtype = next(network.parameters()).dtype
        # In a tuple, so that torch does not take it for a module with weights of its own.
        self._compiled = (None if compile is None else compile(network),)
        self._graphs: OrderedDict[Hashable, Recorded] = OrderedDict()
        self._seen: set[Hashable] = set()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # What adapters read is copied to its place too: a graph serves for all weights of the same adapters.
        leaves, form = tree_flatten((args, kwargs, dict(current())))
        is_plain = self.is_plain or PLAIN in current() or "computes_on" in self.__dict__
        if is_plain or next(self.network.parameters()).dtype != self._dtype:
            return self.network(*args, **kwargs)
        if self._record is None:
            return self._compute(*args, **kwargs)
        key = (form, *map(_kind, leaves))
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if key in self._graphs:
            self._graphs.move_to_end(key)
        elif key not in self._seen:
            self._seen.add(key)
            return self._compute(*args, **kwargs)
        elif not self._recorded(key, leaves, form):
            return self._compute(*args, **kwargs)
        with torch.inference_mode():
            return self._graphs[key](given)

    def _recorded(self, key: Hashable, leaves: Sequence[Any], form: Any) -> bool:
        """Record the inputs' shape; False where that failed."""
        assert self._record is not None
        while len(self._graphs) >= self._most:
            self._graphs.popitem(last=False)
        with torch.inference_mode():
            own = [torch.empty_like(leaf).copy_(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]

            def compute() -> Any:
                args, kwargs, inputs = tree_unflatten(own, form)  # anew: networks may take things off their lists
                with adapting(inputs):
                    return self._compute(*args, **kwargs)

            try:
                replay, result = self._record(compute)
            except Exception as error:
                reason = "out of memory" if is_out_of_memory(error) else str(error).partition("\n")[0][:200]
                _log.warning("%s: no CUDA graph could be recorded (%s); going on without", self._name, reason)
                self._record = None
                self._graphs.clear()
                return False
        self._graphs[key] = Recorded([leaf for leaf in own if isinstance(leaf, Tensor)], replay, result)
        return True

    def _compute(self, *args: Any, **kwargs: Any) -> Any:
        [compiled] = self._compiled
        if compiled is not None:
            try:
                return compiled(*args, **kwargs)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
                _log.warning("%s: it cannot be compiled here (%s); going on without", self._name, reason)
                self._compiled = (None,)
        return self.network(*args, **kwargs)

    def shed(self) -> bool:
        """Forget all recordings, for good: memory is short. False if there were none."""
        had, self._record = bool(self._graphs), None
        self._graphs.clear()
        return had

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._graphs.clear()  # the weights move
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]


def compiler(mode: str) -> Callable[[nn.Module], Callable[..., Any]]:
    """Return a function that compiles a network when it first runs, and again for each shape; `mode` as in torch."""

    def compiled(network: nn.Module) -> Callable[..., Any]:
        made: Callable[..., Any] = torch.compile(network, dynamic=False, mode=mode)
        return made

    return compiled


def _kind(leaf: Any) -> Hashable:
    return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _copied(result: Any) -> Any:
    """Copy the tensors of a result: of a network's output with a `sample`, of a tuple, or the tensor itself."""
    if isinstance(result, Tensor):
        return result.clone()
    if isinstance(result, tuple) and not hasattr(result, "sample"):
        return tuple(map(_copied, result))
    return type(result)(sample=result.sample.clone())
