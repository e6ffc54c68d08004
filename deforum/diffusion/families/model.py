"""What a loaded model gives the rest of the program, whichever family it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from deforum.diffusion.prompts.encode import Embedding, TextReader
from deforum.diffusion.sampling.sigmas import NoiseSchedule

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(x, sigma) -> x0: predicts the clean latents from noisy ones, both (B, C, h, w) float32; x = x0 + sigma * noise."""


@dataclass(frozen=True, eq=False)
class Pull:
    """One prompt's part in the guided prediction, which is the sum of the parts by weight."""

    embedding: Embedding
    weight: float
    is_negative: bool


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the prediction of one frame depends on besides its latent."""

    pulls: tuple[Pull, ...]
    """At least one; the embeddings of all frames of a batch are equally long."""
    guidance: float
    """The guidance scale, for models that read it; the pulls' weights hold it for all others."""


class Model(Protocol):
    """A model, loaded. Adapters may wrap it."""

    @property
    def networks(self) -> Sequence[Any]:
        """The modules that the denoiser runs. A retry in float32 needs all of them."""

    @property
    def network_name(self) -> str:
        """The name of the networks in messages."""

    @property
    def vae(self) -> Any:
        """The autoencoder, as diffusers' AutoencoderKL."""

    @property
    def text(self) -> TextReader:
        """The reading of prompts."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels of the training."""

    @property
    def device(self) -> torch.device:
        """The device of all modules."""

    @property
    def reads_guidance(self) -> bool:
        """Whether the guidance scale is an input of the network; then no negative prompt is evaluated."""

    def denoiser(self, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        """Return the prediction for a batch of frames, whose pictures are of this size in px."""

    def settled(self, name: str) -> Model:
        """Return the model with what can only be found out once it is on its device; `name` is for messages."""


def in_rounds(frames: Sequence[Conditioning]) -> list[list[Pull]]:
    """Arrange the pulls for one batch: the first of each frame, then the second of each, and so on.

    Frames with fewer pulls than others are filled up with pulls of weight 0.
    """
    idle = [Pull(frame.pulls[0].embedding, 0.0, is_negative=False) for frame in frames]
    return [
        [frame.pulls[i] if i < len(frame.pulls) else rest for frame, rest in zip(frames, idle, strict=True)]
        for i in range(max(len(frame.pulls) for frame in frames))
    ]
