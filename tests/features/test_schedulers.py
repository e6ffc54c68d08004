"""The noise schedule as a setting of its own, which changes between frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deforum.build import prepare
from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load
from tests.helpers import STILL, settings_maker


@pytest.mark.parametrize(
    ("sampler", "scheduler", "samplers"),
    [
        ("DPM++ 2M", "'0: (Karras), 2: (Beta)'", ["DPM++ 2M Karras"] * 2 + ["DPM++ 2M Beta"] * 2),
        ("'0: (Euler), 1: (Heun), 3: (LMS Karras)'", "simple", ["Euler Simple", *["Heun Simple"] * 2, "LMS Karras"]),
        ("DPM++ 2M", "Automatic", ["DPM++ 2M Karras"] * 4),
        ("DDIM", "Karras", ["DDIM"] * 4),
        ("Euler", "none", ["Euler"] * 4),
        ("Euler", "'0: (\"\"), 2: (KL Optimal)'", ["Euler"] * 2 + ["Euler KL Optimal"] * 2),
    ],
)
def test_schedulers_by_frame(tmp_path: Path, sampler: str, scheduler: str, samplers: list[str]) -> None:
    settings = settings_maker(tmp_path, STILL)(max_frames=4, sampler=sampler, scheduler=scheduler)
    assert [frame.sampler for frame in timeline_of(settings)] == samplers


def test_a_scheduler_without_effect_is_said(tmp_path: Path) -> None:
    settings = settings_maker(tmp_path, STILL)(max_frames=2, sampler="DDIM", scheduler="Karras")
    assert "scheduler Karras has no effect on DDIM, as in the web UI" in prepare(settings).notes


def test_an_unknown_scheduler_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scheduler: there is no scheduler 'Karas'; did you mean 'Karras'"):
        settings_maker(tmp_path, STILL)(scheduler="Karas")


@pytest.mark.parametrize(
    ("file", "samplers"),
    [
        ({"enable_scheduler_scheduling": True, "scheduler_schedule": '0: ("Karras"), 1: ("Simple")'},
         ["Euler Karras", "Euler Simple"]),
        ({"enable_scheduler_scheduling": True, "scheduler": "Beta"}, ["Euler Simple"] * 2),  # Deforum's default
        ({"enable_scheduler_scheduling": False, "scheduler_schedule": '0: ("Karras")', "scheduler": "Beta"},
         ["Euler Beta"] * 2),
        ({"scheduler": "Beta"}, ["Euler Beta"] * 2),
        ({}, ["Euler"] * 2),
    ],
)  # fmt: skip
def test_in_deforums_files(tmp_path: Path, file: dict[str, object], samplers: list[str]) -> None:
    path = tmp_path / "settings.txt"
    path.write_text(json.dumps({"W": 64, "H": 64, "max_frames": 2, "sampler": "Euler", "prompts": {"0": "a"}} | file))
    assert [frame.sampler for frame in timeline_of(load(path).settings)] == samplers
