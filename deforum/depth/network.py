"""Depth networks with what goes before and after them, one alone or two mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate

from deforum.depth import DepthModel, Gives
from deforum.pixels.image import Image

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Network:
    """Scales a picture to what a network was trained for, asks it, and scales the answer back."""

    network: nn.Module
    """Takes (1, 3, H, W), normalised, with sides of a multiple of 32; gives (1, H, W)."""
    size: int
    """The side, in px, that it was trained for."""
    fit_inside: bool = False
    """The picture is scaled to fit inside a square of that side; otherwise by as little as makes one side fit."""
    mean: Channels = (0.5, 0.5, 0.5)
    deviation: Channels = (0.5, 0.5, 0.5)
    gives: Gives = "inverse depth"

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        height, width = image.shape[1:]
        weight = next(self.network.parameters())
        scales = (self.size / height, self.size / width)
        scale = min(scales) if self.fit_inside else min(scales, key=lambda one: abs(1 - one))
        rows, columns = (max(32, round(side * scale / 32) * 32) for side in (height, width))
        mean, deviation = (torch.tensor(one, device=image.device)[:, None, None] for one in (self.mean, self.deviation))
        small = interpolate(image[None], size=(rows, columns), mode="bicubic", antialias=True)
        with torch.inference_mode():
            depth = self.network(((small - mean) / deviation).to(weight.dtype)).float()
            return interpolate(depth[None], size=(height, width), mode="bicubic", align_corners=False)[0, 0]


NEAREST, SPREAD = 50, 19  # MiDaS' answer for what is nearest, and what of it makes a unit of distance, in Deforum


@dataclass(frozen=True)
class Mixed:
    """Distances of which a share is MiDaS', read as distances, and the rest those of a model of distances."""

    midas: DepthModel
    metric: DepthModel
    share: float
    gives: Gives = "depth"

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        by_midas = (NEAREST - self.midas(image, index)) / SPREAD
        return torch.lerp(self.metric(image, index), by_midas, self.share)
