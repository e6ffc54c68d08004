"""Motion, colour match, sharpening and noise against the recorded pictures.

Where Deforum has a fault that is mended here, the recorded arithmetic is applied in the test to what our function
gives, so that the recorded picture still checks everything but the fault.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.motion.flat import warp_flat
from deforum.motion.matrices import Matrix, flat_matrix, translation
from deforum.pixels.color import ColorReference, match_color
from deforum.pixels.image import Image, Mask, from_bytes, to_bytes
from deforum.pixels.noise import add_noise, perlin_noise, uniform_noise
from deforum.pixels.sharpness import blur, unsharp_mask
from deforum.settings.params import Params
from tests.golden.conftest import FOLDER, load_cases
from tests.golden.pictures import load_picture

WARPS, COLORS, SHARPENINGS, NOISES = map(load_cases, ("warp2d", "colors", "sharpen", "noise"))
GRAY = 127.5

Levels = NDArray[np.int16]


def name(case: dict[str, Any]) -> str:
    return str(case["name"])


def load_colors(path: str) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3), also where the file is grey."""
    pixels = load_picture(path)
    return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)


def levels(image: Image) -> Levels:
    return np.asarray(to_bytes(image), np.int16)


def expected(case: dict[str, Any]) -> Levels:
    return load_colors(case["output"]).astype(np.int16)


def apart(a: Levels, b: Levels) -> Levels:
    return np.asarray(np.abs(a - b))


# 2D motion


def matrix_of(case: dict[str, Any], flip_keeps_translation: bool) -> Matrix:
    height, width = load_colors(case["input"]).shape[:2]
    own = ("angle", "zoom", "translation_x", "translation_y", "transform_center_x", "transform_center_y")
    flip = ("theta", "phi", "gamma", "fv")
    params = SimpleNamespace(
        **{key: case[key] for key in own}, **{f"perspective_flip_{key}": case[key] for key in flip}
    )
    return flat_matrix(
        cast(Params[float], params),
        width,
        height,
        flip=case["perspective_flip"],
        flip_keeps_translation=flip_keeps_translation,
    )


@pytest.mark.parametrize("case", WARPS, ids=name)
def test_matrix(case: dict[str, Any]) -> None:
    recorded = np.array(case["matrix"])
    within = np.abs(recorded).max() * (1e-3 if case["perspective_flip"] else 1e-4)
    assert np.abs(matrix_of(case, flip_keeps_translation=False) - recorded).max() <= within


@pytest.mark.parametrize("case", WARPS, ids=name)
def test_matrix_with_the_translation_that_deforum_loses_in_the_flip(case: dict[str, Any]) -> None:
    whole = np.array(case["matrix"])
    if case["perspective_flip"]:
        whole = whole @ translation(case["translation_x"], case["translation_y"])
    assert np.allclose(matrix_of(case, flip_keeps_translation=True), whole, atol=np.abs(whole).max() * 1e-3)


@pytest.mark.parametrize("case", WARPS, ids=name)
def test_motion(case: dict[str, Any]) -> None:
    matrix = matrix_of(case, flip_keeps_translation=False)
    moved = warp_flat(from_bytes(load_colors(case["input"])), matrix, border=case["border"])
    off = apart(levels(moved), expected(case))
    assert off.mean() <= 0.5
    assert np.percentile(off, 99) <= 4
    assert off.max() <= 8


# Colour match


@pytest.mark.parametrize("case", COLORS, ids=name)
@pytest.mark.parametrize("true_channels", [True, False], ids=["as R, G, B", "as in Deforum's loop"])
def test_colors(case: dict[str, Any], true_channels: bool) -> None:
    # Deforum's loop hands B, G, R to the same conversion: exchange the channels of the recorded pictures for it.
    order = slice(None) if true_channels else slice(None, None, -1)
    image, sample = (from_bytes(load_colors(case[key])[..., order]) for key in ("image", "sample"))
    reference = ColorReference.of(sample, case["mode"], true_channels=true_channels, float_color=False)
    matched = levels(match_color(image, reference))[..., order]
    assert np.array_equal(matched, expected(case))


# Sharpening


def mask_of(case: dict[str, Any]) -> NDArray[np.uint8] | None:
    return None if case["mask"] is None else load_colors(case["mask"])[..., 0]


@pytest.mark.parametrize("case", SHARPENINGS, ids=name)
def test_sharpening(case: dict[str, Any]) -> None:
    image, mask, recorded = from_bytes(load_colors(case["input"])), mask_of(case), expected(case)
    kernel, sigma, threshold = case["kernel"], case["sigma"], case["threshold"]
    sharpened = levels(unsharp_mask(image, case["amount"], kernel, sigma, threshold))
    agreed = np.ones(recorded.shape, bool)
    if threshold > 0:
        # Deforum's difference wraps around below 0, so that what is darker than the blurred picture is never spared.
        # Both rules agree on what is brighter, and on what differs by the threshold or more.
        difference = levels(image) - 255 * np.moveaxis(blur(image, kernel, sigma).numpy(), 0, -1)
        # One level to either side is left out: there the rounding of Deforum's blurred picture decides.
        agreed = np.where(difference > 0, np.abs(difference - threshold) > 1, difference < -threshold - 1)
        spared = (difference > 1) & (difference < threshold - 1)
        assert np.array_equal(sharpened[spared], levels(image)[spared])
    if mask is not None:
        # Deforum adds what the mask lets through and what its negative lets through, each where it is not 0, so that
        # a grey mask doubles the picture. White and black agree with ours, which mixes.
        let, kept = (mask > 0)[..., None], (mask < 255)[..., None]
        sharpened = np.minimum(sharpened * let + levels(image) * kept, 255).astype(np.int16)
    assert apart(sharpened, recorded)[agreed].max() <= 1


@pytest.mark.parametrize("case", [case for case in SHARPENINGS if case["mask"]], ids=name)
def test_sharpening_mixes_under_its_mask(case: dict[str, Any]) -> None:
    image, mask = from_bytes(load_colors(case["input"])), mask_of(case)
    assert mask is not None
    settings = case["amount"], case["kernel"], case["sigma"], case["threshold"]
    ours = levels(unsharp_mask(image, *settings, torch.from_numpy(mask / np.float32(255))))
    whole = levels(unsharp_mask(image, *settings))
    assert np.array_equal(ours[mask == 0], levels(image)[mask == 0])
    assert apart(ours, whole)[mask == 255].max() <= 1
    assert apart(ours, expected(case))[(mask == 0) | (mask == 255)].max() <= 1
    assert (ours >= np.minimum(whole, levels(image)) - 1).all() and (ours <= np.maximum(whole, levels(image)) + 1).all()


# Noise


def field_of(case: dict[str, Any], width: int, height: int) -> torch.Tensor:
    if case["noise_type"] == "uniform":
        return uniform_noise(case["seed"], width, height)
    return perlin_noise(
        case["seed"],
        width,
        height,
        grid=(case["perlin_w"], case["perlin_h"]),
        octaves=case["perlin_octaves"],
        persistence=case["perlin_persistence"],
    )


def noise_mask_of(case: dict[str, Any]) -> Mask | None:
    if case["mask"] is None:
        return None
    # Deforum takes a mask as black and white, and turns it over where asked.
    white = load_colors(case["mask"])[..., 0] >= 128
    return torch.from_numpy((white != case["invert_mask"]).astype(np.float32))


@pytest.mark.parametrize("case", [case for case in NOISES if not case.get("error")], ids=name)
def test_noise(case: dict[str, Any]) -> None:
    picture, mask, recorded = load_colors(case["input"]), noise_mask_of(case), expected(case)
    height, width = picture.shape[:2]
    noisy = levels(add_noise(from_bytes(picture), field_of(case, width, height), case["amount"], mask))
    if mask is None:
        assert apart(noisy, recorded).max() <= 1
        return
    inside = mask.numpy() > 0
    assert apart(noisy, recorded)[inside].max() <= 1
    # Outside its mask Deforum mixes in plain grey; there ours leaves the picture alone.
    veil = picture * (1 - case["amount"]) + GRAY * case["amount"]
    assert np.abs(veil - recorded)[~inside].max() <= 1
    assert np.array_equal(noisy[~inside], picture[~inside])


@pytest.mark.parametrize("case", [case for case in NOISES if "noise_field" in case], ids=name)
def test_noise_field(case: dict[str, Any]) -> None:
    file, array = case["noise_field"].split(":")
    if not (FOLDER / file).is_file():
        pytest.skip(f"{FOLDER} has no {file}")
    recorded = np.load(FOLDER / file)[array].astype(np.float32)
    _, height, width = recorded.shape
    assert np.abs(field_of(case, width, height).numpy() - recorded).max() <= 2e-3  # recorded in 16 bit


@pytest.mark.parametrize("case", [case for case in NOISES if case.get("error")], ids=name)
def test_noise_that_deforum_cannot_make(case: dict[str, Any]) -> None:
    picture = load_colors(case["input"])
    height, width = picture.shape[:2]
    field = field_of(case, width, height)
    assert field.shape == (3, height, width)
    low, high = (0.97, 1.03) if case["noise_type"] == "uniform" else (0.5, 1)
    assert abs(float(field.mean())) < 0.02 and low < float(field.std()) < high
    noisy = add_noise(from_bytes(picture), field, case["amount"])
    assert float((noisy - from_bytes(picture)).std()) > 0.03
