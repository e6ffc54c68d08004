"""Strips cover a picture once, from top to bottom, whatever its size; an error in one is raised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from deforum.motion.slab import warp_slab
from deforum.motion.surface import warp_physical
from deforum.pixels import strips
from deforum.pixels.color import ColorReference, match_color
from deforum.pixels.image import Image
from deforum.pixels.strips import alone, in_strips
from tests.helpers import motion_of
from tests.helpers.pictures import texture

SIZE = 70, 61
MOVING = motion_of(translation_x=5, translation_z=9, rotation_3d_y=1.3, rotation_3d_z=-2)
REFERENCES = {
    exact: ColorReference.of(texture(2), "LAB", true_channels=exact, float_color=exact) for exact in (False, True)
}


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


CHANGES: dict[str, Callable[[Image], object]] = {
    "colours in 8 bit": lambda image: match_color(image, REFERENCES[False]),
    "colours in floating point": lambda image: match_color(image, REFERENCES[True]),
    "Deforum's camera": lambda image: warp_slab(1 + image[0], MOVING, *SIZE)(image),
    "Deforum's camera without a depth": lambda image: warp_slab(None, MOVING, *SIZE)(image),
    "the physical camera": lambda image: warp_physical(1 + image[0], MOVING, *SIZE)(image),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_strips_leave_no_trace(
    change: Callable[[Image], object], inference: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.inference_mode(inference):
        image = texture(1, *SIZE) * 1.02 - 0.01
        for name in ("PIXELS", "TORCH_ALONE"):
            monkeypatch.setattr(strips, name, 10**9)
        whole = change(image)
        for name in ("PIXELS", "TORCH_ALONE"):
            monkeypatch.setattr(strips, name, 3 * SIZE[0])
        assert np.array_equal(np.asarray(change(image)), np.asarray(whole))


def test_one_core_is_had_in_a_thread_of_its_own() -> None:
    threads = torch.get_num_threads()
    with torch.inference_mode():
        assert alone(lambda: (torch.get_num_threads(), torch.is_inference_mode_enabled())) == (1, True)
    assert alone(lambda: alone(torch.get_num_threads)) == 1  # does not wait for itself
    assert torch.get_num_threads() == threads

    def fails() -> None:
        raise ValueError("in the thread")

    with pytest.raises(ValueError, match="in the thread"):
        alone(fails)
