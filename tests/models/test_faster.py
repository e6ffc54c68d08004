"""The faster form of a network is used where it gives the same, and the plain one everywhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from deforum.models import faster, kept_graphs
from deforum.models.faster import TOLERANCE, Faster, Form
from deforum.models.kept_graphs import Making

Tensor = torch.Tensor


class Case:
    """A linear layer, whose faster form adds `error` to its result; calls of each form are counted."""

    def __init__(self, error: float = 0.0) -> None:
        self.network = nn.Linear(3, 3).requires_grad_(False)
        self.plain, self.fast, self.made = 0, 0, 0
        self.error = error
        self.run = Faster("the layer", self.network, self._plain, [Form(self._make, lambda layer: layer.weight.is_cpu)])

    def _plain(self, x: Tensor) -> Tensor:
        self.plain += 1
        out: Tensor = self.network(x)
        return out

    def _make(self) -> Callable[[Tensor], Tensor]:
        self.made += 1
        weight = self.network.weight.clone()  # as it is now

        def fast(x: Tensor) -> Tensor:
            self.fast += 1
            return x @ weight.T + self.network.bias + self.error

        return fast

    def counted(self, rows: int = 2, times: int = 1) -> tuple[int, int]:
        """Call with `rows`; return how often the plain and the faster form were called for it."""
        self.plain = self.fast = 0
        with torch.inference_mode():
            for _ in range(times):
                x = torch.ones(rows, 3)
                assert torch.allclose(self.run(x), self.network(x), atol=1e-5)
        return self.plain, self.fast


def test_each_shape_is_compared_once_and_all_calls_use_one_form() -> None:
    case = Case()
    assert case.counted(times=3) == (1, 4)  # compared, and then three calls
    assert case.counted(rows=5) == (1, 2)
    assert case.counted() == (0, 1) and case.made == 1


@pytest.mark.parametrize("error", [10 * TOLERANCE, float("nan")])
def test_a_form_that_differs_is_not_used(error: float, caplog: pytest.LogCaptureFixture) -> None:
    case = Case(error)
    with caplog.at_level(logging.WARNING):
        assert case.counted(times=3)[0] == 4
        case.counted(rows=5)
    [said] = caplog.messages
    assert said.startswith("the layer runs in a slower form")


def test_a_form_that_cannot_be_made_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    case.error = "no such operation"  # type: ignore[assignment]
    assert case.counted(times=2)[0] == 3 and len(caplog.messages) == 1


def test_plain_where_the_faster_form_must_not_act(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case()
    with_gradients = case.run(torch.ones(2, 3))  # outside inference mode
    assert (case.plain, case.fast) == (1, 0) and not with_gradients.is_inference()
    handle = case.network.register_forward_hook(lambda *_: None)
    assert case.counted() == (1, 0)
    handle.remove()
    assert case.counted() == (1, 2)
    case.network.to("meta")
    assert case.run._look() is None
    monkeypatch.setattr(faster, "SMALL", 10)  # bytes
    assert Case().counted() == (1, 0)


def test_new_weights_need_a_new_form() -> None:
    case = Case()
    case.counted()
    case.network.weight.mul_(2)
    assert case.counted() == (1, 2) and case.made == 2
    nn.Module.to(case.network, torch.float64)
    nn.Module.to(case.network, torch.float32)  # as a retry in float32 does: other memory, same values
    assert case.counted() == (1, 2)


def test_a_faulty_result_is_left_to_the_guard(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    with torch.inference_mode():
        assert not case.run(torch.full((2, 3), torch.inf)).isfinite().all()
        assert case.run(torch.ones(2, 3)).isfinite().all()
    assert not caplog.messages  # forms are compared for other inputs, so that these decide nothing


class Recorded:
    """A form of a layer that is kept, and what was asked of it."""

    def __init__(self, layer: nn.Linear, known: set[int], error: float = 0.0) -> None:
        self.layer, self.known, self.error = layer, known, error
        self.kept: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.layer.weight.T + self.layer.bias + self.error

    def recall(self, x: Tensor) -> bool:
        return len(x) in self.known

    def keep(self, x: Tensor) -> None:
        self.kept.append(len(x))


def test_the_first_form_that_gives_the_same_is_used(caplog: pytest.LogCaptureFixture) -> None:
    layer = nn.Linear(3, 3).requires_grad_(False)
    wrong, right = Recorded(layer, set(), error=1.0), Recorded(layer, set())
    unsuitable = Form(lambda: pytest.fail("made"), lambda _: False)
    forms = [unsuitable, Form(lambda: wrong, lambda _: True), Form(lambda: right, lambda _: True)]
    run = Faster("the layer", layer, layer, forms)
    with torch.inference_mode():
        for rows in (2, 2, 5):
            assert torch.allclose(run(torch.ones(rows, 3)), layer(torch.ones(rows, 3)), atol=1e-6)
    assert wrong.kept == [] and right.kept == [2, 5]  # each shape is kept once
    assert len(caplog.messages) == 1


def test_what_was_compared_before_is_not_compared_again() -> None:
    layer = nn.Linear(3, 3).requires_grad_(False)
    form = Recorded(layer, {2}, error=1.0)  # so that it is seen which one is used
    plain: list[int] = []

    def counted(x: Tensor) -> Tensor:
        plain.append(len(x))
        out: Tensor = layer(x)
        return out

    run = Faster("the layer", layer, counted, [Form(lambda: form, lambda _: True)])
    with torch.inference_mode():
        assert torch.allclose(run(torch.ones(2, 3)), layer(torch.ones(2, 3)) + 1)
        assert plain == []
        assert torch.allclose(run(torch.ones(5, 3)), layer(torch.ones(5, 3)))
    assert plain == [5, 5] and form.kept == []


def test_the_time_of_making_what_is_kept_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not recur, other than what passes where the form is there or is made in each process."""
    layer = nn.Linear(3, 3).requires_grad_(False)
    counted = Making()
    monkeypatch.setattr(faster, "making", counted)
    for form in (Recorded(layer, {2}), lambda x: layer(x)):
        with torch.inference_mode():
            Faster("the layer", layer, layer, [Form(partial(_the, form), lambda _: True)])(torch.ones(2, 3))
        assert counted.seconds == 0
    with torch.inference_mode():
        Faster("the layer", layer, layer, [Form(lambda: Recorded(layer, set()), lambda _: True)])(torch.ones(2, 3))
    assert 0 < counted.seconds < 5


def _the(form: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return form


def test_threads_that_make_something_at_once_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr(kept_graphs, "time", SimpleNamespace(monotonic=lambda: next(times)))
    making = Making()
    with making, making:
        pass
    with making:
        pass
    assert making.seconds == 5
