"""Depth networks with pre- and postprocessing, one alone or two mixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.nn.functional import interpolate

from deforum.depth import DepthModel, Gives
from deforum.models.open_vino import as_graph
from deforum.models.transfer import constant
from deforum.pixels.image import Image

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Network:
    """Resizes a picture to a network's training size, runs the network, and resizes the map back."""

    network: nn.Module
    """Takes (1, 3, H, W), normalised, with sides that are multiples of 32; returns (1, H, W)."""
    size: int
    """Side in px of the training pictures."""
    fit_inside: bool = False
    """True: scale the picture to fit inside a square of `size`. False: scale as little as brings one side to `size`."""
    mean: Channels = (0.5, 0.5, 0.5)
    deviation: Channels = (0.5, 0.5, 0.5)
    gives: Gives = "inverse depth"

    @cached_property
    def _run(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return as_graph("the depth network", self.network)

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        height, width = image.shape[1:]
        weight = next(self.network.parameters())
        scales = (self.size / height, self.size / width)
        scale = min(scales) if self.fit_inside else min(scales, key=lambda one: abs(1 - one))
        rows, columns = (max(32, round(side * scale / 32) * 32) for side in (height, width))
        mean, deviation = (
            constant(each, torch.float32, image.device)[:, None, None] for each in (self.mean, self.deviation)
        )
        small = interpolate(image[None], size=(rows, columns), mode="bicubic", antialias=True)
        with torch.inference_mode():
            depth = self._run(((small - mean) / deviation).to(weight.dtype)).float()
            return interpolate(depth[None], size=(height, width), mode="bicubic", align_corners=False)[0, 0]


NEAREST, SPREAD = 50, 19  # Deforum's conversion of MiDaS to distance: its value at 0, and its values per unit


@dataclass(frozen=True)
class Mixed:
    """Mixes the distances of a metric model with those of MiDaS, converted to distance, by `share` of MiDaS."""

    midas: DepthModel
    metric: DepthModel
    share: float
    gives: Gives = "depth"

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        by_midas = (NEAREST - self.midas(image, index)) / SPREAD
        return torch.lerp(self.metric(image, index), by_midas, self.share)
