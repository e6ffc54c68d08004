"""Branches of layers: at rest they change nothing, each thread has weights of its own, and recordings take new ones."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import nn

from deforum.models.branches import Branch, Branched, adapting, branch_off, current, own_type
from deforum.models.captured import Captured
from deforum.models.faster import Faster, Form
from deforum.models.packing import Conv, Linear, is_supported

Tensor = torch.Tensor


class Constant(Branch):
    """Adds a number to every output; as a change, to the bias."""

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        return torch.full_like(base, 1.0 if ranks is None else float(ranks)) * weight

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        return None, torch.full((4,), 1.0 if ranks is None else float(ranks))


def layer(*names: str) -> Any:
    torch.manual_seed(0)
    made = nn.Linear(4, 4).requires_grad_(False)
    for name in names:
        branch_off(made, name, Constant())
    return made


X = torch.ones(2, 4)


def test_a_layer_stays_itself() -> None:
    made = layer("a", "b")
    assert isinstance(made, nn.Linear) and own_type(made) is nn.Linear and own_type(nn.Linear(1, 1)) is nn.Linear
    assert set(dict(made.named_parameters())) == {"weight", "bias"}
    assert torch.equal(made(X), layer()(X)) and current() == {}
    with adapting({"a": 2.0, "b:3": 1.0, "c": 9.0}):
        assert torch.equal(made(X), layer()(X) + 2 + 3)
        with adapting({}):
            assert torch.equal(made(X), layer()(X))
    assert torch.equal(copy.deepcopy(made)(X), layer()(X))


def test_each_thread_has_its_own_weights() -> None:
    made, found = layer("a"), dict[float, Tensor]()
    meeting = threading.Barrier(2)

    def work(weight: float) -> None:
        with adapting({"a": weight}):
            meeting.wait()
            found[weight] = made(X)
            meeting.wait()

    threads = [threading.Thread(target=work, args=(weight,)) for weight in (1.0, 5.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(each, layer()(X) + weight) for weight, each in found.items())


@pytest.mark.skipif(not is_supported(), reason="torch without oneDNN")
def test_packed_layers_have_the_branches_in_their_weights() -> None:
    first, second = layer("a"), layer()
    conv = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    plain = copy.deepcopy(conv)
    branch_off(conv, "a", Constant())
    with torch.inference_mode():
        joined, alone = Linear(first, second), Conv(conv)
        cells = torch.randn(1, 4, 5, 5)
        rest, maps = joined(X), alone(cells)
        for weight in (1.0, 0.5, 0.25, 0.125, 1.0):
            with adapting({"a": torch.tensor(weight)}):
                assert torch.allclose(joined(X), rest + torch.tensor([weight] * 4 + [0.0] * 4), atol=1e-6)
                assert torch.allclose(alone(cells), maps + weight, atol=1e-5)
                assert torch.allclose(alone.added(cells, maps), 2 * maps + weight, atol=1e-5)
        assert torch.equal(joined(X), rest) and torch.equal(alone(cells), maps)
        assert torch.allclose(maps, plain(cells), atol=1e-5)


class Tape:
    """Repeats recorded work, as a CUDA graph does, and counts the recordings."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, work: Any) -> tuple[Any, Any]:
        self.count += 1
        result = work()
        return lambda: result.copy_(work()), result


def test_a_recording_serves_for_all_weights_of_the_same_adapters() -> None:
    made, tape = layer("a", "b"), Tape()
    fast = Captured(made, "it", record=tape)
    with torch.inference_mode():
        for inputs in ({}, {"a": 1.0}, {"a": 2.0}, {"a": 3.0}, {}, {}, {"a": 1.0, "b": 1.0}, {"a": 4.0, "b": 2.0}):
            with adapting({key: torch.tensor(weight) for key, weight in inputs.items()}):
                assert torch.allclose(fast(X), layer()(X) + sum(inputs.values()))
    assert tape.count == 3


def test_a_faster_form_is_compared_again_with_other_adapters() -> None:
    made = layer("a")
    forgets = Faster("it", made, made, [Form(lambda: layer(), lambda network: True)])
    with torch.inference_mode():
        assert torch.equal(forgets(X), layer()(X))
        with adapting({"a": 1.0}):
            assert torch.equal(forgets(X), layer()(X) + 1)
    assert isinstance(made, Branched)
