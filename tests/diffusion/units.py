"""ControlNets of random weights, and frames that they act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch

from deforum.diffusion import resolve_model
from deforum.diffusion.adapters.find import find_control
from deforum.diffusion.adapters.load import load_units
from deforum.timeline.control import Control
from deforum.timeline.prompts import Prompt
from tests.diffusion.tiny import Tiny, frame

HINTS = (8, 16)  # the tiny autoencoders halve the size once


def network_of(tiny: Tiny, seed: int = 3, **more: Any) -> Any:
    """A ControlNet of diffusers' class with random weights everywhere, also where real ones begin with zeros."""
    torch.manual_seed(seed)
    network = diffusers.ControlNetModel.from_unet(tiny.unet, conditioning_embedding_out_channels=HINTS, **more)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.08)
    return network.eval()


def hint(shade: float = 1.0) -> torch.Tensor:
    """A control picture: a white cross, off the middle."""
    made = torch.zeros(3, 32, 32)
    made[:, 10:12], made[:, :, 20:22] = shade, shade
    return made


def unit_of(path: Path, base: Path) -> Any:
    source = find_control(str(path), resolve_model(str(base)))
    return load_units(((source,), torch.float32), torch.device("cpu"))[0]


def control(unit: Any, weight: float = 1.0, **more: Any) -> Control:
    return Control(**{"unit": unit, "picture": hint(), "weight": weight, "start": 0.0, "end": 1.0, **more})


def on(controls: tuple[Control, ...], **more: Any) -> Any:
    asked = {"seed": 5, "steps": 6, "strength": 0.5, "cfg_scale": 4, "sampler": "DDIM", **more}
    return frame(Prompt("a red house", "fog"), controls=controls, **asked)
