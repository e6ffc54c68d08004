"""Prompt syntax of the A1111 web UI: attention weights, BREAK and AND. Does not import torch.

(word)  (word:1.3)  [word]      attention times 1.1, times 1.3, divided by 1.1; nested weights multiply
\\(  \\)  \\[  \\]  \\\\          the character itself
one thing BREAK another         a new chunk of the text encoder begins
one thing AND another :0.5      two conditionings, each with its own weight in the guidance
<lora:name:1>                   an extra network; not supported yet, removed from the prompt
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Weighted:
    """A span of text and its attention weight."""

    text: str
    weight: float


BREAK = Weighted("BREAK", -1.0)
"""Marks the start of a new chunk between two spans."""

_TOKEN = re.compile(
    r"""\\(?P<literal>[\\()\[\]])
      | (?P<open>[(\[])
      | :\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)
      | (?P<close>[)\]])
      | (?P<text>[^\\()\[\]:]+|[\\:])""",
    re.VERBOSE,
)
_STEP = 1.1
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_AND = re.compile(r"\bAND\b")
_AND_WEIGHT = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$")
_NETWORK = re.compile(r"<(lora|lyco|hypernet):[^<>]*>")
_EDITING = re.compile(r"\[[^\[\]()]*(?:\|[^\[\]]*|:\s*\d*\.?\d+\s*)\]")


def parse_attention(text: str) -> tuple[Weighted, ...]:
    """Split a prompt into spans of equal attention, with `BREAK` between chunks; an unclosed bracket closes at the end.

    Raises nothing: an unmatched closing bracket stays text. Returns at least one span.
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
            opened.pop().close(len(texts), float(word))
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
                around.append((group.end, group.factor * (around[-1][1] if around else 1.0)))
            group = next(waiting, None)
        weights.append(around[-1][1] if around else 1.0)
    return weights


def _join(spans: list[Weighted]) -> tuple[Weighted, ...]:
    """Join neighbours of equal weight, then split at BREAK; in this order, as an escape may split a word."""
    joined: list[Weighted] = []
    for span in spans:
        if joined and joined[-1].weight == span.weight:
            joined[-1] = Weighted(joined[-1].text + span.text, span.weight)
        else:
            joined.append(span)
    cut: list[Weighted] = []
    for span in joined:
        for i, part in enumerate(_BREAK.split(span.text)):
            if i:
                cut.append(BREAK)
            if part:
                cut.append(Weighted(part, span.weight))
    return tuple(cut) or (Weighted("", 1.0),)


def parse_composition(text: str) -> tuple[Weighted, ...]:
    """Split a prompt at AND into prompts with a weight each ("a AND b :0.5"); without AND it is one of weight 1.

    A number after a colon is a weight only in a prompt with AND, so that "16:9" stays text.
    """
    parts = _AND.split(text)
    if len(parts) == 1:
        return (Weighted(text.strip(), 1.0),)
    spans = []
    for part in parts:
        weight = _AND_WEIGHT.search(part)
        spans.append(
            Weighted(part[: weight.start()].strip(), float(weight[1])) if weight else Weighted(part.strip(), 1.0)
        )
    return tuple(spans)


def strip_networks(text: str) -> str:
    """Remove extra-network tags (<lora:name:1>), which the text encoder would read as words."""
    return _NETWORK.sub("", text)


def prompt_notes(text: str) -> tuple[str, ...]:
    """Return a line for each part of a prompt that has no effect."""
    notes = [f"{match.group()} does not act: extra networks are not supported yet" for match in _NETWORK.finditer(text)]
    notes += [
        f"{match.group()} does not act as a change during a frame's steps; its words are read as they stand"
        for match in _EDITING.finditer(_NETWORK.sub("", text))
    ]
    return tuple(notes)
