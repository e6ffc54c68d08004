"""The networks of IP-Adapters from a picture's features to tokens, with the names of their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor
HEAD = 64
"""Width of a head of the resampler's attentions."""


class Plain(nn.Module):
    """An embedding (B, seen) to tokens (B, n, width)."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        rows, seen = weights["proj.weight"].shape
        self._width = len(weights["norm.weight"])
        self.proj, self.norm = nn.Linear(seen, rows), nn.LayerNorm(self._width)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.proj(x).view(len(x), -1, self._width))
        return made


class Full(nn.Module):
    """Hidden states (B, n, seen) to as many tokens (B, n, width)."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        (inner, seen), width = weights["proj.0.weight"].shape, len(weights["proj.3.weight"])
        self.proj = nn.Sequential(nn.Linear(seen, inner), nn.GELU(), nn.Linear(inner, width), nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.proj(x)
        return made


class Perceiver(nn.Module):
    """Attention of latents to a picture's hidden states and to themselves."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self._heads = inner // HEAD
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q, self.to_kv = nn.Linear(width, inner, bias=False), nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        latents = self.norm2(latents)
        parts = (self.to_q(latents), *self.to_kv(torch.cat([self.norm1(x), latents], dim=1)).chunk(2, dim=-1))
        query, key, value = (part.reshape(*part.shape[:-1], self._heads, -1).transpose(1, 2) for part in parts)
        made: Tensor = self.to_out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return made


class Plus(nn.Module):
    """Hidden states (B, n, seen) to a fixed number of tokens (B, queries, width), by a resampler."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        _, queries, width = weights["latents"].shape
        out, inner = len(weights["proj_out.weight"]), len(weights["layers.0.0.to_q.weight"])
        hidden = len(weights["layers.0.1.1.weight"])
        depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
        self.latents = nn.Parameter(torch.empty(1, queries, width))
        self.proj_in, self.proj_out = nn.Linear(weights["proj_in.weight"].shape[1], width), nn.Linear(width, out)
        self.norm_out = nn.LayerNorm(out)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Perceiver(width, inner),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, hidden, bias=False),
                        nn.GELU(),
                        nn.Linear(hidden, width, bias=False),
                    ),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        x, latents = self.proj_in(x), self.latents.expand(len(x), -1, -1)
        blocks: Any = self.layers
        for attention, feed_forward in blocks:
            latents = attention(x, latents) + latents
            latents = feed_forward(latents) + latents
        made: Tensor = self.norm_out(self.proj_out(latents))
        return made


KINDS: Mapping[str, type[Plain] | type[Full] | type[Plus]] = {"plain": Plain, "full": Full, "plus": Plus}


def build(kind: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """Build the network of a kind around the weights of `image_proj`, in float32. Raises RuntimeError for misfits."""
    with torch.device("meta"):
        network = KINDS[kind](weights)
    network.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)
