"""Flat (2D) motion: pictures warped by a homography.

Convention: a matrix is (3, 3) float64 and maps a source position (x, y, 1) in px to its destination. Pixel centres
have whole-number coordinates, x goes right, y goes down. A picture keeps its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import torch
from torch.nn.functional import grid_sample

from deforum.motion.matrices import Matrix, inverse
from deforum.motion.positions import CV_EDGE, CV_SAMPLING, MARGIN, Chart, Charts, Edge, Sampling, map_by, pixels
from deforum.pixels.image import CPU, Device, Image, Mask, from_array, to_array


@dataclass(frozen=True)
class FlatWarp:
    """A motion in the picture plane: `matrix` (3, 3) maps source pixels to destination pixels."""

    matrix: Matrix
    width: int
    height: int
    border: Border
    device: Device

    @property
    def edge(self) -> Edge:
        return EDGES[self.border]

    @property
    def sampling(self) -> Sampling:
        return "bilinear"

    def __call__(self, image: Image) -> Image:
        return warp_flat(image, self.matrix, border=self.border)

    def then(self, later: FlatWarp) -> FlatWarp:
        return replace(self, matrix=later.matrix @ self.matrix)

    def inverse(self) -> FlatWarp:
        return replace(self, matrix=inverse(self.matrix))

    @cached_property
    def _coverage(self) -> Mask:
        return coverage(self.matrix, self.width, self.height, self.device)

    def coverage(self) -> Mask:
        return self._coverage

    def charts(self) -> Charts:
        here, back = pixels(self.width, self.height, self.device), inverse(self.matrix)
        return (
            Chart(map_by(back, here), self.coverage()),
            Chart(map_by(self.matrix, here), coverage(back, self.width, self.height, self.device)),
        )


Border = Literal["replicate", "wrap", "reflect", "mirror"]

EDGES: Mapping[Border, Edge] = {"replicate": "border", "reflect": "reflection", "wrap": "wrap", "mirror": "mirror"}
"""Name of each border in `deforum.motion.positions`."""

STILL = 1e-5  # px; the resolution of float32 positions


def warp_flat(image: Image, matrix: Matrix, *, border: Border, sampling: Sampling = "bilinear") -> Image:
    """Warp a picture by a homography; the identity returns the same image, a shift by whole pixels is exact.

    Convention: image (C, H, W), any number of channels; matrix (3, 3), source px -> destination px. Beyond the edge
    `replicate` repeats the outermost pixels (aaa|abc|ccc), `wrap` starts again on the other side (abc|abc|abc),
    `reflect` mirrors at the edge (cba|abc|cba), and `mirror` at the outermost pixel (cb|abc|ba). Bicubic sampling may
    overshoot 0..1 slightly.
    """
    height, width = image.shape[-2:]
    shift = _whole_shift(matrix, width, height)
    if shift == (0, 0):
        return image
    if shift is not None:
        return _shift(image, shift, border)
    if image.device.type == "cpu":
        # The same sampling as grid_sample, ten times as fast on a CPU.
        pixels = cv2.warpPerspective(
            to_array(image),
            inverse(matrix),
            (width, height),
            flags=CV_SAMPLING[sampling] | cv2.WARP_INVERSE_MAP,
            borderMode=CV_EDGE[EDGES[border]],
        )
        return from_array(np.asarray(pixels, np.float32).reshape(height, width, -1))
    x, y, _ = _source_positions(matrix, width, height, image.device)
    if border in ("wrap", "mirror"):
        inside = torch.remainder if border == "wrap" else _mirror
        x, y = inside(x, width) + MARGIN, inside(y, height) + MARGIN
        image = _shift(image, (MARGIN, MARGIN), border, grow=2 * MARGIN)
    rows, columns = image.shape[-2:]
    # grid_sample counts from -1 to 1, from the outer edge of the first pixel to that of the last.
    grid = torch.stack(((2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1), dim=-1)
    padding = "reflection" if border == "reflect" else "border"
    moved = grid_sample(image[None], grid[None], sampling, padding, align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)[0]


def coverage(matrix: Matrix, width: int, height: int, device: Device = CPU) -> Mask:
    """Return the coverage mask of the moved picture: 1 where the source is visible, 0 beyond its edge.

    Convention: (H, W) float32, soft over one pixel; matrix (3, 3), source px -> destination px. Positions behind the
    camera are 0.
    """
    x, y, w = _source_positions(matrix, width, height, device)
    across = torch.minimum(x + 1, width - x).clamp(0, 1)
    down = torch.minimum(y + 1, height - y).clamp(0, 1)
    return across * down * (w > 0)


def _source_positions(
    matrix: Matrix, width: int, height: int, device: Device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the source position of each destination pixel: x, y (H, W) float32 px, and w.

    The homogeneous coordinate w is above 0 where the source is in front of the camera.
    """
    (a, b, c), (d, e, f), (g, h, i) = inverse(matrix).tolist()
    x = torch.arange(width, dtype=torch.float32, device=device)
    y = torch.arange(height, dtype=torch.float32, device=device)[:, None]
    # Sums of a row and a column: three passes over the picture instead of a matrix product per pixel.
    from_x, from_y, w = a * x + (b * y + c), d * x + (e * y + f), g * x + (h * y + i)
    if g == 0 and h == 0 and i == 1:
        return from_x, from_y, w
    nonzero = torch.where(w == 0, torch.finfo(w.dtype).eps, w)  # on the horizon: far away, but finite
    return from_x / nonzero, from_y / nonzero, w


def _whole_shift(matrix: Matrix, width: int, height: int) -> tuple[int, int] | None:
    """Return the shift (right, down) in px of a matrix that only moves by whole pixels; None for any other."""
    scaled = matrix / matrix[2, 2]
    shift = round(scaled[0, 2]), round(scaled[1, 2])
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    x, y, w = scaled @ corners
    still = np.allclose((x / w - shift[0], y / w - shift[1]), corners[:2], rtol=0, atol=STILL)
    return shift if still else None


def _shift(image: Image, shift: tuple[int, int], border: Border, grow: int = 0) -> Image:
    """Shift by whole pixels, right and down; `grow` px are added to the width and to the height, right and below."""
    height, width = image.shape[-2:]
    device = image.device
    rows = _border_index(torch.arange(height + grow, device=device) - shift[1], height, border)
    columns = _border_index(torch.arange(width + grow, device=device) - shift[0], width, border)
    pixels = image.permute(1, 2, 0)
    moved = pixels.index_select(0, rows).index_select(1, columns)
    return moved.permute(2, 0, 1)


def _border_index(index: torch.Tensor, size: int, border: Border) -> torch.Tensor:
    """Map pixel indices outside 0..size-1 back inside, by the border's rule."""
    if border == "replicate":
        return index.clamp(0, size - 1)
    if border == "wrap":
        return index.remainder(size)
    if border == "mirror":
        return _mirror(index, size)
    mirrored = index.remainder(2 * size)
    return torch.minimum(mirrored, 2 * size - 1 - mirrored)


def _mirror(position: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror positions (px) beyond the outermost pixels back inside."""
    if size == 1:
        return torch.zeros_like(position)
    mirrored = position.remainder(2 * size - 2)
    return torch.minimum(mirrored, 2 * size - 2 - mirrored)
