"""ControlNets of transformers, Stable Diffusion 3 and Flux, by the library's classes.

They add to the tokens of the picture after each block; a network with fewer blocks than the model serves several. The
control picture is seen as latents of the model's autoencoder, but for networks with layers of their own that read it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deforum.diffusion.adapters.controlnet import Inputs
from deforum.diffusion.families.flux import packed_cells, places

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class TransformerUnit:
    """What the units of both families have in common; the networks are diffusers' classes."""

    network: Any
    blocks: int
    """Number of the model's blocks of two streams."""
    singles: int
    """Number of Flux's blocks of one stream; 0 for others."""
    task: int | None = None
    """The kind of picture, for a union of networks."""
    is_feature: bool = False
    is_conditional: bool = False

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.network,)

    def spread(self, seen: Tensor, rows: Tensor) -> Tensor:
        return seen[rows]


@dataclass(frozen=True, eq=False)
class StableDiffusion3Unit(TransformerUnit):
    """An SD3ControlNetModel. That of SD 3.5 Large has no layers before its blocks, and takes the model's."""

    embed: Any = None
    """The model's layer that makes tokens of latents, for networks without one."""

    def see(self, pictures: Tensor, vae: Any = None) -> Tensor:
        config = self.network.config
        # InstantX's networks, which see no pooled prompt, were trained on latents that are not shifted.
        return latents_of(pictures, vae, shifts=not config.force_zeros_for_pooled_projection).to(pictures.dtype)

    def evaluate(self, seen: Tensor, x: Tensor, time: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        config, dtype = self.network.config, seen.dtype
        pooled = inputs.pooled
        assert pooled is not None
        found = self.network(
            hidden_states=x.to(dtype) if config.use_pos_embed else self.embed(x).to(dtype),
            timestep=time,
            encoder_hidden_states=None if config.joint_attention_dim is None else inputs.tokens.to(dtype),
            pooled_projections=(torch.zeros_like(pooled) if config.force_zeros_for_pooled_projection else pooled).to(
                dtype
            ),
            controlnet_cond=seen,
            conditioning_scale=1.0,
            return_dict=False,
        )[0]
        return spread_over(found, self.blocks, self.blocks / len(found))


@dataclass(frozen=True, eq=False)
class FluxUnit(TransformerUnit):
    """A FluxControlNetModel."""

    def see(self, pictures: Tensor, vae: Any = None) -> Tensor:
        if self.network.input_hint_block is not None:
            return pictures * 2 - 1
        latents = latents_of(pictures, vae, shifts=True).to(pictures.dtype)
        return packed_cells(latents)

    def evaluate(self, seen: Tensor, x: Tensor, time: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        dtype = seen.dtype
        rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
        tokens, pooled = inputs.tokens.to(dtype), inputs.pooled
        assert pooled is not None
        kind = None if self.task is None else torch.full((len(x), 1), self.task, device=x.device, dtype=torch.long)
        double, single = self.network(
            hidden_states=packed_cells(x.to(dtype)),
            controlnet_cond=seen,
            controlnet_mode=kind,
            conditioning_scale=1.0,
            timestep=time / 1000,
            guidance=inputs.guidance if self.network.config.guidance_embeds else None,
            pooled_projections=pooled.to(dtype),
            encoder_hidden_states=tokens,
            txt_ids=tokens.new_zeros((tokens.shape[1], 3)),
            img_ids=places(rows, columns, x.to(dtype)),
            return_dict=False,
        )
        if self.network.input_hint_block is not None:  # XLabs' are repeated over the blocks
            found: tuple[Tensor, ...] = tuple(double[index % len(double)] for index in range(self.blocks))
        else:
            found = spread_over(double, self.blocks, math.ceil(self.blocks / len(double)))
        if single:
            found += spread_over(single, self.singles, math.ceil(self.singles / len(single)))
        return found


def spread_over(found: Sequence[Tensor], count: int, interval: float) -> tuple[Tensor, ...]:
    """Return which of a network's results each of a model's `count` blocks takes."""
    return tuple(found[min(int(index / interval), len(found) - 1)] for index in range(count))


def latents_of(pictures: Tensor, vae: Any, *, shifts: bool) -> Tensor:
    """Encode control pictures (F, 3, H, W) to latents, the mode of the posterior, padded to whole tokens."""
    config = vae.config
    below, right = -pictures.shape[2] % 16, -pictures.shape[3] % 16
    padded = torch.nn.functional.pad(pictures, (0, right, 0, below), mode="replicate")
    found: Tensor = vae.encode((padded * 2 - 1).to(vae.dtype)).latent_dist.mode().float()
    shift = float(getattr(config, "shift_factor", None) or 0) if shifts else 0.0
    return (found - shift) * float(config.scaling_factor)
