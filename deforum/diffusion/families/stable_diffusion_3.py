"""Stable Diffusion 3 and 3.5: a transformer that reads two CLIP encoders and T5 (Esser et al., arXiv 2403.03206)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deforum.diffusion.deep_cache import Added
from deforum.diffusion.families.clip import ClipReader, Encoder
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.language import run, tokenize
from deforum.diffusion.families.model import Model, Pull
from deforum.diffusion.families.parts import read_parts
from deforum.diffusion.families.stable_diffusion import with_precision
from deforum.diffusion.families.transformer import TransformerModel, Velocity, stacked, timesteps
from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.prompts.syntax import Weighted

Tensor = torch.Tensor
TOKENS = 256
"""Tokens that T5 reads."""


def load(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load a Stable Diffusion 3 model onto the CPU; T5 may be missing, as in the original code."""
    classes = {
        "text_encoder": "transformers:CLIPTextModelWithProjection",
        "text_encoder_2": "transformers:CLIPTextModelWithProjection",
        "text_encoder_3": "transformers:T5EncoderModel",
        "tokenizer": "transformers:CLIPTokenizer",
        "tokenizer_2": "transformers:CLIPTokenizer",
        "tokenizer_3": "transformers:T5Tokenizer",
        "transformer": "diffusers:SD3Transformer2DModel",
        "vae": "diffusers:AutoencoderKL",
    }
    parts = read_parts(source, classes, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}, dtype)
    clip = ClipReader(
        tuple(Encoder(parts[f"text_encoder{end}"], parts[f"tokenizer{end}"]) for end in ("", "_2")),
        usual=2,
        final_norm=False,
        pooled=True,
    )
    t5 = Encoder(parts["text_encoder_3"], parts["tokenizer_3"]) if "text_encoder_3" in parts else None
    transformer = parts["transformer"]
    text = ThreeReader(clip, t5, int(transformer.config.joint_attention_dim))
    return StableDiffusion3(transformer, with_precision(parts["vae"], dtype), text, parts.schedule)


@dataclass(frozen=True)
class ThreeReader:
    """A `TextReader` of two CLIP encoders, side by side and widened with zeros, then T5. CLIP reads 75 tokens."""

    clip: ClipReader
    t5: Encoder | None
    """None: zeros take its place."""
    width: int

    @property
    def modules(self) -> tuple[Any, ...]:
        return (*self.clip.modules, *([] if self.t5 is None else [self.t5.model]))

    @property
    def chunk(self) -> int:
        return self.clip.chunk + TOKENS

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        both = self.clip.read_first(spans, clip_skip)
        clip = torch.nn.functional.pad(both.tokens, (0, self.width - both.tokens.shape[-1]))
        if self.t5 is None:
            long = clip.new_zeros((TOKENS, self.width))
        else:
            long = run(self.t5.model, tokenize(self.t5.tokenizer, spans, TOKENS), -1, masked=False)
        return Embedding(torch.cat([clip, long.to(clip.device)]), both.pooled)

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        return embedding


@dataclass(frozen=True, eq=False)
class StableDiffusion3(TransformerModel):
    """A `Model` around diffusers' SD3Transformer2DModel."""

    def _evaluate(self, order: Sequence[Pull], guidance: Sequence[float]) -> Velocity:
        network = self.transformer
        tokens = stacked([pull.embedding.tokens for pull in order], network)
        pooled = stacked([pull.embedding.pooled for pull in order], network)

        def evaluate(x: Tensor, time: float, added: Added) -> Tensor:
            out: Tensor = network(
                hidden_states=x,
                timestep=timesteps(time, x),
                encoder_hidden_states=tokens,
                pooled_projections=pooled,
                block_controlnet_hidden_states=list(added.residuals) or None,
                return_dict=False,
            )[0]
            return out

        return evaluate
