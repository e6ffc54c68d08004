"""What the training scripts measure, on cases whose answer is known."""

import cv2
import numpy as np
import pytest
import torch

from training.adherence import PALETTES, SCENES, numbers, prompts
from training.depth import aligned, depth_loss, order_loss, ordered, point_pairs
from training.stability import BASE, Measured, growth, measure, ratios, until_changed


def _ground() -> torch.Tensor:
    """Inverse depth (1, 64, 64) that grows downwards, with a nearer left half."""
    rows = torch.linspace(0.1, 0.8, 64)[:, None].repeat(1, 64)
    rows[:, :32] += 0.2
    return rows[None]


def test_pairs_at_the_same_height_share_a_row() -> None:
    pairs = point_pairs(_ground(), 200, level=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pairs.one // 64, pairs.other // 64)
    told = pairs.nearer != 0
    assert torch.equal(pairs.nearer[told] > 0, (pairs.one % 64 < 32)[told])


@pytest.mark.parametrize("level", [False, True])
def test_true_depth_is_ordered_right_at_any_scale_and_shift(level: bool) -> None:
    true = _ground()
    for found, share in ((true, 1.0), (0.3 * true + 0.1, 1.0), (1 - true, 0.0)):
        right, of = ordered(found, true, level, torch.Generator().manual_seed(0)).sum(0)
        assert float(right / of) == share


def test_distances_hardly_apart_do_not_count() -> None:
    true = torch.full((1, 32, 32), 0.5)
    true[:, :, 16:] = 0.52
    assert ordered(true, true, True, torch.Generator().manual_seed(0))[0, 1] == 0


def test_losses_are_least_at_the_truth() -> None:
    true = _ground()
    worse = (true + 0.2 * torch.rand(true.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert depth_loss(true, true) == 0 < depth_loss(worse, true)
    torch.manual_seed(0)
    assert order_loss(true, true) < order_loss(1 - true, true)
    assert torch.allclose(aligned(true), aligned(3 * true - 1), atol=1e-5)


def test_a_blurred_picture_is_less_sharp_and_a_grey_one_has_no_saturation() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    flat = np.full((64, 64, 3), 100, np.uint8)
    assert measure(noise)[0] > measure(flat)[0] == 0
    assert measure(flat)[1] == 0
    assert measure(flat)[2] == pytest.approx(100 / 255)


@pytest.mark.parametrize("enlargement", [0.0, 0.01, 0.03, -0.015])
def test_growth_is_that_of_the_picture_not_of_its_grain(enlargement: float) -> None:
    rng = np.random.default_rng(0)
    soft = cv2.GaussianBlur(rng.random((128, 128, 3)), (0, 0), 3)
    texture = cv2.normalize(soft, None, 20, 235, cv2.NORM_MINMAX)
    matrix = cv2.getRotationMatrix2D((63.5, 63.5), 0, 1 + enlargement)
    matrix[:, 2] += (0.4, -0.7)
    moved = cv2.warpAffine(texture, matrix, (128, 128), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    pair = [(k + rng.normal(0, 3, k.shape)).clip(0, 255).astype(np.uint8) for k in (texture, moved)]
    assert growth(*pair) == pytest.approx(enlargement, abs=0.0025)


def test_ratios_are_to_frame_30() -> None:
    steady = ratios([2.0] * 60)
    assert steady == pytest.approx((1, 1, 1))
    fading = ratios([1.0] * (BASE + 10) + [0.5] * 40)
    assert fading == pytest.approx((0.5, 1, 0.5))


def test_a_change_counts_from_the_frame_in_which_the_new_scene_leads_for_good() -> None:
    shares = [[0.9, 0.1]] * 24 + [[0.4, 0.6], [0.6, 0.4]] + [[0.1, 0.9]] * 10
    measured = Measured([], [], [], [], shares, 0.0)
    assert until_changed(measured, 20, 0, 1) == 6
    assert until_changed(measured, 20, 1, 0) == 0
    assert until_changed(Measured([], [], [], [], [[1.0, 0.0]] * 40, 0.0), 20, 0, 1) is None


def test_labels_as_numbers_tell_time_only_where_it_shows() -> None:
    natural = {"scene": "sea", "time": "night", "palette": "", "style": ""}
    assert numbers(natural) == (SCENES.index("sea"), 0, 5)
    assert numbers({**natural, "palette": "pink"}) == (SCENES.index("sea"), PALETTES.index("pink"), -1)
    assert numbers({**natural, "scene": "abstract"})[1] == -1


def test_prompts_ask_for_what_training_leaves_out() -> None:
    asked = prompts(46)
    assert len({one.prompt for one in asked}) > 23
    assert all((one.palette >= 0) != (one.time >= 0) for one in asked)
