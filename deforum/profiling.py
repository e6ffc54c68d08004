"""Where the time of a render goes: the stages that its threads are in, as a table and as a trace.

    with recording(Recorder(Path("trace.json"))) as recorder:
        with stage("decode", frame=12):
            ...
    print(recorder.breakdown().table())

Code that is measured names its stage with `stage` or `staged`. Without a recorder both do nothing: no clock is read. A
thread reports to the recorder of the context that it runs in; `in_context` starts a thread in a copy of this one.

The trace is in the Trace Event Format, which ui.perfetto.dev and chrome://tracing show. It is written while frames are
rendered, and readable after a crash too.
Source: "Trace Event Format", Google, the document linked by chrome://tracing.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, ParamSpec, TypeVar

from deforum.errors import disk_error

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

WAITING, OTHER = "waiting", "other"
TRACE_FILE = "trace.json"
"""Name of the trace in the folder of a run."""

STAGES: Mapping[str, str] = {
    "schedule": "values and prompts of the frame",
    "motion": "cameras, and moving pictures",
    "flow": "optical flow",
    "depth": "the depth model, and scaling its result",
    "source": "reading and composing the picture to paint from",
    "colour": "colour references, and matching colours to them",
    "noise": "noise for the picture, the latents and the steps",
    "filters": "other filters before and after painting: sharpening, contrast, detail",
    "prompt": "encoding prompts",
    "encode": "the encoder of the VAE, with the refinement of the latents",
    "denoise": "the steps of the sampler",
    "decode": "the decoder of the VAE, with the correction of its picture",
    "diffuse": "the rest of painting: masks, extra passes",
    "in-between": "frames that are not painted: moving, mixing, sharpening",
    "show": "additions to shown pictures: echo, symmetry, overlays",
    "finish": "the network and the looks of finished frames",
    "write": "8-bit conversion, picture files, handing frames to ffmpeg, completing films",
    WAITING: "the rendering thread waits and nothing else is measured: ffmpeg, a full queue, a clip",
    OTHER: "everything else on the rendering thread: progress, observers",
}
"""The stages in the order of the table, and what they hold (for docs/speed.md)."""

_log = logging.getLogger(__name__)


class _Idle:
    """A stage that nothing records."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


IDLE = _Idle()
_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def stage(name: str, frame: int | None = None) -> AbstractContextManager[None]:
    """Record that this thread is in a stage within the block; a stage within another one interrupts it."""
    recorder = _recorder.get()
    return IDLE if recorder is None else _Span(recorder, name, frame)


def staged(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function as a stage."""

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(work)
        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            with stage(name):
                return work(*args, **kwargs)

        return measured

    return decorate


def each(name: str, items: Iterator[T]) -> Iterator[T]:
    """Record the making of each item as a stage. Without a recorder the items themselves are returned."""
    return items if _recorder.get() is None else _each(name, items)


def _each(name: str, items: Iterator[T]) -> Iterator[T]:
    nothing = object()
    while True:
        with stage(name):
            item = next(items, nothing)
        if item is nothing:
            return
        yield item  # type: ignore[misc]


def count(name: str, value: int) -> None:
    """Record a number that changes over time, such as the length of a queue."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.count(name, value)


def is_recording() -> bool:
    return _recorder.get() is not None


def frame_done(index: int) -> None:
    """Record that a frame is finished."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.frame(index)


def in_context(work: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to a copy of the current context, so that a thread that calls it has the same recorder.

    Functions bound by different calls may run at the same time; one function may not.
    """
    context = copy_context()
    return lambda *args, **kwargs: context.run(work, *args, **kwargs)


@contextmanager
def recording(recorder: Recorder) -> Iterator[Recorder]:
    """Record the stages of this thread, which is the rendering one, and of threads started in the block."""
    token = _recorder.set(recorder)
    try:
        with recorder:
            yield recorder
    finally:
        _recorder.reset(token)


# --- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageShare:
    """The time of one stage in a run, in seconds."""

    stage: str
    spent: float
    """By all threads together, without the stages within it."""
    lasted: float
    """The part of the run's duration that it accounts for; those of all stages add up to the duration."""

    @property
    def hidden(self) -> float:
        """The part that cost no time, because another thread was the one that the run waited for."""
        return max(self.spent - self.lasted, 0.0)


@dataclass(frozen=True)
class Breakdown:
    """The duration of a run by stage."""

    frames: int
    seconds: float
    """From the first frame's beginning to the completed files."""
    stages: tuple[StageShare, ...]

    def table(self) -> str:
        """Return a table of ms per frame, share of the duration, and ms per frame hidden by overlap."""
        frames = max(self.frames, 1)
        rows = [("ms per frame", "share", "hidden by overlap")]
        for each in self.stages:
            hidden = 1000 * each.hidden / frames
            share = f"{100 * each.lasted / self.seconds:.1f} %"
            rows.append((f"{1000 * each.spent / frames:.1f}", share, f"{hidden:.1f}" if hidden >= 0.05 else ""))
        hidden = 1000 * sum(each.hidden for each in self.stages) / frames
        rows.append((f"{1000 * self.seconds / frames:.1f}", "100.0 %", f"{hidden:.1f}"))
        names = ["stage", *(each.stage for each in self.stages), "whole run"]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([f"{name:{max(map(len, names))}}", *map(str.rjust, row, widths)])
            for name, row in zip(names, rows, strict=True)
        ]
        rate = self.frames / self.seconds if self.seconds else 0.0
        lines.append(f"{self.frames} frames in {self.seconds:.2f} s: {rate:.2f} frames/s")
        return "\n".join(line.rstrip() for line in lines)


class Tally:
    """Adds up the time of stages in several threads.

    Each moment of the run is attributed to the stage that the rendering thread is in: what other threads do meanwhile
    is hidden. Where the rendering thread waits, the moment is shared among the threads that work.
    """

    def __init__(self, lead: int, start: int) -> None:
        self.spent: dict[str, int] = {}
        self.lasted: dict[str, float] = {}
        self._lead, self._at = lead, start
        self._inside: dict[int, list[str]] = {}

    def pass_to(self, now: int) -> None:
        """Attribute the time up to now."""
        passed, self._at = now - self._at, now
        working = {thread: stages[-1] for thread, stages in self._inside.items()}
        own = working.pop(self._lead, OTHER)
        others = [name for name in working.values() if name != WAITING]
        for name in others if own == WAITING else (*others, own):
            self.spent[name] = self.spent.get(name, 0) + passed
        if own != WAITING:
            self.lasted[own] = self.lasted.get(own, 0) + passed
        elif others:
            for name in others:
                self.lasted[name] = self.lasted.get(name, 0) + passed / len(others)
        else:
            self.spent[WAITING] = self.spent.get(WAITING, 0) + passed
            self.lasted[WAITING] = self.lasted.get(WAITING, 0) + passed

    def enter(self, thread: int, name: str, now: int) -> None:
        self.pass_to(now)
        self._inside.setdefault(thread, []).append(name)

    def leave(self, thread: int, now: int) -> None:
        self.pass_to(now)
        stages = self._inside[thread]
        stages.pop()
        if not stages:
            del self._inside[thread]


class Recorder:
    """Records the stages of a run's threads; to be used by `recording`.

    `trace` is the file to write; None writes none. `settle` waits for the device: with it a stage of the rendering
    thread ends when its work is done, not when it is queued. Raises UserError where the trace cannot be written; later
    failures, such as a full disk, end the trace with a warning, and the render goes on.
    """

    def __init__(
        self,
        trace: Path | None = None,
        *,
        settle: Callable[[], None] | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._path, self._settle, self._clock = trace, settle, clock
        self._lock = threading.Lock()
        self._lead = threading.get_ident()
        self._start = self._end = self._frame_start = clock()
        self._tally = Tally(self._lead, self._start)
        self._frames = 0
        self._file: IO[str] | None = None
        self._lines: list[str] = []
        self._tracks: dict[str, int] = {}

    def __enter__(self) -> Recorder:
        if self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8")
            except OSError as error:
                raise disk_error(error, self._path) from error
            self._put(ph="M", name="process_name", args={"name": "render"})
            self._track("frames")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._end = self._clock()
            self._tally.pass_to(self._end)
            self._write(last=True)

    def enter(self, name: str) -> int:
        """Begin a stage in this thread; return the time."""
        with self._lock:
            now = self._clock()
            self._tally.enter(threading.get_ident(), name, now)
            return now

    def leave(self, name: str, frame: int | None, since: int) -> None:
        """End the stage that this thread began at the time `since`."""
        thread = threading.current_thread()
        if self._settle is not None and thread.ident == self._lead:
            self._settle()
        with self._lock:
            now = self._clock()
            self._tally.leave(threading.get_ident(), now)
            if self._file is not None:
                self._span(name, self._track(thread.name), since, now, frame)

    def count(self, name: str, value: int) -> None:
        with self._lock:
            if self._file is not None:
                self._put(ph="C", name=name, ts=self._time(self._clock()), args={"waiting": value})

    def frame(self, index: int) -> None:
        """Record that a frame is finished."""
        with self._lock:
            now = self._clock()
            if self._file is not None:
                self._span(f"frame {index}", self._track("frames"), self._frame_start, now, index)
            self._frame_start = now
            self._frames += 1
            self._write()

    def breakdown(self) -> Breakdown:
        """Return the times of the finished recording."""
        tally, order = self._tally, [*STAGES, *sorted(set(self._tally.spent) - set(STAGES))]
        stages = (
            StageShare(name, tally.spent[name] / 1e9, tally.lasted.get(name, 0) / 1e9)
            for name in order
            if tally.spent.get(name)
        )
        return Breakdown(self._frames, (self._end - self._start) / 1e9, tuple(stages))

    def _time(self, now: int) -> float:
        return (now - self._start) / 1000  # the format's unit is the microsecond

    def _track(self, thread: str) -> int:
        """Return the number of a thread's track in the trace; threads of one name share it, one after the other."""
        if thread not in self._tracks:
            number = self._tracks[thread] = len(self._tracks)
            self._put(ph="M", name="thread_name", tid=number, args={"name": thread})
            self._put(ph="M", name="thread_sort_index", tid=number, args={"sort_index": number})
        return self._tracks[thread]

    def _span(self, name: str, track: int, start: int, end: int, frame: int | None) -> None:
        of = {} if frame is None else {"args": {"frame": frame}}
        self._put(ph="X", name=name, tid=track, ts=self._time(start), dur=(end - start) / 1000, **of)

    def _put(self, **event: object) -> None:
        self._lines.append(json.dumps({"pid": 1, **event}, separators=(",", ":")))

    def _write(self, last: bool = False) -> None:
        """Write the events so far. The format allows the end of the list to be missing."""
        if self._file is None:
            return
        try:
            if self._lines:
                before = "[\n" if self._file.tell() == 0 else ",\n"
                self._file.write(before + ",\n".join(self._lines))
            if last:
                self._file.write("\n]\n")
                self._file.close()
                self._file = None
        except OSError as error:
            _log.warning("%s: the trace ends here: %s", self._path, error.strerror)
            self._file = None
        self._lines.clear()


class _Span:
    """A stage of this thread, from entering the block to leaving it."""

    __slots__ = ("_frame", "_name", "_recorder", "_since")

    def __init__(self, recorder: Recorder, name: str, frame: int | None) -> None:
        self._recorder, self._name, self._frame, self._since = recorder, name, frame, 0

    def __enter__(self) -> None:
        self._since = self._recorder.enter(self._name)

    def __exit__(self, *error: object) -> None:
        self._recorder.leave(self._name, self._frame, self._since)
