"""The loop: each frame is the last one, moved, given a source, filtered, diffused, and shown.

    moved -> source -> before -> diffuse -> after -> shown

What a mode does differently is a row of a table in `deforum.modes`; nothing here asks which mode it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch

from deforum.filters import ColorReference
from deforum.image import Image, Mask, blend
from deforum.timeline import Frame, Span


class Warp(Protocol):
    """A motion of the whole picture; calling it moves a picture."""

    def __call__(self, image: Image) -> Image: ...

    def then(self, later: Self) -> Self:
        """Join two motions into one, so that the picture is sampled once."""

    def inverse(self) -> Self: ...

    def coverage(self) -> Mask:
        """Say where the moved picture shows something of the one before: (H, W), 1 there, 0 where it is made up."""


class Camera(Protocol):
    """Where the camera is and what it knows of the scene; it is never changed, `look` and `move` give the next one."""

    def look(self, scene: Image, frame: Frame) -> Camera:
        """Take in the scene, as the picture of a frame shows it."""

    def move(self, frame: Frame) -> tuple[Warp, Camera]:
        """Go on to a frame from the one before."""


Source = Callable[[Image | None, Frame], Image | None]
"""The picture that diffusion starts from, given the moved previous one (None: nothing yet). None: start from noise."""

Filter = Callable[[Image, Frame, ColorReference | None], Image]
"""Changes a picture before or after diffusion; the colours that the run holds to are given where they are known."""

Diffuse = Callable[[Image | None, Frame], Image]


class Palette(Protocol):
    """Says which picture's colours the run holds to; one row of a table in `deforum.modes` for each rule."""

    def __call__(
        self, known: ColorReference | None, moved: Image | None, painted: Image | None, key: Frame
    ) -> ColorReference | None:
        """Give the colours from now on; asked before diffusion (`painted` None) and after the filters behind it."""


@dataclass(frozen=True)
class Stages:
    """The parts of a frame's journey, chosen once from the settings."""

    camera: Camera
    """As it is before the first frame."""
    source: Source
    before: Sequence[Filter]
    diffuse: Diffuse
    after: Sequence[Filter]
    palette: Palette


@dataclass(frozen=True)
class State:
    """All that one frame hands on to the next; with it, and the settings, a run can go on from any span."""

    frame: Frame
    shown: Image
    newer: Image
    """The last diffused picture, moved to where `shown` is."""
    palette: ColorReference | None
    camera: Camera


def paint(
    stages: Stages, moved: Image | None, key: Frame, palette: ColorReference | None
) -> tuple[Image, ColorReference | None]:
    """Diffuse one frame from the moved previous picture; give it, and the colours to hold to from now on."""
    palette = stages.palette(palette, moved, None, key)
    image = stages.source(moved, key)
    if moved is not None and image is not None:
        for change in stages.before:
            image = change(image, key, palette)
    image = stages.diffuse(image, key)
    for change in stages.after:
        image = change(image, key, palette)
    return image, stages.palette(palette, moved, image, key)


def fade_in(stages: Stages, state: State | None, span: Span) -> Iterator[State]:
    """Deforum's cadence: diffuse, then blend the new picture in over the frames that follow, moving both."""
    key, camera, moved, older, palette = span.key, stages.camera, None, None, None
    if state is not None:
        warp, camera = state.camera.look(state.shown, state.frame).move(key)
        moved, older, palette = warp(state.shown), state.newer, state.palette
    newer, palette = paint(stages, moved, key, palette)
    there = key
    for frame, fade in zip(span.frames, span.fades, strict=True):
        warp, camera = camera.look(newer, there).move(frame)
        # The older picture is still where it was before the key; the newer one is painted where the key stands.
        newer, there = newer if frame is span.frames[0] else warp(newer), frame
        older = None if older is None or fade == 1 else warp(older)
        shown = newer if older is None else blend(older, newer, fade)
        yield State(frame, shown, newer, palette, camera)


def arrive(stages: Stages, state: State | None, span: Span) -> Iterator[State]:
    """Cadence on time: diffuse the frame at the end of the way, then show the way there.

    Each in-between is the last shown picture moved on, mixed with the new one moved back; where one of them does not
    reach, the other is seen. Every in-between is sampled once, however long the way.
    """
    key, camera, palette = span.key, stages.camera, None
    path: list[Warp] = []
    way: list[Image] = []
    if state is not None:
        camera, palette = state.camera.look(state.shown, state.frame), state.palette
        for frame in span.frames:
            step, camera = camera.move(frame)
            path.append(path[-1].then(step) if path else step)
            way.append(path[-1](state.shown))
    newer, palette = paint(stages, way[-1] if way else None, key, palette)
    if path:
        back = path[-1].inverse()
        for frame, fade, there, older in zip(span.frames[:-1], span.fades, path, way, strict=False):
            from_key = back.then(there)
            mixed = cross_fade(older, there.coverage(), from_key(newer), from_key.coverage(), fade)
            yield State(frame, mixed, newer, palette, camera)
    yield State(key, newer, newer, palette, camera)


def cross_fade(a: Image, a_covers: Mask, b: Image, b_covers: Mask, fade: float) -> Image:
    """Mix two pictures, `fade` 0 is `a`; where only one covers, only that one is seen."""
    a_share, b_share = (1 - fade) * a_covers, fade * b_covers
    total = a_share + b_share
    share = torch.where(total > 0, b_share / total.clamp(min=1e-6), fade)
    return torch.lerp(a, b, share)


def animate(stages: Stages, spans: Iterable[Span], *, on_time: bool) -> Iterator[tuple[Frame, Image]]:
    """Render the frames of the spans, in order; `on_time` chooses where a diffused picture stands (see Profile)."""
    pace = arrive if on_time else fade_in
    state: State | None = None
    for span in spans:
        for reached in pace(stages, state, span):
            yield reached.frame, reached.shown
        state = reached
