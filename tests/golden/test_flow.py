"""Optical flow, and pictures moved by it, against the recorded ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.flow import load_flow, resolve_flow
from deforum.motion.flow_warp import Flow, reliable_flow
from deforum.pixels.image import CPU, Image, from_bytes, to_array
from tests.golden.conftest import load_cases
from tests.golden.pictures import load_array, load_picture
from tests.helpers import move_by_flow

CASES = load_cases("hybrid")
DEFORUMS = 0.75  # of a flow that disagrees with the one back is turned round


def cases(kind: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


def load_image(name: str) -> Image:
    """Load a picture that went into the recorded operation as B, G, R."""
    return from_bytes(load_picture(name)).flip(0)


def load_array_as_flow(name: str) -> Flow:
    return torch.from_numpy(load_array(name).astype(np.float32))


def find(method: str, a: Image, b: Image) -> Flow:
    source = resolve_flow(method)
    assert source is not None
    return load_flow(source, CPU)(a, b)


def mean_distance(got: Flow, want: Flow) -> float:
    return float((got - want).norm(dim=-1).mean())


@cases("flow")
def test_flow(case: dict[str, Any]) -> None:
    flow = find(case["method"], load_image(case["image1"]), load_image(case["image2"]))
    assert mean_distance(flow, load_array_as_flow(case["output"])) <= 0.15


@cases("flow_warp")
def test_a_picture_moved_by_a_flow(case: dict[str, Any]) -> None:
    moved = move_by_flow(load_image(case["image"]), load_array_as_flow(case["flow"]), case["flow_factor"])
    error = levels_apart(moved, load_image(case["output"]))
    assert error.mean() <= 0.4
    assert np.percentile(error, 99) <= 4


@cases("reliable_flow")
def test_reliable_flow(case: dict[str, Any]) -> None:
    a, b = load_image(case["image1"]), load_image(case["image2"])
    forward, backward = find(case["method"], a, b), find(case["method"], b, a)
    flow = reliable_flow(forward, backward, blur=case["consistency_blur"], opposed=DEFORUMS)
    assert mean_distance(flow, load_array_as_flow(case["output"])) <= 0.2


def levels_apart(got: Image, want: Image) -> NDArray[np.float32]:
    return np.abs(to_array(got) - to_array(want)) * 255
