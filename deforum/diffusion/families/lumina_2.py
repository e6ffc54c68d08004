"""Lumina-Image 2.0: one transformer over the tokens of picture and prompt, which Gemma 2 reads (arXiv 2503.21758)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from deforum.diffusion.deep_cache import Added
from deforum.diffusion.families.clip import Encoder
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.language import run, tokenize
from deforum.diffusion.families.model import Model, Pull
from deforum.diffusion.families.parts import read_parts
from deforum.diffusion.families.stable_diffusion import with_precision
from deforum.diffusion.families.transformer import TransformerModel, Velocity, stacked, timesteps
from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.prompts.syntax import Weighted, parse_attention, strip_networks

Tensor = torch.Tensor
TOKENS = 256
BEFORE = (
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment based "
    "on textual prompts or user prompts. <Prompt Start> "
)
"""What the model was trained to read before a prompt."""
_KEPT = 16


def load(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load a Lumina-Image 2.0 model onto the CPU."""
    classes = {
        "text_encoder": "transformers:Gemma2Model",
        "tokenizer": "transformers:GemmaTokenizer",
        "transformer": "diffusers:Lumina2Transformer2DModel",
        "vae": "diffusers:AutoencoderKL",
    }
    parts = read_parts(source, classes, {}, dtype)
    text = AssistantReader(Encoder(parts["text_encoder"], parts["tokenizer"]))
    return Lumina2(parts["transformer"], with_precision(parts["vae"], dtype), text, parts.schedule)


@dataclass(frozen=True)
class AssistantReader:
    """A `TextReader` of a language model that is told what it is before a prompt; a negative one stands alone.

    It gives the states of the last layer but one. Rows of zeros are no tokens.
    """

    encoder: Encoder
    _negatives: OrderedDict[str, Embedding] = field(default_factory=OrderedDict)

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.encoder.model,)

    @property
    def chunk(self) -> int:
        return TOKENS

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        return self._read(spans, BEFORE)

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        if text not in self._negatives:
            self._negatives[text] = self._read(parse_attention(strip_networks(text)), "")
            while len(self._negatives) > _KEPT:
                self._negatives.popitem(last=False)
        return self._negatives[text]

    def _read(self, spans: Sequence[Weighted], before: str) -> Embedding:
        tokens = tokenize(self.encoder.tokenizer, spans, TOKENS, before)
        hidden = run(self.encoder.model, tokens, -2, masked=True)
        return Embedding(hidden * hidden.new_tensor(tokens.mask)[:, None], None)


@dataclass(frozen=True, eq=False)
class Lumina2(TransformerModel):
    """A `Model` around diffusers' Lumina2Transformer2DModel, which predicts the velocity towards the picture."""

    def _evaluate(self, order: Sequence[Pull], guidance: Sequence[float]) -> Velocity:
        network = self.transformer
        tokens = stacked([pull.embedding.tokens for pull in order], network)
        mask = tokens.any(-1)

        def evaluate(x: Tensor, time: float, added: Added) -> Tensor:
            out: Tensor = network(
                hidden_states=x,
                timestep=timesteps(1 - time / 1000, x),
                encoder_hidden_states=tokens,
                encoder_attention_mask=mask,
                return_dict=False,
            )[0]
            return -out

        return evaluate

    def _guided(self, out: Tensor, weights: Tensor) -> Tensor:
        """Return the guided velocity, with the norm of each of its rows that the prompts' own has."""
        guided = super()._guided(out, weights)
        if len(out) == 1:
            return guided
        pulling = weights.clamp(min=0)
        prompts = (out * pulling).sum(0) / pulling.sum(0).clamp(min=1e-6)
        wanted, found = (each.norm(dim=-1, keepdim=True) for each in (prompts, guided))
        normed: Tensor = guided * (wanted / found.clamp(min=1e-12))
        return normed
