"""2D motion: directions, exactness where nothing is sampled, and what 50 frames do to a picture."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast, get_args

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.motion.flat import Border, coverage, warp_flat
from deforum.motion.matrices import Matrix, flat_matrix, perspective_flip, rotation, translation
from deforum.pixels.image import Image, from_array, to_array, to_bytes
from deforum.settings.params import Params

BORDERS = get_args(Border)
STILL = {
    "angle": 0.0,
    "zoom": 1.0,
    "translation_x": 0.0,
    "translation_y": 0.0,
    "transform_center_x": 0.5,
    "transform_center_y": 0.5,
    "perspective_flip_theta": 0.0,
    "perspective_flip_phi": 0.0,
    "perspective_flip_gamma": 0.0,
    "perspective_flip_fv": 53.0,
}


def motion(width: int = 256, height: int = 256, *, flip: bool = False, keeps: bool = True, **values: float) -> Matrix:
    params = cast(Params[float], SimpleNamespace(**{**STILL, **values}))
    return flat_matrix(params, width, height, flip=flip, flip_keeps_translation=keeps)


def texture(width: int, height: int, softness: float = 3, seed: int = 0) -> Image:
    """Draw soft spots of all colours that go on where the picture starts again."""
    noise = np.random.default_rng(seed).random((3 * height, 3 * width, 3), np.float32)
    noise[:] = np.tile(noise[:height, :width], (3, 3, 1))
    soft = cv2.GaussianBlur(noise, (0, 0), softness)[height : 2 * height, width : 2 * width]
    return from_array(np.ascontiguousarray((soft - soft.min()) / (soft.max() - soft.min()), np.float32))


def on_gray(image: Image) -> Image:
    """Leave a disc of a picture and turn softly into grey around it, so that turning loses and gains nothing."""
    _, height, width = image.shape
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    inside = (min(width, height) / 2 - 12 - torch.hypot(x, y)).div(8).clamp(0, 1)
    return torch.lerp(torch.full_like(image, 0.5), image, inside)


def blob(x: float, y: float, size: int = 256) -> Image:
    """Draw a soft spot at a position relative to the middle of the picture."""
    across = torch.arange(size) - size / 2
    spot = torch.exp(-((across - x) ** 2) / 18) * torch.exp(-((across[:, None] - y) ** 2) / 18)
    return spot.expand(3, size, size)


def place(image: Image) -> tuple[float, float]:
    """Find the centre of brightness, relative to the middle of the picture."""
    _, height, width = image.shape
    weight = image.mean(0)
    x = (weight.sum(0) * (torch.arange(width) - width / 2)).sum() / weight.sum()
    y = (weight.sum(1) * (torch.arange(height) - height / 2)).sum() / weight.sum()
    return float(x), float(y)


def mean_level(image: Image) -> float:
    return 255 * float(image.double().mean())


# Directions


@pytest.mark.parametrize(
    ("values", "start", "end"),
    [
        ({"translation_x": 10.0}, (0, 0), (10, 0)),
        ({"translation_y": 10.0}, (0, 0), (0, 10)),
        ({"angle": 10.0}, (50, -30), (44.03, -38.23)),  # counter-clockwise: what is on the right goes up
        ({"zoom": 1.2}, (50, -30), (60, -36)),
        ({"zoom": 2.0, "translation_x": 10.0}, (0, 0), (20, 0)),
        ({"angle": 90.0, "translation_x": 40.0}, (0, 0), (0, -40)),  # moved first, then turned
        ({"zoom": 0.5, "transform_center_x": 0.0, "transform_center_y": 0.0}, (0, 0), (-64, -64)),
        ({"angle": 180.0, "transform_center_x": 0.75}, (50, 0), (78, 0)),
    ],
)
def test_a_spot_goes_where_it_should(
    values: dict[str, Any], start: tuple[float, float], end: tuple[float, float]
) -> None:
    moved = warp_flat(blob(*start), motion(**values), border="replicate")
    assert place(moved) == pytest.approx(end, abs=0.05)


def test_the_flip_keeps_the_translation_or_loses_it() -> None:
    turned: dict[str, Any] = {"translation_x": 20.0, "perspective_flip_theta": 5.0}
    with_it, without, not_moved = (
        place(warp_flat(blob(0, 0), motion(flip=True, keeps=keeps, **values), border="replicate"))
        for keeps, values in ((True, turned), (False, turned), (True, {"perspective_flip_theta": 5.0}))
    )
    assert without == pytest.approx(not_moved, abs=1e-3)
    assert math.dist(with_it, without) == pytest.approx(20, abs=0.3)
    assert np.array_equal(motion(perspective_flip_theta=5.0), np.eye(3))  # the flip is off


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"translation_x": 3.0, "translation_y": -2.0}, lambda x, y: (3 + 0 * x, -2 + 0 * y)),
        ({"angle": 1.5}, lambda x, y: (0.0262 * y, -0.0262 * x)),
        ({"zoom": 1.02}, lambda x, y: (0.02 * x, 0.02 * y)),
    ],
)
def test_an_optical_flow_sees_the_same_motion(values: dict[str, Any], field: Any) -> None:
    image = texture(256, 256)
    moved = warp_flat(image, motion(**values), border="wrap")
    before, after = (cv2.cvtColor(to_bytes(picture), cv2.COLOR_RGB2GRAY) for picture in (image, moved))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, np.empty(0))
    y, x = np.mgrid[:256, :256] - 128.0
    off = flow - np.stack(field(x, y), axis=-1)
    assert np.linalg.norm(off, axis=-1)[20:-20, 20:-20].mean() < 0.15


# What is exact


@pytest.mark.parametrize("border", BORDERS)
def test_no_motion_for_50_frames_changes_nothing(border: Border) -> None:
    start = image = texture(96, 64)
    kept = start.clone()
    for _ in range(50):
        image = warp_flat(image, motion(96, 64), border=border)
    assert torch.equal(image, kept)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("values", [{"angle": 360.0}, {"transform_center_x": 0.123, "transform_center_y": 7.7}])
def test_what_amounts_to_no_motion_changes_nothing(border: Border, values: dict[str, Any]) -> None:
    image = texture(97, 61)
    assert torch.equal(warp_flat(image, motion(97, 61, **values), border=border), image)


@pytest.mark.parametrize("x", [-70, -3, 0, 1, 40])
@pytest.mark.parametrize("y", [-41, 0, 2, 100])
def test_whole_pixels_are_moved_exactly(x: int, y: int) -> None:
    image = texture(32, 20)
    pixels = to_array(image)
    moves: dict[Border, Any] = {"replicate": "edge", "wrap": "wrap", "reflect": "symmetric", "mirror": "reflect"}
    for border, numpy_name in moves.items():
        around = np.pad(pixels, ((120, 120), (120, 120), (0, 0)), mode=numpy_name)
        wanted = around[120 - y : 140 - y, 120 - x : 152 - x]
        moved = warp_flat(image, motion(32, 20, translation_x=x, translation_y=y), border=border)
        assert np.array_equal(to_array(moved), wanted), border


def exact(pixels: NDArray[np.float32], matrix: Matrix, border: Border) -> NDArray[np.float64]:
    """Sample bilinearly in double precision, one neighbour after the other."""
    height, width = pixels.shape[:2]
    down, right_on = np.mgrid[:height, :width]
    x, y, w = np.tensordot(np.linalg.inv(matrix), np.stack([right_on, down, np.ones_like(down)]), 1)
    x, y = x / w, y / w
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)

    def inside(index: NDArray[np.int_], size: int) -> NDArray[np.int_]:
        if border == "replicate":
            return np.clip(index, 0, size - 1)
        if border == "mirror":
            mirrored = index % (2 * size - 2)
            return np.minimum(mirrored, 2 * size - 2 - mirrored)
        mirrored = index % (2 * size)
        return index % size if border == "wrap" else np.minimum(mirrored, 2 * size - 1 - mirrored)

    total = np.zeros(pixels.shape)
    for right, below in np.ndindex(2, 2):
        weight = np.abs(1 - right - (x - left)) * np.abs(1 - below - (y - top))
        total += weight[..., None] * pixels[inside(top + below, height), inside(left + right, width)]
    return total


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(
    "matrix",
    [
        motion(90, 70, translation_x=0.4, translation_y=-13.7),
        motion(90, 70, angle=33, zoom=0.4, translation_x=5),
        motion(90, 70, zoom=1.0025),
        motion(90, 70, zoom=-1.3),
        motion(90, 70, flip=True, perspective_flip_phi=25, perspective_flip_gamma=-20, zoom=0.8),
    ],
)
def test_sampling_against_double_precision(matrix: Matrix, border: Border) -> None:
    image = texture(90, 70, softness=1)
    off = to_array(warp_flat(image, matrix, border=border)) - exact(to_array(image), matrix, border)
    assert np.abs(off).max() < 2e-4


def test_two_motions_are_one_by_the_product_of_their_matrices() -> None:
    image = texture(200, 160, softness=5)
    first, then = motion(200, 160, angle=4, zoom=1.05), motion(200, 160, translation_x=20.3, angle=-2)
    in_two = warp_flat(warp_flat(image, first, border="wrap"), then, border="wrap")
    in_one = warp_flat(image, then @ first, border="wrap")
    assert float((in_one - in_two).abs()[:, 50:-50, 60:-60].max()) < 0.02
    other_way = warp_flat(image, first @ then, border="wrap")
    assert float((other_way - in_two).abs()[:, 50:-50, 60:-60].max()) > 0.05


# What 50 frames do


def cut_off(image: Image) -> Image:
    return (image * 255).floor() / 255


RIGID: dict[str, tuple[Image, Border, Any]] = {
    # A picture that goes on beyond its edges, and moves as a whole: nothing enters or leaves.
    "sliding": (texture(128, 96), "wrap", lambda frame: motion(128, 96, translation_x=2.3, translation_y=-1.7)),
    # A disc on grey: what turns about its middle stays inside, and the grey that enters is the grey that leaves.
    "turning": (on_gray(texture(128, 128)), "replicate", lambda frame: motion(128, 128, angle=3.7)),
    "to and fro": (
        on_gray(texture(192, 128)),
        "reflect",
        lambda frame: motion(192, 128, angle=2.1 if frame % 2 else -2.1, translation_x=3.4 if frame % 2 else -3.4),
    ),
}


@pytest.mark.parametrize("way", RIGID)
def test_rigid_motion_for_50_frames_keeps_the_brightness(way: str) -> None:
    start, border, matrix = RIGID[way]
    image = cut = start
    for frame in range(50):
        image = warp_flat(image, matrix(frame), border=border)
        cut = cut_off(warp_flat(cut, matrix(frame), border=border))
    assert abs(mean_level(image) - mean_level(start)) < 0.1
    assert abs(mean_level(cut) - mean_level(start)) > 5  # what cutting off to 8 bit in each frame would do
    assert float(image.min()) >= 0 and float(image.max()) <= 1


def test_bicubic_sampling_blurs_less() -> None:
    start = bilinear = bicubic = on_gray(texture(128, 128, softness=1.5))
    for _ in range(20):
        bilinear = warp_flat(bilinear, motion(128, 128, angle=3.7), border="wrap")
        bicubic = warp_flat(bicubic, motion(128, 128, angle=3.7), border="wrap", sampling="bicubic")
    assert float(bilinear.std()) < 0.8 * float(start.std())
    assert float(bicubic.std()) > 0.93 * float(start.std())


# What a caller relies on


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("matrix", [motion(40, 30, translation_x=2), motion(40, 30, angle=5)])
def test_the_given_image_is_left_alone_and_the_result_is_stored_pixel_by_pixel(matrix: Matrix, border: Border) -> None:
    image = texture(40, 30)
    kept = image.clone()
    moved = warp_flat(image, matrix, border=border)
    assert torch.equal(image, kept)
    assert moved.shape == image.shape and moved.dtype == torch.float32
    assert np.shares_memory(to_array(moved), moved.numpy())


@pytest.mark.parametrize("border", BORDERS)
def test_masks_move_like_pictures(border: Border) -> None:
    image, matrix = texture(50, 40), motion(50, 40, angle=7, translation_x=3.3)
    mask = warp_flat(image[:1], matrix, border=border)
    assert torch.allclose(mask[0], warp_flat(image, matrix, border=border)[0], atol=1e-6)


@pytest.mark.parametrize("flip", [{"phi": 89.0}, {"gamma": -120.0}, {"phi": 90.0, "gamma": 90.0}])
def test_a_flip_beyond_the_horizon_is_finite(flip: dict[str, Any]) -> None:
    angles = {f"perspective_flip_{axis}": angle for axis, angle in flip.items()}
    matrix = motion(64, 48, flip=True, **angles)
    for border in BORDERS:
        moved = warp_flat(texture(64, 48), matrix, border=border)
        assert bool(moved.isfinite().all()) and float(moved.max()) <= 1 + 1e-6
    assert bool(coverage(matrix, 64, 48).isfinite().all())


def test_a_zoom_of_0_is_an_error() -> None:
    with pytest.raises(UserError, match="zoom is 0"):
        motion(zoom=0.0)


# Coverage


def test_coverage_is_whole_without_motion() -> None:
    assert torch.equal(coverage(np.eye(3), 30, 20), torch.ones(20, 30))


def test_coverage_is_soft_by_a_pixel() -> None:
    shown = coverage(translation(4.25, 0), 30, 20)
    assert torch.allclose(shown[0, :7], torch.tensor([0, 0, 0, 0, 0.75, 1, 1]), atol=1e-5)
    assert torch.equal(shown[:, 7:], torch.ones(20, 23))


@pytest.mark.parametrize(
    "matrix", [rotation(20, 0.7, 40, 30), translation(-9.5, 100), perspective_flip(3, 20, -15, 53, 80, 60)]
)
def test_coverage_is_what_a_white_picture_on_black_leaves(matrix: Matrix) -> None:
    white = torch.zeros(1, 260, 280)
    white[:, 100:160, 100:180] = 1
    on_black = translation(100, 100) @ matrix @ translation(-100, -100)
    moved = warp_flat(white, on_black, border="replicate")[0, 100:160, 100:180]
    assert torch.allclose(coverage(matrix, 80, 60), moved, atol=1e-3)


def test_coverage_knows_what_is_behind_the_camera() -> None:
    # The horizon is at x = 32; what is beyond it comes out upside down, here in the upper left.
    matrix = translation(130, 40) @ np.array([[1, 0, 0], [0, 1, 0], [-1 / 32, 0, 1]])
    white = warp_flat(torch.ones(1, 64, 64), matrix, border="replicate")
    y, x = np.mgrid[:64, :64]
    across, down, w = np.tensordot(np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]), 1)
    inside = (across / w >= 0) & (across / w <= 63) & (down / w >= 0) & (down / w <= 63)
    assert (inside & (w < 0)).any() and bool(white.all())
    assert not coverage(matrix, 64, 64).numpy()[w < 0].any()
