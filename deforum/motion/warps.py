"""What moves a whole picture: the protocol that every motion satisfies."""

from __future__ import annotations

from typing import Protocol, Self

from deforum.motion.positions import Charts, Edge, Sampling
from deforum.pixels.image import Image, Mask


class Warp(Protocol):
    """A motion of the whole picture; calling it moves a picture."""

    @property
    def edge(self) -> Edge:
        """What is beyond the picture's edge."""

    @property
    def sampling(self) -> Sampling:
        """How pixels are interpolated."""

    def __call__(self, image: Image) -> Image: ...

    def then(self, later: Self) -> Self:
        """Join two motions into one, so that the picture is sampled once."""

    def inverse(self) -> Self: ...

    def coverage(self) -> Mask:
        """Say where the moved picture shows something of the one before: (H, W), 1 there, 0 where it is made up."""

    def charts(self) -> Charts:
        """Say where each pixel came from and where each one went, to move masks and flows by it, or to join motions."""
