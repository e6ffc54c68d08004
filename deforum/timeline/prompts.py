"""Prompts as text: keyframes, the fields merged into each prompt, `--neg`, and back-quoted expressions.

Attention weights such as `(word:1.2)` pass through; the text encoders in `deforum.diffusion` parse them.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deforum.errors import Problem, UserError
from schedules import ScheduleError, Variables, parse_expression, parse_key

NEGATIVE_MARK = "--neg"
NO_PROMPTS = (("0", ""),)
"""The prompts of settings that have none."""
EXPRESSION = re.compile(r"`([^`\n]*)`")


@dataclass(frozen=True)
class Prompt:
    """A positive and a negative prompt, with their weights where several are blended."""

    positive: str
    negative: str = ""
    weight: float = 1.0
    """Weight of the positive prompt; those of a frame sum to 1, except with `prompt_weighting: weights`."""
    negative_weight: float | None = None
    """Weight of the negative prompt, where it differs from `weight`."""


def positives(prompts: Sequence[Prompt]) -> tuple[tuple[str, float], ...]:
    """Return the positive prompts of a frame with their weights, without those of weight 0; at least one."""
    return _weighing([(prompt.positive, prompt.weight) for prompt in prompts])


def negatives(prompts: Sequence[Prompt]) -> tuple[tuple[str, float], ...]:
    """Return the negative prompts of a frame, as `positives` does."""
    shares = [prompt.weight if prompt.negative_weight is None else prompt.negative_weight for prompt in prompts]
    return _weighing([(prompt.negative, share) for prompt, share in zip(prompts, shares, strict=True)])


def _weighing(texts: list[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple((text, weight) for text, weight in texts if weight) or tuple(texts[:1])


@dataclass(frozen=True)
class PromptTrack:
    """Prompts by keyframe: `keys` are sorted frame indices, `texts` the merged texts in the same order."""

    keys: tuple[int, ...]
    texts: tuple[str, ...]
    blends_from: float = math.inf
    """Frame after which texts blend in any case: a loop returns to its first one."""

    def at(self, frame: int, *, blend: bool) -> tuple[tuple[str, float], ...]:
        """Return the texts in effect at a frame with their weights: one, or two between two keyframes if `blend`.

        Frames before the first keyframe use its prompt.
        """
        left = max(bisect_right(self.keys, frame) - 1, 0)
        right = left + 1
        if not (blend or frame > self.blends_from) or right == len(self.keys) or frame <= self.keys[left]:
            return ((self.texts[left], 1.0),)
        share = (frame - self.keys[left]) / (self.keys[right] - self.keys[left])
        return ((self.texts[left], 1 - share), (self.texts[right], share))

    def closed(self, start: int, end: int, *, blend: bool) -> PromptTrack:
        """Return a track that leads back to its first text at frame `end`; without `blend` from frame `start` on."""
        keys = tuple(key for key in self.keys if key < end) or self.keys[:1]
        texts = self.texts[: len(keys)]
        if texts[-1] == texts[0]:
            return PromptTrack(keys, texts)
        if blend:
            return PromptTrack((*keys, end), (*texts, texts[0]))
        start = max(start, keys[-1])
        held = () if start == keys[-1] else (start,)
        return PromptTrack((*keys, *held, end), (*texts, *texts[-1:] * len(held), texts[0]), blends_from=start)

    def change(self, start: int, end: int, *, blend: bool) -> float:
        """Return the share of the texts at frame `end` that are not in effect at frame `start`, 0..1."""
        before, now = self._weights(start, blend=blend), self._weights(end, blend=blend)
        return 1 - sum(min(weight, before.get(text, 0.0)) for text, weight in now.items())

    def _weights(self, frame: int, *, blend: bool) -> dict[str, float]:
        weights: dict[str, float] = {}
        for text, weight in self.at(frame, blend=blend):
            weights[text] = weights.get(text, 0.0) + weight
        return weights

    def acts(self, position: int, *, blend: bool) -> tuple[float, float]:
        """Return the frames at which a text acts, by its position in `keys`: those from the first to the second - 1."""
        first = float(self.keys[position]) if position else -math.inf
        if blend and position:
            first = self.keys[position - 1] + 1.0
        return first, self.keys[position + 1] if position + 1 < len(self.keys) else math.inf


def merge_fields(prompt: str, positive: str, negative: str) -> str:
    """Put the positive field before a prompt and the negative field behind its `--neg`, as Deforum does."""
    mark = "" if NEGATIVE_MARK in prompt else NEGATIVE_MARK
    return f"{positive} {prompt} {mark} {negative.replace(NEGATIVE_MARK, '')}"


def split_negative(text: str) -> tuple[str, str]:
    """Split a prompt at `--neg` into positive and negative; further marks are removed from the negative."""
    positive, *negatives = text.split(NEGATIVE_MARK)
    return positive.strip(), "".join(negatives).strip()


def plain_number(value: object) -> str:
    """Write the value of an expression as prompts show it: in full precision, without an exponent; 1 if not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return "1"
    return np.format_float_positional(value, trim="0") if isinstance(value, float) else str(value)


def fill_expressions(
    text: str, frame: int, num_frames: int, variables: Variables, write: Callable[[object], str] = str
) -> str:
    """Replace each back-quoted expression within a line by its value at `frame`, in full precision.

    Empty back-quotes are the weight 1. Raises ScheduleError, which names the expression.
    """

    def value(match: re.Match[str]) -> str:
        source = match.group(1)
        if not source.strip():
            return "1"
        result = parse_expression(source, name="prompt", own=variables.own).evaluate(
            np.asarray([frame]), variables, num_frames
        )
        return write(np.atleast_1d(result)[0].item())

    return EXPRESSION.sub(value, text)


def prepare(
    text: str,
    weight: float,
    frame: int,
    num_frames: int,
    variables: Variables,
    write: Callable[[object], str] = str,
) -> Prompt:
    """Make the prompt of one frame from a merged text; `write` formats the values of expressions."""
    positive, negative = split_negative(fill_expressions(text, frame, num_frames, variables, write))
    return Prompt(positive, negative, weight)


def place_prompts(
    prompts: Sequence[tuple[str, str]], positive: str, negative: str, num_frames: int, variables: Variables
) -> PromptTrack:
    """Place prompts on the timeline, sorted by frame; keys may be expressions, negative ones are dropped.

    A key beyond the last frame matters where prompts are blended: the video then ends within the blend.
    Raises UserError for keys that cannot be read, and where no key is left.
    """
    placed: dict[int, str] = {}
    problems: list[Problem] = []
    for key, text in prompts or NO_PROMPTS:
        try:
            index = parse_key(key, name="prompts").frame(variables, num_frames)
        except ScheduleError as error:
            problems.append(Problem(str(error)))
        else:
            placed[index] = merge_fields(text, positive, negative)
    if problems:
        raise UserError(problems)
    keys = tuple(sorted(key for key in placed if key >= 0))
    if not keys:
        raise UserError(f"prompts: the keyframes {sorted(placed)} all lie before frame 0; expected at least one prompt")
    return PromptTrack(keys, tuple(placed[key] for key in keys))
