"""Optical flow: what it finds of known motions, how it moves things, and in-betweens that follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.motion.flat import FlatWarp
from deforum.motion.flow_warp import (
    Flow,
    FlowWarp,
    consistency,
    join,
    move_flow,
    move_mask,
    reliable_flow,
    to_positions,
)
from deforum.motion.matrices import rotation, translation
from deforum.motion.positions import pixels
from deforum.motion.surface import warp_physical
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Image, to_array
from tests.helpers import motion_of, move_by_flow, to_flow
from tests.helpers.pictures import INNER, WAVES, levels_apart, swirl, waves


def even_flow(x: float, y: float, size: int = WAVES) -> Flow:
    return torch.tensor((float(x), float(y))).expand(size, size, 2).contiguous()


def flat(matrix: Any) -> FlatWarp:
    return FlatWarp(matrix, WAVES, WAVES, "replicate", CPU)


# --- motions made from flow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["bilinear", "bicubic"])
def test_no_flow_moves_nothing(sampling: Any) -> None:
    picture = waves()
    warp = FlowWarp.of(even_flow(0, 0), sampling=sampling)
    assert torch.equal(warp(picture), picture)
    assert torch.equal(move_by_flow(picture, even_flow(0, 0), 3), picture)
    assert (warp.coverage() == 1).all()
    assert torch.equal(warp.inverse()(picture), picture)


@pytest.mark.parametrize("move", [lambda image, flow: FlowWarp.of(flow)(image), move_by_flow])
def test_a_motion_is_applied_in_pixels(move: Callable[[Image, Flow], Image]) -> None:
    moved = move(waves(), even_flow(7.3, -4.1))
    truth = waves(lambda x, y: (x - 7.3, y + 4.1))
    assert np.hypot(*shift_between(truth, moved)) <= 0.2
    assert levels_apart(moved, truth).mean() < 3


def shift_between(a: Image, b: Image) -> NDArray[np.float64]:
    """Measure by how many px, a small part of one, the second picture is moved: least squares over the gradients."""
    before, after = (to_array(image).astype(np.float64).mean(-1) for image in (a, b))
    down, right = np.gradient(before)
    slopes = np.stack([right[INNER].ravel(), down[INNER].ravel()], axis=1)
    return np.asarray(-np.linalg.lstsq(slopes, (after - before)[INNER].ravel(), rcond=None)[0])


@pytest.mark.parametrize("factor", [1.0, 0.5, -0.7])
def test_a_pixel_takes_its_own_flow_along(factor: float) -> None:
    """Not that of the place where it arrives."""
    flow = swirl()
    warp = FlowWarp.of(flow, factor=factor)
    arrived = warp.source + factor * bilinear(flow, warp.source)
    assert ((arrived - pixels(WAVES, WAVES, CPU)).abs().amax(0)[INNER]).max() < 0.1


def bilinear(flow: Flow, positions: torch.Tensor) -> torch.Tensor:
    x, y = positions.numpy()
    return torch.from_numpy(cv2.remap(flow.numpy(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)).permute(
        2, 0, 1
    )


def test_a_motion_and_its_inverse_are_none() -> None:
    warp = FlowWarp.of(swirl())
    for both in (warp.then(warp.inverse()), warp.inverse().then(warp)):
        assert (both.source - pixels(WAVES, WAVES, CPU)).abs().amax(0)[INNER].max() < 0.1
        assert (both.coverage()[INNER] == 1).all()
    assert torch.equal(to_flow(to_positions(swirl())), to_flow(warp.charts()[1].positions))


@pytest.mark.parametrize(
    "camera",
    [
        lambda: flat(rotation(7, 1.06, WAVES / 2, WAVES / 2) @ translation(3, -2)),
        lambda: warp_physical(torch.ones(WAVES, WAVES), motion_of(rotation_3d_z=4, translation_z=6), WAVES, WAVES),
    ],
    ids=["flat", "depth"],
)
def test_a_camera_and_a_flow_are_sampled_once(camera: Callable[[], Warp]) -> None:
    warp, on = camera(), FlowWarp.of(swirl(), sampling="bicubic")
    for first, later in ((warp, on), (on, warp)):
        joined = join(first, later, sampling="bicubic")
        assert levels_apart(joined(waves()), later(first(waves()))).mean() < 2
        # Sampled once, there and back is the picture itself; twice, it is softer.
        back = join(joined, join(later.inverse(), first.inverse()), sampling="bicubic")(waves())
        assert levels_apart(back, waves()).mean() < 0.5


def test_two_of_a_kind_join_as_they_do() -> None:
    first, later = flat(translation(3, 0)), flat(translation(-3, 2))
    joined = join(first, later)
    assert isinstance(joined, FlatWarp)
    assert np.array_equal(joined.matrix, translation(0, 2))


def test_a_flow_is_turned_and_stretched_with_the_picture() -> None:
    """A quarter turn (counter-clockwise on the screen) makes rightward upward, and enlarging makes it longer."""
    turned = move_flow(flat(rotation(90, 1, WAVES / 2 - 0.5, WAVES / 2 - 0.5)), even_flow(4, 0))
    assert torch.allclose(turned[INNER], torch.tensor((0.0, -4.0)), atol=1e-3)
    larger = move_flow(flat(rotation(0, 1.5, WAVES / 2, WAVES / 2)), even_flow(-4, 2))
    assert torch.allclose(larger[INNER], torch.tensor((-6.0, 3.0)), atol=1e-3)


def test_a_mask_is_moved_with_the_picture() -> None:
    mask = torch.zeros(WAVES, WAVES)
    mask[40:50, 40:50] = 1
    assert torch.equal(move_mask(FlowWarp.of(even_flow(5, 3)), mask), mask.roll((3, 5), (0, 1)))


def test_what_comes_in_at_the_edge_is_not_covered() -> None:
    covers = FlowWarp.of(even_flow(10, 0)).coverage()
    assert (covers[:, :10] == 0).all() and (covers[:, 11:] == 1).all()


# --- consistency ------------------------------------------------------------------------------------------------------


def passing_square() -> tuple[Flow, Flow]:
    """A square of 20 px goes 12 px to the right over ground that stands still: its flow, and that back."""
    forward, backward = even_flow(0, 0), even_flow(0, 0)
    forward[30:50, 30:50, 0] = 12
    backward[30:50, 42:62, 0] = -12
    return forward, backward


def test_ground_that_is_hidden_in_the_other_picture_is_doubtful() -> None:
    forward, backward = passing_square()
    agrees = consistency(forward, backward)
    expected = torch.ones(WAVES, WAVES)
    expected[30:50, 50:62] = 0  # ground that the square comes to
    assert torch.equal(agrees, expected)


def test_blur_softens_the_border_and_stays_within_bounds() -> None:
    soft = consistency(*passing_square(), blur=3)
    assert 0 <= soft.min() < 0.2 and soft.max() <= 1 and 0.3 < soft[40, 50] < 0.7


def test_a_doubtful_flow_rests_or_is_turned_round() -> None:
    forward, backward = passing_square()
    wrong = backward * 0.5
    assert (reliable_flow(forward, wrong)[35:45, 35:45] == 0).all()
    assert torch.allclose(reliable_flow(forward, wrong, opposed=0.75)[35:45, 35:45], forward[35:45, 35:45] * -0.75)
