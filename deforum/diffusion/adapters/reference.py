"""Reference-only attention: a picture guides what is painted through the UNet's own attention, without weights.

In each step the reference, with noise of that step, runs through the network first, and what enters each attention
within the picture is kept. Then the frame runs, and its attentions see the reference's cells beside their own. In the
rows of a negative prompt, `fidelity` is the share that does without: with 1, guidance stresses what the reference adds.
Source: "reference-only", L. Zhang, ControlNet for the web UI, as described there (discussion 1236).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from deforum.diffusion.networks.blocks import Attention
from deforum.models.branches import PLAIN, current

Tensor = torch.Tensor
KEY = PLAIN
"""Its inputs change from evaluation to evaluation: networks run in their plain form."""


@dataclass(eq=False)
class Bank:
    """What enters each attention of one evaluation: kept of the reference, then seen by the frame."""

    share: Tensor
    """Share of the reference's way in each row, (B, 1, 1): strength, times 1 - fidelity in rows of negative prompts."""
    kept: dict[int, Tensor] = field(default_factory=dict)
    is_writing: bool = True

    def attend(self, attention: Any, x: Tensor, attend: Any) -> Tensor:
        """Compute an attention; `attend(x, context)` is its own, with None for a context of `x` itself."""
        alone: Tensor = attend(x, None)
        if self.is_writing:
            self.kept[id(attention)] = x
            return alone
        both: Tensor = attend(x, torch.cat([x, self.kept[id(attention)]], dim=1))
        return torch.lerp(alone, both, self.share.to(alone))


class ReferenceAttention(Attention):
    """Attention within a picture that also sees a reference."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        bank = current().get(KEY)
        if context is not None or not isinstance(bank, Bank):
            return super().forward(x, context)
        return bank.attend(self, x, super().forward)


class ReferenceProcessor:
    """The same for the attentions of diffusers' UNets."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *rest: Any, **more: Any
    ) -> Any:
        bank = current().get(KEY)
        if encoder_hidden_states is not None or not isinstance(bank, Bank):
            return self._plain(attn, hidden_states, encoder_hidden_states, *rest, **more)
        return bank.attend(attn, hidden_states, lambda x, context: self._plain(attn, x, context, *rest, **more))


def prepare(unet: nn.Module) -> None:
    """Let the attentions within the picture see a reference where one acts. Their results are the same without."""
    for name, module in unet.named_modules():
        layer: Any = module
        if not name.endswith("attn1"):
            continue
        if isinstance(layer, Attention):
            layer.__class__ = ReferenceAttention
        else:
            layer.set_processor(ReferenceProcessor(layer.processor))
