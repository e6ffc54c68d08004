"""Text encoders that read a whole prompt: T5, and language models. Attention weights as for CLIP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deforum.diffusion.families.clip import emphasize
from deforum.diffusion.prompts.syntax import BREAK, Weighted
from deforum.models.device import execution_device
from deforum.models.transfer import upload

Tensor = torch.Tensor
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a prompt, of a fixed number."""

    ids: list[int]
    mask: list[int]
    """1 for a token of the prompt, 0 for padding."""
    weights: list[float]


def tokenize(tokenizer: Any, spans: Sequence[Weighted], length: int, before: str = "", after: str = "") -> Tokens:
    """Tokenize a prompt between two fixed texts, cut or padded at the right to `length` tokens; a BREAK is a space.

    The text is tokenized as a whole, since words are not tokenized as their parts are; a token has the weight of its
    last letter. A cut prompt is told in a warning.
    """
    text, letters = before, [1.0] * len(before)
    for span in spans:
        words = " " if span is BREAK else span.text
        text += words
        letters += [1.0 if span is BREAK else span.weight] * len(words)
    text, letters = text + after, letters + [1.0] * len(after)
    plain: Any = {"add_special_tokens": True, "return_offsets_mapping": True, "verbose": False}
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    whole = tokenizer(text, **plain)
    if len(whole.input_ids) > length:
        rest = text[whole.offset_mapping[length - 1][0] :]
        _log.warning("prompt: only its first %d tokens are read, without %r", length, rest[:80])
    cut = tokenizer(text, padding="max_length", truncation=True, max_length=length, **plain)
    # A special token has no letters: it begins and ends at 0.
    weights = [letters[end - 1] if end > start else 1.0 for start, end in cut.offset_mapping]
    return Tokens(list(cut.input_ids), list(cut.attention_mask), weights)


def run(model: Any, tokens: Tokens, layer: int, *, masked: bool) -> Tensor:
    """Return the weighted hidden states (tokens, width), float32, of a layer counted from the last, -1.

    -1 is the encoder's result, after its final norm. `masked`: padding is hidden from the other tokens.
    """
    device = execution_device(model)
    given: dict[str, Any] = {"input_ids": upload(torch.tensor([tokens.ids]), device)}
    if masked:
        given["attention_mask"] = upload(torch.tensor([tokens.mask]), device).bool()
    out = model(**given, output_hidden_states=layer != -1)
    hidden: Tensor = (out[0] if layer == -1 else out.hidden_states[layer]).float()
    if any(weight != 1 for weight in tokens.weights):
        hidden = emphasize(hidden, upload(torch.tensor([tokens.weights]), device))
    return hidden[0]
