"""The loop: each frame is the last one, moved, given a source, filtered, diffused, and shown.

    moved -> source -> before -> diffuse -> after -> between -> show

Differences between modes are rows of a table in `deforum.animation.modes`; the loop is the same for all modes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch

from deforum.animation.ending import EndingCamera
from deforum.animation.mix import sharpness_of
from deforum.animation.parts import Filter, Memory, Moment, Pair, View
from deforum.animation.stages import Pace, Stages
from deforum.animation.state import State
from deforum.motion.warps import Warp
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Image, blend
from deforum.pixels.sharpness import sharpen_to
from deforum.timeline.frame import Frame, Span


def apply(filters: Sequence[Filter], image: Image, moment: Moment) -> Image:
    """Apply filters to a picture, one after the other."""
    for change in filters:
        image = change(image, moment)
    return image


def show(stages: Stages, image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
    """Return the picture that is shown, and the updated memory of the pictures shown so far."""
    for change in stages.show:
        image, trails = change(image, moment, trails)
    return image, trails


def paint(stages: Stages, moved: Image | None, moment: Moment) -> tuple[Image, Moment]:
    """Diffuse one frame from the moved previous picture; return it, and the moment with its colour reference."""
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
    trails: Memory = {} if state is None else state.trails
    if state is not None:
        warp, camera = state.camera.look(state.picture, state.frame).move(span.key)
        moment = Moment(span.key, state.palette, camera, warp, step=warp, trails=trails)
        moved, older = warp(state.picture), state.newer
    newer, moment = paint(stages, moved, moment)
    # The older picture is still at the frame before the key; the newer one is at the key.
    pair = Pair(older, newer)
    for frame, fade in zip(span.frames, span.fades, strict=True):
        warp, camera = moment.camera.look(pair.newer, moment.frame).move(frame)
        pair = stages.mix.step(pair, warp, span.key, fade)
        moment = Moment(frame, moment.palette, camera, warp, step=warp, trails=trails)
        mixed = pair.newer if pair.older is None else blend(pair.older, pair.newer, fade)
        picture = apply(stages.between, mixed, moment)
        shown, trails = show(stages, picture, moment, trails)
        last = frame is span.frames[-1]
        begun = None if last else state
        yield State(frame, shown, picture, pair.newer, moment.palette, camera, trails, last, begun)


def on_the_way(state: State, frames: Sequence[Frame]) -> Iterator[tuple[Moment, Warp]]:
    """Follow the camera through frames after the state's; yield each moment, and the motion since the state."""
    camera, there = state.camera.look(state.picture, state.frame), None
    for frame in frames:
        step, camera = camera.move(frame)
        there = step if there is None else camera.joined(there, step)
        yield Moment(frame, state.palette, camera, there, step=step, trails=state.trails), there


def arrive(stages: Stages, state: State | None, span: Span) -> Iterator[State]:
    """Cadence on time: diffuse the frame at the end of the way, then show the way there.

    Each in-between is a mix of the last diffused picture moved forward and the new one moved back. Where only one of
    them covers the frame, that one is shown. Every in-between is sampled once, however long the way.
    """
    way = [] if state is None else list(on_the_way(state, span.frames))
    moment, moved = Moment(span.key, None, stages.camera, None), None
    trails: Memory = {} if state is None else state.trails
    if state is not None:
        moment, there = way[-1]
        lead, camera = moment.camera.lead(there)
        moment = replace(moment, camera=camera, warp=lead)
        moved = lead(state.picture)
    newer, painted = paint(stages, moved, moment)
    if state is not None and moved is not None and len(way) > 1:
        ahead = moved if lead is there else there(state.picture)
        for reached in meet(stages, state, way, ahead, newer, span, painted.palette):
            trails = reached.trails
            yield reached
    if state is not None:
        painted = replace(painted, warp=there)
    shown, trails = show(stages, newer, painted, trails)
    yield State(span.key, shown, newer, newer, painted.palette, moment.camera, trails)


def meet(
    stages: Stages,
    state: State,
    way: Sequence[tuple[Moment, Warp]],
    moved: Image,
    newer: Image,
    span: Span,
    palette: ColorReference | None,
) -> Iterator[State]:
    """Show the in-betweens of the state's picture, which `moved` is at the end of the way, and of the newer one."""
    trails, camera = state.trails, way[-1][0].camera
    back = way[-1][1].inverse()
    between = stages.mix.meet(moved, newer, way[-1][0].frame)
    for (here, there), fade in zip(way[:-1], span.fades, strict=False):
        mixed = between(View(state.picture, there), View(newer, back.then(there)), fade)
        here = replace(here, palette=palette)
        picture = apply(stages.between, mixed, here)
        shown, trails = show(stages, picture, here, trails)
        yield State(here.frame, shown, picture, newer, palette, camera, trails, False, state)


def come_round(stages: Stages, state: State, span: Span, first: Frame) -> Iterator[State]:
    """Close a loop: show the in-betweens of the last diffused picture and of the first one, which follows."""
    way = list(on_the_way(state, (*span.frames, first)))
    moment, there = way[-1]
    ending = moment.camera.within(EndingCamera)
    assert ending is not None and ending.picture is not None
    yield from meet(stages, state, way, there(state.picture), ending.picture, span, state.palette)


def move_on(stages: Stages, state: State, span: Span) -> Iterator[State]:
    """Show the last diffused picture moved on, sampled once for each frame."""
    trails = state.trails
    for moment, there in on_the_way(state, span.frames):
        moved = sharpen_to(there(state.picture), sharpness_of(View(state.picture, there)))
        picture = apply(stages.between, moved, moment)
        shown, trails = show(stages, picture, moment, trails)
        yield State(moment.frame, shown, picture, state.newer, state.palette, moment.camera, trails, False, state)


def in_turn(step: Callable[[Stages, State | None, Span], Iterator[State]]) -> Pace:
    """Render span after span, each from the state at the end of the one before.

    Resuming from a state within a span repeats that span up to the frame of the state.
    """

    def pace(stages: Stages, spans: Iterable[Span], start: State | None = None) -> Iterator[State]:
        state, known = (None, -1) if start is None else (start.boundary, start.frame.index)
        for span in spans:
            if state is not None and span.frames[-1].index <= state.frame.index:
                continue
            if state is None or span.paints:
                states = step(stages, state, span)
            elif span.closes is not None:
                states = come_round(stages, state, span, span.closes)
            else:
                states = move_on(stages, state, span)
            for reached in states:
                if reached.frame.index > known:
                    yield reached
            state = reached

    return pace


def apart(room: int) -> Pace:
    """Paint independent frames in batches of `room`; each span has one frame.

    When GPU memory runs out, the batch size is halved for the rest of the run.
    """

    def pace(stages: Stages, spans: Iterable[Span], start: State | None = None) -> Iterator[State]:
        state, known = (None, -1) if start is None else (start.boundary, start.frame.index)
        waiting, size = iter(spans), room
        while group := list(islice(waiting, size)):
            # Batches are the same whether or not all of their frames are wanted, so that pictures are the same too.
            # (A boundary lies within a group when the batch size was halved.)
            if state is not None:
                group = [span for span in group if span.key.index > state.frame.index]
            while group:
                try:
                    painted = paint_apart(stages, [span.key for span in group[:size]])
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    size = (size + 1) // 2
                    continue
                begun, trails = state, {} if state is None else state.trails
                for image, moment in painted:
                    shown, trails = show(stages, image, moment, trails)
                    last, palette = moment is painted[-1][1], moment.palette
                    before = None if last else begun
                    state = State(moment.frame, shown, image, image, palette, stages.camera, trails, last, before)
                    if moment.frame.index > known:
                        yield state
                group = group[size:]

    return pace


def paint_apart(stages: Stages, keys: Sequence[Frame]) -> list[tuple[Image, Moment]]:
    """Diffuse frames that do not use the previous one; return each with its moment."""
    moments = []
    for key in keys:
        moment = Moment(key, None, stages.camera, None)
        moment = replace(moment, palette=stages.palette(moment, None, None))
        moments.append(replace(moment, start=stages.source(None, moment)))
    pictures = stages.diffuse([moment.start for moment in moments], moments)
    return [(apply(stages.after, picture, moment), moment) for picture, moment in zip(pictures, moments, strict=True)]


def animate(stages: Stages, spans: Iterable[Span], start: State | None = None) -> Iterator[tuple[Frame, Image]]:
    """Render the frames of the spans in order; given a start state, only those after it."""
    return ((state.frame, state.shown) for state in stages.pace(stages, spans, start))
