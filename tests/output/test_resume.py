"""What is rendered first of the frames that a run lacks."""

from __future__ import annotations

import pytest

from deforum.output.record import SettingsPart
from deforum.output.resume import Stretch, next_stretch


@pytest.mark.parametrize(
    ("needed", "states", "since", "stretch"),
    [
        ((0, 1, 2), (), (0,), (0, -1, 2)),  # nothing is there
        (range(5, 20), (0, 2, 4), (0,), (0, 4, 19)),
        (range(5, 20), (0, 2), (0,), (0, 2, 19)),  # the newest state is torn
        (range(5, 20), (4, 5, 8), (0,), (0, 4, 5)),  # a frame before the state of 5 is missing
        ((3, 18, 19), (2, 6, 17), (0,), (0, 2, 3)),  # a hole; then from the state of 17
        ((3, 18, 19), (2,), (0,), (0, 2, 19)),
        ((3, 4, 18), (2, 17), (0,), (0, 2, 4)),
        ((12, 13), (4,), (0, 10), (0, 4, 9)),  # up to where other settings begin
        ((12, 13), (4, 9), (0, 10), (1, 9, 13)),
        ((0,), (4,), (0, 10), (0, -1, 0)),
    ],
)
def test_a_stretch(
    needed: tuple[int, ...], states: tuple[int, ...], since: tuple[int, ...], stretch: tuple[int, int, int]
) -> None:
    parts = [SettingsPart(begin, "") for begin in since]
    assert next_stretch(tuple(needed), states, parts, 20) == Stretch(*stretch)


@pytest.mark.parametrize(
    ("needed", "states", "states_since", "stretch"),
    [
        ((12, 19), (4, 8), 0, (1, 8, 19)),  # on the way from a state of the settings before
        ((12, 19), (4, 8), 12, (1, -1, 19)),  # whose states do not fit
        ((15, 19), (4, 13), 12, (1, 13, 19)),
        ((3, 12), (1, 8), 12, (0, 1, 3)),
        ((3, 12), (), 0, (0, -1, 9)),
    ],
)
def test_a_stretch_of_an_edit(
    needed: tuple[int, ...], states: tuple[int, ...], states_since: int, stretch: tuple[int, int, int]
) -> None:
    parts = [SettingsPart(0, ""), SettingsPart(10, "", is_whole=True, states_since=states_since, edition=1)]
    assert next_stretch(needed, states, parts, 20) == Stretch(*stretch)
