"""Prompt embeddings: computed by the model's text encoders, cached, padded to one length, and blended."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import torch

from deforum.diffusion.faults import guarded
from deforum.diffusion.noise import slerp
from deforum.diffusion.prompts.syntax import Weighted, parse_attention, prompt_notes, strip_networks

Tensor = torch.Tensor

_log = logging.getLogger(__name__)
_CACHED = 64
"""Number of cached embeddings; one of a single chunk takes up to 0.6 MB."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """The text embedding of a prompt, float32."""

    tokens: Tensor
    """Hidden states, (chunks * tokens per chunk, width)."""
    pooled: Tensor | None
    """Pooled embedding (width,), for models that use one."""


class TextReader(Protocol):
    """The text encoding of a family's models."""

    @property
    def modules(self) -> Sequence[Any]:
        """The text encoders."""

    @property
    def chunk(self) -> int:
        """The number of tokens in a chunk; the length of an embedding is a multiple of it."""

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        """Return the embedding of a parsed prompt; `clip_skip` 1 is the last layer, 2 the one before, and so on.

        A model that was trained with an earlier layer takes that one at least.
        """

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        """Return the embedding to use for a negative prompt, given the embedding of its text."""


class PromptEncoder:
    """Encodes prompts; embeddings are cached by text and clip_skip."""

    def __init__(self, reader: TextReader, *, spherical: bool) -> None:
        """`spherical`: blend embeddings by spherical instead of linear interpolation."""
        self._reader = reader
        self._spherical = spherical
        self._cache: OrderedDict[tuple[str, int], Embedding] = OrderedDict()

    def encode(self, text: str, clip_skip: int, *, frame: int, negative: bool = False) -> Embedding:
        """Return the embedding of a prompt; `clip_skip`: see `TextReader.read`.

        Raises RenderError, naming `frame`, where the embedding holds NaN or Inf.
        """
        key = (text, clip_skip)
        if key in self._cache:
            self._cache.move_to_end(key)
        else:
            for note in prompt_notes(text):
                _log.warning("%s", note)
            self._cache[key] = guarded("the text encoder", frame, self._reader.modules, lambda: self._compute(*key))
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        found = self._cache[key]
        return self._reader.negative(text, found) if negative else found

    def blend(self, parts: Sequence[tuple[Embedding, float]], clip_skip: int, *, frame: int) -> Embedding:
        """Blend embeddings by weight; shorter ones are padded with chunks of the empty prompt."""
        if len(parts) == 1:
            return parts[0][0]
        length = max(len(embedding.tokens) for embedding, _ in parts)
        filled = [(self.fill(embedding, length, clip_skip, frame=frame), weight) for embedding, weight in parts]
        tokens = self._mix([(embedding.tokens, weight) for embedding, weight in filled])
        pooled = [(embedding.pooled, weight) for embedding, weight in filled if embedding.pooled is not None]
        return Embedding(tokens, self._mix(pooled) if pooled else None)

    def fill(self, embedding: Embedding, length: int, clip_skip: int, *, frame: int) -> Embedding:
        """Pad an embedding to `length` tokens with chunks of the empty prompt."""
        missing = (length - len(embedding.tokens)) // self._reader.chunk
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
        embedding = self._reader.read(parse_attention(strip_networks(text)), clip_skip)
        finite = bool(torch.isfinite(embedding.tokens).all())
        if embedding.pooled is not None:
            finite = finite and bool(torch.isfinite(embedding.pooled).all())
        return embedding, "" if finite else "NaN or Inf"
