"""Pictures between two, films made slower, and scene cuts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from deforum.interpolation.between import in_between, stretched
from deforum.interpolation.cuts import is_cut
from deforum.pixels.image import Image
from tests.helpers.pictures import flat, texture, waves


def fade(first: Image, last: Image, at: Sequence[float]) -> list[Image]:
    return [torch.lerp(first, last, time) for time in at]


def shifted(px: float) -> Image:
    return waves(lambda x, y: (x - px, y), size=96)


def test_at_the_ends_are_the_pictures_themselves() -> None:
    first, last = shifted(0), shifted(2)
    found = in_between(first, last, [0, 0.5, 1])
    assert found[0] is first and found[2] is last
    assert (found[1] - shifted(1)).abs()[:, 8:-8, 8:-8].max() < 0.05


@pytest.mark.parametrize("at", [[-0.1], [0.5, 1.01], [float("nan")]])
def test_times_are_shares(at: list[float]) -> None:
    with pytest.raises(ValueError, match="times between two pictures are 0 to 1"):
        in_between(flat(0, 0, 0), flat(1, 1, 1), at, fade)


def test_pictures_are_of_one_size() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        in_between(flat(0, 0, 0), flat(1, 1, 1, 16), [0.5], fade)


@pytest.mark.parametrize("times", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_stretched_film_is_as_long_as_before_at_a_higher_rate(count: int, times: int) -> None:
    levels = [step / 8 for step in range(count)]
    found = [float(image.mean()) for image in stretched((flat(level, level, level) for level in levels), times, fade)]
    expected = [min(step / times, count - 1) / 8 for step in range(count * times)]
    assert found == pytest.approx(expected)


def test_a_stretched_loop_leads_to_its_first_frame() -> None:
    film = stretched([flat(level, level, level) for level in (0.0, 0.125, 0.25)], 2, fade, loop=True)
    assert [float(frame.mean()) for frame in film] == [0, 0.0625, 0.125, 0.1875, 0.25, 0.125]


@pytest.mark.parametrize("times", [0, 11, -1])
def test_a_film_is_made_slower_up_to_ten_times(times: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 10"):
        list(stretched([flat(0, 0, 0)], times, fade))


def test_across_a_cut_the_last_frame_before_it_is_repeated() -> None:
    before, after = texture(1, 96, 96, 3), texture(2, 96, 96, 3)
    found = list(stretched([before, before, after], 3, fade))
    assert all(image is before for image in found[3:6]) and all(image is after for image in found[6:])


@pytest.mark.parametrize(
    ("first", "last", "cut"),
    [
        (texture(1, 128, 96, 3), texture(2, 128, 96, 3), True),
        (texture(1, 128, 96, 3), waves(size=128)[:, :96], True),
        (shifted(0), shifted(0), False),
        (shifted(0), shifted(9), False),
        (shifted(0), waves(lambda x, y: (x * 1.1, y * 1.1), size=96), False),
        (shifted(0), shifted(2) * 0.4, False),  # a fade to black
        (shifted(0), shifted(2) * 0.3 + 0.7, False),  # a flash
        (shifted(0), flat(0, 0, 0, 96), False),
        (flat(1, 1, 1, 96), shifted(0), False),
        (flat(1, 0, 0, 8), flat(0, 0, 1, 8), False),
        (texture(1, 96, 96, 3), torch.lerp(texture(1, 96, 96, 3), texture(2, 96, 96, 3), 0.3), False),  # a dissolve
    ],
)
def test_cuts(first: Image, last: Image, cut: bool) -> None:
    assert is_cut(first, last) is cut
