"""From depth maps to distances: Deforum's equalisation, and the steady way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from deforum.depth.scale import DepthRange, equalize, slab_depth, steady_depth

SIZE = 128


def scene() -> torch.Tensor:
    """Inverse depth of a ground, a far wall and a near ball, 0..1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    ground = (y * 0.6).clamp(min=0.05)
    return torch.where((x + 0.3) ** 2 + y**2 < 0.1, 0.9, ground)


def test_equalised_is_the_share_of_what_is_less() -> None:
    raw = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).exp()
    equalized = equalize(raw)
    assert equalized is not None
    rank = raw.flatten().argsort().argsort().view(64, 64) / raw.numel()
    assert (equalized - rank).abs().median() < 0.03
    torch.testing.assert_close(equalize(raw * 7 + 3), equalized, atol=2e-3, rtol=0)
    assert equalized.max() == 1


@pytest.mark.parametrize("value", [4.0, float("nan"), float("inf")])
def test_a_map_that_says_nothing_is_flat(value: float) -> None:
    raw = scene()
    raw[0, 0] = value
    if value == 4.0:
        raw[:] = value
    assert slab_depth(raw, "depth") is None


def test_slab_depth_is_1_near_and_2_far() -> None:
    inverse = scene()
    near, far = inverse == inverse.max(), inverse == inverse.min()
    for depth in (slab_depth(inverse, "inverse depth"), slab_depth(1 / inverse, "depth")):
        assert depth is not None
        assert depth[near].max() < 1.1
        assert depth[far].min() > 1.4
    assert slab_depth(inverse, "depth", as_it_is=True) is inverse


def test_steady_depth_is_between_near_and_far_in_inverse() -> None:
    raw = scene() * 40 - 3  # the scale and shift of a network are arbitrary
    depth, span = steady_depth(raw, "inverse depth", None, near=1, far=5)
    assert span.near == pytest.approx(0.9 * 40 - 3, abs=0.5)
    assert depth[scene() == 0.9].mean() == pytest.approx(1, abs=0.02)
    assert depth[scene() == 0.05].mean() == pytest.approx(5, abs=0.1)
    middle = depth[(scene() - 0.475).abs() < 0.01].mean()
    assert 1 / middle == pytest.approx((1 + 1 / 5) / 2, abs=0.02)
    metric, _ = steady_depth(1 / scene(), "depth", None, near=1, far=5)
    torch.testing.assert_close(metric, depth, atol=1e-3, rtol=1e-3)


def test_span_follows_slowly_and_is_not_led_by_single_pixels() -> None:
    raw = scene()
    first = DepthRange.of(raw)
    spoilt = raw.clone()
    spoilt[::37, ::41] = 50
    assert DepthRange.of(spoilt).near < 1.05
    _, span = steady_depth(raw * 2, "inverse depth", first, span_pace=0.1)
    assert span.near == pytest.approx(first.near * 1.1, rel=1e-3)
    for _ in range(60):
        _, span = steady_depth(raw * 2, "inverse depth", span)
    assert span.near == pytest.approx(first.near * 2, rel=0.01)


def test_constant_maps_have_some_distance() -> None:
    for value in (0.0, 3.0, -2.0):
        depth, _ = steady_depth(torch.full((SIZE, SIZE), value), "inverse depth", None)
        assert torch.isfinite(depth).all()
        assert depth.min() > 0


def test_a_picture_without_relief_does_not_stretch_the_scene() -> None:
    """A fade to black, in which the network sees nothing."""
    depth, span = steady_depth(scene(), "inverse depth", None, near=1, far=5)
    first, known = depth, torch.ones(SIZE, SIZE)
    for _ in range(8):
        depth, span = steady_depth(
            torch.full((SIZE, SIZE), 0.3), "inverse depth", span, near=1, far=5, carried=(depth, known)
        )
    assert (1 / depth).max() <= (1 / first).max() + 1e-6
    assert (1 / depth).min() >= (1 / first).min() - 1e-6


def test_what_was_not_seen_before_is_new_at_once() -> None:
    raw = scene()
    old, span = steady_depth(raw, "inverse depth", None)
    known = torch.ones(SIZE, SIZE)
    known[:, :40] = 0
    changed = raw.flip(1)
    fresh, mixed = (
        steady_depth(changed, "inverse depth", span, carried=(old, known), pace=pace, span_pace=0)[0]
        for pace in (1, 0.25)
    )
    torch.testing.assert_close(mixed[:, :40], fresh[:, :40])
    ground = slice(100, None)
    expected = 0.25 / fresh[ground, 40:] + 0.75 / old[ground, 40:]
    torch.testing.assert_close(1 / mixed[ground, 40:], expected)
    outline = (SIZE // 2, round((0.1**0.5 - 0.3 + 1) / 2 * (SIZE - 1)))
    assert mixed[outline] == pytest.approx(float(fresh[outline]))  # outlines that lag behind would be worse than jitter


def test_scale_and_shift_of_a_map_are_brought_to_those_of_the_frame_before() -> None:
    """Before they are drawn slowly to what keeps near and far where they should be."""
    old, span = steady_depth(scene(), "inverse depth", None, near=2, far=8)
    known = torch.ones(SIZE, SIZE)
    moved, _ = steady_depth(
        scene() * 0.3 + 5, "inverse depth", span, near=2, far=8, carried=(old, known), pace=1, span_pace=0
    )
    torch.testing.assert_close(moved, old, atol=1e-3, rtol=1e-3)
    known[:] = 0  # nothing is known of it: the span before is all there is
    lost, _ = steady_depth(scene(), "inverse depth", span, near=2, far=8, carried=(old, known), span_pace=0)
    torch.testing.assert_close(lost, old)


@pytest.mark.parametrize("frames", [0, 1, 4, 12])
def test_what_came_nearer_returns_to_near_and_far(frames: int) -> None:
    """By a share for each frame since the last look: what is carried as well as what is seen anew."""
    first, span = steady_depth(scene(), "inverse depth", None, near=1, far=5)
    nearness = (1 / first - 0.2) / 0.8
    nearer = 1 / (0.2 + 1.3 * 0.8 * nearness)
    depth, _ = steady_depth(
        scene() * 0.5 + 2, "inverse depth", span, near=1, far=5, carried=(nearer, torch.ones(SIZE, SIZE)),
        frames=frames, span_pace=0.1,
    )  # fmt: skip
    left = 0.9**frames
    expected = 0.2 + 0.8 * nearness / (left / 1.3 + 1 - left)
    torch.testing.assert_close(1 / depth, expected, atol=2e-3, rtol=2e-3)


def noisy(generator: torch.Generator) -> torch.Tensor:
    """A network's answer to a still scene with sensor noise: it wavers in scale and shift, in patches and in pixels."""
    wave = torch.randn(3, generator=generator)
    patches = avg_pool2d(torch.randn(1, 1, SIZE, SIZE, generator=generator), 15, 1, 7, count_include_pad=False)[0, 0]
    pixels = torch.randn(SIZE, SIZE, generator=generator)
    raw = scene() * (1 + 0.03 * wave[0]) + 0.02 * wave[1] + 0.01 * patches * 15 + 0.004 * pixels
    raw[5:9, 5:9] += 0.2 * wave[2].abs()  # a glint, which is taken for near now and then
    return raw


def jitter(depths: list[torch.Tensor]) -> float:
    """How much the displacement of a sideways motion changes from frame to frame, as a share of its spread.

    Displacement is proportional to inverse depth; the spread over the picture (10th to 90th percentile) makes cameras
    with different ranges of depth comparable.
    """
    displacement = torch.stack([1 / depth for depth in depths])
    change = displacement.diff(dim=0).square().mean().sqrt()
    spread = np.subtract(*np.quantile(displacement.mean(0), [0.9, 0.1]))
    return float(change / spread)


def test_steady_depth_jitters_at_most_a_quarter_as_much() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [noisy(generator) for _ in range(40)]
    per_frame = [depth for raw in maps if (depth := slab_depth(raw, "inverse depth")) is not None]
    assert len(per_frame) == len(maps)
    steady, span, carried = [], None, None
    for raw in maps:
        depth, span = steady_depth(raw, "inverse depth", span, carried=carried)
        carried = (depth, torch.ones_like(depth))  # the camera stands still
        steady.append(depth)
    assert jitter(per_frame) > 0.02
    assert jitter(steady[5:]) <= jitter(per_frame[5:]) / 4
