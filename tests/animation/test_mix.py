"""Two pictures become one: where each is seen, and no line between them."""

from __future__ import annotations

import pytest
import torch

from deforum.animation.mix import (
    FEATHER,
    NARROW,
    close_gaps,
    close_gaps_on_device,
    cross_fade,
    feather,
    feather_on_device,
)
from deforum.pixels.image import Mask
from tests.helpers.pictures import off, texture


def test_where_only_one_picture_covers_only_that_one_is_seen() -> None:
    a, b = torch.zeros(3, 2, 2), torch.ones(3, 2, 2)
    mixed = cross_fade(a, torch.tensor([[1.0, 1], [0, 0]]), b, torch.tensor([[1.0, 0], [1, 0]]), 0.25)
    assert torch.allclose(mixed[0], torch.tensor([[0.25, 0], [1, 0.25]]))


def test_no_line_shows_where_a_picture_ends() -> None:
    """A white picture covers the left half, a black one all: the mix falls off softly on the white one's own side."""
    covers = (torch.arange(64)[None] < 32).float().expand(64, 64)
    soft = feather(covers)
    assert torch.equal(feather(torch.ones(64, 64)), torch.ones(64, 64))
    assert torch.equal(soft[:, 32:], covers[:, 32:]) and soft[:, : 31 - 64 // FEATHER].eq(1).all()
    mixed = cross_fade(torch.ones(3, 64, 64), soft, torch.zeros(3, 64, 64), torch.ones(64, 64), 0.5)[0, 0]
    assert mixed[0] == 0.5 and mixed[32] == 0
    assert mixed.diff().abs().max() < 0.26, "hard, it is 0.5"


@pytest.mark.parametrize("width", [1, 2, 3, 6, 12])
def test_a_narrow_gap_is_closed_and_a_wide_one_shows_the_other_picture(width: int) -> None:
    """A white gap in a grey picture, beside a thing's outline: specks of it must not show."""
    picture, covers = torch.full((3, 64, 64), 0.4), torch.ones(64, 64)
    picture[:, :, 30 : 30 + width], covers[:, 30 : 30 + width] = 1, 0
    seen, shown = close_gaps(picture, covers)
    if width <= NARROW:
        assert torch.allclose(seen, torch.full_like(seen, 0.4), atol=1e-3) and torch.equal(shown, torch.ones(64, 64))
    else:
        assert torch.equal(seen, picture) and torch.equal(shown, covers)


COVERS: dict[str, Mask] = {
    "blobs": texture(3, 70, 96, 4)[0].gt(0.45).float(),
    "soft blobs": texture(4, 96, 64, 5)[0].sub(0.4).mul(6).clamp(0, 1),
    "narrow gaps": texture(5, 64, 64, 1)[0].gt(0.3).float(),
    "everything": torch.ones(40, 64),
    "nothing": torch.zeros(40, 64),
}


@pytest.mark.parametrize("name", COVERS)
def test_on_a_device_it_is_as_on_the_host(name: str) -> None:
    covers = COVERS[name]
    # The distances of the host are off by up to 2 %.
    assert float((feather_on_device(covers) - feather(covers)).abs().max()) < 0.03
    picture = texture(6, *reversed(covers.shape))
    (expected, expected_covers), (found, found_covers) = (
        close(picture, covers) for close in (close_gaps, close_gaps_on_device)
    )
    assert torch.equal(found_covers, expected_covers) and off(found, expected) < 0.01
