"""Encoding and decoding in overlapping tiles, whose results fade into each other."""

from __future__ import annotations

from collections.abc import Callable

import torch

from deforum.diffusion.memory import SIDE

Tensor = torch.Tensor

OVERLAP = 128
"""Overlap of neighbouring tiles in px."""


def in_tiles(run: Callable[[Tensor], Tensor], given: Tensor, *, cell: int, encodes: bool) -> Tensor:
    """Apply `run` to tiles of `given`, one picture and one tile at a time, and return the joined result, float32.

    `given` are pictures (B, 3, H, W) with sides that are multiples of `cell`, the px of a latent cell, which `run`
    encodes; or else latents (B, C, h, w) that it decodes. A picture within one tile is not split, and gives exactly
    what `run` does. Others differ a little, as the network's norms see a tile and not the whole picture.
    """
    into, out = (cell, 1) if encodes else (1, cell)
    height, width = (side // into for side in given.shape[-2:])
    side, overlap = max(SIDE // cell, 1), OVERLAP // cell
    rows, columns = starts(height, side, overlap), starts(width, side, overlap)
    if len(rows) == len(columns) == 1:
        return torch.cat([run(one[None]).float() for one in given])
    joined = []
    for one in given:
        total = weight = torch.zeros(())
        for top in rows:
            for left in columns:
                below, right = min(top + side, height), min(left + side, width)
                made = run(one[None, :, top * into : below * into, left * into : right * into]).float()
                if not total.ndim:
                    total = made.new_zeros((1, made.shape[1], height * out, width * out))
                    weight = made.new_zeros((1, 1, height * out, width * out))
                fade = (
                    ramp(top, below, height, overlap, out)[:, None] * ramp(left, right, width, overlap, out)[None]
                ).to(made.device)
                place = ..., slice(top * out, below * out), slice(left * out, right * out)
                total[place] += made * fade
                weight[place] += fade
        joined.append(total / weight)
    return torch.cat(joined)


def starts(length: int, side: int, overlap: int) -> list[int]:
    """Return where tiles begin that cover `length`, evenly spread, overlapping by at least `overlap`."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def ramp(first: int, last: int, length: int, overlap: int, scale: int) -> Tensor:
    """Return the weights of a tile from `first` to `last` of `length`: they rise and fall at inner edges only."""
    places = torch.arange((last - first) * scale, dtype=torch.float32) + 0.5
    most = max(overlap * scale, 1)
    rising = places / most if first > 0 else torch.ones_like(places)
    falling = ((last - first) * scale - places) / most if last < length else torch.ones_like(places)
    return torch.minimum(rising, falling).clamp(max=1.0)
