"""The interfaces of the loop's stages: what each stage takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import torch

from deforum.motion.warps import Warp
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Image
from deforum.settings.params import Params
from deforum.timeline.frame import Frame

C = TypeVar("C")

Value = torch.Tensor | float | int | str | None
Memory = Mapping[str, "Value | Memory"]
"""Saved state of a part of the loop: tensors, numbers and texts by name, in nested groups."""


class Camera(ABC):
    """The camera's position and its knowledge of the scene.

    A camera is immutable: `look` and `move` return the next one. A camera that carries state along wraps another one
    and delegates to it.
    """

    @abstractmethod
    def look(self, scene: Image, frame: Frame) -> Self:
        """Observe the scene in the picture of a frame."""

    @abstractmethod
    def move(self, frame: Frame) -> tuple[Warp, Self]:
        """Move from the previous frame to this one; return the motion, and the camera there."""

    def joined(self, way: Warp, step: Warp) -> Warp:
        """Join `way` and the last step to the whole motion since the last look."""
        return way.then(step)

    def lead(self, way: Warp) -> tuple[Warp, Self]:
        """Return the motion by which the picture is moved to be painted here, and the camera that knows it.

        `way` is the motion that is set since the last look.
        """
        return way, self

    def back(self, frame: Frame, way: Sequence[Params[float]]) -> Warp:
        """Return the motion back from the last of `way` to this frame, from where the camera last looked.

        `way` has the parameters of the frame and of those after it, whose motions are undone.
        """
        raise NotImplementedError(f"{type(self).__name__} does not know its way back")

    def within(self, kind: type[C]) -> C | None:
        """Find a camera of a type: this one or one that it wraps; None where there is none."""
        return self if isinstance(self, kind) else None

    def memory(self) -> Memory:
        """Return the state that the camera carries from one look to the next.

        What `look` recomputes is left out, as resuming begins with a look.
        """
        return {}

    def recall(self, memory: Memory) -> Self:
        """Return a camera with the same settings and this memory."""
        return self


@dataclass(frozen=True)
class Moment:
    """The context in which a picture is painted or shown."""

    frame: Frame
    palette: ColorReference | None
    """The colour reference of the run; None while unknown."""
    camera: Camera
    """The camera at this frame."""
    warp: Warp | None
    """The whole motion that brought the previous picture to this frame; None at the beginning."""
    moved: Image | None = None
    """The previous picture moved by `warp`, where a frame is painted from it."""
    start: Image | None = None
    """The picture that painting starts from, before any filter; None for noise alone and for in-betweens."""
    step: Warp | None = None
    """The last step of `warp`: the motion from the previously shown frame; None at the beginning."""
    trails: Memory = field(default_factory=dict)
    """The memory of shown pictures at the start of `warp`; for `Stages.before`."""


Source = Callable[[Image | None, Moment], Image | None]
"""The picture that diffusion starts from, given the moved previous one (None: nothing yet). None: start from noise."""

Filter = Callable[[Image, Moment], Image]
"""Changes a picture before or after diffusion."""

Show = Callable[[Image, Moment, Memory], tuple[Image, Memory]]
"""Changes a picture that is about to be shown, and the memory of shown pictures; called for every frame.

The loop continues from the unchanged picture, so that later frames are not painted from the additions.
"""

Diffuse = Callable[[Sequence[Image | None], Sequence[Moment]], list[Image]]
"""Paints independent frames, each from its own picture or from noise."""


class Palette(Protocol):
    """Chooses the colour reference of the run; the rules are in `deforum.animation.palettes`."""

    def __call__(self, moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        """Return the reference from now on; called before diffusion (`painted` None) and after the filters after it."""


@dataclass(frozen=True)
class View:
    """A picture, and the motion from its frame to this one."""

    image: Image
    warp: Warp


@dataclass(frozen=True)
class Pair:
    """The two pictures that Deforum's cadence mixes, on their way from frame to frame."""

    older: Image | None
    """None: the newer one is shown alone."""
    newer: Image
    fade: float = 0
    """The last share of the newer one; 0: it is where it was painted, and the older one is one frame before it."""
    flow: torch.Tensor | None = None
    """Optical flow (H, W, 2) px from the older to the newer picture, beyond the camera's motion; None: not followed."""


Between = Callable[[View, View, float], Image]
"""Makes an in-between of the older and the newer picture; share 0 is the older one."""


class Mix(Protocol):
    """Makes in-betweens from two diffused pictures, for both kinds of cadence."""

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        """Cadence on time: compare the newer picture with the older one, which was moved to the same frame."""

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        """Deforum's cadence: move to the next frame, or to the key itself, where the newer picture stays."""
