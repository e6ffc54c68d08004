"""The parts of a run, chosen once from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from deforum.animation.painter import Painting
from deforum.animation.parts import Camera, Diffuse, Filter, Mix, Palette, Show, Source
from deforum.animation.state import State
from deforum.timeline.frame import Span

Around = Callable[[Diffuse], Diffuse]
"""Decorates a diffusion with work before and after it."""


@dataclass(frozen=True)
class Stages:
    """The stages of a frame. A feature returns new stages, in which it replaces or wraps some of them."""

    camera: Camera
    """The camera before the first frame."""
    source: Source
    before: Sequence[Filter]
    painting: Painting
    """The innermost diffusion: the model, masks, and the strength of each pixel."""
    after: Sequence[Filter]
    between: Sequence[Filter]
    """Filters for every in-between; the loop continues from their results."""
    show: Sequence[Show]
    """Applied to every shown picture, diffused or not; the loop continues from the pictures before them."""
    palette: Palette
    pace: Pace
    mix: Mix
    around: Sequence[Around] = ()
    """Decorators of the painting, from the inside out."""

    @cached_property
    def diffuse(self) -> Diffuse:
        """The painting with all decorators."""
        diffuse: Diffuse = self.painting
        for around in self.around:
            diffuse = around(diffuse)
        return diffuse


Pace = Callable[[Stages, Iterable[Span], State | None], Iterator[State]]
"""How the loop goes from one diffused frame to the next: yields the state at every frame, in order.

It begins after the frame of a given state; without a state, at the first span.
"""
