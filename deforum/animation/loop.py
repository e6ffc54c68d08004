"""The loop: each frame is the last one, moved, given a source, filtered, diffused, and shown.

    moved -> source -> before -> diffuse -> after -> shown

What a mode does differently is a row of a table in `deforum.animation.modes`; nothing here asks which mode it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch

from deforum.animation.parts import Moment, Pace, Pair, Stages, State, View, apply
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, blend
from deforum.timeline.frame import Frame, Span


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
