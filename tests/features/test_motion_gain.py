"""When pictures are moved further than set; how far is tested in tests/animation/test_gain.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deforum.features.table import switched_on
from deforum.settings.options import Settings

ELSEWHERE: dict[str, dict[str, Any]] = {
    "a mask": {"use_mask": True, "mask_file": "mask.png"},
    "a clip mixed in": {"hybrid_composite": "Normal"},
    "guided images": {"use_looper": True},
    "symmetry": {"symmetry": "mirror x"},
}


@pytest.mark.parametrize(
    ("changes", "on"),
    [
        ({}, True),
        ({"animation_mode": "3D"}, True),
        ({"loop": True}, True),
        ({"motion_gain": "off"}, False),
        ({"model": "another/model"}, False),
        ({"model": "another/model", "motion_gain": "on"}, True),
        ({"profile": "deforum"}, False),
        ({"profile": "deforum", "motion_gain": "on"}, False),  # its in-betweens come after the painted frame
        ({"profile": "deforum", "motion_gain": "on", "keyframe_distribution": "Additive"}, True),
        ({"animation_mode": "Interpolation", "motion_gain": "on"}, False),
        ({"animation_mode": "Video Input", "motion_gain": "on"}, False),
        ({"hybrid_motion": "Optical Flow", "motion_gain": "on"}, False),
        *((changes, False) for changes in ELSEWHERE.values()),
        *(({**changes, "motion_gain": "on"}, True) for changes in ELSEWHERE.values()),
    ],
    ids=str,
)
def test_when_it_is_on(changes: dict[str, Any], on: bool) -> None:
    chosen = replace(Settings(), **{"model": "embedded", "animation_mode": "2D", **changes})
    assert any(feature.name == "motion gain" for feature in switched_on(chosen)) == on
