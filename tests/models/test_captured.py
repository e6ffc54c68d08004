"""Recorded networks, with a recording that repeats the work in place, as a CUDA graph does: it sees only addresses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from deforum.models.captured import Captured
from deforum.models.offload import cast
from deforum.models.room import Room

CPU = torch.device("cpu")


@dataclass(eq=False)
class Predicted:
    sample: torch.Tensor


class Net(nn.Module):
    """Counts how often Python runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.runs = 0
        self.requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        return self.layer.weight.dtype

    def forward(self, x: torch.Tensor, time: Any, *, context: torch.Tensor, extra: Any = None) -> Predicted:
        self.runs += 1
        more = 0 if extra is None else extra["sizes"].sum()
        return Predicted(self.layer(x.to(self.dtype)) * time + context.mean() + more)


class Tape:
    """What a CUDA graph does: repeats the same work on the same addresses, without running Python's part anew."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        self.recorded += 1
        result = work()

        def replay() -> None:
            net = work.__closure__[-1].cell_contents.network  # type: ignore[index]
            before = net.runs
            again = work()
            result.sample.copy_(again.sample)
            net.runs = before

        return replay, result


def given(seed: int, batch: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(batch, 4, generator=generator),
        "time": torch.rand(batch, 1, generator=generator),
        "context": torch.randn(batch, 3, generator=generator),
        "extra": {"sizes": torch.rand(2, generator=generator)},
    }


@pytest.mark.parametrize("inference", [True, False])
def test_the_same_results_bit_for_bit(inference: bool) -> None:
    net, tape = Net(), Tape()
    fast = Captured(net, "the UNet", record=tape)
    results, wanted = [], []
    with torch.inference_mode(inference):
        for seed in range(5):
            results.append(fast(**given(seed)).sample)
            wanted.append(net(**given(seed)).sample)
    # Each result is the caller's own: later runs do not overwrite it.
    assert all(torch.equal(a, b) for a, b in zip(results, wanted, strict=True))
    assert tape.recorded == 1 and net.runs == 5 + 2  # once plainly, once while it was recorded


def test_each_shape_and_each_plain_value_has_its_recording() -> None:
    net, tape = Net(), Tape()
    fast = Captured(net, "the UNet", record=tape)
    for seed in range(4):
        for batch in (1, 2):
            for time in (1.0, 2.0):
                inputs = given(seed, batch) | {"time": time}
                assert torch.equal(fast(**inputs).sample, net(**inputs).sample)
    assert tape.recorded == 4


def test_few_shapes_are_held() -> None:
    net, tape = Net(), Tape()
    fast = Captured(net, "the UNet", record=tape, most=2)
    for _ in range(3):
        for batch in (1, 2, 3):
            fast(**given(0, batch))
            assert len(fast._graphs) <= 2
    assert torch.equal(fast(**given(1, 3)).sample, net(**given(1, 3)).sample)


def test_a_shape_that_is_used_once_is_not_recorded() -> None:
    tape = Tape()
    fast = Captured(Net(), "the UNet", record=tape)
    for batch in range(1, 6):
        fast(**given(0, batch))
    assert tape.recorded == 0


def test_recordings_end_when_the_weights_move() -> None:
    net, tape = Net().to(torch.float16), Tape()
    fast = Captured(net, "the UNet", record=tape)
    for seed in range(3):
        fast(**given(seed))
    with cast(fast, torch.float32):
        exact = fast(**given(3)).sample  # plainly: a retry is rare
        assert exact.dtype == torch.float32 and tape.recorded == 1
    assert not fast._graphs
    assert torch.equal(fast(**given(4)).sample, net(**given(4)).sample) and tape.recorded == 2


@pytest.mark.parametrize("mode", ["low", "lowest"])
def test_no_recordings_of_weights_that_come_and_go(mode: Any) -> None:
    net, tape = Net(), Tape()
    wanted = net(**given(0)).sample
    fast, room = Captured(net, "the UNet", record=tape), Room(CPU, lambda: 0, moves=True)
    room.adopt(net, streams=True)
    room.register(fast)
    room.wrap(fast)
    for _ in range(3):
        fast(**given(0))
    assert len(fast._graphs) == 1
    room.arrange(mode)
    for _ in range(3):
        assert torch.equal(fast(**given(0)).sample, wanted)
    assert not fast._graphs and tape.recorded == 1
    room.arrange("full")
    for _ in range(3):
        assert torch.equal(fast(**given(0)).sample, wanted)
    assert tape.recorded == 2


def test_memory_is_given_up_for_good() -> None:
    net, tape, room = Net(), Tape(), Room(CPU, lambda: 0, moves=True)
    fast = Captured(net, "the UNet", record=tape)
    room.register(fast)
    assert not room.shed()
    fast = Captured(net, "the UNet", record=tape)
    room.register(fast)
    for _ in range(3):
        fast(**given(0))
    assert room.shed() and not room.shed()
    assert torch.equal(fast(**given(5)).sample, net(**given(5)).sample) and tape.recorded == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore"), "operation not permitted"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory"),
    ],
)
def test_what_cannot_be_recorded_is_computed_and_said_once(error: Exception, says: str, caplog: Any) -> None:
    def fails(work: Any) -> Any:
        raise error

    net = Net()
    fast = Captured(net, "the UNet", record=fails)
    with caplog.at_level(logging.WARNING):
        for seed in range(4):
            assert torch.equal(fast(**given(seed)).sample, net(**given(seed)).sample)
    [record] = caplog.records
    assert record.getMessage().startswith("the UNet: no CUDA graph") and says in record.getMessage()


def test_a_compiled_network() -> None:
    net, compiled = Net(), []

    def compile(network: nn.Module) -> Any:
        return lambda *args, **kwargs: compiled.append(1) or network(*args, **kwargs)

    fast = Captured(net, "the UNet", record=Tape(), compile=compile)
    for seed in range(3):
        assert torch.equal(fast(**given(seed)).sample, net(**given(seed)).sample)
    assert compiled
    assert len(list(fast.parameters())) == len(list(net.parameters())) and fast.layer is net.layer


def test_what_cannot_be_compiled_is_computed_and_said_once(caplog: Any) -> None:
    def compile(network: nn.Module) -> Any:
        def fails(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.\nmore")

        return fails

    net = Net()
    fast = Captured(net, "the UNet", record=None, compile=compile)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            assert torch.equal(fast(**given(seed)).sample, net(**given(seed)).sample)
    [record] = caplog.records
    assert "cannot be compiled here (Failed to find C compiler" in record.getMessage()
