"""The protocol that every motion of a whole picture satisfies."""

from __future__ import annotations

from typing import Protocol, Self

from deforum.motion.positions import Charts, Edge, Sampling
from deforum.pixels.image import Image, Mask


class Warp(Protocol):
    """A motion of the whole picture; calling it warps a picture (C, H, W)."""

    @property
    def edge(self) -> Edge:
        """Padding beyond the picture's edge."""

    @property
    def sampling(self) -> Sampling:
        """Interpolation between pixels."""

    def __call__(self, image: Image) -> Image: ...

    def then(self, later: Self) -> Self:
        """Compose two motions into one, so that the picture is sampled once."""

    def inverse(self) -> Self: ...

    def coverage(self) -> Mask:
        """Return the coverage mask, (H, W): 1 where the old picture is visible, 0 where disoccluded or beyond it."""

    def charts(self) -> Charts:
        """Return the positions and visibility in both directions, to warp masks and flows, or to compose motions."""
