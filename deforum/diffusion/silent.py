"""Residual branches that add nothing are not computed.

The encoder of the embedded model is linear but for its last layers: its other branches are zeros, and take two thirds
of its time.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn


def skip_silent(*blocks: Any) -> None:
    """Let the residual blocks in blocks of an autoencoder hand their input on, where their last weights are all 0."""
    for block in blocks:
        for resnet in block.resnets:
            if not (resnet.conv2.weight.any() or resnet.conv2.bias.any()):
                resnet.forward = partial(_pass, resnet.conv_shortcut or nn.Identity())


def _pass(shortcut: nn.Module, x: Tensor, temb: None = None) -> Tensor:
    made: Tensor = shortcut(x)
    return made
