"""Colours matched on a device are those matched on the CPU."""

from __future__ import annotations

import pytest
import torch

from deforum.pixels.color import SPACES, ColorReference, Space, match_color, matching_of
from deforum.pixels.color_on_device import CONVERSIONS
from deforum.pixels.image import Image
from tests.helpers.pictures import flat, off, spots, texture

PAIRS: dict[str, tuple[Image, Image]] = {
    "spots": (spots(1, 0.1), spots(2, -0.1, 0.6)),
    "textures": (texture(1), texture(2)),
    "few levels": (texture(1).round(), texture(2)),
    "one colour": (flat(0.4, 0.5, 0.6, 32), texture(2)),
    "to one colour": (texture(2), flat(0.4, 0.5, 0.6, 32)),
}

GREY = texture(3).mean(0).expand(3, -1, -1)

TOLERANCE: dict[Space, float] = {"RGB": 0.15, "HSV": 0.15, "LAB": 8.0}
"""Levels. A value between two bins may fall into either. OpenCV's conversion to LAB goes by tables of its own: single
pixels differ, their mean by less than 0.3."""


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("true_channels", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_in_floating_point(space: Space, true_channels: bool, name: str) -> None:
    image, wanted = PAIRS[name]
    reference = ColorReference.of(wanted, space, true_channels=true_channels, float_color=True)
    expected, on_device = match_color(image, reference), matching_of(space, true_channels, True)
    matched = on_device.match(image, on_device.curves(on_device.counts(wanted)))  # type: ignore[arg-type]
    assert off(matched, expected) < TOLERANCE[space]
    assert 255 * float((matched - expected).abs().mean()) < 0.3
    same = on_device.match(image, on_device.curves(on_device.counts(image)))  # type: ignore[arg-type]
    assert off(same, image) < 0.02  # a picture matched to its own colours


@pytest.mark.parametrize("true_channels", [True, False])
def test_a_grey_picture_takes_one_hue(true_channels: bool) -> None:
    """On the host it is speckled with LAB: OpenCV gives greys colours of up to 0.125, which are then told apart."""
    on_device = matching_of("LAB", true_channels, True)
    matched = on_device.match(GREY, on_device.curves(on_device.counts(spots(3))))  # type: ignore[arg-type]
    colors = CONVERSIONS["LAB"][0](matched if true_channels else matched.flip(0))[1:]
    assert float(colors.std((1, 2)).max()) < 0.01


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("true_channels", [True, False])
def test_in_8_bit_level_for_level(space: Space, true_channels: bool) -> None:
    on_device = matching_of(space, true_channels, False)
    for image, wanted in PAIRS.values():
        reference = ColorReference.of(wanted, space, true_channels=true_channels, float_color=False)
        matched = on_device.match(image, on_device.curves(on_device.counts(wanted)))  # type: ignore[arg-type]
        assert torch.equal(matched, match_color(image, reference))
