"""Stable Diffusion 1.x and 2.x: a UNet conditioned on one CLIP text encoder (Rombach et al., arXiv 2112.10752)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch

from deforum.diffusion.adapters.controlnet import Controls, Inputs
from deforum.diffusion.deep_cache import Added, CachedSteps, DeepCache
from deforum.diffusion.families.clip import ClipReader, Encoder
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.model import Conditioning, Denoise, Model, Pull, in_rounds
from deforum.diffusion.families.parts import read_parts
from deforum.diffusion.networks.packed import PackedUNet, faster_forms
from deforum.diffusion.networks.unet import UNet
from deforum.diffusion.prompts.encode import Embedding
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.models.device import execution_device
from deforum.models.faster import Faster
from deforum.models.transfer import upload

Tensor = torch.Tensor

_LOOK = 32  # cells; side of the latents by which a model's prediction type is found
_log = logging.getLogger(__name__)

_PADDING = {"sd1": "<|endoftext|>", "sd2": "!"}
_LAYERS: dict[str, Any] = {"sd1": {}, "sd2": {"usual": 2, "absent": 1}}
"""See `ClipReader`. Version 2 reads the last layer but one, and its files lack the last."""


def load(source: ModelSource, dtype: torch.dtype) -> Model:
    """Load a Stable Diffusion 1.x or 2.x model onto the CPU."""
    classes = {
        "text_encoder": "transformers:CLIPTextModel",
        "tokenizer": "transformers:CLIPTokenizer",
        "unet": "diffusers:UNet2DConditionModel",
        "vae": "diffusers:AutoencoderKL",
    }
    parts = read_parts(source, classes, {"tokenizer": _PADDING[source.family]}, dtype)
    reader = ClipReader((Encoder(parts["text_encoder"], parts["tokenizer"]),), **_LAYERS[source.family])
    return StableDiffusion(
        unet=parts["unet"], vae=with_precision(parts["vae"], dtype), text=reader, schedule=parts.schedule
    )


def with_precision(vae: Any, dtype: torch.dtype) -> Any:
    """Convert a float32 autoencoder to fp16 where `dtype` is fp16; it stays in float32 otherwise.

    bf16 has a coarser resolution than 8-bit pictures: with the embedded model it darkens each frame by 0.16 of 255
    levels, which accumulates in a loop (0.84 after 8 passes, also with its last layers in float32). fp16 darkens by
    0.002 (0.11 after 8 passes).
    """
    return vae.to(dtype) if dtype == torch.float16 else vae


@dataclass(frozen=True, eq=False)
class StableDiffusion:
    """A `Model` around a UNet with the interface of diffusers' UNet2DConditionModel."""

    unet: Any
    vae: Any
    text: ClipReader
    schedule: NoiseSchedule
    step_cache: int = field(default=1, kw_only=True)
    """The interval of full evaluations where the UNet is a `DeepCache`; 1: it is not."""

    @property
    def networks(self) -> tuple[Any, ...]:
        return (self.unet,)

    @property
    def network_name(self) -> str:
        return "UNet"

    @property
    def device(self) -> torch.device:
        return execution_device(self.unet)

    @property
    def reads_guidance(self) -> bool:
        """Whether the UNet takes the guidance scale, as latent consistency models do (Luo et al., arXiv 2310.04378)."""
        return self._guidance_width > 0

    def denoiser(self, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        """Return the denoiser; the UNet evaluates the pulls of all frames as one batch."""
        unet, schedule = self.unet, self.schedule
        table = in_rounds(frames)
        rounds, order = len(table), [pull for row in table for pull in row]
        context = torch.stack([pull.embedding.tokens for pull in order]).to(unet.dtype)
        weights = torch.tensor([[pull.weight for pull in row] for row in table])
        weights = upload(weights, self.device).view(rounds, len(frames), 1, 1, 1)
        extra = self._extra(order, width, height)
        if self.reads_guidance:
            extra["timestep_cond"] = self._guidance([frame.guidance for frame in frames]).repeat(rounds, 1)
        evaluate = self._evaluate(context, extra)
        added = extra.get("added_cond_kwargs", {})
        inputs = Inputs(context, added.get("text_embeds"), added.get("time_ids"))
        controls = Controls(
            [frame.controls for frame in frames], [pull.is_negative for pull in order], inputs, unet.dtype, self.device
        )

        def denoise(x: Tensor, sigma: float) -> Tensor:
            c_in, c_skip, c_out = schedule.scales_at(sigma)
            given = (x * c_in).to(unet.dtype).repeat(rounds, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            time = torch.full((len(given),), schedule.network_time(sigma), device=x.device)
            out = evaluate(given, time, controls.at(given, time, sigma)).float()
            out = (out.view(rounds, len(frames), *out.shape[1:]) * weights).sum(0)
            x0: Tensor = x * c_skip + out * c_out
            return x0

        return denoise

    def with_autoencoder(self, vae: Any) -> Self:
        """Return the model with another autoencoder of the same latents."""
        return replace(self, vae=vae)

    def wrapped(self, wrap: Callable[[Any], Any], *, step_cache: int = 1) -> Self:
        """Return the model with another module in place of the UNet; it has `DeepCache` where steps are cached."""
        network = self.unet if step_cache == 1 else DeepCache(self.unet)
        return replace(self, unet=wrap(network), step_cache=step_cache)

    def settled(self, name: str) -> Self:
        """Determine the prediction type by `look_at_prediction`, where the model's file does not state it."""
        if self.schedule.prediction:
            return self
        config, size = self.unet.config, 8 * _LOOK
        projected = getattr(config, "projection_class_embeddings_input_dim", None) or 0
        pooled = torch.zeros(max(projected - 6 * (getattr(config, "addition_time_embed_dim", None) or 0), 0))
        nothing = Embedding(torch.zeros(77, config.cross_attention_dim), pooled)
        extra = self._extra([Pull(nothing, 1.0, is_negative=False)], size, size)
        if self.reads_guidance:
            extra["timestep_cond"] = self._guidance([1.0])
        prediction = look_at_prediction(self.unet, self.schedule, extra)
        _log.warning(
            "%s does not say what it predicts; by what it makes of noise it is %s (prediction_type decides)",
            name,
            prediction,
        )
        return replace(self, schedule=replace(self.schedule, prediction=prediction))

    def _evaluate(self, context: Tensor, extra: Mapping[str, Any]) -> Callable[[Tensor, Tensor, Added], Tensor]:
        """Return the UNet as a function of latents and times and what is added, for tokens and additional inputs."""
        if self.step_cache > 1:
            steps = CachedSteps(self.unet, self.step_cache)
            return lambda x, time, added: steps(x, time, added=added, encoder_hidden_states=context, **extra)
        if set(extra) <= {"timestep_cond"}:
            guidance = extra.get("timestep_cond")
            if not isinstance(self.unet, UNet):
                return lambda x, time, added: self._plain(x, time, context, guidance, added)
            return lambda x, time, added: self.fast(x, time, context, guidance, *added.residuals, *added.features)
        return lambda x, time, added: (
            self.unet(x, time, encoder_hidden_states=context, **extra, **added.arguments).sample
        )

    def _plain(self, x: Tensor, time: Tensor, tokens: Tensor, guidance: Tensor | None, added: Added) -> Tensor:
        extra = {} if guidance is None else {"timestep_cond": guidance}
        out: Tensor = self.unet(x, time, encoder_hidden_states=tokens, **extra, **added.arguments).sample
        return out

    @cached_property
    def fast(self) -> Faster:
        """The UNet as a function of latents, times, tokens, the embedded guidance scale, and what is added."""

        def plain(x: Tensor, time: Tensor, tokens: Tensor, guidance: Tensor | None, *added: Tensor) -> Tensor:
            residuals, features = self.unet.apart(added)
            return self._plain(x, time, tokens, guidance, Added(tuple(residuals), tuple(features)))

        return Faster("the UNet", self.unet, plain, faster_forms(self.unet, plain, lambda: PackedUNet(self.unet)))

    def _extra(self, pulls: Sequence[Pull], width: int, height: int) -> dict[str, Any]:
        """Return additional keyword inputs of the UNet for a batch of pulls."""
        return {}

    @property
    def _guidance_width(self) -> int:
        return int(getattr(self.unet.config, "time_cond_proj_dim", None) or 0)

    def _guidance(self, scales: Sequence[float]) -> Tensor:
        """Return the sinusoidal embedding (B, width) of the guidance scale, for latent consistency models."""
        from diffusers.models.embeddings import get_timestep_embedding

        scaled = (upload(torch.tensor(scales), self.device) - 1) * 1000
        embedding: Tensor = get_timestep_embedding(scaled, self._guidance_width, downscale_freq_shift=1)
        return embedding.to(self.unet.dtype)


def look_at_prediction(unet: Any, schedule: NoiseSchedule, extra: Mapping[str, Any]) -> str:
    """Distinguish epsilon from v-prediction by the UNet's output for pure noise at the highest noise level.

    There epsilon is the input itself, so the output correlates with it; v is nearly -x0, and does not. `extra` are
    the UNet's inputs beside latents, time and text.
    """
    config = unet.config
    noise = torch.randn((1, config.in_channels, _LOOK, _LOOK), generator=torch.Generator().manual_seed(0))
    context = torch.zeros((1, 77, config.cross_attention_dim))
    with torch.inference_mode():
        latent, states = (tensor.to(execution_device(unet), unet.dtype) for tensor in (noise, context))
        out = unet(latent, len(schedule.sigmas) - 1, encoder_hidden_states=states, **extra).sample
    likeness = float(np.corrcoef(noise.flatten().numpy(), out.float().cpu().flatten().numpy())[0, 1])
    return "epsilon" if likeness > 0.5 else "v_prediction"
