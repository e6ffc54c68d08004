"""Entry points of the library: `render` writes a run's folder, `frames` yields pictures, `check` finds mistakes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from deforum.build import Animation, Prepared, build, prepare
from deforum.errors import Problem, UserError, disk_error
from deforum.events import (
    FrameShown,
    Note,
    Observer,
    Profiled,
    RunFinished,
    RunLoaded,
    RunPrepared,
    RunResult,
    StageTimes,
    nobody,
)
from deforum.features.feature import Recording
from deforum.models.kept import KeptModels
from deforum.needs import memory_note
from deforum.output.choice import Film, Outputs
from deforum.output.labels import Label
from deforum.output.naming import new_folder, run_name, runs_folder
from deforum.output.run import Run
from deforum.paths import stays_inside
from deforum.profiling import TRACE_FILE, Recorder, each, frame_done, is_recording, recording
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.sources import heading
from deforum.timeline.frame import Frame
from deforum.video.formats import FORMATS
from deforum.video.writer import Pixels, VideoWriter

if TYPE_CHECKING:
    import torch

    from deforum.animation.stages import Stages
    from deforum.pixels.image import Image

STAND_IN_SIDE = 256
"""px; outputs are checked with it in place of a size that is unknown because the model is missing."""

MAKES_FILMS = "# To make another film from the frames beside it: render.py film FOLDER [fps=24] [video_format=webm]"
"""Second line of a run's settings.yaml, which also tells what to do after a run that was killed."""
T = TypeVar("T")

Change = Callable[["Stages"], "Stages"]
"""Function of the stages of a run that returns the stages to render with."""


def unchanged(stages: Stages) -> Stages:
    """Return the stages as the settings define them."""
    return stages


def _changed(animation: Animation, change: Change) -> Animation:
    return replace(animation, stages=change(animation.stages))


def levels(image: Image, bits: int) -> Pixels:
    """Round an image to (H, W, 3) RGB levels, uint8 or uint16 for 8 or 16 `bits`; values outside 0..1 are clipped."""
    from deforum.pixels.image import to_array, to_bytes

    if bits == 8:
        return to_bytes(image)
    words: NDArray[np.uint16] = np.rint(np.clip(to_array(image), 0, 1) * 65535).astype(np.uint16)
    return words


def check(settings: Settings, *, output: str | Path | None = None, allow_download: bool = False) -> Prepared:
    """Find every mistake in the settings and the outputs that can be found without loading a model.

    `output` is the folder for the runs (default: the setting of that name). `allow_download`: models that are not here
    may be on the hub; otherwise nothing is asked of it. Returns the prepared run: resolved settings, sampled timeline,
    and notes on deviations from the settings. Raises UserError with all problems.
    """
    problems: list[Problem] = []
    outputs, notes = Outputs.of(settings)

    def look(find: Callable[[], T]) -> T | None:
        try:
            return find()
        except UserError as error:
            problems.extend(error.problems)
            return None

    prepared = look(lambda: prepare(settings, allow_download=allow_download))
    known = settings if prepared is None else prepared.settings
    look(lambda: outputs.check(known.width or STAND_IN_SIDE, known.height or STAND_IN_SIDE, settings.fps))
    look(lambda: runs_folder(settings, None if output is None else Path(output)))
    if problems or prepared is None:
        raise UserError(problems)
    film_seconds = len(prepared.timeline) / settings.fps
    foreseen = [*outputs.sound_notes(film_seconds), *outputs.cut_off(), *filter(None, [memory_note(prepared)])]
    return replace(prepared, notes=(*prepared.notes, *notes, *foreseen))


def render(
    settings: Settings,
    *,
    output: str | Path | None = None,
    origin: str = "",
    observer: Observer = nobody,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    models: KeptModels | None = None,
    change: Change = unchanged,
    allow_download: bool = False,
    profile: bool | Path = False,
) -> RunResult:
    """Render settings into a new folder under `output` (default: the setting of that name).

    `origin` says in the folder's settings.yaml where the settings came from: `Loaded.origin`, or words of your own.
    `observer` is called with each event, see `deforum.events`. `progress(done, total)` is called when the models are
    loaded (done 0) and after every frame. `stop()` is called after every frame; if it returns True, the run ends early
    and its files are closed. Models in `models` are reused, and models loaded here are added to it for further runs.
    `change` maps the stages of the loop to those that are run, for example with one more filter. `allow_download` lets
    models that are not here be downloaded from the hub. `profile` measures the stages, for the event `Profiled`, and
    writes a trace: True into the run's folder, a path there. Raises UserError, before rendering wherever possible.
    """
    _settle_process()
    tell = observer if progress is None else _telling(observer, progress)
    prepared = check(settings, output=output, allow_download=allow_download)
    settings = prepared.settings
    _tell_prepared(prepared, tell)
    outputs, _ = Outputs.of(settings)
    parent = runs_folder(settings, None if output is None else Path(output))
    folder = new_folder(parent, run_name(settings, datetime.now()))
    trace = profile if isinstance(profile, Path) else folder / TRACE_FILE if profile else None
    try:
        if trace is not None:
            _check_writable(trace)
        animation = _changed(build(prepared, models), change)
    except BaseException:
        if trace is not None:
            trace.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    total, stopped = len(animation.timeline), False
    width, height = settings.size
    recorded = as_recorded(settings)
    label = Label.of(recorded, origin) if settings.save_metadata else None
    run = Run(
        folder, f"{heading(origin)}\n{MAKES_FILMS}\n\n{dump(recorded)}",
        width=width, height=height, fps=settings.fps, outputs=outputs, label=label,
    )  # fmt: skip
    recorder = None if trace is None else Recorder(trace, settle=_settling(animation.device))
    measured = contextlib.nullcontext() if recorder is None else recording(recorder)
    with measured, contextlib.ExitStack() as beside, run:
        animation = animation.recorded(_recording(animation, folder, outputs, beside, label))
        tell(RunLoaded(folder, total))
        for frame, image in _watched(
            animation, tell, lambda frame, image: run.write(frame, levels(image, outputs.bits))
        ):
            tell(FrameShown(frame, image, run.num_frames, total))
            if run.num_frames < total and stop():
                stopped = run.keep_frames = True
                break
    result = RunResult(run.films[0] if run.films else None, folder, run.num_frames, run.films, stopped)
    if recorder is not None and trace is not None:
        tell(Profiled(recorder.breakdown(), trace))
    tell(RunFinished(result))
    return result


def _check_writable(path: Path) -> None:
    try:
        path.open("a").close()
    except OSError as error:
        raise disk_error(error, path) from error


def _settling(device: torch.device) -> Callable[[], None] | None:
    """Return a function that waits until the device has done its work; None where work is done when a call returns."""
    if device.type == "cpu":
        return None
    import torch

    return torch.cuda.synchronize if device.type == "cuda" else torch.mps.synchronize


def as_recorded(settings: Settings) -> Settings:
    """Return what a run records, in its folder, frames and films: no `output` that only a person may choose."""
    return settings if stays_inside(settings.output) else replace(settings, output=Settings.output)


def frames(
    settings: Settings,
    *,
    observer: Observer = nobody,
    models: KeptModels | None = None,
    change: Change = unchanged,
    allow_download: bool = False,
) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Render settings and yield each frame with its picture, (H, W, 3) RGB levels 0..255; nothing is written.

    `observer`, `models`, `change` and `allow_download` as for `render`. Raises UserError when the first frame is
    requested, or later if a frame cannot be rendered.
    """
    _settle_process()
    from deforum.pixels.image import to_bytes

    prepared = prepare(settings, allow_download=allow_download)
    _tell_prepared(prepared, observer)
    animation = _changed(build(prepared, models), change)
    total = len(animation.timeline)
    observer(RunLoaded(None, total))
    for done, (frame, image) in enumerate(_watched(animation, observer, lambda frame, image: None), 1):
        observer(FrameShown(frame, image, done, total))
        yield frame, to_bytes(image)


def _settle_process() -> None:
    from deforum.models.process import settle_process

    settle_process()


def _tell_prepared(prepared: Prepared, tell: Observer) -> None:
    tell(RunPrepared(prepared.settings, prepared.timeline))
    for text in prepared.notes:
        tell(Note(text))


def _telling(observer: Observer, progress: Callable[[int, int], None]) -> Observer:
    """Return an observer that also calls `progress`."""

    def tell(event: object) -> None:
        observer(event)  # type: ignore[arg-type]
        if isinstance(event, RunLoaded):
            progress(0, event.total)
        elif isinstance(event, FrameShown):
            progress(event.done, event.total)

    return tell


def _watched(
    animation: Animation, tell: Observer, write: Callable[[Frame, Image], None]
) -> Iterator[tuple[Frame, Image]]:
    """Render and write each frame, and report its StageTimes; without an observer nothing is measured."""
    if tell is nobody and not is_recording():
        for frame, image in animation.frames():
            write(frame, image)
            yield frame, image
        return
    from deforum.animation.timing import Stopwatch, timed_stages

    watch = Stopwatch()
    write = watch.timed("write", write)
    measured = replace(animation, stages=timed_stages(animation.stages, watch))
    for frame, image in each("motion", measured.frames()):  # the loop moves; all else that it calls has its own stage
        write(frame, image)
        frame_done(frame.index)
        tell(StageTimes(frame, watch.take()))
        yield frame, image


def _recording(
    animation: Animation, folder: Path, outputs: Outputs, beside: contextlib.ExitStack, label: Label | None
) -> Recording:
    settings = animation.settings
    comment = label.comment if label else ""

    def film(suffix: str) -> VideoWriter:
        of = outputs.films[0] if outputs.films else Film(settings.video_format)
        path = folder / f"{folder.name}{suffix}{FORMATS[of.format].suffix}"
        return VideoWriter(
            path, *settings.size, settings.fps, format=of.format, quality=of.quality, preset=of.preset, comment=comment
        )

    return Recording(settings, animation.timeline, folder, film, beside.enter_context)
