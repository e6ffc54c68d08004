"""Networks as graphs of OpenVINO, for processors.

torch starts a network's operations one after the other, from Python; a small network spends as long on that, and on
bringing data from one layout into another, as on arithmetic. OpenVINO has the whole network: it joins operations,
chooses layouts for all of them, and takes less than half of the time. For float32 on x86-64, in inference mode.

Making a graph takes seconds (the network is traced, converted and compiled for each shape of its inputs). So graphs are
kept in the user's cache, by the digest of the weights and of what else they depend on.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import threading
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deforum.models import kept_graphs
from deforum.models.branches import current
from deforum.models.faster import Faster, Form
from deforum.models.kept_graphs import is_supported, library

Tensor = torch.Tensor
Run = Callable[..., Any]

VERSION = 1
"""Of the way from a network to a graph: graphs that were made in another way are not used."""
MOST = 4
"""Shapes of inputs of a network whose graphs are held; each holds the weights in a layout of its own."""
_beside: ContextVar[int] = ContextVar("beside", default=1)
"""Threads that evaluate networks at the same time, each with its share of the cores."""


def as_graph(name: str, network: nn.Module, run: Run | None = None, *, least: int = 0) -> Faster:
    """Return a function of tensors by a network as a graph, where it computes in float32 on a processor.

    `run` is the function, without it the network itself; `name` is for messages: "the depth network". For maps of less
    than `least` places, which gain too little for the time of making a graph, it stays as it is.
    """
    function = network if run is None else run

    def pays(inputs: Sequence[Tensor | None]) -> bool:
        return inputs[0] is not None and inputs[0][0, 0].numel() >= least

    return Faster(name, network, function, [Form(lambda: Graph(network, function), _suits, pays)])


def _suits(network: nn.Module) -> bool:
    weight = next(network.parameters())
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and is_supported()


@contextmanager
def side_by_side(threads: int) -> Iterator[None]:
    """Within the block, this thread is one of `threads` that evaluate networks at the same time."""
    token = _beside.set(threads)
    try:
        yield
    finally:
        _beside.reset(token)


class Graph:
    """A function of tensors by a network, for each shape of its inputs as a graph. Several threads may call it at once.

    It is kept from process to process, see `faster.Kept`.
    """

    def __init__(self, network: nn.Module, run: Run) -> None:
        """`run` is the function: of tensors, or None in their place, with a tensor or a tuple of tensors as result."""
        self._network, self._run = network, run
        self._made: OrderedDict[Shape, Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor | None) -> Any:
        shape = Shape.of(inputs)
        with self._lock:
            made = self._made.get(shape)
            if made is None:
                made = self._recalled(shape) or self._add(shape, compiled(self._network, self._run, inputs, shape))
            self._made.move_to_end(shape)
        return made([each for each in inputs if each is not None])

    def recall(self, *inputs: Tensor | None) -> bool:
        shape = Shape.of(inputs)
        with self._lock:
            return shape in self._made or self._recalled(shape) is not None

    def keep(self, *inputs: Tensor | None) -> None:
        shape = Shape.of(inputs)
        with self._lock:
            made = self._made.get(shape)
            if made is not None:
                kept_graphs.keep(_name(self._digest, shape, _machine()), made.model, shape.options)

    def _recalled(self, shape: Shape) -> Compiled | None:
        """Return the graph for a shape from the cache."""
        made = kept_graphs.read(_name(self._digest, shape, _machine()))
        return None if made is None else self._add(shape, Compiled(made))

    def _add(self, shape: Shape, made: Compiled) -> Compiled:
        self._made[shape] = made
        if len(self._made) > MOST:
            self._made.popitem(last=False)
        return made

    @cached_property
    def _digest(self) -> str:
        return digest(self._network)


class Compared:
    """A faster form other than a graph. That it gives the same is noted from process to process, see `faster.Kept`.

    To compare a decoder with its packed form takes as long as a painted frame.
    """

    def __init__(self, network: nn.Module, form: nn.Module, run: Run) -> None:
        """`run` is a function of tensors by `form`, which is made of `network`."""
        self._network, self._form, self._run = network, form, run

    def __call__(self, *inputs: Tensor | None) -> Any:
        return self._run(*inputs)

    def recall(self, *inputs: Tensor | None) -> bool:
        return not current() and kept_graphs.is_noted(self._note(inputs))

    def keep(self, *inputs: Tensor | None) -> None:
        if not current():  # with adapters it is another function
            kept_graphs.note(self._note(inputs))

    def _note(self, inputs: Sequence[Tensor | None]) -> str:
        return _name(self._digest, Shape.of(inputs), _of_torch())

    @cached_property
    def _digest(self) -> str:
        code = "".join(map(digest, (self._network, self._form))) + _called(self._run)
        return hashlib.blake2b(code.encode(), digest_size=16).hexdigest()


def _called(run: Run) -> str:
    return str(getattr(run.func if isinstance(run, partial) else run, "__qualname__", type(run).__qualname__))


@dataclass(frozen=True)
class Shape:
    """What a graph is made for."""

    inputs: tuple[tuple[str, tuple[int, ...]] | None, ...]
    """Type and shape of each input; None where there is none."""
    threads: int
    streams: int
    """Threads that evaluate the network at the same time; each has `threads` cores."""

    @classmethod
    def of(cls, inputs: Sequence[Tensor | None]) -> Shape:
        """Return it for inputs, with the threads as they are now."""
        shapes = (None if each is None else (str(each.dtype), tuple(each.shape)) for each in inputs)
        return cls(tuple(shapes), torch.get_num_threads(), _beside.get())

    @property
    def options(self) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads * self.streams,
            "NUM_STREAMS": self.streams,
            "ENABLE_CPU_PINNING": False,  # other processes and threads want cores too
        }


@dataclass(frozen=True, eq=False)
class Compiled:
    """A graph for one shape of inputs."""

    model: Any
    _idle: list[Any] = field(default_factory=list)
    """Requests that no thread uses now; each holds memory for what is computed."""

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        try:
            made = request.infer([each.contiguous().numpy() for each in inputs], share_inputs=True)
            results = [_laid_out(torch.from_numpy(made[index])) for index in range(len(made))]
        finally:
            self._idle.append(request)
        return results[0] if len(results) == 1 else tuple(results)


def _laid_out(x: Tensor) -> Tensor:
    """Return a result in the layout of torch's networks."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


class _Closed(nn.Module):
    """A network as a function of those inputs that are there."""

    def __init__(self, network: nn.Module, run: Run, there: Sequence[bool]) -> None:
        super().__init__()
        self.network, self._run_it, self._there = network, run, there

    def forward(self, *given: Tensor) -> Any:
        rest = iter(given)
        return self._run_it(*(next(rest) if there else None for there in self._there))


def compiled(network: nn.Module, run: Run, inputs: Sequence[Tensor | None], shape: Shape) -> Compiled:
    """Make the graph of a function of tensors by a network."""
    return Compiled(kept_graphs.core().compile_model(converted(network, run, inputs), "CPU", shape.options))


def converted(network: nn.Module, run: Run, inputs: Sequence[Tensor | None]) -> Any:
    """Trace a function of tensors by a network, and return it as a model of OpenVINO for inputs of these shapes."""
    # The parts beneath openvino.convert_model, which reports each use to its makers, and takes three times as long.
    openvino = library()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    types = {torch.float32: openvino.Type.f32, torch.int64: openvino.Type.i64}
    closed = _Closed(network, run, [each is not None for each in inputs]).train(network.training)
    # Sizes become constants, as they should, and tracing is deprecated. (Contexts of warnings are not for threads.)
    tracer: Any = torch.jit
    warnings.filterwarnings("ignore", category=tracer.TracerWarning)
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
    with torch.inference_mode(False), torch.no_grad():
        given = tuple(each.clone() for each in inputs if each is not None)
        trace: Callable[..., Any] = torch.jit.trace
        traced = torch.jit.freeze(trace(closed, given, check_trace=False))
        front = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, skip_freeze=True)  # the front end does not hold it
        model = front.load(decoder)
        for place, each in zip(model.get_inputs(), given, strict=True):
            model.set_element_type(place, types[each.dtype])
            model.set_partial_shape(place, openvino.PartialShape(list(each.shape)))
        return front.convert(model)


# --- names in the cache -----------------------------------------------------------------------------------------------


def digest(network: nn.Module) -> str:
    """Return a digest of what a network computes: its code, its modules with their attributes, and their weights."""
    whole = hashlib.blake2b(digest_size=16)
    for name, module in network.named_modules():
        kind: Any = type(module)
        # A replaced forward counts by its name, as a shortcut past a residual branch does.
        facts = {key: _plain(value) for key, value in vars(module).items() if key not in _TORCHS}
        whole.update(repr((name, _code_of(kind), sorted(facts.items()))).encode())
    with torch.inference_mode():
        for name, tensor in network.state_dict().items():
            bits = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()
            whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {zlib.crc32(bits)}".encode())
    return whole.hexdigest()


_TORCHS = frozenset(vars(nn.Module()))


def _plain(value: Any) -> Any:
    """Return a value of the language's own types, in which no addresses stand; of another one its type's name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return getattr(value, "__qualname__", type(value).__qualname__)


@cache
def _code_of(kind: Any) -> tuple[str, int]:
    """Return the name of a class and a checksum of the file that defines it; 0 of torch's, whose version counts."""
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    is_torchs = path is None or kind.__module__.startswith("torch.")
    return f"{kind.__module__}.{kind.__qualname__}", 0 if is_torchs else zlib.crc32(Path(str(path)).read_bytes())


def _name(network: str, shape: Shape, machine: Sequence[str]) -> str:
    """Return the name of a graph or a note in the cache, by all that it depends on; `network`: its digest."""
    about = repr((VERSION, shape, *machine)).encode()
    return f"{network}-{hashlib.blake2b(about, digest_size=8).hexdigest()}"


@cache
def _machine() -> tuple[str, ...]:
    """Return what a graph depends on here: the libraries, and the processor, for whose instructions it holds code."""
    openvino = library()
    name = kept_graphs.core().get_property("CPU", "FULL_DEVICE_NAME")
    return openvino.get_version(), torch.__version__, name, torch.backends.cpu.get_cpu_capability()


@cache
def _of_torch() -> tuple[str, ...]:
    """Return what results of torch depend on here, without OpenVINO, whose import takes longer than comparing: torch,
    the processor, and the code that packs and runs networks, of which a digest of them has the classes alone."""
    here, code = Path(__file__).parents[1], 0
    for path in sorted(path for folder in ("models", "diffusion") for path in (here / folder).rglob("*.py")):
        code = zlib.crc32(path.read_bytes(), code)
    return torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability(), f"{code:08x}"
