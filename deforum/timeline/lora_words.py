"""LoRAs named in prompts: `<lora:name:weight>`, taken out of the text as values.

<lora:name>                  weight 1
<lora:name:0.7>              one weight for the text encoders and the network
<lora:name:0.5:0.8>          first the text encoders', then the network's; also te=0.5, unet=0.8
<lora:name:1:1:8>            the first 8 ranks only; also dyn=8
[<lora:name:1>::0.5]         in the steps in which prompt editing shows it, see `edits`

`<lyco:...>` means the same. Expressions in back-quotes have been replaced by their values before.
Source: the prompts of the A1111 web UI and Forge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deforum.timeline.edits import When, parse_edits, walk_texts

KINDS = ("lora", "lyco")
TAG = re.compile(r"<(?P<kind>\w+):(?P<rest>[^<>]*)>")
"""An extra network of any kind."""

HEAVIEST = 100.0
"""Largest weight, positive or negative."""

_NAMED = ("te", "unet", "dyn")


@dataclass(frozen=True)
class LoraWord:
    """A LoRA that a prompt asks for."""

    name: str
    """As written: the stem of its file, or the name in its metadata."""
    text_encoder: float = 1.0
    unet: float = 1.0
    """Weight in the denoising network, of whatever kind it is."""
    when: tuple[When, ...] = ()
    """The steps in which it acts: those in which all of these hold; () is all steps."""
    ranks: int | None = None
    """Use only the first ranks of its matrices; None: all."""

    def acts(self, step: int, steps: int) -> bool:
        """Return whether it acts in step `step` of `steps`, counted from 1."""
        return all(when.holds(step, steps) for when in self.when)

    def __str__(self) -> str:
        """Return the words of a prompt that ask for it."""
        parts = [self.name, f"{self.text_encoder:g}"]
        if self.unet != self.text_encoder or self.ranks is not None:
            parts.append(f"{self.unet:g}")
        if self.ranks is not None:
            parts.append(str(self.ranks))
        text = f"<lora:{':'.join(parts)}>"
        for when in reversed(self.when):
            text = when.around(text)
        return text


@dataclass(frozen=True)
class LoraFault:
    """A tag that cannot be read: the column of what is wrong in the prompt, and the message."""

    column: int
    message: str


def take_loras(text: str) -> tuple[str, tuple[LoraWord, ...]]:
    """Return a prompt without its extra networks, and the LoRAs among them in order. Raises nothing.

    A weight that `lora_faults` refuses counts as 1. Of a LoRA that is named twice for the same steps, the last counts.
    """
    if "<" not in text:
        return text, ()
    words: dict[tuple[str, tuple[When, ...]], LoraWord] = {}
    for part, when in walk_texts(parse_edits(text)):
        for match in TAG.finditer(part):
            if match["kind"] in KINDS:
                word = replace(_read(match["rest"]), when=when)
                words.pop((word.name, when), None)
                words[word.name, when] = word
    return TAG.sub("", text), tuple(word for word in words.values() if word.name)


def join_loras(sets: Sequence[tuple[Sequence[LoraWord], float]]) -> tuple[LoraWord, ...]:
    """Return the LoRAs of prompts that are blended: weights times those of the prompts, equal ones added up."""
    joined: dict[tuple[str, tuple[When, ...], int | None], LoraWord] = {}
    for words, weight in sets:
        for word in words:
            key = word.name, word.when, word.ranks
            before = joined.get(key, replace(word, text_encoder=0.0, unet=0.0))
            joined[key] = replace(
                word,
                text_encoder=before.text_encoder + weight * word.text_encoder,
                unet=before.unet + weight * word.unet,
            )
    return tuple(joined.values())


def lora_faults(text: str) -> Iterator[LoraFault]:
    """Yield what cannot be read in the LoRA tags of a prompt; expressions count as numbers."""
    from deforum.timeline.prompts import EXPRESSION

    text = EXPRESSION.sub(lambda match: "1".ljust(len(match[0])), text)
    for match in TAG.finditer(text):
        if match["kind"] not in KINDS:
            continue
        column = match.start("rest")
        name, *rest = match["rest"].split(":")
        if not name.strip():
            yield LoraFault(column, "a LoRA without a name; expected <lora:name:weight>")
        column += len(name) + 1
        for position, argument in enumerate(rest):
            kind, value = _argument(position, argument)
            fault = _fault(kind, value)
            if fault:
                yield LoraFault(column + len(argument) - len(argument.lstrip()), fault)
            column += len(argument) + 1


def _argument(position: int, argument: str) -> tuple[str, str]:
    """Return the name and the text of the value of a tag's argument behind its name."""
    key, equals, value = argument.partition("=")
    if equals:
        return key.strip().lower(), value.strip()
    return _NAMED[position] if position < len(_NAMED) else "", argument.strip()


def _fault(kind: str, value: str) -> str:
    """Return what is wrong with an argument, "" if nothing is."""
    if kind not in _NAMED:
        unknown = f"{kind}=" if kind else value
        return f"unknown part {unknown!r} of a LoRA; expected <lora:name:weight>, or te=, unet=, dyn="
    number = _number(value)
    if number is None or abs(number) > HEAVIEST:
        return f"the weight of a LoRA is {value!r}; expected a number from -{HEAVIEST:g} to {HEAVIEST:g}"
    if kind == "dyn" and (number < 1 or number % 1):
        return f"the number of ranks of a LoRA is {value!r}; expected a whole number from 1"
    return ""


def _number(text: str) -> float | None:
    digits = text.lstrip("+-")
    sign = -1.0 if text[: len(text) - len(digits)].count("-") % 2 else 1.0
    if digits in ("True", "False"):
        return sign * float(digits == "True")
    try:
        value = float(digits)
    except ValueError:
        return None
    return sign * value if math.isfinite(value) else None


def _read(rest: str) -> LoraWord:
    name, *arguments = rest.split(":")
    values: dict[str, float] = {}
    for position, argument in enumerate(arguments):
        kind, text = _argument(position, argument)
        number = _number(text)
        if number is not None and not _fault(kind, text):
            values[kind] = number
    encoder = values.get("te", 1.0)
    ranks = int(values["dyn"]) if "dyn" in values else None
    return LoraWord(name.strip(), encoder, values.get("unet", encoder), ranks=ranks)
