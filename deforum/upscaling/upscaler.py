"""Running an upscaler on one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from deforum.errors import UserError
from deforum.models.weights import read_weights
from deforum.pixels.image import CPU, Device, Image, from_array, to_array
from deforum.upscaling.models import LANCZOS, NCNN_SUFFIXES, NETWORKS, OF_A_FILE, missing_upscaler, weights_folder
from deforum.upscaling.ncnn import load_ncnn

Upscaler = Callable[[Image, int, int], Image]
"""Makes of a picture (3, H, W) one of a height and width, on the same device, in 0..1."""

Network = Callable[[torch.Tensor], torch.Tensor]
"""Makes of pictures (N, 3, H, W) in 0..1 larger ones, at one whole factor; may overshoot."""


def load_upscaler(name: str, factor: float, device: Device = CPU) -> Upscaler:
    """Load an upscaler for a factor onto a device: a name of the table, or a model's file. Raises UserError."""
    if name == LANCZOS:
        return lanczos
    missing = missing_upscaler(name)
    if missing:
        raise UserError(missing)
    row = NETWORKS.get(name, OF_A_FILE)
    path = Path(name)
    if name in NETWORKS:
        folder = weights_folder()
        assert folder is not None
        path = folder / f"{row.files[row.scale(factor)]}{NCNN_SUFFIXES[0]}"
    if path.suffix.lower() not in NCNN_SUFFIXES:
        network, cell = _by_spandrel(path, device)
        return Tiled(network, row.tile, row.overlap, cell)
    net = load_ncnn(path).requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    return Tiled(net, row.tile, row.overlap)


def lanczos(image: Image, height: int, width: int) -> Image:
    """Resize a picture by Lanczos, 8 x 8 px; overshoots are clamped to 0..1."""
    sized = cv2.resize(to_array(image), (width, height), interpolation=cv2.INTER_LANCZOS4)
    return from_array(np.asarray(sized, np.float32).clip(0, 1), image.device)


@dataclass(frozen=True)
class Tiled:
    """An `Upscaler` that runs a network in tiles of `tile` px and `overlap` px of what is around them, then resizes."""

    network: Network
    tile: int
    overlap: int
    cell: int = 1
    """px; sides of what the network is given have to be multiples of it."""

    @torch.inference_mode()
    def __call__(self, image: Image, height: int, width: int) -> Image:
        made = self._whole(image[None].float())
        if made.shape[2:] != (height, width):
            made = F.interpolate(made, (height, width), mode="bicubic", align_corners=False, antialias=True)
        return made[0].clamp(0, 1)

    def _whole(self, pictures: torch.Tensor) -> torch.Tensor:
        rows, columns = (_spans(side, self.tile, self.overlap) for side in pictures.shape[2:])
        whole: torch.Tensor | None = None
        for top, upper, lower, bottom in rows:
            for left, near, far, right in columns:
                made, scale = self._tile(pictures[..., top:bottom, left:right])
                if whole is None:
                    height, width = (round(scale * side) for side in pictures.shape[2:])
                    whole = made.new_empty(1, 3, height, width)
                inner = made[
                    ..., scale * (upper - top) : scale * (lower - top), scale * (near - left) : scale * (far - left)
                ]
                whole[..., scale * upper : scale * lower, scale * near : scale * far] = inner
        assert whole is not None
        return whole

    def _tile(self, pictures: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return a tile made larger, and by what factor."""
        height, width = pictures.shape[2:]
        down, right = -height % self.cell, -width % self.cell
        padded = F.pad(pictures, (0, right, 0, down), mode="replicate") if down or right else pictures
        made = self.network(padded.contiguous(memory_format=torch.channels_last)).float()
        scale = made.shape[2] // padded.shape[2]
        return made[..., : scale * height, : scale * width], scale


def _spans(side: int, tile: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Divide a side into tiles: (begin, begin of what is kept, end of that, end), px.

    Tiles are of nearly one size; a side that is little longer than a tile stays whole.
    """
    count = max(1, round(side / tile - 0.2))
    ends = [round(side * number / count) for number in range(count + 1)]
    return [(max(begin - overlap, 0), begin, end, min(end + overlap, side)) for begin, end in pairwise(ends)]


def _by_spandrel(path: Path, device: Device) -> tuple[Network, int]:
    """Load a user's file of a known architecture; return the network, and of what its sides have to be multiples."""
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    weights = read_weights(path)
    try:
        found = ModelLoader().load_from_state_dict(dict(weights))
    except (UnsupportedModelError, RuntimeError, KeyError, ValueError, IndexError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: no upscaler of an architecture that spandrel knows ({reason})") from None
    if not isinstance(found, ImageModelDescriptor) or (found.input_channels, found.output_channels) != (3, 3):
        raise UserError(
            f"{path}: {found.architecture.name} does not make a colour picture of one; expected an upscaler"
        )
    found.model.eval().requires_grad_(False).float()
    return found.to(device), max(found.size_requirements.multiple_of, 1)
