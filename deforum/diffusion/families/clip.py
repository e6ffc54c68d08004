"""CLIP text encoding of prompts: chunks of 75 tokens, attention weights, clip skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.prompts.syntax import BREAK, Weighted
from deforum.models.device import execution_device
from deforum.models.transfer import upload

Tensor = torch.Tensor
Chunks = list[list[tuple[int, float]]]
"""Tokens with their attention weights, in chunks of one text encoder context each."""

_COMMA_REACH = 20
"""A full chunk ends at its last comma, if it is at most this many tokens back, so that phrases stay whole."""


@dataclass(frozen=True)
class Encoder:
    """A text encoder of a model and its tokenizer."""

    model: Any
    tokenizer: Any


@dataclass(frozen=True)
class ClipReader:
    """A `TextReader` of one or more CLIP text encoders, whose hidden states are concatenated along the width."""

    encoders: tuple[Encoder, ...]
    """Their tokenizers share one vocabulary and differ only in their padding token."""
    usual: int = 1
    """The layer that the model was trained with, counted from the last; a smaller clip_skip takes it too."""
    absent: int = 0
    """Last layers that the model's files leave out, as nothing reads them."""
    final_norm: bool = True
    """Apply the encoder's final layer norm to the hidden states."""
    pooled: bool = False
    """Add the last encoder's pooled embedding of the first chunk."""
    zero_empty: bool = False
    """Use an embedding of zeros for an empty negative prompt."""

    @property
    def modules(self) -> tuple[Any, ...]:
        return tuple(encoder.model for encoder in self.encoders)

    @property
    def chunk(self) -> int:
        """The number of tokens in the encoders' context, including the start and end tokens."""
        return min(int(model.config.max_position_embeddings) for model in self.modules)

    @property
    def widths(self) -> tuple[int, int]:
        """The widths of an embedding's tokens and of its pooled embedding; 0 for none."""
        last = self.encoders[-1].model.config
        pooled = int(getattr(last, "projection_dim", 0) or last.hidden_size) if self.pooled else 0
        return sum(int(model.config.hidden_size) for model in self.modules), pooled

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        """Return the embedding of a parsed prompt; `clip_skip` 2 takes the last layer but one, and so on."""
        chunks = _chunks(self.encoders[0].tokenizer, spans, self.chunk - 2)
        read = [self._read(encoder, chunks, clip_skip) for encoder in self.encoders]
        tokens = torch.cat([hidden for hidden, _ in read], dim=-1).flatten(0, 1)
        return Embedding(tokens, read[-1][1])

    def read_first(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        """Return the embedding of the first chunk alone, with the pooled embeddings of all encoders side by side.

        An encoder without a projection gives its state at the end of the text as the pooled embedding.
        """
        first = _chunks(self.encoders[0].tokenizer, spans, self.chunk - 2)[:1]
        read = [self._read(encoder, first, clip_skip) for encoder in self.encoders]
        tokens = torch.cat([hidden for hidden, _ in read], dim=-1)[0]
        pooled = [summary for _, summary in read if summary is not None]
        return Embedding(tokens, torch.cat(pooled) if pooled else None)

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        """Return the embedding to use for a negative prompt: zeros for an empty one with `zero_empty`."""
        if not self.zero_empty or text.strip():
            return embedding
        pooled = None if embedding.pooled is None else torch.zeros_like(embedding.pooled)
        return Embedding(torch.zeros_like(embedding.tokens), pooled)

    def _read(self, encoder: Encoder, chunks: Chunks, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """Run one text encoder: weighted hidden states (chunks, tokens, width), and pooled (width,) or None."""
        model, tokenizer, length = encoder.model, encoder.tokenizer, self.chunk
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        rows, weights = [], []
        for chunk in chunks:
            ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
            row_weights = [1.0, *(weight for _, weight in chunk), 1.0]
            rows.append(ids + [pad] * (length - len(ids)))
            weights.append(row_weights + [1.0] * (length - len(ids)))
        device = execution_device(model)
        out = model(upload(torch.tensor(rows), device), output_hidden_states=True)
        # A larger clip_skip than there are layers takes the first layer.
        depth = min(max(clip_skip, self.usual) - self.absent, len(out.hidden_states) - 1)
        hidden = out.hidden_states[-depth]
        if self.final_norm:
            # transformers has the norm at the top of the model or, in some versions and classes, inside `text_model`.
            hidden = getattr(model, "text_model", model).final_layer_norm(hidden)
        hidden = hidden.float()
        if any(weight != 1 for row in weights for weight in row):
            hidden = emphasize(hidden, upload(torch.tensor(weights), device))
        if not self.pooled:
            return hidden, None
        if (projected := getattr(out, "text_embeds", None)) is not None:
            return hidden, projected[0].float()
        last = getattr(model, "text_model", model).final_layer_norm(out.hidden_states[-1])
        return hidden, last[0, rows[0].index(tokenizer.eos_token_id)].float()


def _chunks(tokenizer: Any, spans: Sequence[Weighted], size: int) -> Chunks:
    """Tokenize a prompt and split it into chunks of at most `size` tokens; at least one, which may be empty."""
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
    # A BREAK at the end begins no chunk, as in the web UI.
    return chunks[:-1] if len(chunks) > 1 and not chunks[-1] else chunks


def emphasize(hidden: Tensor, weights: Tensor) -> Tensor:
    """Scale hidden states (chunks, tokens, width) by weights (chunks, tokens); each chunk keeps its mean (A1111)."""
    scaled = hidden * weights.unsqueeze(-1)
    ratios = scaled.mean(dim=(1, 2)) / hidden.mean(dim=(1, 2))
    # The ratio of means is an average weight only while the tokens' own means agree in sign. Where the mean is near
    # zero the ratio is arbitrary, and the average weight is used instead.
    likely = (ratios >= weights.amin(dim=1)) & (ratios <= weights.amax(dim=1)) & (ratios > 0)
    ratios = torch.where(likely, ratios, weights.mean(dim=1))
    return scaled / torch.where(ratios > 0, ratios, 1.0).view(-1, 1, 1)
