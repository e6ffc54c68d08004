"""Schedules against the recorded values: every frame of every case."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from schedules import ScheduleError, Variables, parse_number, parse_text
from tests.golden.conftest import load_cases

CASES = load_cases("schedules")

# Where the reference stops with an error, docs/schedules.md extends the language by these. A case of an error that gets
# values must use one of them.
EXTENSIONS = {
    "a comma inside, too many or none": lambda text: any(":" not in piece for piece in text.split(",")),
    "no keyframe 0": lambda text: not re.search(r"(^|,)\s*[\"']?0+[\"']?\s*:", text),
    "names": lambda text: re.search(r"\b(pi|e|sec|fps|min|max|clip|lerp|smoothstep)\b", text),
    "quotes around a value": lambda text: re.search(r":\s*\(?\s*[\"']", text),
    "keyframes in seconds": lambda text: re.search(r"\d\s*s[\"']?\s*:", text),
    "keyframes with a point": lambda text: re.search(r"\d\.0*[\"']?\s*:", text),
    "easings": lambda text: re.search(r"(linear|step|ease-in|ease-out|ease-in-out)\s*(,|$)", text),
    "operators and functions of newer numexpr": lambda text: re.search(
        r"//|[&|~]|<<|>>|\b(round|sign|trunc|log2|hypot|isnan|isinf|isfinite|signbit|copysign)\b", text
    ),
}


def values(case: dict[str, Any]) -> np.ndarray | list[str]:
    """Sample a case, and check on the way that its canonical text says the same."""
    variables, count = Variables(seed=case["seed"]), case["max_frames"]
    if case["kind"] == "string":
        texts = parse_text(case["expression"], name=case["name"])
        assert parse_text(texts.text) == texts
        return list(texts.sample(count, variables, deforum_stripping=True))
    numbers = parse_number(case["expression"], name=case["name"])
    assert parse_number(numbers.text) == numbers
    return numbers.sample(count, variables)


@pytest.mark.parametrize("case", [case for case in CASES if not case.get("error")], ids=lambda case: case["name"])
def test_values(case: dict[str, Any]) -> None:
    got = values(case)
    if case["kind"] == "string":
        assert got == case["values"]
    else:
        want = np.asarray([float(value) for value in case["values"]])
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if case.get("error")], ids=lambda case: case["name"])
def test_errors(case: dict[str, Any]) -> None:
    try:
        got = values(case)
    except ScheduleError as error:
        assert case["name"] in str(error)
        assert error.text == case["expression"]
    else:
        assert len(got) == case["max_frames"]
        assert any(extends(case["expression"]) for extends in EXTENSIONS.values())


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["kind"] == "string" and not case.get("error")],
    ids=lambda case: case["name"],
)
def test_texts_keep_their_characters(case: dict[str, Any]) -> None:
    """Without the reference's stripping nothing is lost, and nothing else differs."""
    whole = parse_text(case["expression"]).sample(case["max_frames"], Variables(seed=case["seed"]))
    for ours, theirs in zip(whole, case["values"], strict=True):
        assert "".join(ours.partition(":")[0].translate(str.maketrans("", "", "\"'()")).split()) == "".join(
            theirs.split()
        )
