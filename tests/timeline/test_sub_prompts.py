"""The notebook's weighted sub-prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deforum.build import prepare
from deforum.loading import load
from deforum.timeline.prompts import Prompt, negatives, positives
from deforum.timeline.sub_prompts import split_parts

Parts = list[tuple[str, float]]


@pytest.mark.parametrize(
    ("text", "shares", "positive", "negative"),
    [
        ("astronaut in space : extra legs:-1 : extra arms:-1 :", True, [("astronaut in space", 1.0)],
         [("extra legs", 0.5), ("extra arms", 0.5)]),
        ("bacon:0.25 eggs:0.5", True, [("bacon", 1 / 3), ("eggs", 2 / 3)], [("", 1.0)]),
        ("bacon:0.25 eggs:0.5", False, [("bacon", 0.25), ("eggs", 0.5)], [("", 1.0)]),
        ("bacon:2 eggs:-3 ham:-1", False, [("bacon", 2.0)], [("eggs", 3.0), ("ham", 1.0)]),
        ("bacon:1.0 eggs:1e-05", False, [("bacon", 1.0), ("eggs", 1e-05)], [("", 1.0)]),
        ("bacon:1 eggs:0", True, [("bacon", 1.0)], [("", 1.0)]),
        ("bacon", True, [("bacon", 1.0)], [("", 1.0)]),
        ("", True, [("", 1.0)], [("", 1.0)]),
        ("moody :: by James :: ornate", True, [("moody", 1 / 3), ("by James", 1 / 3), ("ornate", 1 / 3)], [("", 1.0)]),
        ("at 12\\:30:3 b", True, [("at 12:30", 0.75), ("b", 0.25)], [("", 1.0)]),
        ("bacon:-1", True, [("", 1.0)], [("bacon", 1.0)]),
    ],
)  # fmt: skip
def test_parts(text: str, shares: bool, positive: Parts, negative: Parts) -> None:
    parts = split_parts(Prompt(text), shares=shares)
    assert positives(parts) == tuple((text, pytest.approx(weight)) for text, weight in positive)
    assert negatives(parts) == tuple((text, pytest.approx(weight)) for text, weight in negative)


def test_a_negative_prompt_is_one_more_part() -> None:
    parts = split_parts(Prompt("a : fog:-1", "rain:3"), shares=True)
    assert negatives(parts) == (("rain", 0.75), ("fog", 0.25))
    assert positives(parts) == (("a", 1.0),)


def test_parts_share_the_weight_of_a_blended_prompt() -> None:
    parts = split_parts(Prompt("a:1 b:3", "", 0.5), shares=True)
    assert positives(parts) == (("a", 0.125), ("b", 0.375))
    assert negatives(parts) == (("", 0.5),)


@pytest.mark.parametrize(
    ("file", "setting", "positive", "negative"),
    [
        ({"prompt_weighting": True}, "shares", (("bacon", 0.75), ("eggs", 0.25)), (("ham", 1.0),)),
        ({"prompt_weighting": True, "normalize_prompt_weights": False}, "weights", (("bacon", 1.5), ("eggs", 0.5)),
         (("ham", 1.0),)),
        ({"prompt_weighting": False}, "off", (("bacon:1.5 eggs:0.5 ham:-1", 1.0),), (("", 1.0),)),
        ({}, "off", (("bacon:1.5 eggs:0.5 ham:-1", 1.0),), (("", 1.0),)),
    ],
)  # fmt: skip
def test_files_of_the_notebook(
    tmp_path: Path,
    file: dict[str, bool],
    setting: str,
    positive: tuple[tuple[str, float], ...],
    negative: tuple[tuple[str, float], ...],
) -> None:
    path = tmp_path / "a.txt"
    prompts = {"0": "bacon:`1+t/2` eggs:`t/2` ham:-1"}
    path.write_text(json.dumps({"animation_prompts": prompts, "max_frames": 3, "n_batch": 1} | file), encoding="utf-8")
    loaded = load(path, ["seed=1"])
    assert loaded.settings.prompt_weighting == setting
    assert any("prompt_weighting" in line for line in loaded.report) is (setting != "off")
    frame = prepare(loaded.settings).timeline[1]
    assert positives(frame.prompts) == positive
    assert negatives(frame.prompts) == negative


def test_cost_grows_with_the_length() -> None:
    for text in ("a:1 " * 20_000, ":" * 80_000, " " * 80_000, "\\:" * 40_000, "a:" + "1" * 80_000):
        assert split_parts(Prompt(text), shares=False)
