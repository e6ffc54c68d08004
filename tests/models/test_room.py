"""Modules come to the device when they run, leave when another needs the memory, and compute the same everywhere."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import pytest
import torch
from torch import nn

from deforum.models.device import execution_device
from deforum.models.kept import KeptModels
from deforum.models.offload import cast, settle, size_of, stream, tensors_of
from deforum.models.room import MODES, Mode, Room, free_on, is_out_of_memory, modules_in, room_of, within_memory

CPU = torch.device("cpu")


class Net(nn.Module):
    """A network with what real ones have: nested layers, a parameter of its own, buffers that are saved or not."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width).eval())
        self.own = nn.Parameter(torch.randn(width))
        self.register_buffer("places", torch.arange(width), persistent=False)
        self.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.own.device

    @property
    def dtype(self) -> torch.dtype:
        return self.own.dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.inner(x.to(self.own.dtype)) * self.own + self.places
        return made


def room(free: Callable[[], int] = lambda: 0, mode: Mode = "full") -> Room:
    return Room(CPU, free, moves=True, mode=mode)


def given() -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_computes_the_same(mode: Mode, inference: bool) -> None:
    net, place = Net(), room()
    with torch.inference_mode(inference):
        wanted = net(given())
        place.adopt(net, streams=True)
        place.arrange(mode)
        assert torch.equal(net(given()), wanted) and torch.equal(net(given()), wanted)
        assert execution_device(net) == CPU and net.device.type == ("meta" if mode == "lowest" else "cpu")
        place.arrange("full")
        assert torch.equal(net(given()), wanted) and net.device == CPU and not hasattr(net, "_hf_hook")


@pytest.mark.parametrize("mode", MODES)
def test_another_precision_for_a_time(mode: Mode) -> None:
    """The retry in float32 works wherever the weights are, and leaves them as they were, bit for bit."""
    net, place = Net().to(torch.float16), room()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    wanted16, wanted32 = net(given()), Net.forward(_copy(net).float(), given())
    place.adopt(net, streams=True)
    place.arrange(mode)
    for _ in range(2):
        with torch.inference_mode(), cast(net, torch.float32):
            assert net.dtype == torch.float32 and torch.equal(net(given()), wanted32)
        assert net.dtype == torch.float16 and torch.equal(net(given()), wanted16)
    with pytest.raises(ZeroDivisionError), cast(net, torch.float32):
        raise ZeroDivisionError
    assert torch.equal(net(given()), wanted16)
    place.arrange("full")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def _copy(net: Net) -> Net:
    other = Net()
    other.load_state_dict(net.state_dict())
    return other


def test_a_parked_module_computes_with_a_copy_of_its_weights() -> None:
    nets, place = [Net(), Net()], room(lambda: 1, "low")
    for net in nets:
        place.adopt(net)
    on_the_host = [net.own.data_ptr() for net in nets]
    for now in (0, 1, 0):
        with torch.inference_mode():
            nets[now](given())
        assert [net.own.data_ptr() == host for net, host in zip(nets, on_the_host, strict=True)] == [now == 1, now == 0]
        assert not any(tensor.is_inference() for net in nets for tensor in tensors_of(net))


def test_a_streamed_module_is_nowhere_between_runs() -> None:
    net, seen = Net(), []
    stream(net, CPU)
    net.inner[0].register_forward_pre_hook(lambda part, given: seen.append(part.weight.device.type))
    net(given())
    assert {tensor.device.type for tensor in net.parameters()} == {"meta"} and execution_device(net) == CPU
    settle(net, CPU)
    assert {tensor.device for tensor in tensors_of(net)} == {CPU}


@pytest.mark.parametrize(
    ("budget", "inside"),
    [
        # Of three modules that run one after the other: those that are on the device at the end.
        (0, [2]),  # no room is left: all others leave
        (1, [2]),
        (2, [1, 2]),  # the one that was used last stays
        (3, [0, 1, 2]),
    ],
)
def test_modules_stay_while_there_is_room(budget: int, inside: list[int]) -> None:
    nets = [Net(), Net(), Net()]
    size = size_of(nets[0])

    def free() -> int:
        return budget * size - sum(size for net in nets if getattr(net, "_hf_hook", None) and net._hf_hook.is_inside)

    place = room(free, "low")
    for net in nets:
        place.adopt(net)
    for net in nets:
        net(given())
    assert [index for index, net in enumerate(nets) if net._hf_hook.is_inside] == inside
    nets[inside[0]](given())  # what is there already pushes nobody out
    assert [index for index, net in enumerate(nets) if net._hf_hook.is_inside] == inside


def test_room_is_left_for_what_is_computed() -> None:
    nets = [Net(), Net()]
    size = size_of(nets[0])
    place = room(lambda: 2 * size - sum(size * net._hf_hook.is_inside for net in nets), "low")
    place.reserve = size
    for net in nets:
        place.adopt(net)
    for net in nets:
        net(given())
    assert [net._hf_hook.is_inside for net in nets] == [False, True]


def test_modules_that_are_gone_are_not_held() -> None:
    place = room(lambda: 10**9, "low")
    net = Net()
    place.adopt(net)
    net(given())
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    other = Net()
    place.adopt(other)
    place.arrange("lowest")
    assert other(given()).shape == (3, 4)


def test_models_that_wait_are_freed_before_another_is_loaded() -> None:
    from functools import partial

    models, place, alive = KeptModels(), room(mode="low"), []

    def load(name: str) -> Net:
        assert all(each() is None for each in alive)
        net = Net()
        alive.append(weakref.ref(net))
        place.adopt(net)
        return net

    models.get(partial(load, "a"))(given())
    models.get(partial(load, "b"))(given())
    assert len(alive) == 2


@pytest.mark.parametrize(
    ("mode", "needed", "free", "reached"),
    [
        ("full", 10, 20, "full"),
        ("full", 10, 0, "full"),  # not known
        ("full", 30, 20, "lowest"),  # in low there is no more
        ("low", 10, 20, "lowest"),  # the largest module has to fit beside it
        ("lowest", 30, 20, "lowest"),
    ],
)
def test_a_mode_that_a_frame_fits_in(mode: Mode, needed: int, free: int, reached: Mode, caplog: Any) -> None:
    net, place = Net(), room(lambda: free, mode)
    place.adopt(net)
    assert size_of(net) > 20
    with caplog.at_level(logging.WARNING):
        place.fit(needed)
    assert place.mode == reached and place.reserve == needed
    assert (f"rendering with memory: {reached}" in caplog.text) == (reached != mode)


def test_moving_the_weights_away_makes_room() -> None:
    net = Net()
    size = size_of(net)
    place = room(lambda: 3 * size if place.mode == "full" else 4 * size)
    place.adopt(net)
    place.fit(int(2.9 * size))
    assert place.mode == "full"
    place.fit(int(3.0 * size) + 1)
    assert place.mode == "lowest"
    place.arrange("full")
    place.free = lambda: size if place.mode == "full" else 2 * size
    place.fit(size)
    assert place.mode == "full"


class Graphs:
    def __init__(self, held: int) -> None:
        self.held = held

    def shed(self) -> bool:
        had, self.held = bool(self.held), 0
        return had


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 12 Error code 12"),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.17 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
    MemoryError(),
    cv2.error("OpenCV: (-4:Insufficient memory) Failed to allocate 1 bytes in function 'OutOfMemoryError'"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:30])
def test_what_is_taken_for_a_full_memory(error: Exception) -> None:
    assert is_out_of_memory(error) and not is_out_of_memory(RuntimeError("memory"))


@pytest.mark.parametrize(
    ("fails", "graphs", "moves", "mode", "roads"),
    [
        # How often it fails; then what each try has: its mode, and how many graphs are held.
        (0, 2, True, "full", [("full", 2)]),
        (1, 2, True, "full", [("full", 2), ("full", 0)]),  # graphs only save time: they go first
        (2, 2, True, "full", [("full", 2), ("full", 0), ("low", 0)]),
        (1, 0, True, "full", [("full", 0), ("low", 0)]),
        (2, 0, True, "full", [("full", 0), ("low", 0), ("lowest", 0)]),
        (1, 0, True, "low", [("low", 0), ("lowest", 0)]),
        (1, 0, False, "full", [("full", 0), ("lowest", 0)]),  # a CPU has nowhere to move weights to
    ],
)
def test_the_roads_out_of_a_full_memory(
    fails: int, graphs: int, moves: bool, mode: Mode, roads: list[tuple[str, int]], caplog: Any
) -> None:
    place, holder, tries = Room(CPU, lambda: 0, moves=moves, mode=mode), Graphs(graphs), []
    place.register(holder)

    def work() -> str:
        tries.append((place.mode, holder.held))
        if len(tries) <= fails:
            raise OUT_OF_MEMORY[len(tries)]
        return "a picture"

    with caplog.at_level(logging.WARNING):
        assert within_memory(work, place, alone=True) == "a picture"
    assert tries == roads
    assert len(caplog.records) == fails


def test_where_nothing_helps_it_is_told() -> None:
    place, tries = room(), []

    def work() -> None:
        tries.append(place.mode)
        raise torch.OutOfMemoryError("tried to allocate 2 GB")

    with pytest.raises(torch.OutOfMemoryError, match="tried to allocate 2 GB"):
        within_memory(work, place, alone=True)
    assert tries == list(MODES)


def test_of_several_frames_fewer_are_tried_first() -> None:
    place, tries = room(), []

    def work() -> None:
        tries.append(place.mode)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(torch.OutOfMemoryError):
        within_memory(work, place, alone=False)
    assert tries == ["full"] and place.mode == "full"


def test_other_errors_pass() -> None:
    def work() -> None:
        raise RuntimeError("shapes do not match")

    place = room()
    with pytest.raises(RuntimeError, match="shapes"):
        within_memory(work, place, alone=True)
    assert place.mode == "full"
    assert not is_out_of_memory(KeyboardInterrupt("out of memory"))


def test_modules_of_models_of_any_kind() -> None:
    @dataclass(frozen=True)
    class Depth:
        network: nn.Module
        size: int = 3

    @dataclass(frozen=True)
    class Mixed:
        parts: tuple[Depth, ...]
        share: float

    nets = [Net(), Net()]
    assert modules_in(nets[0]) == [nets[0]]
    assert modules_in(Mixed((Depth(nets[0]), Depth(nets[1])), 0.2)) == nets
    assert modules_in("embedded") == []


def test_the_processor_has_one_room() -> None:
    assert room_of(CPU) is room_of(torch.device("cpu"))
    assert not room_of(CPU).moves
    assert room_of(torch.device("cuda")) is room_of(torch.device("cuda", 0)) is not room_of(torch.device("cuda", 1))
    assert free_on(CPU) >= 0
