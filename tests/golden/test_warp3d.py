"""The slab camera against recorded pictures, sampling positions and equalised depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deforum.depth import Gives
from deforum.depth.scale import equalize, slab_depth
from deforum.motion.matrices import perspective_flip
from deforum.motion.slab import warp_slab
from deforum.motion.surface import DepthWarp
from deforum.pixels.image import Image, read, to_array
from tests.golden.conftest import load_cases
from tests.helpers import motion_of

WIDTH, HEIGHT = 256, 192
MOTION = {
    *("translation_x", "translation_y", "translation_z", "rotation_3d_x", "rotation_3d_y", "rotation_3d_z"),
    *("fov", "aspect_ratio", "near", "far"),
}


def picture(golden: Path, name: str) -> Image:
    if not (golden / name).is_file():
        pytest.skip(f"{golden / name} does not exist")
    return read(golden / name, WIDTH, HEIGHT)


def array(golden: Path, name: str) -> torch.Tensor:
    file, array = name.split(":")
    return torch.from_numpy(np.load(golden / file)[array])


def depth_of(raw: torch.Tensor, algorithm: str) -> torch.Tensor | None:
    """What the recorded maps stand for is said by the algorithm's name alone; MiDaS gives inverse depth."""
    gives: Gives = "inverse depth" if algorithm.startswith("Midas") else "depth"
    return slab_depth(raw, gives, as_it_is=algorithm.endswith("(old)"))


def warp_of(case: dict[str, Any], golden: Path) -> DepthWarp:
    raw = None if case["depth"] is None else array(golden, case["depth"])
    warp = warp_slab(
        None if raw is None else depth_of(raw, case["depth_algorithm"]),
        motion_of(**{name: case[name] for name in MOTION}),
        WIDTH,
        HEIGHT,
        old_aspect_formula=case["aspect_ratio_use_old_formula"],
        padding=case["padding_mode"],
        sampling=case["sampling_mode"],
    )
    if not case["perspective_flip"]:
        return warp
    return warp.flipped(
        perspective_flip(case["theta"], case["phi"], case["gamma"], case["fv"], WIDTH, HEIGHT), case["border"]
    )


@pytest.mark.parametrize("case", load_cases("warp3d"), ids=lambda case: case["name"])
def test_picture(case: dict[str, Any], golden: Path) -> None:
    """The recorded output is cut off to whole numbers; ours is not, so it is cut off here for the comparison.

    The tiny amount before the cut is the project's float error: 1e-3 of a level.
    """
    expected = to_array(picture(golden, case["output"])) * 255
    moved = to_array(warp_of(case, golden)(picture(golden, case["input"]))) * 255
    error = np.abs(np.floor(moved + 1e-3) - np.round(expected))
    mean, most = error.mean(), np.quantile(error, 0.999)
    if case["whole_number_sensitive"]:
        assert mean <= 0.5
        assert error.max() <= 2
    elif case["perspective_flip"]:
        assert mean <= 0.35
        assert most <= 5
    else:
        assert mean <= 0.1
        assert most <= (6 if case["sampling_mode"] == "nearest" else 2)


@pytest.mark.parametrize(
    "case", [case for case in load_cases("warp3d") if "sampling_grid" in case], ids=lambda case: case["name"]
)
def test_sampling_positions(case: dict[str, Any], golden: Path) -> None:
    grid = array(golden, case["sampling_grid"])
    height, width = grid.shape[:2]
    expected = (grid.permute(2, 0, 1) + 1) * torch.tensor([width, height]).view(2, 1, 1) / 2 - 0.5
    torch.testing.assert_close(warp_of(case, golden).source, expected, atol=1e-3, rtol=0)


def test_equalised_depth(golden: Path) -> None:
    with np.load(golden / "warp3d.npz") as arrays:
        names = [name.removeprefix("equalized_") for name in arrays if name.startswith("equalized_")]
        for name in names:
            equalized = equalize(torch.from_numpy(arrays[f"depth_{name}"]))
            assert equalized is not None
            np.testing.assert_allclose(equalized, arrays[f"equalized_{name}"], atol=1e-5)
