"""Curves stay within the range of their parameter."""

from __future__ import annotations

import numpy as np
import pytest

from deforum.settings.params import PARAMS, default_params
from deforum.timeline.curves import within_range
from schedules import Variables

COUNT, VARIABLES = 200, Variables(seed=3)


@pytest.mark.parametrize("name", PARAMS)
def test_the_default_is_in_range_at_every_frame(name: str) -> None:
    curve = getattr(default_params(), name).sample(COUNT, VARIABLES)
    assert np.array_equal(within_range(name, curve), curve)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("strength", 1.5, 1),
        ("strength", -0.1, 0),
        ("strength", 0.3, 0.3),
        ("angle", -1e6, -1e6),
        ("zoom", 0, 0.01),
        ("steps", np.inf, 10_000),
        ("antiblur_kernel", 4, 5),
        ("antiblur_kernel", 5, 5),
        ("antiblur_kernel", 0, 1),
        ("antiblur_kernel", 5.9, 5),
        ("antiblur_kernel", 1e9, 255),
    ],
)
def test_within_range(name: str, value: float, expected: float) -> None:
    assert within_range(name, np.array([value]))[0] == expected
