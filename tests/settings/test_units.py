"""Settings that are lists of units: the forms they may be written in, faults with their places, and a round trip."""

from __future__ import annotations

import pytest

from deforum.errors import UserError
from deforum.loading import load
from deforum.settings.options import LoraUnit, Settings
from deforum.settings.read import dump
from schedules import parse_number

RISING = parse_number("0: (0), 40: (1)")
WRITTEN = {
    "ink": (LoraUnit("ink"),),
    "": (),
    "{ink: 0.5, b: '0: (0), 40: (1)'}": (LoraUnit("ink", parse_number("0.5")), LoraUnit("b", RISING)),
    "[ink, {lora: b, weight: '0: (0), 40: (1)', text_encoder: 0}]": (
        LoraUnit("ink"), LoraUnit("b", RISING, parse_number("0"))
    ),
    "{lora: ink, start: 0.25}": (LoraUnit("ink", start=parse_number("0.25")),),
    "[{lora: ink, text_encoder: null}]": (LoraUnit("ink"),),
}  # fmt: skip


def read(text: str) -> Settings:
    return load({}, [f"loras={text}"], to_render=False).settings


@pytest.mark.parametrize("text", WRITTEN)
def test_forms(text: str) -> None:
    assert read(text).loras == WRITTEN[text]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_dump_loads_to_the_same(text: str, tmp_path: object) -> None:
    settings = read(text)
    import yaml

    assert load(yaml.safe_load(dump(settings)) or {}, to_render=False).settings.loras == settings.loras


WRONG = {
    "[{lor: ink}]": "loras 1: unknown 'lor'; did you mean lora?",
    "[ink, {weight: 1}]": "loras 2: lora is missing",
    "[{lora: ink, lora: b}]": "'lora' is given twice",
    "[[ink]]": "a list cannot be read here; expected a mapping such as {lora: ...}",
    "[{lora: ink, weight: 'sin('}]": "loras 1, weight",
    "[{lora: ink, weight: 101}]": "loras 1 (ink), weight is 101 at frame 0; expected -100..100",
    "[{lora: ink, end: '0: (0), 20: (2)'}]": "end is 1.1 at frame 11; expected 0..1",
}


@pytest.mark.parametrize("text", WRONG)
def test_faults(text: str) -> None:
    with pytest.raises(UserError) as caught:
        read(text)
    assert WRONG[text] in str(caught.value)
