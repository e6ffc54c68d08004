"""Seeds and prompts against the recorded values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deforum.errors import UserError
from deforum.timeline.prompts import Prompt, PromptTrack, fill_expressions, merge_fields, prepare, split_negative
from deforum.timeline.prompts import place_prompts as place
from deforum.timeline.timeline import SEED_SEQUENCES, iter_seeds
from schedules import ScheduleError, Variables, parse_number
from tests.golden.conftest import load_cases

CHAINS = [case for case in load_cases("prompts") if case["kind"] == "chain"]

EXTENSIONS = {
    "a second --neg goes on with the negative prompt": r"--neg[^`]*--neg",
    "back-quotes around a line break are ordinary text": r"`[^`]*\n[^`]*`",
    "s, the start seed, is known in prompts": r"`[^`]*\bs\b[^`]*`",
    "t is a variable, not every letter t": r"`[^`]*(\w+t\w*|t\w+)\([^`]*`",
    "max_f is known in the keyframes of prompts in every mode": r"\bmax_f\b",
}
"""Where the reference stops with an error, what the language makes of it instead, and the texts that this is about."""


def stops(call: Callable[[], object], text: str) -> None:
    """Hold a case that is an error in the reference to be one here, or one of the documented extensions."""
    if any(re.search(pattern, text) for pattern in EXTENSIONS.values()):
        call()
    else:
        with pytest.raises((ScheduleError, UserError)):
            call()


def seeds(case: dict[str, Any]) -> list[int]:
    count, start = len(case["seeds"]), case["start_seed"]
    if case["behavior"] == "schedule":
        curve = parse_number(case["schedule"]).sample(case["max_frames"], Variables(seed=start))
        return [int(value) for value in curve[:count]]
    if case["behavior"] == "iter":
        return iter_seeds(start, count, case["iter_n"], full_groups=False)
    return SEED_SEQUENCES[case["behavior"]](start, count)


@pytest.mark.parametrize("case", load_cases("seeds"), ids=lambda case: case["name"])
def test_seeds(case: dict[str, Any]) -> None:
    assert seeds(case) == case["seeds"]


@pytest.mark.parametrize("every, want", [(1, [7, 8, 9, 10, 11, 12]), (2, [7, 7, 8, 8, 9, 9]), (3, [7, 7, 7, 8, 8, 8])])
def test_corrected_iter_gives_each_seed_n_frames(every: int, want: list[int]) -> None:
    assert iter_seeds(7, 6, every, full_groups=True) == want


@pytest.mark.parametrize(
    "case", [case for case in load_cases("prompts") if case["kind"] == "split"], ids=lambda case: case["name"]
)
def test_split(case: dict[str, Any]) -> None:
    """The recorded step keeps outer spaces and writes numbers as floats; ours strips, and writes 4 as 4."""
    variables = Variables(seed=0, max_f=0)
    if case.get("error"):
        stops(lambda: fill_expressions(case["text"], case["frame"], 1, variables), case["text"])
        return
    filled = fill_expressions(case["text"], case["frame"], 1, variables, write=lambda value: str(float(value)))
    assert split_negative(filled) == (case["positive"].strip(), case["negative"].strip())


@pytest.mark.parametrize(
    "case", [case for case in load_cases("prompts") if case["kind"] == "prepare"], ids=lambda case: case["name"]
)
def test_prepare(case: dict[str, Any]) -> None:

    def prompt_of_case() -> Prompt:
        return prepare(case["text"], 1.0, case["frame"], case["max_frames"], Variables(seed=case["seed"]))

    if case.get("error"):
        stops(prompt_of_case, case["text"])
        return
    prompt = prompt_of_case()
    joined = f"{prompt.positive}--neg {prompt.negative}" if prompt.negative else prompt.positive
    assert joined == case["result"]


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case["name"])
def test_chain(case: dict[str, Any]) -> None:
    """From the prompt table and the two fields to what each frame is painted with."""
    fields, variables = (case["positive_field"], case["negative_field"]), Variables(seed=case["seed"])
    merged = {key: merge_fields(text, *fields) for key, text in case["prompts"].items()}
    assert merged == case["merged_prompts"]

    def track_of_case() -> PromptTrack:
        return place(tuple(case["prompts"].items()), *fields, case["max_frames"], variables)

    if case.get("error"):
        stops(track_of_case, " ".join(case["prompts"]))
        return
    track = track_of_case()
    for want in case["frames"]:
        ((text, share),) = track.at(want["frame"], blend=False)
        prompt = prepare(text, share, want["frame"], case["max_frames"], variables)
        assert (prompt.positive, prompt.negative) == (want["positive"].strip(), want["negative"].strip())


@pytest.mark.parametrize(
    "text, want",
    [
        ("a (cat:`sqrt(t)`)", "a (cat:3.0)"),
        ("a (cat:`t/max_f`)", "a (cat:0.5)"),
        ("`s`", "5"),
        ("`where(t>8, 1.5, 0.5)`", "1.5"),
        ("a `b", "a `b"),
    ],
)
def test_expressions_in_prompts(text: str, want: str) -> None:
    assert fill_expressions(text, 9, 19, Variables(seed=5)) == want


def test_wrong_expression_in_a_prompt_is_named() -> None:
    with pytest.raises(ScheduleError, match="sine"):
        fill_expressions("a (cat:`sine(t)`)", 9, 19, Variables(seed=5))


@pytest.mark.parametrize(
    "keys, frame, want",
    [
        ((0, 10), 5, ((" a  ", 0.5), (" b  ", 0.5))),
        ((0, 10), 0, ((" a  ", 1.0),)),
        ((0, 10), 10, ((" b  ", 1.0),)),
        ((4, 8), 1, ((" a  ", 1.0),)),
        ((4, 8), 7, ((" a  ", 0.25), (" b  ", 0.75))),
        ((4, 8), 11, ((" b  ", 1.0),)),
    ],
)
def test_blended_prompts(keys: tuple[int, int], frame: int, want: tuple[tuple[str, float], ...]) -> None:
    track = place(((str(keys[0]), "a"), (str(keys[1]), "b")), "", "", 12, Variables())
    shares = track.at(frame, blend=True)
    assert [text.replace("--neg", "").split() for text, _ in shares] == [text.split() for text, _ in want]
    assert np.allclose([share for _, share in shares], [share for _, share in want])
