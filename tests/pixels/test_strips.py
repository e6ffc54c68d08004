"""Strips cover a picture once, from top to bottom, whatever its size; an error in one is raised."""

from __future__ import annotations

import pytest

from deforum.pixels.strips import in_strips


@pytest.mark.parametrize(("height", "width"), [(1, 1), (512, 512), (77, 4096), (3, 100_000), (5000, 20), (1, 0)])
def test_every_row_is_in_one_strip(height: int, width: int) -> None:
    rows = in_strips(lambda strip: list(range(height))[strip], height, width)
    assert [row for strip in rows for row in strip] == list(range(height))


def test_an_error_in_a_strip_is_raised() -> None:
    def fails_at_the_end(rows: slice) -> None:
        if rows.stop == 2000:
            raise ValueError("the last strip")

    with pytest.raises(ValueError, match="the last strip"):
        in_strips(fails_at_the_end, 2000, 2000)
