"""Several animations at once: each renders in a thread of its own, and all are painted by one model.

On a processor as many are painted side by side as there are cores, each on its share of them: the small operations of
a network leave a second core idle. On a graphics card the animations step in lock step: when all of them have asked
for a painting, they are painted as one batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

import torch

from deforum.animation.painter import Painter
from deforum.animation.parts import Memory, Moment
from deforum.animation.stages import Stages
from deforum.diffusion.cores import Cores
from deforum.diffusion.faults import RenderError, shared
from deforum.diffusion.pixel_strength import Paint
from deforum.models.checks import settle, take_checks
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame

T = TypeVar("T")

GLANCE = 0.5
"""Seconds between two looks of a waiting thread; on Windows, Ctrl-C is noticed only then."""


@dataclass(eq=False)
class Request:
    """The frames that one animation asks to be painted, and what became of them."""

    painter: Painter
    inits: Sequence[Image | None]
    frames: Sequence[Frame]
    paints: Sequence[Paint | None] | None
    pictures: list[Image] | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.pictures is not None or self.error is not None

    def paint(self) -> list[Image]:
        return self.painter(self.inits, self.frames, paints=self.paints)


class Meeting:
    """What animations that render at once know of each other."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = 0
        """Number of animations that have begun and not ended."""
        self.is_aborted = False
        """Whether all animations are to stop at once."""

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Take part in the meeting; to be entered in the order in which the animations begin."""
        try:
            yield
        finally:
            with self.changed:
                self.running -= 1
                self.changed.notify_all()

    def go_on(self) -> None:
        """Raise KeyboardInterrupt where all animations are to stop at once."""
        if self.is_aborted:
            raise KeyboardInterrupt

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait, within `changed`, until a condition holds. Raises KeyboardInterrupt as `go_on` does."""
        self.go_on()
        while not condition():
            self.changed.wait(GLANCE)
            self.go_on()

    def abort(self) -> None:
        """Have each animation stop where it waits, or where it next calls `go_on`."""
        with self.changed:
            self.is_aborted = True
            self.changed.notify_all()


class Way(Protocol):
    """How the requests of all animations are painted."""

    def __call__(self, request: Request) -> list[Image]:
        """Paint the frames of a request; called on the thread of its animation, which waits for the pictures."""


class SideBySide:
    """On a processor: each animation paints on its own thread, with a share of the cores.

    A picture is the one that its animation paints alone, whatever else is painted: a request is never joined with
    others.
    """

    def __init__(self, meeting: Meeting, cores: Cores) -> None:
        self._meeting = meeting
        self._cores = cores
        self._painting = 0
        self._is_alone = False

    def __call__(self, request: Request) -> list[Image]:
        if len(request.frames) == 1:
            with suppress(RenderError), self._beside() as threads, self._cores.split(threads), shared():
                return request.paint()
        # Batches of one animation take all cores by themselves; and a retry in float32 needs the model for itself.
        with self._alone(), self._cores.whole():
            return request.paint()

    @contextmanager
    def _beside(self) -> Iterator[int]:
        """Paint beside others, at most one for each core; yields by how many the cores are shared."""
        meeting = self._meeting
        with meeting.changed:
            meeting.wait_for(lambda: self._painting < self._cores.all and not self._is_alone)
            self._painting += 1
            threads = min(meeting.running, self._cores.all)
        try:
            yield threads
        finally:
            with meeting.changed:
                self._painting -= 1
                meeting.changed.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Paint while nobody else does."""
        meeting = self._meeting
        with meeting.changed:
            meeting.wait_for(lambda: not self._is_alone)
            self._is_alone = True
        try:
            with meeting.changed:
                meeting.wait_for(lambda: self._painting == 0)
            yield
        finally:
            with meeting.changed:
                self._is_alone = False
                meeting.changed.notify_all()


class InBatches:
    """On a graphics card: when all animations have asked for a painting, the last to ask paints for all.

    A batch that fails is painted again, request by request, so that an error is that of its own animation; after a lack
    of memory, batches have at most half as many frames from then on.
    """

    def __init__(self, meeting: Meeting, most: int) -> None:
        self._meeting = meeting
        self._most = most
        self._asked: list[Request] = []
        self._is_painting = False

    def __call__(self, request: Request) -> list[Image]:
        meeting = self._meeting
        checks = take_checks()  # those of this animation: the batch is painted on any thread
        with meeting.changed:
            self._asked.append(request)
            meeting.changed.notify_all()
            # Whoever is done waits for the rest of the batch too: the card, and its memory, are used by one at a time.
            meeting.wait_for(lambda: not self._is_painting and (request.is_done or self._all_have_asked()))
            if not request.is_done:
                batch, self._asked, self._is_painting = self._asked, [], True
        if not request.is_done:
            try:
                self._paint(batch)
            finally:
                with meeting.changed:
                    self._is_painting = False
                    meeting.changed.notify_all()
        settle(checks)
        if request.error is not None:
            raise request.error
        assert request.pictures is not None
        return request.pictures

    def _all_have_asked(self) -> bool:
        return len(self._asked) == self._meeting.running

    def _paint(self, requests: Sequence[Request]) -> None:
        for batch in batches(requests, self._most):
            if len(batch) > 1:
                try:
                    joined(batch)
                    continue
                except torch.OutOfMemoryError:
                    self._most = max(1, sum(len(each.frames) for each in batch) // 2)
                except Exception:  # of which animation is seen below
                    pass
            for each in batch:
                try:
                    each.pictures = each.paint()
                except Exception as error:
                    each.error = error


def batches(requests: Sequence[Request], most: int) -> list[list[Request]]:
    """Group requests for one model and size into batches of at most `most` frames."""
    found: list[tuple[object, list[Request]]] = []
    for request in requests:
        of = alike(request.painter)
        for key, batch in found:
            if key == of and sum(len(each.frames) for each in batch) + len(request.frames) <= most:
                batch.append(request)
                break
        else:
            found.append((of, [request]))
    return [batch for _, batch in found]


def alike(painter: Painter) -> object:
    """Return what is equal for painters that paint the same: those that are made of the same function."""
    if isinstance(painter, partial):
        return painter.func, painter.args, tuple(sorted(painter.keywords.items()))
    return painter


def joined(batch: Sequence[Request]) -> None:
    """Paint requests as one batch."""
    inits = [init for each in batch for init in each.inits]
    frames = [frame for each in batch for frame in each.frames]
    paints = [paint for each in batch for paint in each.paints or [None] * len(each.frames)]
    pictures = iter(batch[0].painter(inits, frames, paints=paints if any(paints) else None))
    for each in batch:
        each.pictures = [next(pictures) for _ in each.frames]


@dataclass
class Together:
    """Renders animations at once.

        together = Together(at_once=2)
        futures = together.run([partial(render, settings, change=together.join) for settings in several])

    `at_once` is the largest number of animations in progress; the next begins when one ends. `in_batches` joins their
    frames to batches, for graphics cards.
    """

    at_once: int
    in_batches: bool = False
    _meeting: Meeting = field(default_factory=Meeting, init=False)
    _paint: Way = field(init=False)

    def __post_init__(self) -> None:
        meeting, cores = self._meeting, Cores(torch.get_num_threads())
        self._cores = cores
        self._paint = InBatches(meeting, self.at_once) if self.in_batches else SideBySide(meeting, cores)

    def join(self, stages: Stages) -> Stages:
        """Return the stages of an animation, painted together with the others; `change` of `rendering.render`.

        Where all are to stop, they raise KeyboardInterrupt: after the painting in progress, or at the next frame.
        """
        painter, go_on = stages.painting.painter, self._meeting.go_on
        go_on()

        def paint(
            inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
        ) -> list[Image]:
            go_on()
            pictures = self._paint(Request(painter, inits, frames, paints))
            go_on()
            return pictures

        def show(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
            go_on()
            return image, trails

        return replace(stages, painting=replace(stages.painting, painter=paint), show=[show, *stages.show])

    join.keeps_pictures = True  # type: ignore[attr-defined]  # for the record of the run: see `rendering`

    def run(self, works: Sequence[Callable[[], T]], stop: Callable[[], bool] = lambda: False) -> list[Future[T] | None]:
        """Call each of `works` on a thread of its own; return their results and errors when all have ended.

        `stop()` True begins no more of them; the result of one that never began is None. KeyboardInterrupt stops all:
        it is raised in each animation, see `join`, and here when all have ended.
        """
        futures: list[Future[T] | None] = [None] * len(works)
        meeting, shares = self._meeting, 1 if self.in_batches else min(self.at_once, len(works))
        try:
            for number, work in enumerate(works):
                self._wait_for_room()
                if stop():
                    break
                future: Future[T] = Future()
                futures[number] = future
                with meeting.changed:
                    meeting.running += 1
                thread = threading.Thread(
                    target=self._work, args=(work, future, shares), name=f"animation {number}", daemon=True
                )
                thread.start()
            self._join()
        except KeyboardInterrupt:
            meeting.abort()
            self._join()
            raise
        return futures

    def _wait_for_room(self) -> None:
        with self._meeting.changed:
            while self._meeting.running >= self.at_once:
                self._meeting.changed.wait(GLANCE)

    def _join(self) -> None:
        # Not by Thread.join: interrupted, CPython 3.11 takes a running thread for one that has ended.
        with self._meeting.changed:
            while self._meeting.running:
                self._meeting.changed.wait(GLANCE)

    def _work(self, work: Callable[[], T], future: Future[T], shares: int) -> None:
        """Call `work` with one of `shares` of the cores: threads for small operations wait for cores that are busy."""
        with self._meeting.attended(), self._cores.split(shares):
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
