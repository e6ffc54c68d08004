"""Stable Diffusion XL: two text encoders, and a UNet conditioned on picture size and crop (arXiv 2307.01952)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from deforum.diffusion.families.clip import ClipReader, Encoder
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.model import Model, Pull
from deforum.diffusion.families.parts import read_index, read_parts
from deforum.diffusion.families.stable_diffusion import StableDiffusion, with_precision
from deforum.models.transfer import upload


def load(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load a Stable Diffusion XL model onto the CPU."""
    classes = {
        "text_encoder": "transformers:CLIPTextModel",
        "text_encoder_2": "transformers:CLIPTextModelWithProjection",
        "tokenizer": "transformers:CLIPTokenizer",
        "tokenizer_2": "transformers:CLIPTokenizer",
        "unet": "diffusers:UNet2DConditionModel",
        "vae": "diffusers:AutoencoderKL",
    }
    parts = read_parts(source, classes, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}, dtype)
    index = read_index(source)
    text = ClipReader(
        tuple(Encoder(parts[f"text_encoder{end}"], parts[f"tokenizer{end}"]) for end in ("", "_2")),
        usual=2,
        final_norm=False,
        pooled=True,
        zero_empty=bool(index.get("force_zeros_for_empty_prompt", True)),  # as the base model was trained
    )
    vae = parts["vae"]
    return StableDiffusionXL(
        unet=parts["unet"],
        # The published autoencoder overflows in fp16; its config says force_upcast.
        vae=vae if vae.config.get("force_upcast") else with_precision(vae, dtype),
        text=text,
        schedule=replace(parts.schedule, step_table=1),
        aesthetics=bool(index.get("requires_aesthetics_score", False)),
    )


def load_refiner(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load XL's refiner onto the CPU, without its autoencoder, which is the base model's."""
    classes = {
        "text_encoder_2": "transformers:CLIPTextModelWithProjection",
        "tokenizer_2": "transformers:CLIPTokenizer",
        "unet": "diffusers:UNet2DConditionModel",
    }
    parts = read_parts(source, classes, {"tokenizer_2": "!"}, dtype)
    encoder = Encoder(parts["text_encoder_2"], parts["tokenizer_2"])
    return StableDiffusionXL(
        unet=parts["unet"],
        vae=None,
        text=ClipReader((encoder,), usual=2, final_norm=False, pooled=True),
        schedule=parts.schedule,
        aesthetics=bool(read_index(source).get("requires_aesthetics_score", True)),
    )


@dataclass(frozen=True, eq=False)
class StableDiffusionXL(StableDiffusion):
    """A `Model` whose UNet is also conditioned on the pooled prompt embedding and on sizes."""

    aesthetics: bool
    """The UNet takes an aesthetic score in place of the target size."""

    def _extra(self, pulls: Sequence[Pull], width: int, height: int) -> dict[str, Any]:
        pooled = torch.stack([pull.embedding.pooled for pull in pulls if pull.embedding.pooled is not None])
        return {
            "added_cond_kwargs": {
                "text_embeds": pooled.to(self.unet.dtype),
                "time_ids": self._time_ids(pulls, width, height),
            }
        }

    def _time_ids(self, pulls: Sequence[Pull], width: int, height: int) -> torch.Tensor:
        """Return the size conditioning (B, 6) in px: original height and width, crop top and left, target size.

        With `aesthetics` (B, 5): a score in place of the target size, 6.0, or 2.5 for the negative prompt.
        """
        rows: list[list[float]] = []
        for pull in pulls:
            score = 2.5 if pull.is_negative else 6.0
            rows.append([height, width, 0, 0, *([score] if self.aesthetics else [height, width])])
        return upload(torch.tensor(rows, dtype=self.unet.dtype), self.device)
