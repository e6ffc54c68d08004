"""Parameters: declared once, at three stages."""

from __future__ import annotations

import numpy as np
import pytest

from deforum.settings.params import PARAMS, Params, default_params
from schedules import Variables

COUNT, VARIABLES = 200, Variables(seed=3)


def test_map_goes_from_schedules_to_curves_to_numbers() -> None:
    curves = default_params().map(lambda _, schedule: schedule.sample(COUNT, VARIABLES))
    assert curves.strength.shape == (COUNT,)
    frame = curves.map(lambda _, curve: float(curve[7]))
    assert frame.strength == 0.65
    assert frame.zoom == pytest.approx(1.0025 + 0.002 * np.sin(1.25 * 3.14 * 7 / 30))


def test_map_tells_the_name() -> None:
    names = default_params().map(lambda name, _: name)
    assert names.fov == "fov"
    assert [name for name, _ in names.items()] == list(PARAMS)


def test_params_have_equal_values_or_are_different() -> None:
    assert default_params() == default_params()
    assert Params(**dict.fromkeys(PARAMS, 0.0)) != Params(**dict.fromkeys(PARAMS, 1.0))
