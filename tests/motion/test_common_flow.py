"""The motion that two paintings of one scene have in common."""

from __future__ import annotations

import pytest
import torch

from deforum.flow import load_flow, resolve_flow
from deforum.flow.dense import both_ways
from deforum.motion.common_flow import common_flow
from deforum.pixels.image import CPU, Image
from tests.helpers.pictures import texture, waves

SIZE = 128


def motion(a: Image, b: Image) -> torch.Tensor:
    source = resolve_flow("DIS Medium")
    assert source is not None
    return common_flow(a, b, *both_ways(load_flow(source, CPU), a, b))


def moved_by(x: float, y: float) -> Image:
    return waves(lambda at_x, at_y: (at_x - x, at_y - y), size=SIZE)


def folds(flow: torch.Tensor) -> bool:
    """Whether two neighbours change places under a flow."""
    return bool((flow[:, 1:, 0] - flow[:, :-1, 0]).min() < -1 or (flow[1:, :, 1] - flow[:-1, :, 1]).min() < -1)


def test_a_motion_that_is_found_everywhere_is_kept() -> None:
    flow = motion(moved_by(0, 0), moved_by(4, -3))
    assert (flow - torch.tensor((4.0, -3.0)))[16:-16, 16:-16].norm(dim=-1).mean() < 0.3


def test_unrelated_pictures_share_no_motion_that_shows_whirls() -> None:
    a, b = texture(1, SIZE, SIZE, 3), texture(2, SIZE, SIZE, 3)
    source = resolve_flow("DIS Medium")
    assert source is not None
    estimated = load_flow(source, CPU)(a, b)
    assert folds(estimated) and not folds(motion(a, b))


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_what_is_painted_anew_goes_along_with_what_is_found_around(share: float) -> None:
    """Half of the second picture is new; near the border it moves like the half that is found."""
    a, b = moved_by(0, 0), moved_by(4, 0)
    border = int(SIZE * share)
    anew = b.clone()
    anew[:, :, border:] = texture(5, SIZE, SIZE, 2)[:, :, border:]
    flow = motion(a, anew)
    assert (flow[16:-16, 12 : border - 16] - torch.tensor((4.0, 0.0))).norm(dim=-1).mean() < 0.5
    assert flow[16:-16, border + 2 : border + 6, 0].mean() > 1 and not folds(flow)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (33, 18)])
def test_small_pictures(size: tuple[int, int]) -> None:
    height, width = size
    flow = motion(waves(size=48)[:, :height, :width].contiguous(), waves(size=48)[:, :height, :width].contiguous())
    assert flow.shape == (height, width, 2) and flow.abs().max() < 0.5


def test_it_is_the_same_on_any_number_of_threads() -> None:
    before, made = torch.get_num_threads(), []
    a, b = (torch.nn.functional.interpolate(each[None], 256)[0] for each in (moved_by(0, 0), moved_by(4, -3)))
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(motion(a, b))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)
