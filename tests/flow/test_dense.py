"""Optical flow without a network: what it finds of known motions."""

from __future__ import annotations

import threading

import pytest
import torch

from deforum.errors import UserError
from deforum.flow import METHODS, FlowModel, load_flow, resolve_flow
from deforum.flow.dense import both_ways
from deforum.motion.flow_warp import FlowWarp
from deforum.pixels.image import CPU
from tests.helpers.pictures import INNER, swirl, waves

CLASSIC = [name for name, row in METHODS.items() if not row.files]


def estimator(method: str) -> FlowModel:
    source = resolve_flow(method)
    assert source is not None
    return load_flow(source, CPU)


@pytest.mark.parametrize("method", CLASSIC)
@pytest.mark.parametrize("shift", [(7.3, -4.1), (-0.4, 0.25), (0.0, 0.0)])
def test_a_motion_is_found_in_pixels(method: str, shift: tuple[float, float]) -> None:
    dx, dy = shift
    flow = estimator(method)(waves(size=160), waves(lambda x, y: (x - dx, y - dy), size=160))[INNER]
    assert (flow - torch.tensor(shift)).norm(dim=-1).median() <= 0.3
    assert (flow.mean((0, 1)) - torch.tensor(shift)).norm() <= 0.3


@pytest.mark.parametrize("method", CLASSIC)
def test_an_uneven_motion_is_found(method: str) -> None:
    source = FlowWarp.of(swirl(0.7)).source.double().numpy()
    flow = estimator(method)(waves(), waves(lambda x, y: (source[0], source[1])))
    assert (flow - swirl(0.7))[INNER].norm(dim=-1).mean() <= 0.5


@pytest.mark.parametrize("method", CLASSIC)
def test_both_ways_beside_each_other_are_what_one_after_the_other_gives(method: str) -> None:
    model, a, b = estimator(method), waves(size=96), waves(lambda x, y: (x - 3, y + y * x / 500), size=96)
    for _ in range(2):
        for found, expected in zip(both_ways(model, a, b), (model(a, b), model(b, a)), strict=True):
            assert torch.equal(found, expected)
    assert not torch.equal(*both_ways(model, a, b))


def test_a_network_estimates_one_after_the_other() -> None:
    calls: list[str] = []

    def network(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        calls.append(threading.current_thread().name)
        return a - b

    there, back = both_ways(network, torch.ones(2), torch.zeros(2))
    assert there.tolist() == [1, 1] and back.tolist() == [-1, -1] and len(set(calls)) == 1 and len(calls) == 2


def test_colours_count_by_their_brightness() -> None:
    """A red picture is not a blue one: what is found in both is what grey would show."""
    first, second = waves(), waves(lambda x, y: (x - 2, y))
    gray = [image.mean(0, keepdim=True).expand(3, -1, -1) for image in (first, second)]
    assert (estimator("DIS Medium")(*gray) - estimator("DIS Medium")(first, second))[INNER].norm(dim=-1).mean() < 0.3


def test_an_unknown_estimator_is_named_with_its_place() -> None:
    with pytest.raises(UserError, match=r"here: Foo: no optical flow of this name; expected DIS Medium, DIS Fine"):
        resolve_flow("Foo", "here")
    assert resolve_flow("None") is None
