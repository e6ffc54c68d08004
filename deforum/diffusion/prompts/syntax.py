"""Prompt syntax of the A1111 web UI: attention weights, BREAK and AND. Does not import torch.

(word)  (word:1.3)  [word]      attention times 1.1, times 1.3, divided by 1.1; nested weights multiply
\\(  \\)  \\[  \\]  \\\\          the character itself
one thing BREAK another         a new chunk of the text encoder begins
one thing AND another :0.5      two conditionings, each with its own weight in the guidance
[from:to:0.5]  [a|b]            changes during the steps of a frame, see `deforum.timeline.edits`
<hypernet:name:1>               an extra network, removed from the prompt; LoRAs are read before, see `lora_words`

A weight is a number as Python writes it: 1, -0.5, .5, 1e-05, True (1) and False (0); signs before it multiply, so that
an expression may follow a sign. Every pattern here takes time in proportion to the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from deforum.timeline.lora_words import KINDS
from schedules.quoting import cut


@dataclass(frozen=True)
class Weighted:
    """A span of text and its attention weight."""

    text: str
    weight: float


BREAK = Weighted("BREAK", -1.0)
"""Marks the start of a new chunk between two spans."""

HEAVIEST = 1000.0
"""Largest weight, positive or negative; hidden states times more than this are not finite in 16 bits."""

_WEIGHT = r"[+-]*(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|True|False|(?i:inf(?:inity)?|nan))"
_TOKEN = re.compile(
    rf"""\\(?P<literal>[\\()\[\]])
      | (?P<open>[(\[])
      | :\s*(?P<weight>{_WEIGHT})\s*\)
      | (?P<close>[)\]])
      | (?P<text>[^\\()\[\]:]+|[\\:])""",
    re.VERBOSE,
)
_STEP = 1.1
_BREAK = re.compile(r"\bBREAK\b")
_AND = re.compile(r"\bAND\b")
_AND_WEIGHT = re.compile(_WEIGHT)
_TAG = re.compile(r"<(?:(?P<kind>\w+):)?[^<>]*>")
_TWO_COLONS = re.compile(r"(?<!\\)\[[^\[\]()|:]*:[^\[\]()|:]*:[^\[\]()|:]*\]")
_LONGEST_NAMED = 60
"""Longest part of a prompt repeated in a note, in characters."""
_MOST_NAMED = 3


def read_weight(text: str) -> float | None:
    """Return a weight, written as above, as a number; None where it is not finite or beyond +-`HEAVIEST`."""
    digits = text.lstrip("+-")
    sign = -1.0 if text[: len(text) - len(digits)].count("-") % 2 else 1.0
    value = sign * (float(digits == "True") if digits in ("True", "False") else float(digits))
    return value if abs(value) <= HEAVIEST else None


def parse_attention(text: str) -> tuple[Weighted, ...]:
    """Split a prompt into spans of equal attention, with `BREAK` between chunks; an unclosed bracket closes at the end.

    Raises nothing: an unmatched closing bracket stays text, and a weight that `read_weight` refuses counts as 1.
    Returns at least one span.
    """
    texts: list[str] = []
    groups: list[_Group] = []  # all, in opening order
    opened: list[_Group] = []  # the stack of those not closed yet

    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group(match.lastgroup or 0)
        if kind == "open":
            groups.append(_Group(word, len(texts)))
            opened.append(groups[-1])
        elif kind == "weight" and opened and opened[-1].bracket == "(":
            weight = read_weight(word)
            opened.pop().close(len(texts), 1.0 if weight is None else weight)
        elif kind == "close" and opened and opened[-1].bracket == {")": "(", "]": "["}[word]:
            opened.pop().close(len(texts))
        else:
            texts.append(match.group() if kind == "weight" else word)
    for group in opened:
        group.close(len(texts))
    return _join([Weighted(word, weight) for word, weight in zip(texts, _weights(groups, len(texts)), strict=True)])


@dataclass
class _Group:
    """A bracket pair around the texts start..end-1; `factor` multiplies their attention."""

    bracket: str
    start: int
    end: int = 0
    factor: float = 1.0

    def close(self, end: int, factor: float | None = None) -> None:
        self.end = end
        self.factor = (_STEP if self.bracket == "(" else 1 / _STEP) if factor is None else factor


def _weights(groups: list[_Group], count: int) -> list[float]:
    """Return for each text the product of the factors of the brackets around it, in one pass."""
    weights: list[float] = []
    around: list[tuple[int, float]] = []  # (end, product up to this bracket), innermost last
    waiting = iter(groups)
    group = next(waiting, None)
    for i in range(count):
        while around and around[-1][0] <= i:
            around.pop()
        while group is not None and group.start <= i:
            if group.end > i:
                product = group.factor * (around[-1][1] if around else 1.0)
                around.append((group.end, max(-HEAVIEST, min(product, HEAVIEST))))
            group = next(waiting, None)
        weights.append(around[-1][1] if around else 1.0)
    return weights


def _join(spans: list[Weighted]) -> tuple[Weighted, ...]:
    """Join neighbours of equal weight, then split at BREAK; in this order, as an escape may split a word."""
    cut: list[Weighted] = []
    for weight, group in groupby(spans, key=lambda span: span.weight):
        parts = _BREAK.split("".join(span.text for span in group))
        for i, part in enumerate(parts):
            if i:
                cut.append(BREAK)
                part = part.lstrip()
            if i < len(parts) - 1:
                part = part.rstrip()
            if part:
                cut.append(Weighted(part, weight))
    return tuple(cut) or (Weighted("", 1.0),)


def parse_composition(text: str) -> tuple[Weighted, ...]:
    """Split a prompt at AND into prompts with a weight each ("a AND b :0.5"); without AND it is one of weight 1.

    A number after a colon is a weight only in a prompt with AND, so that "16:9" stays text.
    """
    parts = _AND.split(text)
    if len(parts) == 1:
        return (Weighted(text.strip(), 1.0),)
    return tuple(_weighted_part(part) for part in parts)


def _weighted_part(part: str) -> Weighted:
    before, colon, tail = part.rpartition(":")
    if not colon or not _AND_WEIGHT.fullmatch(tail.strip()):
        return Weighted(part.strip(), 1.0)
    weight = read_weight(tail.strip())
    return Weighted(before.strip(), 1.0 if weight is None else weight)


def strip_networks(text: str) -> str:
    """Remove extra-network tags (<lora:name:1>), which the text encoder would read as words."""
    return _TAG.sub(lambda match: "" if match["kind"] else match[0], text)


def prompt_notes(text: str) -> tuple[str, ...]:
    """Return a line for each kind of part of a prompt that has no effect, or not the one that it seems to have."""
    tags = list(_TAG.finditer(text))
    words = strip_networks(text)
    notes = (
        _note(
            [tag[0] for tag in tags if tag["kind"] and tag["kind"] not in KINDS],
            "no effect: of extra networks, LoRAs are supported (<lora:name:weight>)",
        ),
        _note([tag[0] for tag in tags if not tag["kind"]], "read as words: < and > only mark extra networks"),
        _note(_lone_ticks(words), "read as words: an expression stands between two back-quotes on one line"),
        _note(
            _not_edits(words),
            "read as words; expected a number of steps, or a share of them below 1, behind the last colon, as in "
            "[from:to:0.5]",
        ),
        _note(
            _refused_weights(words),
            f"1 is used instead; expected a number from {-HEAVIEST:g} to {HEAVIEST:g}, as in (word:1.2)",
        ),
    )
    return tuple(filter(None, notes))


def _note(parts: Sequence[str], meaning: str) -> str:
    """Return a note on parts of a prompt, which are named in one line; "" if there are none."""
    named = list(dict.fromkeys(" ".join(part.split()) for part in parts))
    shown = [cut(part, _LONGEST_NAMED) for part in named[:_MOST_NAMED]]
    rest = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"{', '.join(shown)}{rest}: {meaning}" if shown else ""


def _lone_ticks(text: str) -> list[str]:
    """Return what follows the first back-quote that is none of an expression's, in a list; [] if there is none."""
    from deforum.timeline.prompts import EXPRESSION

    _, tick, rest = EXPRESSION.sub(" ", text).partition("`")
    return [tick + rest.partition("\n")[0]] if tick else []


def _not_edits(text: str) -> list[str]:
    """Return the brackets of the form [from:to:when] whose `when` is no number."""
    from deforum.timeline.edits import parse_edits, walk_texts
    from deforum.timeline.prompts import EXPRESSION

    parts = walk_texts(parse_edits(EXPRESSION.sub("1", text)))
    return [match[0] for part, _ in parts for match in _TWO_COLONS.finditer(part)]


def _refused_weights(text: str) -> list[str]:
    """Return the weights in brackets and behind AND parts that are not finite, or too large."""
    weights = [match["weight"] for match in _TOKEN.finditer(text) if match["weight"]]
    parts = _AND.split(text)
    if len(parts) > 1:
        tails = (part.rpartition(":")[2].strip() for part in parts)
        weights += [tail for tail in tails if _AND_WEIGHT.fullmatch(tail)]
    return [f"weight {weight}" for weight in weights if read_weight(weight) is None]
