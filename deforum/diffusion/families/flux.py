"""Flux.1 (dev, schnell, and models made from them): a transformer that reads T5 and CLIP's summary of the prompt."""

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
from deforum.models.transfer import upload

Tensor = torch.Tensor
TOKENS = {True: 512, False: 256}
"""Tokens that T5 reads: of dev, which takes the guidance scale as an input, and of schnell."""


def load(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load a Flux.1 model onto the CPU."""
    classes = {
        "text_encoder": "transformers:CLIPTextModel",
        "text_encoder_2": "transformers:T5EncoderModel",
        "tokenizer": "transformers:CLIPTokenizer",
        "tokenizer_2": "transformers:T5Tokenizer",
        "transformer": "diffusers:FluxTransformer2DModel",
        "vae": "diffusers:AutoencoderKL",
    }
    parts = read_parts(source, classes, {"tokenizer": "<|endoftext|>"}, dtype)
    transformer = parts["transformer"]
    text = SummaryReader(
        ClipReader((Encoder(parts["text_encoder"], parts["tokenizer"]),), pooled=True),
        Encoder(parts["text_encoder_2"], parts["tokenizer_2"]),
        TOKENS[bool(transformer.config.guidance_embeds)],
    )
    return Flux(transformer, with_precision(parts["vae"], dtype), text, parts.schedule)


@dataclass(frozen=True)
class SummaryReader:
    """A `TextReader` of T5, with CLIP's state at the end of the prompt as its summary."""

    clip: ClipReader
    t5: Encoder
    length: int

    @property
    def modules(self) -> tuple[Any, ...]:
        return (*self.clip.modules, self.t5.model)

    @property
    def chunk(self) -> int:
        return self.length

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        pooled = self.clip.read_first(spans, 1).pooled
        return Embedding(run(self.t5.model, tokenize(self.t5.tokenizer, spans, self.length), -1, masked=False), pooled)

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        return embedding


@dataclass(frozen=True, eq=False)
class Flux(TransformerModel):
    """A `Model` around diffusers' FluxTransformer2DModel, which takes latents packed in cells of 2x2."""

    @property
    def reads_guidance(self) -> bool:
        return bool(self.transformer.config.guidance_embeds)

    def _evaluate(self, order: Sequence[Pull], guidance: Sequence[float]) -> Velocity:
        network = self.transformer
        tokens = stacked([pull.embedding.tokens for pull in order], network)
        pooled = stacked([pull.embedding.pooled for pull in order], network)
        blocks = len(network.transformer_blocks)
        text_places = tokens.new_zeros((tokens.shape[1], 3))
        scales = upload(torch.tensor(guidance, dtype=torch.float32), self.device) if self.reads_guidance else None

        def evaluate(x: Tensor, time: float, added: Added) -> Tensor:
            rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
            out: Tensor = network(
                hidden_states=packed_cells(x),
                timestep=timesteps(time / 1000, x),
                guidance=scales,
                pooled_projections=pooled,
                encoder_hidden_states=tokens,
                controlnet_block_samples=list(added.residuals[:blocks]) or None,
                controlnet_single_block_samples=list(added.residuals[blocks:]) or None,
                txt_ids=text_places,
                img_ids=places(rows, columns, x),
                return_dict=False,
            )[0]
            return _unpacked(out, rows, columns)

        return evaluate


def packed_cells(x: Tensor) -> Tensor:
    """Pack latents (N, C, h, w) into tokens (N, h/2 * w/2, 4C)."""
    count, channels, height, width = x.shape
    cells = x.view(count, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(count, (height // 2) * (width // 2), 4 * channels)


def _unpacked(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Undo `packed_cells`."""
    cells = tokens.view(len(tokens), rows, columns, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(len(tokens), -1, 2 * rows, 2 * columns)


def places(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return the places of picture tokens, (rows * columns, 3): 0, row, column."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device), torch.arange(columns, device=like.device), indexing="ij"
    )
    return torch.stack([torch.zeros_like(y), y, x], -1).reshape(-1, 3).to(like.dtype)
