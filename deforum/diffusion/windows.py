"""Tiled diffusion: a denoiser is evaluated in overlapping windows of the latents, whose predictions fade into each
other. Memory is that of a window, and each window is as large as what the model was trained on.

Source: MultiDiffusion, Bar-Tal et al. 2023 (arXiv 2302.08113), with weights that fall towards the edges of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import pad

from deforum.diffusion.families.model import Conditioning, Denoise
from deforum.diffusion.tiles import ramp, starts

Tensor = torch.Tensor
Make = Callable[[Sequence[Conditioning], int, int], Denoise]
"""Makes the denoiser of a batch of frames, whose pictures have a width and a height in px."""

LEAST = 8
"""Cells; sides of windows are multiples of it, as networks halve the latents three times."""
SPARE = 1
"""Cells by which latents may be longer than a window without being split: those of a frame on a moving grid are."""


@dataclass(frozen=True)
class Box:
    """A window: its first row and column, and those behind its last ones, in latent cells."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def place(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


def in_windows(
    make: Make, frames: Sequence[Conditioning], width: int, height: int, *, window: int, factor: int
) -> Denoise:
    """Return the denoiser of a batch of frames, evaluated in windows with sides of about `window` px.

    Latents have cells of `factor` px. What `make` returns may have more dimensions in front of those of the latents.
    Where one window holds the frame, its denoiser is returned as it is.
    """
    rows, columns, side = height // factor, width // factor, side_of(window, factor)
    boxes = boxes_of(rows, columns, side)
    if len(boxes) == 1:
        return make(frames, width, height)
    parts = []
    for box in boxes:
        own = [_seen(frame, box, (rows, columns), factor) for frame in frames]
        size = (box.right - box.left) * factor, (box.bottom - box.top) * factor
        parts.append((box, make(own, *size), _weights(box, rows, columns, side)))

    def denoise(x: Tensor, sigma: float) -> Tensor:
        total = weight = torch.zeros(())
        for box, predict, fade in parts:
            inside = (..., *box.place)
            made, fade = predict(x[inside].contiguous(), sigma), fade.to(x.device)
            if not total.ndim:
                total, weight = made.new_zeros((*made.shape[:-2], rows, columns)), fade.new_zeros((rows, columns))
            total[inside] += made * fade
            weight[inside] += fade
        return total / weight

    return denoise


def side_of(window: int, factor: int) -> int:
    """Return the side of a window of `window` px in latent cells."""
    return max(window // factor // LEAST, 1) * LEAST


def boxes_of(rows: int, columns: int, side: int) -> list[Box]:
    """Return the windows over latents, row by row. They overlap by a quarter of their side at least."""
    tall, wide = (length if length <= side + SPARE else side for length in (rows, columns))
    return [
        Box(top, left, top + tall, left + wide)
        for top in starts(rows, tall, side // 4)
        for left in starts(columns, wide, side // 4)
    ]


def _weights(box: Box, rows: int, columns: int, side: int) -> Tensor:
    """Return the weights (h, w) of a window's predictions."""
    upright = ramp(box.top, box.bottom, rows, side // 4, 1)
    return upright[:, None] * ramp(box.left, box.right, columns, side // 4, 1)[None]


def _seen(frame: Conditioning, box: Box, latents: tuple[int, int], factor: int) -> Conditioning:
    """Return what conditions a window of a frame: the parts of its regions' masks and of its control pictures."""

    def view(whole: Tensor) -> Tensor:
        height, width = whole.shape[1:]
        missing = 0, latents[1] * factor - width, 0, latents[0] * factor - height
        grown = pad(whole[None], missing, mode="replicate")[0] if any(missing) else whole
        return grown[:, box.top * factor : box.bottom * factor, box.left * factor : box.right * factor]

    controls = tuple(replace(each, control=each.control.seen(view)) for each in frame.controls)
    regions = tuple((mask[box.place], pulls) for mask, pulls in frame.regions)
    return replace(frame, controls=controls, regions=regions)
