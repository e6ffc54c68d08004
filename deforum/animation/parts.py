"""The parts of a frame's journey: what each stage is given and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from deforum.motion.warps import Warp
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame, Span


class Camera(Protocol):
    """Where the camera is and what it knows of the scene; it is never changed, `look` and `move` give the next one."""

    def look(self, scene: Image, frame: Frame) -> Camera:
        """Take in the scene, as the picture of a frame shows it."""

    def move(self, frame: Frame) -> tuple[Warp, Camera]:
        """Go on to a frame from the one before."""


C = TypeVar("C")


def within(camera: Camera, kind: type[C]) -> C | None:
    """Find the camera of a kind among a camera and those that it has inside, each as its `camera`."""
    inner: Camera | None = camera
    while inner is not None and not isinstance(inner, kind):
        inner = getattr(inner, "camera", None)
    return inner


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


Source = Callable[[Image | None, Moment], Image | None]
"""The picture that diffusion starts from, given the moved previous one (None: nothing yet). None: start from noise."""

Filter = Callable[[Image, Moment], Image]
"""Changes a picture before or after diffusion."""

Diffuse = Callable[[Sequence[Image | None], Sequence[Moment]], list[Image]]
"""Paints frames that do not depend on each other, each from its own picture, or from noise."""


class Palette(Protocol):
    """Says which picture's colours the run holds to; one row of a table in `deforum.animation.palettes` for each rule."""

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


@dataclass(frozen=True)
class Stages:
    """The parts of a frame's journey, chosen once from the settings."""

    camera: Camera
    """As it is before the first frame."""
    source: Source
    before: Sequence[Filter]
    diffuse: Diffuse
    after: Sequence[Filter]
    show: Sequence[Filter]
    """For every picture that is shown, diffused or not."""
    palette: Palette
    pace: Pace
    mix: Mix


@dataclass(frozen=True)
class State:
    """All that one frame hands on to the next; with it, and the settings, a run can go on from any span."""

    frame: Frame
    shown: Image
    newer: Image
    """The last diffused picture, moved to where `shown` is."""
    palette: ColorReference | None
    camera: Camera


Pace = Callable[[Stages, Iterable[Span]], Iterator[State]]
"""How the loop goes from one diffused frame to the next: gives the state at every frame, in order."""


def apply(filters: Sequence[Filter], image: Image, moment: Moment) -> Image:
    """Send a picture through filters, one after the other."""
    for change in filters:
        image = change(image, moment)
    return image
