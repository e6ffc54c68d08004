"""Tokens of pictures behind those of a prompt, as IP-Adapters add them (Ye et al., arXiv 2308.06721).

Each attention to the prompt has keys and values of its own for them, and adds what it finds there to its result. Which
adapters act stands in `deforum.models.branches.current`, under `KEY`: (name, number of tokens, weight) of each, in the
order of their tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.networks.blocks import Attention
from deforum.models.branches import current

Tensor = torch.Tensor
KEY = "images"
Acting = tuple[tuple[str, int, Any], ...]


def acting() -> Acting:
    """Return the adapters that act in this thread now."""
    found: Acting = current().get(KEY, ())
    return found


def text_of(tokens: Tensor) -> Tensor:
    """Return the tokens (B, n, width) without those of pictures."""
    count = sum(each for _, each, _ in acting())
    return tokens[:, : tokens.shape[1] - count] if count else tokens


def images_of(tokens: Tensor) -> list[tuple[str, Tensor, Any]]:
    """Return name, tokens (B, n, width) and weight of each adapter that acts."""
    start = text_of(tokens).shape[1]
    found = []
    for name, count, weight in acting():
        found.append((name, tokens[:, start : start + count], weight))
        start += count
    return found


class ImageKeys(nn.Module):
    """Keys and values of one adapter's tokens in one attention, (B, n, width of the attention)."""

    def __init__(self, to_k: Tensor, to_v: Tensor) -> None:
        super().__init__()
        self.register_buffer("to_k", to_k)
        self.register_buffer("to_v", to_v)

    to_k: Tensor
    to_v: Tensor

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return F.linear(tokens, self.to_k), F.linear(tokens, self.to_v)


class ImageAttention(Attention):
    """Attention to a prompt that has tokens of pictures behind it."""

    images: nn.ModuleDict
    """`ImageKeys` by the adapter's name."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None or not acting():
            return super().forward(x, context)

        def heads(part: Tensor) -> Tensor:
            return part.view(*part.shape[:-1], self.heads, -1).transpose(1, 2)

        text = text_of(context)
        query = heads(self.to_q(x))
        out = F.scaled_dot_product_attention(query, heads(self.to_k(text)), heads(self.to_v(text)))
        for name, tokens, weight in images_of(context):
            key, value = map(heads, self.images[name](tokens))
            out = out + weight * F.scaled_dot_product_attention(query, key, value)
        made: Tensor = self.to_out[0](out.transpose(1, 2).flatten(2))
        return made
