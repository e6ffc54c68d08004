"""Detail by its size: what a mix of two pictures is given back."""

from __future__ import annotations

import pytest
import torch

from deforum.pixels.bands import bands_of, keep_contrast
from deforum.pixels.sharpness import LUMINANCE
from tests.helpers.pictures import off, texture

NOWHERE, EVERYWHERE = torch.zeros(96, 96, dtype=torch.bool), torch.ones(96, 96, dtype=torch.bool)


def contrasts(image: torch.Tensor) -> list[float]:
    """Mean squares of the luminance of each band."""
    weights = torch.tensor(LUMINANCE)[:, None, None]
    return [float((band * weights).sum(0).square().mean()) for band in bands_of(image)]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("softness", [1.5, 3])
def test_a_mix_of_unrelated_pictures_has_the_contrast_of_its_parts(softness: float, share: float) -> None:
    a, b = texture(1, 96, 96, softness), texture(2, 96, 96, softness)
    mixed = torch.lerp(a, b, share)
    kept = keep_contrast(mixed, a, b, share, NOWHERE)
    for of_a, of_b, of_mixed, of_kept in zip(*map(contrasts, (a, b, mixed, kept)), strict=True):
        wanted = (1 - share) * of_a + share * of_b
        # Bands overlap: of a band that is multiplied, its own blurs take a part away again.
        assert of_mixed < 0.65 * wanted and 0.7 * wanted < of_kept < 1.05 * wanted
    assert (kept - mixed).mean(dim=(1, 2)).abs().max() < 0.005  # light and colour stay


def test_pictures_that_are_the_same_stay() -> None:
    a = texture(1, 96, 96)
    assert off(keep_contrast(a, a, a, 0.5, NOWHERE), a) < 0.01
    assert torch.equal(keep_contrast(a, texture(2, 96, 96), a, 0.5, EVERYWHERE), a)


@pytest.mark.parametrize("share", [0, 1])
def test_at_its_ends_a_fade_is_the_pictures_themselves(share: float) -> None:
    a, b = texture(1, 96, 96), texture(2, 96, 96)
    assert off(keep_contrast((a, b)[int(share)], a, b, share, NOWHERE), (a, b)[int(share)]) < 0.01
