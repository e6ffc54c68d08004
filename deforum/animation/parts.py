"""The parts of a frame's journey: what each stage is given and what it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import torch

from deforum.motion.warps import Warp
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame

C = TypeVar("C")

Value = torch.Tensor | float | int | str | None
Memory = Mapping[str, "Value | Memory"]
"""What a part of the loop remembers, as data: tensors, numbers and texts by name, in groups."""


class Camera(ABC):
    """Where the camera is and what it knows of the scene.

    A camera never changes: `look` and `move` give the next one. One that carries something along has another inside
    of it, and answers for that one too.
    """

    @abstractmethod
    def look(self, scene: Image, frame: Frame) -> Self:
        """Take in the scene, as the picture of a frame shows it."""

    @abstractmethod
    def move(self, frame: Frame) -> tuple[Warp, Self]:
        """Go on to a frame from the one before; give the motion, and the camera there."""

    def joined(self, way: Warp, step: Warp) -> Warp:
        """Give the way since the camera last looked: `way`, and the last step, which led here."""
        return way.then(step)

    def within(self, kind: type[C]) -> C | None:
        """Find the camera of a kind: this one or one inside of it; None where there is none."""
        return self if isinstance(self, kind) else None

    def memory(self) -> Memory:
        """Give what the camera carries from one look to the next.

        What `look` sets anew is left out: going on from a state begins with a look.
        """
        return {}

    def recall(self, memory: Memory) -> Self:
        """Give a camera of the same settings that has this memory."""
        return self


@dataclass(frozen=True)
class Moment:
    """What is known where a picture is painted or shown."""

    frame: Frame
    palette: ColorReference | None
    """The colours that the run holds to, where they are known."""
    camera: Camera
    """As it stands at this frame."""
    warp: Warp | None
    """The whole way here from the picture that was moved here; None at the beginning."""
    moved: Image | None = None
    """The previous picture, brought here by `warp`, where a frame is painted from it."""
    start: Image | None = None
    """The picture that painting starts from, before any filter; None from noise alone, and between diffused frames."""
    step: Warp | None = None
    """The last step of that way: from the frame that is shown before this one; None at the beginning."""
    trails: Memory = field(default_factory=dict)
    """What the run remembers of the pictures that it showed, where `warp` begins; for `Stages.before`."""


Source = Callable[[Image | None, Moment], Image | None]
"""The picture that diffusion starts from, given the moved previous one (None: nothing yet). None: start from noise."""

Filter = Callable[[Image, Moment], Image]
"""Changes a picture before or after diffusion."""

Show = Callable[[Image, Moment, Memory], tuple[Image, Memory]]
"""Changes a picture that is about to be shown, and what is remembered of those shown; asked frame by frame.

The loop goes on from the picture as it was before: what a `Show` adds is not painted from.
"""

Diffuse = Callable[[Sequence[Image | None], Sequence[Moment]], list[Image]]
"""Paints frames that do not depend on each other, each from its own picture, or from noise."""


class Palette(Protocol):
    """Says which picture's colours the run holds to; the rules are in `deforum.animation.palettes`."""

    def __call__(self, moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        """Give the colours from now on; asked before diffusion (`painted` None) and after the filters behind it."""


@dataclass(frozen=True)
class View:
    """A picture, and the motion that brings it here from where it was taken."""

    image: Image
    warp: Warp


@dataclass(frozen=True)
class Pair:
    """The two pictures that Deforum's cadence mixes, on their way from frame to frame."""

    older: Image | None
    """None: the newer one is shown alone."""
    newer: Image
    fade: float = 0
    """How much of the newer one there was last; 0: it is where it was painted, and the older one a frame before it."""
    flow: torch.Tensor | None = None
    """(H, W, 2) px from the older picture to the newer one, beside the camera's motion, where it is followed."""


Between = Callable[[View, View, float], Image]
"""Makes an in-between of the older picture and the newer one; share 0 is the older one."""


class Mix(Protocol):
    """How two diffused pictures become those between them, in either cadence."""

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        """Compare the newer picture with the older one, which was moved to the same place: on time."""

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        """Go on to the next frame, or to the key itself, where the newer picture stays: Deforum's cadence."""
