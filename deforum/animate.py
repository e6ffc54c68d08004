"""The loop: each frame is the last one, moved, given a source, filtered, diffused, and shown.

    moved -> source -> before -> diffuse -> after -> shown

What a mode does differently is a row of a table in `deforum.modes`; nothing here asks which mode it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, Self, TypeVar

import cv2
import torch

from deforum.filters import ColorReference
from deforum.image import Image, Mask, blend
from deforum.positions import Charts
from deforum.timeline import Frame, Span

FEATHER = 32  # a picture fades out over a so-manieth part of the frame's shorter side


class Warp(Protocol):
    """A motion of the whole picture; calling it moves a picture."""

    def __call__(self, image: Image) -> Image: ...

    def then(self, later: Self) -> Self:
        """Join two motions into one, so that the picture is sampled once."""

    def inverse(self) -> Self: ...

    def coverage(self) -> Mask:
        """Say where the moved picture shows something of the one before: (H, W), 1 there, 0 where it is made up."""

    def charts(self) -> Charts:
        """Say where each pixel came from and where each one went, to move masks and flows by it, or to join motions."""


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
    """Says which picture's colours the run holds to; one row of a table in `deforum.modes` for each rule."""

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
class CrossFade:
    """Fades from one picture to the other: a `Mix`."""

    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        def between(a: View, b: View, fade: float) -> Image:
            a_covers, b_covers = feather(a.warp.coverage()), feather(b.warp.coverage())
            return cross_fade(a.warp(a.image), a_covers, b.warp(b.image), b_covers, fade)

        return between

    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        older = None if pair.older is None or fade == 1 else warp(pair.older)
        return Pair(older, pair.newer if pair.fade == 0 else warp(pair.newer), fade)


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
    mix: Mix = CrossFade()


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


def paint(stages: Stages, moved: Image | None, moment: Moment) -> tuple[Image, Moment]:
    """Diffuse one frame from the moved previous picture; give it, and the moment with the colours to hold to."""
    moment = replace(moment, palette=stages.palette(moment, moved, None), moved=moved)
    image = stages.source(moved, moment)
    moment = replace(moment, start=image)
    if moved is not None and image is not None:
        image = apply(stages.before, image, moment)
    [image] = stages.diffuse([image], [moment])
    image = apply(stages.after, image, moment)
    return image, replace(moment, palette=stages.palette(moment, moved, image))


def fade_in(stages: Stages, state: State | None, span: Span) -> Iterator[State]:
    """Deforum's cadence: diffuse, then blend the new picture in over the frames that follow, moving both."""
    moment, moved, older = Moment(span.key, None, stages.camera, None), None, None
    if state is not None:
        warp, camera = state.camera.look(state.shown, state.frame).move(span.key)
        moment = Moment(span.key, state.palette, camera, warp)
        moved, older = warp(state.shown), state.newer
    newer, moment = paint(stages, moved, moment)
    # The older picture is still where it was before the key; the newer one is painted where the key stands.
    pair = Pair(older, newer)
    for frame, fade in zip(span.frames, span.fades, strict=True):
        warp, camera = moment.camera.look(pair.newer, moment.frame).move(frame)
        pair = stages.mix.step(pair, warp, span.key, fade)
        moment = Moment(frame, moment.palette, camera, warp)
        mixed = pair.newer if pair.older is None else blend(pair.older, pair.newer, fade)
        yield State(frame, apply(stages.show, mixed, moment), pair.newer, moment.palette, camera)


def arrive(stages: Stages, state: State | None, span: Span) -> Iterator[State]:
    """Cadence on time: diffuse the frame at the end of the way, then show the way there.

    Each in-between is the last shown picture moved on, mixed with the new one moved back; where one of them does not
    reach, the other is seen. Every in-between is sampled once, however long the way.
    """
    moment = Moment(span.key, None, stages.camera, None)
    way: list[tuple[Moment, Warp]] = []
    moved = None
    if state is not None:
        camera, there = state.camera.look(state.shown, state.frame), None
        for frame in span.frames:
            step, camera = camera.move(frame)
            there = step if there is None else there.then(step)
            moment = Moment(frame, state.palette, camera, there)
            way.append((moment, there))
        moved = way[-1][1](state.shown)
    newer, painted = paint(stages, moved, moment)
    if state is not None and moved is not None and len(way) > 1:
        back = way[-1][1].inverse()
        between = stages.mix.meet(moved, newer, span.key)
        for (here, there), fade in zip(way[:-1], span.fades, strict=False):
            mixed = between(View(state.shown, there), View(newer, back.then(there)), fade)
            here = replace(here, palette=painted.palette)
            yield State(here.frame, apply(stages.show, mixed, here), newer, painted.palette, moment.camera)
    yield State(span.key, apply(stages.show, newer, painted), newer, painted.palette, moment.camera)


def feather(covers: Mask) -> Mask:
    """Let what a picture covers, (H, W) in 0..1, end softly inwards, so that no line shows where it ends."""
    known = (covers > 0.5).to(torch.uint8).cpu().numpy()
    if known.all():
        return covers
    inwards = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5  # px, from the pixel's own edge
    return covers * torch.from_numpy(inwards * (FEATHER / min(known.shape))).to(covers.device).clamp(0, 1)


def cross_fade(a: Image, a_covers: Mask, b: Image, b_covers: Mask, fade: float) -> Image:
    """Mix two pictures, `fade` 0 is `a`; where only one covers, only that one is seen."""
    a_share, b_share = (1 - fade) * a_covers, fade * b_covers
    total = a_share + b_share
    share = torch.where(total > 0, b_share / total.clamp(min=1e-6), fade)
    return torch.lerp(a, b, share)


def in_turn(step: Callable[[Stages, State | None, Span], Iterator[State]]) -> Pace:
    """Go from span to span, each from the state at the end of the one before."""

    def pace(stages: Stages, spans: Iterable[Span]) -> Iterator[State]:
        state: State | None = None
        for span in spans:
            for reached in step(stages, state, span):
                yield reached
            state = reached

    return pace


def apart(room: int) -> Pace:
    """Paint frames that do not depend on each other, `room` at a time; each span is of one frame.

    Where a graphics card has not the memory for so many, half as many are painted from then on.
    """

    def pace(stages: Stages, spans: Iterable[Span]) -> Iterator[State]:
        waiting, size = iter(spans), room
        while group := list(islice(waiting, size)):
            while group:
                try:
                    painted = paint_apart(stages, [span.key for span in group[:size]])
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    size = (size + 1) // 2
                    continue
                for image, moment in painted:
                    shown = apply(stages.show, image, moment)
                    yield State(moment.frame, shown, image, moment.palette, stages.camera)
                group = group[size:]

    return pace


def paint_apart(stages: Stages, keys: Sequence[Frame]) -> list[tuple[Image, Moment]]:
    """Diffuse frames that have nothing of the one before; give each with its moment."""
    moments = []
    for key in keys:
        moment = Moment(key, None, stages.camera, None)
        moment = replace(moment, palette=stages.palette(moment, None, None))
        moments.append(replace(moment, start=stages.source(None, moment)))
    pictures = stages.diffuse([moment.start for moment in moments], moments)
    return [(apply(stages.after, picture, moment), moment) for picture, moment in zip(pictures, moments, strict=True)]


def animate(stages: Stages, spans: Iterable[Span]) -> Iterator[tuple[Frame, Image]]:
    """Render the frames of the spans, in order."""
    return ((state.frame, state.shown) for state in stages.pace(stages, spans))
