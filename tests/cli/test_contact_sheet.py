"""Contact sheets: which picture stands where."""

from __future__ import annotations

import numpy as np
import pytest

from deforum.cli.contact_sheet import LARGEST_CELL, LARGEST_SHEET, Grid, Pixels, compose


def red(level: int, width: int = 64, height: int = 48) -> Pixels:
    """A picture of a colour that neither letters nor paper have."""
    return np.full((height, width, 3), (level, 0, 0), np.uint8)


def box(sheet: Pixels, level: int) -> tuple[int, int, int, int]:
    """Give left, top, width and height of what is of a level."""
    ys, xs = np.nonzero((sheet == (level, 0, 0)).all(2))
    return int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1


def test_every_picture_has_its_place_and_its_size() -> None:
    cells = tuple(tuple(red(100 + 10 * row + column) for column in range(3)) for row in range(2))
    sheet = compose(Grid(("seed=1", "seed=2"), ("a", "b", "c"), cells), "sea")
    places = [[box(sheet, 100 + 10 * row + column) for column in range(3)] for row in range(2)]
    assert all(place[2:] == (64, 48) for line in places for place in line)
    for line in places:
        assert line[0][0] < line[1][0] < line[2][0] and len({place[1] for place in line}) == 1
    for column in range(3):
        assert places[0][column][1] < places[1][column][1] and places[0][column][0] == places[1][column][0]


def test_pictures_are_made_smaller_never_larger_and_keep_their_shape() -> None:
    cells = ((red(100, 1024, 512), red(120, 100, 50)),)
    sheet = compose(Grid(("a",), ("b", "c"), cells), "")
    assert box(sheet, 100)[2:] == (LARGEST_CELL, LARGEST_CELL // 2)
    assert box(sheet, 120)[2:] == (100, 50)


def test_a_sheet_of_many_runs_stays_of_a_size_that_can_be_opened() -> None:
    cells = tuple((red(100, 512, 512),) for _ in range(100))
    assert max(compose(Grid(("x",) * 100, ("y",), cells), "").shape) < 1.2 * LARGEST_SHEET


@pytest.mark.parametrize("label", ["", "x" * 500, "pröömpt=ночь", "a\nb"])
def test_any_label_is_written(label: str) -> None:
    empty = compose(Grid(("",), ("",), ((red(100),),)), "")
    sheet = compose(Grid((label,), (label,), ((red(100),),)), label)
    assert box(sheet, 100)[2:] == (64, 48)
    assert bool(label) == (sheet.shape != empty.shape or bool((sheet != empty).any()))


def test_a_missing_picture_is_said_to_be_missing() -> None:
    sheet = compose(Grid(("a",), ("b",), ((None,),)), "")
    assert (sheet == 225).sum() > 1000
