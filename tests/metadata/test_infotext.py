"""The text `parameters`, written and read."""

from __future__ import annotations

import pytest

from deforum.metadata.infotext import Infotext, parse, write

PAIRS = {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7", "Seed": "5", "Size": "512x768"}
LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768"


@pytest.mark.parametrize(
    ("text", "infotext"),
    [
        (f"a cat\n{LINE}", Infotext("a cat", "", PAIRS)),
        (f"a cat,\nin a hat\nNegative prompt: dog\nfrog\n{LINE}", Infotext("a cat,\nin a hat", "dog\nfrog", PAIRS)),
        (f"\nNegative prompt: dog\n{LINE}", Infotext("", "dog", PAIRS)),
        (LINE, Infotext("", "", PAIRS)),
        # A last line with fewer than three pairs is a part of the prompt.
        ("a cat\nSteps: 20, Seed: 5", Infotext("a cat\nSteps: 20, Seed: 5")),
        ("a cat", Infotext("a cat")),
        ("", Infotext()),
        (
            f'x\n{LINE}, Lora hashes: "a: 12, b: 34", ControlNet 0: "Module: canny, Model: \\"m\\"", Version: v1.9',
            Infotext("x", "", PAIRS | {"Lora hashes": "a: 12, b: 34", "ControlNet 0": 'Module: canny, Model: "m"',
                                       "Version": "v1.9"}),
        ),
    ],
)  # fmt: skip
def test_texts_are_read(text: str, infotext: Infotext) -> None:
    assert parse(text) == infotext


@pytest.mark.parametrize(
    "infotext",
    [
        Infotext("a cat", "dog", PAIRS),
        Infotext("a,\nb", "", PAIRS | {"Model": "my, model: 2", "Note": 'a "quote"'}),
        Infotext("(cat:1.2) AND dog :0.5", "x", PAIRS),
    ],
)
def test_written_texts_are_read_back(infotext: Infotext) -> None:
    assert parse(write(infotext)) == infotext


def test_empty_values_are_left_out() -> None:
    assert write(Infotext("a", "", {"Steps": "2", "Clip skip": "", "Seed": "1"})) == "a\nSteps: 2, Seed: 1"
