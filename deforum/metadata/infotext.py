"""The text `parameters` of A1111's web UI ("infotext"), which many tools for pictures show and read.

    a calm sea at sunset
    Negative prompt: fog
    Steps: 25, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x512, Model: sd15, Denoising strength: 0.35

The prompt, the negative prompt, and one line of `Key: value` pairs; a value with a comma, a colon or a line break is
quoted as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"]){0,20000}"|[^,]*)(?:,|$)')
_FEWEST = 3
"""A last line with fewer pairs belongs to the prompt."""
_LONGEST_LINE = 20_000
"""Letters of the last line that are read as pairs."""


@dataclass(frozen=True)
class Infotext:
    """Prompt, negative prompt, and the pairs of the last line in their order."""

    prompt: str = ""
    negative: str = ""
    pairs: Mapping[str, str] = field(default_factory=dict)


def write(infotext: Infotext) -> str:
    """Return the text; pairs with an empty value are left out."""
    lines = [infotext.prompt]
    lines += [f"{_NEGATIVE} {infotext.negative}"] if infotext.negative else []
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in infotext.pairs.items() if value))
    return "\n".join(lines)


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def parse(text: str) -> Infotext:
    """Read the text; any text is valid, at least as a prompt."""
    *lines, last = text.strip().split("\n")
    pairs = [(match[1].strip(), _unquote(match[2].strip())) for match in _PAIR.finditer(last[:_LONGEST_LINE])]
    if len(pairs) < _FEWEST:
        lines, pairs = [*lines, last], []
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in lines:
        if line.strip().startswith(_NEGATIVE) and into is prompt:
            into, line = negative, line.strip().removeprefix(_NEGATIVE)
        into.append(line.strip())
    return Infotext("\n".join(prompt).strip(), "\n".join(negative).strip(), dict(pairs))


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
