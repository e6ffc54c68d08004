"""A model whose frames another one ends: a base model and its refiner, as one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from deforum.diffusion.families.clip import ClipReader
from deforum.diffusion.families.model import Conditioning, Denoise, Model, Pull
from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.prompts.syntax import Weighted
from deforum.diffusion.sampling.sigmas import NoiseSchedule

Tensor = torch.Tensor


@dataclass(frozen=True)
class BothReaders:
    """A `TextReader` of two models: their embeddings side by side, which `Refined` takes apart."""

    base: ClipReader
    refiner: ClipReader

    @property
    def modules(self) -> tuple[Any, ...]:
        return (*self.base.modules, *self.refiner.modules)

    @property
    def chunk(self) -> int:
        return self.base.chunk

    def read(self, spans: Sequence[Weighted], clip_skip: int) -> Embedding:
        return _joined(self.base.read(spans, clip_skip), self.refiner.read(spans, clip_skip))

    def negative(self, text: str, embedding: Embedding) -> Embedding:
        base, refiner = self.apart(embedding)
        return _joined(self.base.negative(text, base), self.refiner.negative(text, refiner))

    def apart(self, embedding: Embedding) -> tuple[Embedding, Embedding]:
        """Take an embedding of both models apart."""
        width, pooled = self.base.widths
        summary = embedding.pooled
        first = summary[:pooled] if summary is not None and pooled else None
        rest = summary[pooled:] if summary is not None and len(summary) > pooled else None
        return Embedding(embedding.tokens[:, :width], first), Embedding(embedding.tokens[:, width:], rest)


def _joined(base: Embedding, refiner: Embedding) -> Embedding:
    pooled = [each.pooled for each in (base, refiner) if each.pooled is not None]
    tokens = torch.cat([base.tokens, refiner.tokens.to(base.tokens.device)], dim=-1)
    return Embedding(tokens, torch.cat(pooled) if pooled else None)


@dataclass(frozen=True, eq=False)
class Refined:
    """A `Model` that evaluates its base at the higher noise levels, and its refiner at the lower ones."""

    base: Model
    refiner: Model
    text: BothReaders
    switch_at: float
    """Share of the times, from the highest, after which the refiner is evaluated, as in the A1111 web UI."""

    @property
    def networks(self) -> tuple[Any, ...]:
        return (*self.base.networks, *self.refiner.networks)

    @property
    def network_name(self) -> str:
        return self.base.network_name

    @property
    def vae(self) -> Any:
        return self.base.vae

    @property
    def schedule(self) -> NoiseSchedule:
        return self.base.schedule

    @property
    def device(self) -> torch.device:
        return self.base.device

    @property
    def reads_guidance(self) -> bool:
        return self.base.reads_guidance

    def denoiser(self, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        """Return the denoiser; each model has its own part of the embeddings."""
        apart = [[self.text.apart(pull.embedding) for pull in frame.pulls] for frame in frames]
        base, refine = (
            model.denoiser(
                [
                    Conditioning(
                        tuple(
                            Pull(parts[side], pull.weight, pull.is_negative)
                            for pull, parts in zip(frame.pulls, each, strict=True)
                        ),
                        frame.guidance,
                        frame.controls if side == 0 else (),  # control units are made for the base model
                    )
                    for frame, each in zip(frames, apart, strict=True)
                ],
                width,
                height,
            )
            for side, model in enumerate((self.base, self.refiner))
        )
        last = (1 - self.switch_at) * len(self.schedule.sigmas)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            # The web UI's test: (999 - time) / 1000 >= switch_at.
            is_low = self.schedule.time_of(sigma) + 1 <= last + 1e-6
            return (refine if is_low else base)(x, sigma)

        return denoise

    def with_autoencoder(self, vae: Any) -> Self:
        """Return the model with another autoencoder of the same latents."""
        return replace(self, base=self.base.with_autoencoder(vae))

    def wrapped(self, wrap: Callable[[Any], Any], *, step_cache: int = 1) -> Self:
        """Return the model with the networks of both wrapped."""
        base, refiner = (each.wrapped(wrap, step_cache=step_cache) for each in (self.base, self.refiner))
        return replace(self, base=base, refiner=refiner)

    def settled(self, name: str) -> Self:
        return replace(self, base=self.base.settled(name), refiner=self.refiner.settled(f"the refiner of {name}"))


def refined(base: Model, refiner: Model, switch_at: float) -> Refined:
    """Join a model and its refiner. Raises ValueError where only one of them takes the guidance scale as an input."""
    if base.reads_guidance != refiner.reads_guidance:
        raise ValueError("one of the models takes the guidance scale as an input, and the other does not")
    assert isinstance(base.text, ClipReader) and isinstance(refiner.text, ClipReader)
    return Refined(base, refiner, BothReaders(base.text, refiner.text), switch_at)
