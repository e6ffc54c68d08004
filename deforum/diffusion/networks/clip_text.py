"""The text encoder of CLIP (Radford et al., arXiv 2103.00020), as transformers' CLIPTextModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.networks.files import Config

Tensor = torch.Tensor

_READ = frozenset(
    {
        "architectures",
        "dtype",
        "torch_dtype",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "model_type",
        "num_attention_heads",
        "num_hidden_layers",
        "vocab_size",
    }
)
_IGNORED = frozenset(
    {
        "attention_dropout",
        "dropout",
        "initializer_factor",
        "initializer_range",
        "projection_dim",
        "transformers_version",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    }
)
"""Settings of training and of other parts of CLIP, and notes."""


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"quick_gelu": _quick_gelu, "gelu": F.gelu}


@dataclass(frozen=True, eq=False)
class Read:
    """The network's output."""

    hidden_states: tuple[Tensor, ...]
    """The embedded tokens and the output of each layer, without the final norm, (B, tokens, width)."""


class ClipText(nn.Module):
    """A causal transformer over the tokens of a text."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.get("layer_norm_eps", 1e-5))

    @staticmethod
    def covers(config: Config) -> bool:
        """Whether the network of this configuration is of this form."""
        return (
            config.only({}, _READ | _IGNORED)
            and config.get("architectures") == ["CLIPTextModel"]
            and config.get("hidden_act", "quick_gelu") in _ACTIVATIONS
        )

    @property
    def device(self) -> torch.device:
        return self.final_layer_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.final_layer_norm.weight.dtype

    def forward(self, ids: Tensor, *, output_hidden_states: bool = True) -> Read:
        """Encode token ids (B, tokens); the hidden states are returned in any case."""
        x = self.embeddings(ids)
        states = [x]
        for layer in self.encoder.layers:
            x = layer(x)
            states.append(x)
        return Read(tuple(states))

    def _load_from_state_dict(self, state_dict: dict[str, Any], *rest: Any) -> None:
        """Also take the names of older files, which have the encoder within a `text_model`, and positions."""
        for name in list(state_dict):
            if name.endswith("position_ids"):
                del state_dict[name]
            elif name.startswith("text_model."):
                state_dict[name.removeprefix("text_model.")] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, *rest)


class Embeddings(nn.Module):
    """The sum of embeddings of tokens and of their positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.token_embedding = _embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = _embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        made: Tensor = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        return made


def _embedding(count: int, width: int) -> nn.Embedding:
    """Make an embedding without random weights: drawing them on the meta device would import torch's compiler."""
    made: nn.Embedding = nn.Embedding.from_pretrained(torch.empty(count, width))  # type: ignore[no-untyped-call]
    return made


class Layers(nn.Module):
    """The layers of the transformer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Layer(nn.Module):
    """Causal self-attention and a feed-forward layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.get("layer_norm_eps", 1e-5)
        self.layer_norm1 = nn.LayerNorm(width, eps)
        self.self_attn = CausalAttention(width, config.num_attention_heads)
        self.layer_norm2 = nn.LayerNorm(width, eps)
        self.mlp = FeedForward(width, config.intermediate_size, config.get("hidden_act", "quick_gelu"))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        x = x + self.mlp(self.layer_norm2(x))
        return x


class CausalAttention(nn.Module):
    """Attention of each token to itself and those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        made: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return made


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.fc2(self.activation(self.fc1(x)))
        return made
