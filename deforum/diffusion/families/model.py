"""The interface of a loaded model, common to all families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from deforum.diffusion.altered import NO_FREE_U, FreeU
from deforum.diffusion.prompts.encode import Embedding, TextReader
from deforum.diffusion.sampling.sigmas import NoiseSchedule

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""Denoiser (x, sigma) -> x0: clean latents from noisy ones, both (B, C, h, w) float32; x = x0 + sigma * noise."""


@dataclass(frozen=True, eq=False)
class Pull:
    """One prompt's term in the guided prediction, the weighted sum of the predictions of all terms."""

    embedding: Embedding
    weight: float
    is_negative: bool
    perturbed: bool = False
    """Predicted without self-attention, see `altered`; denoisers do not read it."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    """The conditioning of one frame: weighted prompt embeddings and the guidance scale."""

    pulls: tuple[Pull, ...]
    """At least one; the embeddings of all frames of a batch have the same length."""
    guidance: float
    """The guidance scale, for models that take it as an input; for others it is part of the pulls' weights."""
    controls: tuple[Any, ...] = ()
    """Control units that act, see `adapters.controlnet.Acting`; the frames of a batch have the same ones."""
    free_u: FreeU = NO_FREE_U
    """Changes of the network; the frames of a batch have the same. Denoisers do not read them."""
    rescale: float = 0.0
    """Share of the guidance rescale, see `guidance`; denoisers do not read it."""
    regions: tuple[tuple[torch.Tensor, tuple[Pull, ...]], ...] = ()
    """Parts of the frame with pulls of their own: their masks (h, w) over the latents, and the pulls. Denoisers do not
    read them: see `guidance.guided`."""


class Model(Protocol):
    """A loaded diffusion model. Adapters may wrap it."""

    @property
    def networks(self) -> Sequence[Any]:
        """The modules that the denoiser runs, all that a retry in float32 must convert."""

    @property
    def network_name(self) -> str:
        """The name of the networks in messages."""

    @property
    def vae(self) -> Any:
        """The autoencoder, with the interface of diffusers' AutoencoderKL."""

    @property
    def text(self) -> TextReader:
        """The text encoding of prompts."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The training noise levels and the prediction type."""

    @property
    def device(self) -> torch.device:
        """The device that the modules compute on."""

    @property
    def reads_guidance(self) -> bool:
        """Whether the network takes the guidance scale as an input; no negative prompt is evaluated then."""

    def denoiser(self, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        """Return the denoiser of a batch of frames, whose pictures are width x height px."""

    def with_autoencoder(self, vae: Any) -> Model:
        """Return the model with another autoencoder of the same latents."""

    def wrapped(self, wrap: Callable[[Any], Any], *, step_cache: int = 1) -> Model:
        """Return the model with its networks wrapped; their deep features are reused over `step_cache` evaluations.

        Raises ValueError where `step_cache` is not 1 and the network has no deep features.
        """

    def settled(self, name: str) -> Model:
        """Return the model with all properties that need it on its device determined; `name` is for messages."""


def in_rounds(frames: Sequence[Conditioning]) -> list[list[Pull]]:
    """Arrange the pulls for one batch: (rounds, frames), the first pull of each frame, then the second, and so on.

    Frames with fewer pulls than others are padded with pulls of weight 0.
    """
    idle = [Pull(frame.pulls[0].embedding, 0.0, is_negative=False) for frame in frames]
    return [
        [frame.pulls[i] if i < len(frame.pulls) else rest for frame, rest in zip(frames, idle, strict=True)]
        for i in range(max(len(frame.pulls) for frame in frames))
    ]
