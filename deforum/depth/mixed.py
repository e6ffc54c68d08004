"""The mixture of two depth models behind the oldest of Deforum's algorithms."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deforum.depth import DepthModel, Gives
from deforum.image import Image

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
