"""Weighted parts of a prompt, "a sea:2 a hill:1 fog:-1", as the Deforum notebook reads them (`prompt_weighting`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from deforum.timeline.prompts import Prompt

_PART = re.compile(
    r"""(?P<text>(?:[^:\\]|\\.)+)                                       # \\: is a colon
        (?::\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)?)?""",
    re.VERBOSE | re.DOTALL,
)

Parts = Sequence[tuple[str, float]]


def split_parts(prompt: Prompt, *, shares: bool) -> tuple[Prompt, ...]:
    """Split a prompt into its parts, each with a weight; those of negative weight join the negative prompt.

    `shares`: the weights of each side are divided by their sum. A part without a number has the weight 1, one of weight
    0 is left out. Source: what the notebook says of `prompt_weighting` and `normalize_prompt_weights`.
    """
    parts, against = list(_parts(prompt.positive)), list(_parts(prompt.negative))
    positive = [(text, weight) for text, weight in parts if weight > 0]
    positive += [(text, -weight) for text, weight in against if weight < 0]
    negative = [(text, weight) for text, weight in against if weight > 0]
    negative += [(text, -weight) for text, weight in parts if weight < 0]
    pairs = zip_longest(_scaled(positive, shares), _scaled(negative, shares), fillvalue=("", 0.0))
    return tuple(
        Prompt(text, against_text, prompt.weight * weight, prompt.weight * against_weight)
        for (text, weight), (against_text, against_weight) in pairs
    )


def _parts(text: str) -> Iterator[tuple[str, float]]:
    for match in _PART.finditer(text):
        part = match["text"].replace("\\:", ":").strip()
        if part:
            yield part, float(match["weight"] or 1)


def _scaled(parts: Parts, shares: bool) -> Parts:
    """Return the parts of one side; the empty prompt where there are none."""
    if not parts:
        return [("", 1.0)]
    whole = sum(weight for _, weight in parts) if shares else 1.0
    return [(text, weight / whole) for text, weight in parts]
