"""Z-Image (and Turbo): one transformer over the tokens of the picture and of the prompt, which Qwen3 reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deforum.diffusion.deep_cache import Added
from deforum.diffusion.families.clip import Encoder
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.language import run, tokenize
from deforum.diffusion.families.model import Model, Pull
from deforum.diffusion.families.parts import read_parts
from deforum.diffusion.families.stable_diffusion import with_precision
from deforum.diffusion.families.transformer import TransformerModel, Velocity, timesteps
from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.prompts.syntax import Weighted

Tensor = torch.Tensor
TOKENS = 512
_PLACE = "\u2063prompt\u2063"
"""Stands for the prompt in the template of a conversation."""


def load(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load a Z-Image model onto the CPU."""
    classes = {
        "text_encoder": "transformers:Qwen3Model",
        "tokenizer": "transformers:Qwen2Tokenizer",
        "transformer": "diffusers:ZImageTransformer2DModel",
        "vae": "diffusers:AutoencoderKL",
    }
    parts = read_parts(source, classes, {}, dtype)
    text = ChatReader(Encoder(parts["text_encoder"], parts["tokenizer"]))
    return ZImage(parts["transformer"], with_precision(parts["vae"], dtype), text, parts.schedule)


@dataclass(frozen=True)
class ChatReader:
    """A `TextReader` of a language model that is asked for the prompt as in a conversation.

    It gives the states of the last layer but one. Rows of zeros are no tokens.
    """

    encoder: Encoder

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.encoder.model,)

    @property
    def chunk(self) -> int:
        return TOKENS

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        asked: str = self.encoder.tokenizer.apply_chat_template(
            [{"role": "user", "content": _PLACE}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        before, _, after = asked.partition(_PLACE)
        tokens = tokenize(self.encoder.tokenizer, spans, TOKENS, before, after)
        hidden = run(self.encoder.model, tokens, -2, masked=True)
        return Embedding(hidden * hidden.new_tensor(tokens.mask)[:, None], None)

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        return embedding


@dataclass(frozen=True, eq=False)
class ZImage(TransformerModel):
    """A `Model` around diffusers' ZImageTransformer2DModel, which predicts the velocity towards the picture."""

    def _evaluate(self, order: Sequence[Pull], guidance: Sequence[float]) -> Velocity:
        network = self.transformer
        prompts = [pull.embedding.tokens[pull.embedding.tokens.any(-1)].to(network.dtype) for pull in order]

        def evaluate(x: Tensor, time: float, added: Added) -> Tensor:
            pictures = list(x[:, :, None].unbind(0))  # a video of one frame each
            out = network(pictures, timesteps(1 - time / 1000, x), prompts, return_dict=False)[0]
            return -torch.stack(list(out)).squeeze(2)

        return evaluate
