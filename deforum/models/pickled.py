"""A restricted reader of torch's pickled weights: it interprets the pickle's operations itself and calls nothing.

It knows dictionaries, lists, tuples, numbers, texts and tensors. Every other object becomes `Inert`, so a training
checkpoint with a stranger's classes is read for its tensors. Work and memory are proportional to the pickle's length.
Does not import torch.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from deforum.limits import PICKLE, PICKLE_OPERATIONS

KINDS = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "UntypedStorage": "U8", "BoolStorage": "BOOL",
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
"""Kinds of number, by torch's names of storages and of dtypes; named as in safetensors files."""
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
"""Bytes per number."""


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file, which tensors are views of."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class TensorView:
    """A tensor as a view of a storage; `offset` and `stride` are counted in numbers of `kind`."""

    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names; it is not imported."""

    module: str
    name: str


class Inert:
    """Stands for an object that is not read."""


class _Limited:
    """A binary file of which a limited number of bytes is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, PICKLE.most

    def read(self, count: int) -> bytes:
        return self._took(self._file.read(min(count, self._left + 1)))

    def readline(self) -> bytes:
        return self._took(self._file.readline(self._left + 1))

    def _took(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise ValueError(f"its pickle is longer than {PICKLE}, the most that is read")
        return piece


def read_pickle(file: IO[bytes]) -> Any:
    """Read one pickle from the file's position up to its end mark.

    Raises ValueError for a pickle that is broken, too long, or of operations that torch does not write.
    """
    try:
        return _Machine().run(_Limited(file))
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from None


class _Machine:
    """The stack, marks and memo of a pickle that is being read."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks below each mark."""
        self.memo: dict[int, Any] = {}

    def run(self, stream: Any) -> Any:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= PICKLE_OPERATIONS.most:
                raise ValueError(f"its pickle has more than {PICKLE_OPERATIONS}, the most that are read")
            name = operation.name
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _LITERALS:
                self.stack.append(argument)
            elif name in _MAKERS:
                self.stack.append(_MAKERS[name]())
            elif name in _STORES:
                self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]
            elif name in _FETCHES:
                self.stack.append(self.memo[int(argument or 0)])
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(f"its pickle has the operation {name}, which torch does not write")
        raise ValueError("its pickle has no end")

    def marked(self) -> list[Any]:
        """Take everything above the last mark."""
        above, self.stack = self.stack, self.below.pop()
        return above

    def take(self, count: int) -> list[Any]:
        taken = [self.stack.pop() for _ in range(count)]
        return taken[::-1]

    def put(self, target: Any, values: list[Any]) -> None:
        """Set key after value in a dictionary; keys other than texts and whole numbers are left out."""
        if isinstance(target, dict):
            pairs = zip(values[::2], values[1::2], strict=True)
            target.update((key, value) for key, value in pairs if type(key) in (str, int))

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []


def _build_dict(pairs: list[Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    _Machine().put(made, pairs)
    return made


def _append(machine: _Machine, values: list[Any]) -> None:
    if isinstance(machine.stack[-1], list):
        machine.stack[-1].extend(values)


def _set_item(machine: _Machine, argument: Any) -> None:
    values = machine.take(2)
    machine.put(machine.stack[-1], values)


def _set_items(machine: _Machine, argument: Any) -> None:
    values = machine.marked()
    machine.put(machine.stack[-1], values)


def _append_marked(machine: _Machine, argument: Any) -> None:
    values = machine.marked()
    _append(machine, values)


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(Global(module, name))


def _stack_global(machine: _Machine, argument: Any) -> None:
    module, name = machine.take(2)
    machine.stack.append(Global(str(module), str(name)))


def _reduce(machine: _Machine, argument: Any) -> None:
    function, arguments = machine.take(2)
    machine.stack.append(_call(function, arguments))


def _persistent(machine: _Machine, argument: Any) -> None:
    """Make a storage: ("storage", class, key, device, count, ...)."""
    what, kind, key, _, count, *_ = machine.stack.pop()
    name = kind.name if isinstance(kind, Global) else ""
    if what != "storage" or name not in KINDS or not isinstance(count, int) or count < 0:
        raise ValueError("its pickle names a storage of an unknown kind")
    machine.stack.append(Storage(KINDS[name], str(key)[:200], count))


def _object(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, argument: Any) -> None:
        machine.take(count)
        machine.stack.append(Inert())

    return step


def _marked_object(machine: _Machine, argument: Any) -> None:
    machine.marked()
    machine.stack.append(Inert())


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(tuple(machine.take(count)))


def _call(function: Any, arguments: Any) -> Any:
    """Return what a call means, for the few that make weights; `Inert` for every other."""
    if function == Global("collections", "OrderedDict"):
        return {}
    if not isinstance(function, Global) or function.module != "torch._utils":
        return Inert()
    if function.name == "_rebuild_parameter":
        return arguments[0]
    if function.name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        storage, offset, shape, stride = arguments[:4]
        kind = KINDS[arguments[6].name] if function.name.endswith("v3") else storage.kind
        return _view(storage, kind, offset, tuple(shape), tuple(stride))
    return Inert()


def _view(storage: Storage, kind: str, offset: Any, shape: tuple[Any, ...], stride: tuple[Any, ...]) -> TensorView:
    """Check that a view stays in its storage and has no more numbers than it, which unpacking would multiply."""
    numbers = (offset, *shape, *stride)
    if len(shape) != len(stride) or len(shape) > 8 or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("its pickle has a tensor of no possible shape")
    room = storage.count * SIZES[storage.kind] // SIZES[kind]
    total, last = 1, offset
    for size, step in zip(shape, stride, strict=True):
        total, last = total * size, last + (size - 1) * step
    if total > room or (total and last >= room):
        raise ValueError("its pickle has a tensor that is larger than its numbers")
    return TensorView(storage, kind, offset, shape, stride)


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
))  # fmt: skip
_MAKERS: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": Inert,
}  # fmt: skip
_STORES = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_FETCHES = frozenset(("GET", "BINGET", "LONG_BINGET"))
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "LIST": lambda machine, _: machine.push(machine.marked()),
    "APPEND": lambda machine, _: _append(machine, machine.take(1)),
    "APPENDS": _append_marked,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": lambda machine, _: machine.push(_build_dict(machine.marked())),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "ADDITEMS": lambda machine, _: machine.marked(),
    "FROZENSET": _marked_object,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
    "BUILD": lambda machine, _: machine.take(1),  # attributes of an object
    "NEWOBJ": _object(2),
    "NEWOBJ_EX": _object(3),
    "INST": _marked_object,
    "OBJ": _marked_object,
}
