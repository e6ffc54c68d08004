"""Symmetric pictures: one wedge is copied around a centre, every second copy mirrored, so that neighbours meet.

The picture is mirrored before painting, so that the model paints into the symmetry. Painting and motion disturb the
symmetry, so the painted picture and every shown frame are mirrored again. Pixels outside the mask of the run stay
unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.animation.mix import feather
from deforum.animation.painter import MaskAt
from deforum.animation.parts import Diffuse, Memory, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.models.transfer import upload
from deforum.motion.flow_warp import FlowWarp
from deforum.motion.positions import Chart, Positions, sample_at
from deforum.pixels.image import Device, Image

UP, RIGHT = 0.0, -90.0  # degrees, counter-clockwise from straight up

KINDS: Mapping[str, tuple[int | None, float]] = {
    "mirror x": (2, UP),
    "mirror y": (2, RIGHT),
    "quad": (4, UP),
    "kaleidoscope": (None, UP),
}
"""Number of wedges (None: symmetry_segments), and the direction where the copied wedge begins. It extends
counter-clockwise from there: the left half, the upper half, the upper left quarter."""

FOLDS = 8  # tries to bring a position beyond the edge into the wedge; after that it stays at the edge
DIGITS = 9  # decimals of a position; rounded to them, turns by 90 degrees are exact
KEPT = 4  # folds that are kept for the next frames


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Mirror what painting starts from, what is painted, and what is shown."""
    masked = stages.painting.masked
    symmetry = Symmetry(
        kit.settings.symmetry, None if masked is None else masked.mask, repaints=kit.settings.mode.has_depth
    )
    return replace(stages, around=[symmetry.around, *stages.around], show=[*stages.show, symmetry.show])


@dataclass(frozen=True)
class Symmetry:
    """Mirrors pictures by the parameters of their frames."""

    kind: str
    mask: MaskAt | None = None
    """Where pictures may be mirrored; None: everywhere."""
    repaints: bool = False
    """Whether newly visible areas may be repainted, so that they have to be mirrored too."""

    def __call__(self, image: Image, moment: Moment) -> Image:
        """Mirror a picture (C, H, W) of a moment; a symmetric one stays unchanged."""
        p = moment.frame.params
        if p.symmetry_strength == 0:
            return image
        segments, begin = KINDS[self.kind]
        fold = fold_of(
            int(p.symmetry_segments + 1e-6) if segments is None else segments,
            begin + p.symmetry_angle,
            (p.symmetry_center_x, p.symmetry_center_y),
            image.shape[2],
            image.shape[1],
            image.device,
        )
        mirrored = fold(image)
        if self.mask is None:
            return mirrored if p.symmetry_strength == 1 else torch.lerp(image, mirrored, p.symmetry_strength)
        mask = self.mask(moment, image if moment.start is None else moment.start)
        # Feathered within the mask: pixels outside stay unchanged, and the edge does not show as a line.
        return torch.lerp(image, mirrored, p.symmetry_strength * feather(mask).to(image.device))

    def around(self, diffuse: Diffuse) -> Diffuse:
        """Mirror pictures before and after each diffusion."""

        def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
            starts = [None if init is None else self(init, at) for init, at in zip(inits, moments, strict=True)]
            pictures = diffuse(starts, [self._seen(moment) for moment in moments])
            return [self(picture, moment) for picture, moment in zip(pictures, moments, strict=True)]

        return diffused

    def show(self, image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
        """Mirror a picture that is about to be shown."""
        return self(image, moment), trails

    def _seen(self, moment: Moment) -> Moment:
        """Mirror the newly visible areas.

        Those within the wedge are copied with it; those outside are covered by copies.
        """
        if moment.warp is None or not self.repaints:
            return moment
        here, there = moment.warp.charts()
        here = Chart(here.positions, self(here.covers[None].contiguous(), moment)[0])
        warp = FlowWarp(here.positions, lambda: (here, there), moment.warp.edge, moment.warp.sampling)
        return replace(moment, warp=warp)


Pixels = tuple[torch.Tensor, torch.Tensor]
"""Rows and columns."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Copies a wedge of the picture around a centre.

    It reads only pixels inside the wedge and changes only pixels outside, so that folding twice is the same as once,
    bit for bit.
    """

    positions: Positions
    """The position in the wedge from which each pixel is read."""
    is_whole: bool
    """Whether all positions are pixel centres, which need no interpolation."""
    beside: Pixels
    """Pixels outside the wedge that bicubic sampling reaches."""
    inside: Pixels
    """The nearest pixel inside the wedge for each of `beside`, whose value replaces it while sampling."""

    def __call__(self, image: Image) -> Image:
        if self.is_whole:
            return sample_at(image, self.positions, "nearest", "border")
        wedge = image.clone()
        wedge[:, *self.beside] = image[:, *self.inside]
        return sample_at(wedge, self.positions, "bicubic", "border").clamp_(0, 1)


@lru_cache(maxsize=KEPT)
def fold_of(segments: int, begin: float, center: tuple[float, float], width: int, height: int, device: Device) -> Fold:
    """Fold a picture into the wedge that begins at `begin`, counter-clockwise from straight up, in degrees.

    The wedge has 360 / `segments` degrees. Only an even number of wedges meets all around: an odd number of segments
    has wedges of half that size, so that each segment is mirrored in itself. The centre is in shares of width and
    height; at (0.5, 0.5) upright axes lie between two pixels. What lies beyond the picture's edge is mirrored at the
    edge. Where the whole wedge lies beyond it, the picture stays unchanged.
    """
    wedges = segments if segments % 2 == 0 else 2 * segments
    size, middle = np.array([[width], [height]]), np.array([[center[0] * width], [center[1] * height]]) - 0.5
    here = np.mgrid[0:height, 0:width][::-1].reshape(2, -1).astype(np.float64)
    positions, wedge = _into_wedge(here, wedges, math.radians(begin), middle)
    is_inside = wedge == 0
    positions = np.where(is_inside, here, positions)
    if not is_inside.any():
        positions, is_inside = here, np.ones_like(is_inside)
    for _ in range(FOLDS):
        beyond = np.flatnonzero(((positions < -0.5) | (positions > size - 0.5)).any(0))
        if not len(beyond):
            break
        back = (positions[:, beyond] + 0.5) % (2 * size)
        back = np.minimum(back, 2 * size - back) - 0.5  # cba|abc|cba
        positions[:, beyond], _ = _into_wedge(back, wedges, math.radians(begin), middle)
    read = positions.clip(0, size - 1).astype(np.float32).reshape(2, height, width)
    is_inside = is_inside.reshape(height, width)

    row, column = _nearest(is_inside)
    reached = np.zeros((height, width), np.uint8)
    reached[tuple(np.floor(read[::-1]).astype(np.intp))] = 1
    # Bicubic sampling reads one pixel before a position's own, and two behind it.
    reached = np.asarray(cv2.dilate(reached, np.ones((4, 4), np.uint8), anchor=(2, 2)))
    beside = np.nonzero((reached > 0) & ~is_inside)
    x, y = (axis[beside] for axis in read.round().astype(np.intp))
    return Fold(
        upload(torch.from_numpy(read), device),
        bool((read == read.round()).all()),
        _pixels(beside, device),
        _pixels((row[y, x], column[y, x]), device),
    )


def _into_wedge(
    positions: NDArray[np.float64], wedges: int, begin: float, middle: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Map positions (2, N) into the first wedge; return them, and the wedge index of each. `begin` in radians.

    From an even wedge the map is a rotation, from an odd one a reflection.
    """
    x, y = positions - middle
    width = 2 * math.pi / wedges
    wedge = (((np.arctan2(-x, -y) - begin) % (2 * math.pi)) / width).astype(np.intp) % wedges
    each = np.arange(wedges)
    is_odd = each % 2 == 1
    turn = np.where(is_odd, (each + 1) * width + 2 * begin, each * width)
    cos, sin, across = np.cos(turn)[wedge], np.sin(turn)[wedge], np.where(is_odd, -1.0, 1.0)[wedge]
    folded = middle + np.stack((across * (cos * x - sin * y), sin * x + cos * y))
    return folded.round(DIGITS), wedge


def _nearest(is_inside: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the nearest pixel inside for each pixel: its row and column, (H, W) each."""
    outside = (~is_inside).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(is_inside)
    of = np.zeros(int(labels.max()) + 1, np.intp)
    of[labels[rows, columns]] = np.arange(len(rows))
    return rows[of[labels]], columns[of[labels]]


def _pixels(indices: tuple[NDArray[np.intp], ...], device: Device) -> Pixels:
    rows, columns = (upload(torch.from_numpy(each), device) for each in indices)
    return rows, columns
