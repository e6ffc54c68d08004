"""Noise between frames: seeded noise fields of any size, and mixing them into a picture.

Convention: a field is (3, H, W) float32 on the CPU, with mean 0. PyTorch's CPU generator makes the numbers, so that
they are the same on every render device.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import torch

from deforum.models.transfer import upload
from deforum.pixels.image import CPU, Image, Mask, from_array, to_array
from deforum.pixels.strips import alone

GRID = 64  # px; Deforum makes noise at a size rounded down to multiples of this


def uniform_noise(seed: int, width: int, height: int) -> torch.Tensor:
    """Draw white Gaussian noise of deviation 1 for each pixel and channel, (3, H, W); Deforum calls it uniform."""
    return _white(torch.Generator().manual_seed(seed), width, height)


def perlin_noise(
    seed: int,
    width: int,
    height: int,
    *,
    grid: tuple[float, float] = (8, 8),
    octaves: int = 4,
    persistence: float = 0.5,
) -> torch.Tensor:
    """Draw noise of varying strength, (3, H, W): Gaussian noise times (Perlin noise + 1) / 2.

    Convention: `grid` counts the cells of the first octave across and down (truncated to whole numbers); each further
    octave has twice as many of each and `persistence` times the strength. As in Deforum the field is made at multiples
    of 64 px and enlarged by nearest neighbour where the picture is larger; a picture smaller than 64 px gets a field of
    its own size.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, columns = _floor(height), _floor(width)
    field = _white(generator, columns, rows)
    across, down = (max(int(cells), 1) for cells in grid)
    envelope = alone(lambda: perlin(generator, columns, rows, across, down, octaves, persistence))
    # By NumPy, as torch would ask for other threads (see `deforum.pixels.strips`).
    numbers, strength = field.numpy(), envelope.numpy()
    strength += 1
    strength /= 2
    numbers *= strength
    if (rows, columns) == (height, width):
        return field
    nearest_rows = torch.arange(height) * rows // height
    nearest_columns = torch.arange(width) * columns // width
    return field[:, nearest_rows][:, :, nearest_columns]


def perlin(
    generator: torch.Generator, width: int, height: int, across: int, down: int, octaves: int, persistence: float
) -> torch.Tensor:
    """Return octaves of gradient noise (Perlin noise), summed, (H, W) float32; each is about -1..1 times its strength.

    In a cell the noise is the sum over its corners of (fade down) * (fade across) * (gradient . offset): products of a
    factor that depends on the row and one that depends on the column. So an octave is a matrix product. Where its cells
    are whole pixels high, that is a product of four columns for each row of cells.
    Octaves with cells smaller than a pixel are left out: pixels sample them too coarsely for gradient noise.
    Source: K. Perlin, "Improving Noise", 2002.
    """
    total = torch.zeros(height, width)
    for octave in range(octaves):
        rows, columns = down << octave, across << octave
        if rows > height or columns > width:
            break
        angles = 2 * math.pi * torch.rand(rows + 1, columns + 1, generator=generator)
        fade_across, offset_across = _corner_weights(width, columns)
        strength = math.sqrt(2) * persistence**octave
        along = _product(strength * angles.cos(), fade_across.T), _product(strength * angles.sin(), offset_across.T)
        lines = torch.stack(along, dim=1)
        if height % rows == 0:
            around = torch.cat((lines[:-1], lines[1:]), dim=1)  # (rows, 4, W): of the line above each cell, and below
            total.view(rows, -1, width).baddbmm_(_cell_weights(height, rows), around)
        else:
            fade_down, offset_down = _corner_weights(height, rows)
            total.addmm_(offset_down, lines[:, 0]).addmm_(fade_down, lines[:, 1])
    return total


def _product(lines: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply (R, C) by (C, W).

    In two parts, as MKL divides the rows on several threads: on one thread the last row would differ in its last digit.
    """
    first = min((len(lines) - 1) // 4 * 4, 8)
    return torch.cat((lines[:first] @ weights, lines[first:] @ weights)) if first else lines @ weights


@lru_cache(maxsize=64)  # the same in every frame
def _corner_weights(size: int, cells: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights of the grid lines at each pixel along one axis: the fade, and the fade times the offset.

    Convention: both (size, cells + 1); two neighbouring entries are set in each row, the rest is 0.
    """
    position = torch.arange(size) * cells / size  # in cells
    cell = position.floor()
    offset = position - cell
    fade = offset**3 * (offset * (offset * 6 - 15) + 10)
    pixel, line = torch.arange(size), cell.long()
    weight, weight_offset = torch.zeros(2, size, cells + 1)
    weight[pixel, line], weight[pixel, line + 1] = 1 - fade, fade
    weight_offset[pixel, line], weight_offset[pixel, line + 1] = (1 - fade) * offset, fade * (offset - 1)
    return weight, weight_offset


@lru_cache(maxsize=64)
def _cell_weights(size: int, cells: int) -> torch.Tensor:
    """Return the weights of the two lines around each cell at its pixels, for cells of whole pixels.

    Convention: (cells, size / cells, 4): offset and fade of the first line, then of the second.
    """
    fade, offset = _corner_weights(size, cells)
    cell = torch.arange(size) // (size // cells)
    pixel = torch.arange(size)
    weights = [values[pixel, cell + line] for line in (0, 1) for values in (offset, fade)]
    return torch.stack(weights, dim=1).view(cells, -1, 4)


def _white(generator: torch.Generator, width: int, height: int) -> torch.Tensor:
    return torch.randn(3, height, width, generator=generator)


def _floor(size: int) -> int:
    return size // GRID * GRID or size


def add_noise(
    image: Image, noise: torch.Tensor, amount: float, mask: Mask | None = None, *, zero_mean: bool = False
) -> Image:
    """Mix noise into a picture: blend each pixel by `amount` with mid-grey plus half the field.

    Convention: image and noise (3, H, W); amount 0..1; where the mask (H, W) is 0 nothing changes. The blend pulls
    colours toward grey. With `zero_mean` half the field is added instead, which keeps the mean colour and contrast.
    """
    if amount == 0:
        return image
    if image.device == CPU:
        return _add_on_host(image, noise, amount, mask, zero_mean)
    weight = amount if mask is None else amount * mask
    # Convert to the picture's memory layout before the arithmetic: mixed layouts are slow.
    half = upload(noise, image.device)[None].clone(memory_format=torch.channels_last)[0].mul_(0.5)
    if zero_mean:
        return half.mul_(weight).add_(image).clamp_(0, 1)
    return half.add_(0.5).clamp_(0, 1).sub_(image).mul_(weight).add_(image)


def _add_on_host(image: Image, noise: torch.Tensor, amount: float, mask: Mask | None, zero_mean: bool) -> Image:
    """Mix noise in on one thread."""
    pixels = to_array(image)
    half = np.asarray(cv2.merge(list(noise.numpy())), np.float32)
    half *= 0.5
    weight = np.float32(amount) if mask is None else (amount * mask[..., None]).numpy()
    if zero_mean:
        half *= weight
        half += pixels
        return from_array(np.clip(half, 0, 1, out=half))
    half += 0.5
    np.clip(half, 0, 1, out=half)
    half -= pixels
    half *= weight
    half += pixels
    return from_array(half)
