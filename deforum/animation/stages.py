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
"""Makes a diffusion of another one, that does something before and after it."""


@dataclass(frozen=True)
class Stages:
    """The parts of a frame's journey. A feature gives other stages, in which some of them are its own or wrapped."""

    camera: Camera
    """As it is before the first frame."""
    source: Source
    before: Sequence[Filter]
    painting: Painting
    """The model, and what has a say in where it paints: the innermost diffusion."""
    after: Sequence[Filter]
    between: Sequence[Filter]
    """For every picture that is mixed of diffused ones; the loop goes on from what they give."""
    show: Sequence[Show]
    """For every picture that is shown, diffused or not; the loop goes on from what they are given."""
    palette: Palette
    pace: Pace
    mix: Mix
    around: Sequence[Around] = ()
    """What is put around the painting, from the inside out."""

    @cached_property
    def diffuse(self) -> Diffuse:
        """The painting with everything around it."""
        diffuse: Diffuse = self.painting
        for around in self.around:
            diffuse = around(diffuse)
        return diffuse


Pace = Callable[[Stages, Iterable[Span], State | None], Iterator[State]]
"""How the loop goes from one diffused frame to the next: gives the state at every frame, in order.

It begins behind the frame of a given state, or at the first span where there is none.
"""
