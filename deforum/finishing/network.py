"""The finishing network: a U-Net that adds to a bicubic enlargement what a drawn picture of twice the size would show.

Trained by `training/finishing.py`. It works at a half, a quarter and an eighth of the picture's size, so that a frame
takes tens of milliseconds on a CPU, and reaches over the 16 px cells of the embedded model, whose weave it removes.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from deforum.embedded import FINISHING_FACTOR

FACTOR = FINISHING_FACTOR
CELL = 8
"""px; sides have to be multiples of it."""
WIDTHS = (32, 56, 80)
"""Channels at a half, a quarter and an eighth of the size."""
DEEP = 3
"""Blocks at the coarsest level."""
SLOPE = 0.1


def _bend(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, SLOPE)


class Block(nn.Module):
    """Residual block of two 3 x 3 convolutions, zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = x + self.second(_bend(self.first(x)))
        return changed


class FinishingNet(nn.Module):
    """Pictures (N, 3, H, W) in 0..1, H and W multiples of `CELL`, to (N, 3, 2H, 2W); may overshoot 0..1 slightly."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.head = nn.Conv2d(3 * 4, fine, 3, padding=1)
        self.down_fine = Block(fine)
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.down_middle = Block(middle)
        self.to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.deep = nn.Sequential(*[Block(coarse) for _ in range(DEEP)])
        self.from_coarse = nn.Conv2d(coarse, middle * 4, 1)
        self.up_middle = Block(middle)
        self.from_middle = nn.Conv2d(middle, fine * 4, 1)
        self.up_fine = nn.Sequential(Block(fine), Block(fine))
        self.tail = nn.Conv2d(fine, 3 * 16, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return enlarged(pictures) + self.added(pictures)

    def added(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return what the network adds to the enlarged pictures."""
        fine = self.down_fine(self.head(F.pixel_unshuffle(pictures - 0.5, 2)))
        middle = self.down_middle(_bend(self.to_middle(fine)))
        coarse = self.deep(_bend(self.to_coarse(middle)))
        middle = self.up_middle(middle + F.pixel_shuffle(self.from_coarse(coarse), 2))
        fine = self.up_fine(fine + F.pixel_shuffle(self.from_middle(middle), 2))
        return F.pixel_shuffle(self.tail(_bend(fine)), 4)


def enlarged(pictures: torch.Tensor) -> torch.Tensor:
    """Enlarge pictures (N, C, H, W) by `FACTOR`, bicubically."""
    if pictures.device.type != "cpu" or pictures.dtype != torch.float32 or pictures.requires_grad:
        return F.interpolate(pictures, scale_factor=float(FACTOR), mode="bicubic", align_corners=False)
    # The same but for rounding, in a twentieth of the time: torch takes a fifth of the whole network's.
    height, width = (FACTOR * side for side in pictures.shape[2:])
    whole = np.empty((len(pictures), height, width, pictures.shape[1]), np.float32)
    for picture, made in zip(pictures.permute(0, 2, 3, 1).contiguous().numpy(), whole, strict=True):
        cv2.resize(picture, (width, height), dst=made, interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(whole).permute(0, 3, 1, 2)
