"""Prompt embeddings: computed by the model's text encoders, cached, padded to one length, and blended."""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import torch

from deforum.diffusion.cores import in_turn
from deforum.diffusion.faults import Fault, guarded, not_finite
from deforum.diffusion.noise import slerp
from deforum.diffusion.prompts.syntax import Weighted, parse_attention, prompt_notes, strip_networks
from deforum.models.branches import current

Tensor = torch.Tensor

_log = logging.getLogger(__name__)
Key = tuple[str, int, tuple[tuple[str, Any], ...]]
"""Text, clip_skip, and the inputs of adapters."""
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


def as_in_the_web_ui(embeddings: Sequence[tuple[Embedding, bool]]) -> list[Embedding]:
    """Give embeddings one length without changing what a negative one does; (embedding, whether it is negative).

    The web UI evaluates prompt and negative prompt each at its own length, and repeats the last token of the shorter
    parts of an AND. Attention to an embedding repeated as a whole is that to the embedding itself, so that embeddings
    of different lengths can be in one batch.
    """
    longest = max((len(embedding.tokens) for embedding, negative in embeddings if not negative), default=0)
    grown = [embedding if negative else _hold_last(embedding, longest) for embedding, negative in embeddings]
    length = math.lcm(*(len(embedding.tokens) for embedding in grown))
    return [
        Embedding(embedding.tokens.repeat(length // len(embedding.tokens), 1), embedding.pooled) for embedding in grown
    ]


def _hold_last(embedding: Embedding, length: int) -> Embedding:
    missing = length - len(embedding.tokens)
    tokens = torch.cat([embedding.tokens, embedding.tokens[-1:].expand(missing, -1)]) if missing else embedding.tokens
    return Embedding(tokens, embedding.pooled)


class PromptEncoder:
    """Encodes prompts; embeddings are cached by text, clip_skip, and the weights of adapters."""

    def __init__(self, reader: TextReader, *, spherical: bool) -> None:
        """`spherical`: blend embeddings by spherical instead of linear interpolation."""
        self._reader = reader
        self._spherical = spherical
        self._cache: OrderedDict[Key, Embedding] = OrderedDict()
        self._noted: set[str] = set()
        self._lock = threading.RLock()
        """Animations that are painted at once share the cache."""

    def encode(self, text: str, clip_skip: int, *, frame: int, negative: bool = False) -> Embedding:
        """Return the embedding of a prompt; `clip_skip`: see `TextReader.read`.

        Raises RenderError, naming `frame`, where the embedding holds NaN or Inf.
        """
        key = (text, clip_skip, tuple(sorted(current().items())))  # adapters of text encoders, too
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            else:
                for note in prompt_notes(text):
                    if note not in self._noted:  # a text with an expression differs in every frame
                        _log.warning("%s", note)
                        self._noted.add(note)
                with in_turn():
                    found = guarded(
                        "the text encoder",
                        frame,
                        self._reader.modules,
                        lambda: self._compute(text, clip_skip),
                        forget=lambda: self._forget(key),
                    )
                self._cache[key] = found
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

    def _compute(self, text: str, clip_skip: int) -> tuple[Embedding, list[Fault]]:
        embedding = self._reader.read(parse_attention(strip_networks(text)), clip_skip)
        parts = [embedding.tokens] if embedding.pooled is None else [embedding.tokens, embedding.pooled]
        return embedding, [not_finite(part) for part in parts]

    def _forget(self, key: Key) -> None:
        with self._lock:
            self._cache.pop(key, None)
