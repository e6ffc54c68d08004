"""CLIP text encoding of prompts: chunks of 75 tokens, attention weights, clip skip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.prompts.inversions import Inversion, pattern_of
from deforum.diffusion.prompts.syntax import BREAK, Weighted
from deforum.errors import UserError
from deforum.models.device import execution_device
from deforum.models.transfer import upload
from deforum.models.weights import read_weights

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Vectors:
    """A loaded textual inversion."""

    of: tuple[Tensor, ...]
    """(count, width) for each text encoder, float32 on the CPU."""

    def __len__(self) -> int:
        return len(self.of[0])


@dataclass(frozen=True, eq=False)
class Slot:
    """A place in a chunk that takes a vector of a textual inversion in place of a token."""

    vectors: Vectors
    index: int


Token = int | Slot
Chunks = list[list[tuple[Token, float]]]
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
    inversions: Mapping[str, Vectors] = field(default_factory=dict)
    """Textual inversions by the words of a prompt that stand for them, in lower case."""

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
        chunks = _chunks(self.encoders[0].tokenizer, spans, self.chunk - 2, self.inversions)
        read = [self._read(number, chunks, clip_skip) for number in range(len(self.encoders))]
        tokens = torch.cat([hidden for hidden, _ in read], dim=-1).flatten(0, 1)
        return Embedding(tokens, read[-1][1])

    def read_first(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        """Return the embedding of the first chunk alone, with the pooled embeddings of all encoders side by side.

        An encoder without a projection gives its state at the end of the text as the pooled embedding.
        """
        first = _chunks(self.encoders[0].tokenizer, spans, self.chunk - 2, self.inversions)[:1]
        read = [self._read(number, first, clip_skip) for number in range(len(self.encoders))]
        tokens = torch.cat([hidden for hidden, _ in read], dim=-1)[0]
        pooled = [summary for _, summary in read if summary is not None]
        return Embedding(tokens, torch.cat(pooled) if pooled else None)

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        """Return the embedding to use for a negative prompt: zeros for an empty one with `zero_empty`."""
        if not self.zero_empty or text.strip():
            return embedding
        pooled = None if embedding.pooled is None else torch.zeros_like(embedding.pooled)
        return Embedding(torch.zeros_like(embedding.tokens), pooled)

    def _read(self, number: int, chunks: Chunks, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """Run one text encoder: weighted hidden states (chunks, tokens, width), and pooled (width,) or None."""
        model, tokenizer, length = self.encoders[number].model, self.encoders[number].tokenizer, self.chunk
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        rows, weights = [], []
        for chunk in chunks:
            tokens = (0 if isinstance(token, Slot) else token for token, _ in chunk)
            ids = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
            row_weights = [1.0, *(weight for _, weight in chunk), 1.0]
            rows.append(ids + [pad] * (length - len(ids)))
            weights.append(row_weights + [1.0] * (length - len(ids)))
        device = execution_device(model)
        with _embedded(model, number, chunks):
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


@contextmanager
def _embedded(model: Any, number: int, chunks: Chunks) -> Iterator[None]:
    """Have a text encoder, the one of a number, read the vectors of the slots in chunks."""
    slots = [
        (row, column + 1, token.vectors.of[number][token.index])  # behind the start token
        for row, chunk in enumerate(chunks)
        for column, (token, _) in enumerate(chunk)
        if isinstance(token, Slot)
    ]
    if not slots:
        yield
        return

    def put(module: Any, given: Any, out: Tensor) -> Tensor:
        out = out.clone()
        for row, column, vector in slots:
            out[row, column] = upload(vector, out.device).to(out.dtype)
        return out

    handle = getattr(model, "text_model", model).embeddings.token_embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _chunks(
    tokenizer: Any, spans: Sequence[Weighted], size: int, inversions: Mapping[str, Vectors] | None = None
) -> Chunks:
    """Tokenize a prompt and split it into chunks of at most `size` tokens; at least one, which may be empty.

    The vectors of an inversion stand in one chunk.
    """
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    chunks: Chunks = [[]]
    for span in spans:
        if span is BREAK:
            chunks.append([])
            continue
        for token in _tokens(tokenizer, span.text, inversions or {}):
            if isinstance(token, Slot) and token.index == 0 and len(chunks[-1]) + len(token.vectors) > size:
                chunks.append([])
            if len(chunks[-1]) == size:
                full = chunks[-1]
                commas = [i for i in range(max(size - _COMMA_REACH, 1), size) if full[i][0] == comma]
                cut = commas[-1] + 1 if commas and token != comma else size
                chunks[-1:] = [full[:cut], full[cut:]]
            chunks[-1].append((token, span.weight))
    # A BREAK at the end begins no chunk, as in the web UI.
    return chunks[:-1] if len(chunks) > 1 and not chunks[-1] else chunks


def _tokens(tokenizer: Any, text: str, inversions: Mapping[str, Vectors]) -> Iterator[Token]:
    """Yield the tokens of a text, with the vectors of the inversions that it names."""
    parts: list[str] = pattern_of(inversions).split(text) if inversions else [text]
    for i, part in enumerate(parts):
        if i % 2:
            vectors = inversions[part.casefold()]
            yield from (Slot(vectors, index) for index in range(len(vectors)))
        else:
            yield from tokenizer(part, add_special_tokens=False, truncation=False, verbose=False).input_ids


def model_with(model: Any, inversions: Sequence[Inversion]) -> Any:
    """Return a model whose text encoding knows embeddings. Raises UserError where it cannot have them."""
    if not isinstance(model.text, ClipReader):
        raise UserError("embeddings (textual inversions) need a model of Stable Diffusion 1, 2 or XL; remove them")
    known = {inversion.name: load_inversion(inversion) for inversion in inversions}
    return replace(model, text=replace(model.text, inversions=known))


def load_inversion(inversion: Inversion) -> Vectors:
    """Read the vectors of a textual inversion. Raises UserError for a broken file."""
    weights = read_weights(inversion.path)
    tensors = [weights[name].float() for name in inversion.tensors]
    made = Vectors(tuple(tensor if tensor.ndim == 2 else tensor[None] for tensor in tensors))
    if len({len(tensor) for tensor in made.of}) > 1 or not all(torch.isfinite(tensor).all() for tensor in made.of):
        raise UserError(f"{inversion.path}: the embedding is broken; expected as many finite vectors for each encoder")
    return made


def emphasize(hidden: Tensor, weights: Tensor) -> Tensor:
    """Scale hidden states (chunks, tokens, width) by weights (chunks, tokens); each chunk keeps its mean (A1111)."""
    scaled = hidden * weights.unsqueeze(-1)
    ratios = scaled.mean(dim=(1, 2)) / hidden.mean(dim=(1, 2))
    # The ratio of means is an average weight only while the tokens' own means agree in sign. Where the mean is near
    # zero the ratio is arbitrary, and the average weight is used instead.
    likely = (ratios >= weights.amin(dim=1)) & (ratios <= weights.amax(dim=1)) & (ratios > 0)
    ratios = torch.where(likely, ratios, weights.mean(dim=1))
    return scaled / torch.where(ratios > 0, ratios, 1.0).view(-1, 1, 1)
