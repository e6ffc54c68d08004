"""Prompts into what the UNet reads: weighted, of any length, cached, and blended."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch

from deforum.diffusion.faults import guarded
from deforum.diffusion.noise import slerp
from deforum.diffusion.prompts.syntax import BREAK, Span, parse_attention, prompt_notes, strip_networks

Tensor = torch.Tensor
Chunks = list[list[tuple[int, float]]]
"""Tokens with their weights, in the portions that a text encoder reads at a time."""

_log = logging.getLogger(__name__)
_CACHED = 64
"""Embeddings that are kept; one of SDXL with 75 words takes 0.6 MB."""
_COMMA_REACH = 20
"""A chunk that is full ends at a comma this many tokens back, if there is one, so that phrases stay whole."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A prompt as the UNet reads it, float32."""

    tokens: Tensor
    """(chunks * tokens per chunk, width)."""
    pooled: Tensor | None
    """(width,) for SDXL: the last text encoder's summary of the first chunk."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a model and the tokenizer that belongs to it."""

    model: Any
    tokenizer: Any


class PromptEncoder:
    """Turns prompts into embeddings; each distinct prompt is computed once."""

    def __init__(self, encoders: Sequence[Encoder], *, xl: bool, zero_empty: bool, spherical: bool) -> None:
        """`zero_empty`: an empty negative prompt is all zeros (SDXL base was trained so). `spherical`: how to blend."""
        self._encoders = tuple(encoders)
        self._xl = xl
        self._zero_empty = zero_empty
        self._spherical = spherical
        # CLIP reads a fixed number of tokens at a time, two of which are the marks of start and end.
        self._length = min(int(encoder.model.config.max_position_embeddings) for encoder in self._encoders)
        self._cache: OrderedDict[tuple[str, int], Embedding] = OrderedDict()

    @property
    def modules(self) -> list[torch.nn.Module]:
        return [encoder.model for encoder in self._encoders]

    def encode(self, text: str, clip_skip: int, *, frame: int, negative: bool = False) -> Embedding:
        """Return the embedding of a prompt; `clip_skip` 1 is the model's usual layer, 2 the one before, and so on.

        Raises RenderError, naming `frame`, where the text encoder gives no numbers.
        """
        key = (text, clip_skip)
        if key in self._cache:
            self._cache.move_to_end(key)
        else:
            for note in prompt_notes(text):
                _log.warning("%s", note)
            self._cache[key] = guarded("the text encoder", frame, self.modules, lambda: self._compute(*key))
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        found = self._cache[key]
        if negative and self._zero_empty and not text.strip():
            pooled = None if found.pooled is None else torch.zeros_like(found.pooled)
            return Embedding(torch.zeros_like(found.tokens), pooled)
        return found

    def blend(self, parts: Sequence[tuple[Embedding, float]], clip_skip: int, *, frame: int) -> Embedding:
        """Mix embeddings by weight; shorter ones are first filled up with empty chunks."""
        if len(parts) == 1:
            return parts[0][0]
        length = max(len(embedding.tokens) for embedding, _ in parts)
        filled = [(self.fill(embedding, length, clip_skip, frame=frame), weight) for embedding, weight in parts]
        tokens = self._mix([(embedding.tokens, weight) for embedding, weight in filled])
        pooled = [(embedding.pooled, weight) for embedding, weight in filled if embedding.pooled is not None]
        return Embedding(tokens, self._mix(pooled) if pooled else None)

    def fill(self, embedding: Embedding, length: int, clip_skip: int, *, frame: int) -> Embedding:
        """Append empty chunks until there are `length` tokens."""
        missing = (length - len(embedding.tokens)) // self._length
        if missing == 0:
            return embedding
        empty = self.encode("", clip_skip, frame=frame).tokens
        return Embedding(torch.cat([embedding.tokens, *[empty] * missing]), embedding.pooled)

    def _mix(self, parts: Sequence[tuple[Tensor, float]]) -> Tensor:
        if not self._spherical:
            return sum((tensor * weight for tensor, weight in parts), torch.zeros_like(parts[0][0]))

        def onto(mixed: tuple[Tensor, float], part: tuple[Tensor, float]) -> tuple[Tensor, float]:
            whole = mixed[1] + part[1]
            return slerp(mixed[0], part[0], part[1] / whole if whole else 0.0, dim=-1), whole

        return reduce(onto, parts)[0]

    def _compute(self, text: str, clip_skip: int) -> tuple[Embedding, str]:
        spans = parse_attention(strip_networks(text))
        # SDXL's two tokenizers have one vocabulary and differ in their padding only.
        chunks = _chunks(self._encoders[0].tokenizer, spans, self._length - 2)
        read = [self._read(encoder, chunks, clip_skip) for encoder in self._encoders]
        tokens = torch.cat([hidden for hidden, _ in read], dim=-1).flatten(0, 1)
        embedding = Embedding(tokens, read[-1][1])
        finite = bool(torch.isfinite(tokens).all())
        if embedding.pooled is not None:
            finite = finite and bool(torch.isfinite(embedding.pooled).all())
        return embedding, "" if finite else "NaN or Inf"

    def _read(self, encoder: Encoder, chunks: Chunks, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """Run one text encoder: weighted hidden states (chunks, tokens, width), and for SDXL its summary (width,)."""
        model, tokenizer = encoder.model, encoder.tokenizer
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        rows, weights = [], []
        for chunk in chunks:
            ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
            row_weights = [1.0, *(weight for _, weight in chunk), 1.0]
            rows.append(ids + [pad] * (self._length - len(ids)))
            weights.append(row_weights + [1.0] * (self._length - len(ids)))
        device = model.device
        out = model(torch.tensor(rows, device=device), output_hidden_states=True)
        # SDXL reads the layer before the last to begin with. No deeper than the first layer, whatever was asked for.
        depth = min(clip_skip + self._xl, len(out.hidden_states) - 1)
        hidden = out.hidden_states[-depth]
        if not self._xl:
            # Stable Diffusion 1 and 2 read a layer through the last normalisation. (transformers keeps it at the top of
            # the model or, in some versions and classes, inside `text_model`.)
            hidden = getattr(model, "text_model", model).final_layer_norm(hidden)
        hidden = _emphasize(hidden.float(), torch.tensor(weights, device=device))
        pooled = getattr(out, "text_embeds", None)
        return hidden, None if pooled is None or not self._xl else pooled[0].float()


def _chunks(tokenizer: Any, spans: Sequence[Span], size: int) -> Chunks:
    """Cut a prompt into chunks of at most `size` tokens; there is at least one, maybe empty."""
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    chunks: Chunks = [[]]
    for span in spans:
        if span is BREAK:
            chunks.append([])
            continue
        for token in tokenizer(span.text, add_special_tokens=False, truncation=False, verbose=False).input_ids:
            if len(chunks[-1]) == size:
                full = chunks[-1]
                commas = [i for i in range(max(size - _COMMA_REACH, 1), size) if full[i][0] == comma]
                cut = commas[-1] + 1 if commas and token != comma else size
                chunks[-1:] = [full[:cut], full[cut:]]
            chunks[-1].append((token, span.weight))
    return chunks


def _emphasize(hidden: Tensor, weights: Tensor) -> Tensor:
    """Scale (chunks, tokens, width) by (chunks, tokens), then bring the mean back to what it was (A1111's rule)."""
    if bool((weights == 1).all()):
        return hidden
    before = hidden.mean()
    scaled = hidden * weights.unsqueeze(-1)
    ratio = float(scaled.mean() / before)
    # The ratio of means is an average weight only while the tokens' own means agree in sign. Near zero it is noise, and
    # would scale the prompt by anything: then the average weight itself stands in.
    low, high = float(weights.min()), float(weights.max())
    if not low <= ratio <= high or ratio <= 0:
        ratio = float(weights.mean())
    return scaled / ratio if ratio > 0 else scaled
