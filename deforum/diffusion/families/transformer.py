"""Flow-matching models around a transformer: what those of all families have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from deforum.diffusion.adapters.controlnet import Controls, Inputs
from deforum.diffusion.deep_cache import NOTHING, Added
from deforum.diffusion.families.model import Conditioning, Denoise, Pull, in_rounds
from deforum.diffusion.prompts.encode import TextReader
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.models.device import execution_device
from deforum.models.transfer import upload

Tensor = torch.Tensor
Velocity = Callable[[Tensor, float, Added], Tensor]
"""(x, time, added) -> velocity: x and the result (N, C, h, w), in the network's precision; the time is in 0..1000.

What control units add are tokens of the picture, for each block of two streams, then for each of one stream."""


@dataclass(frozen=True, eq=False)
class TransformerModel:
    """A `Model` around a transformer that predicts a velocity; a family says how it is evaluated."""

    transformer: Any
    vae: Any
    text: TextReader
    schedule: NoiseSchedule

    @property
    def networks(self) -> tuple[Any, ...]:
        return (self.transformer,)

    @property
    def network_name(self) -> str:
        return "transformer"

    @property
    def device(self) -> torch.device:
        return execution_device(self.transformer)

    @property
    def reads_guidance(self) -> bool:
        return False

    def denoiser(self, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        """Return the denoiser; the transformer evaluates the pulls of all frames as one batch."""
        schedule, dtype = self.schedule, self.transformer.dtype
        table = in_rounds(frames)
        rounds = len(table)
        weights = torch.tensor([[pull.weight for pull in row] for row in table])
        weights = upload(weights, self.device).view(rounds, len(frames), 1, 1, 1)
        guidance = [frame.guidance for frame in frames] * rounds
        order = [pull for row in table for pull in row]
        evaluate = self._evaluate(order, guidance)
        controls = self._controls(frames, order, guidance)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            c_in, c_skip, c_out = schedule.scales_at(sigma)
            rows, columns = x.shape[-2:]
            given = _even(x * c_in).to(dtype).repeat(rounds, 1, 1, 1)
            time = schedule.network_time(sigma)
            added = NOTHING if controls is None else controls.at(given, timesteps(time, given), sigma)
            out = evaluate(given, time, added).float()[..., :rows, :columns]
            x0: Tensor = x * c_skip + self._guided(out.view(rounds, len(frames), *out.shape[1:]), weights) * c_out
            return x0

        return denoise

    def with_autoencoder(self, vae: Any) -> Self:
        """Return the model with another autoencoder of the same latents."""
        return replace(self, vae=vae)

    def wrapped(self, wrap: Callable[[Any], Any], *, step_cache: int = 1) -> Self:
        """Return the model with another module in place of the transformer."""
        if step_cache != 1:
            raise ValueError("a transformer has no deep features to reuse")
        return replace(self, transformer=wrap(self.transformer))

    def settled(self, name: str) -> Self:
        return self

    def _controls(
        self, frames: Sequence[Conditioning], order: Sequence[Pull], guidance: Sequence[float]
    ) -> Controls | None:
        """Return the control units of a batch; None without any."""
        if not frames[0].controls:
            return None
        network, device = self.transformer, self.device
        scales = upload(torch.tensor(guidance, dtype=torch.float32), device) if self.reads_guidance else None
        tokens, pooled = (
            stacked(values, network)
            for values in ([pull.embedding.tokens for pull in order], [pull.embedding.pooled for pull in order])
        )
        negative = [pull.is_negative for pull in order]
        inputs = Inputs(tokens, pooled, guidance=scales)
        return Controls([frame.controls for frame in frames], negative, inputs, network.dtype, device, self.vae)

    def _evaluate(self, order: Sequence[Pull], guidance: Sequence[float]) -> Velocity:
        """Return the transformer as a function of latents and time, for a batch of pulls with their guidance scales."""
        raise NotImplementedError

    def _guided(self, out: Tensor, weights: Tensor) -> Tensor:
        """Return the guided velocity (B, C, h, w): the sum of those of all pulls (rounds, B, C, h, w) by weight."""
        return (out * weights).sum(0)


def _even(x: Tensor) -> Tensor:
    """Repeat the last row and column of latents where their number is odd: the transformers read patches of 2x2."""
    rows, columns = x.shape[-2:]
    if rows % 2 or columns % 2:
        return torch.nn.functional.pad(x, (0, columns % 2, 0, rows % 2), mode="replicate")
    return x


def timesteps(time: float, x: Tensor) -> Tensor:
    """Return the time of each of a batch, (N,) float32."""
    return torch.full((len(x),), time, device=x.device)


def stacked(values: Sequence[Tensor | None], like: Any) -> Tensor:
    """Stack embeddings of a batch, in the precision of a network."""
    return torch.stack([value for value in values if value is not None]).to(like.dtype)
