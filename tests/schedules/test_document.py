"""The examples of docs/schedules.md are as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schedules import ScheduleError, Variables, parse_number, parse_text
from schedules.gate import FUNCTIONS
from schedules.variables import CONSTANTS, VARIABLES

TEXT = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")
EXAMPLES = [line for block in re.findall(r"```schedule\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
ROWS = re.findall(r"^\| `(0:[^`]*)` \| ([\d ]+) \|$", TEXT, re.M)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example: str) -> None:
    assert len(parse_number(example).sample(120, Variables())) == 120


@pytest.mark.parametrize("text, frames", ROWS)
def test_rows(text: str, frames: str) -> None:
    want = [float(value) for value in frames.split()]
    assert parse_number(text).sample(len(want), Variables()).tolist() == want


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10 and len(ROWS) == 4


@pytest.mark.parametrize("name", [*VARIABLES, *CONSTANTS, *FUNCTIONS])
def test_every_name_is_documented(name: str) -> None:
    assert re.search(rf"\b{name}\b", TEXT)


def test_the_text_examples() -> None:
    block = re.search(r"## Texts.*?```text\n(.*?)```", TEXT, re.S)
    assert block
    for line in block.group(1).splitlines():
        parse_text(line).sample(120, Variables())


def test_the_error() -> None:
    block = re.search(r"## Errors.*?```text\n(.*?)```", TEXT, re.S)
    assert block
    with pytest.raises(ScheduleError) as caught:
        parse_number("0:(1), 30:(sine(t/10))", name="zoom")
    assert str(caught.value) == block.group(1).strip()
