"""Observers of a render for the command line: JSON lines, and details for --verbose and the log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deforum.cli.terminal import say
from deforum.events import (
    FrameShown,
    Observer,
    Profiled,
    RunFinished,
    RunLoaded,
    RunPrepared,
    StageTimes,
    StepBegun,
    StepFrame,
)
from deforum.models.machine import peak_memory

if TYPE_CHECKING:
    from deforum.cli.console import Console
    from deforum.events import Event, RunResult
    from deforum.profiling import Breakdown
    from deforum.settings.options import Settings
    from deforum.timeline.frame import Frame


def all_of(*observers: Observer) -> Observer:
    """Return an observer that passes each event to all of `observers`, in order."""

    def tell(event: Event) -> None:
        for observer in observers:
            observer(event)

    return tell


def json_lines(console: Console, file: str) -> Observer:
    """Return an observer that prints each event as a line of JSON. Notes are left to `Console.note`."""

    def tell(event: Event) -> None:
        match event:
            case RunPrepared(settings):
                console.emit("prepared", file=file, **about(settings), settings=changed(settings))
            case RunLoaded(folder, total):
                console.emit("loaded", file=file, folder=None if folder is None else str(folder), total=total)
            case FrameShown(frame, _, done, total):
                console.emit("frame", file=file, **_of_frame(frame), done=done, total=total)
            case StageTimes(frame, seconds):
                console.emit("times", file=file, frame=frame.index, seconds=_rounded(seconds))
            case Profiled(breakdown, trace):
                console.emit("profile", file=file, **_of_breakdown(breakdown), trace=str(trace))
            case StepBegun(text, path, total):
                console.emit("step", file=file, text=text, path=str(path), total=total)
            case StepFrame(done, total):
                console.emit("step_frame", file=file, done=done, total=total)
            case RunFinished(result):
                console.emit("finished", file=file, **of_result(result))

    return tell


def details(console: Console, run: str = "") -> Observer:
    """Return an observer that says settings, versions, times and memory, as `Console.detail` does.

    `run` is the name of the run in each line, where several render at once.
    """
    began = time.monotonic()

    def detail(text: str) -> None:
        console.detail(f"{run}: {text}" if run else text)

    times: Mapping[str, float] = {}

    def tell(event: Event) -> None:
        nonlocal times
        match event:
            case RunPrepared(settings):
                detail(in_full(settings))
            case RunLoaded(folder, total):
                detail(f"loaded in {time.monotonic() - began:.1f} s: {_versions()}")
                detail(f"{total} frames into {folder}")
            case StageTimes(_, seconds):
                times = seconds
            case FrameShown(frame, _, done, total):
                spent = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in times.items() if seconds >= 0.005)
                detail(
                    f"frame {frame.index} ({done}/{total}): seed {frame.seed}, strength {frame.params.strength:.3g}, "
                    f"{frame.sampler}, {sum(times.values()):.2f} s ({spent})"
                )
            case RunFinished(result):
                memory = peak_memory()
                took = f"{result.frames} frames in {time.monotonic() - began:.1f} s"
                detail(took + (f", at most {memory / 2**30:.2f} GB of memory" if memory else ""))

    return tell


def profiles() -> Observer:
    """Return an observer that prints the table of a profiled run, whether or not --quiet."""

    def tell(event: Event) -> None:
        if isinstance(event, Profiled):
            say(f"{event.breakdown.table()}\ntrace for ui.perfetto.dev: {event.trace}")

    return tell


def in_full(settings: Settings) -> str:
    """Return the settings that differ from their defaults as indented YAML below a heading."""
    from deforum.settings.read import dump

    return "\n    ".join(["settings of the run:", *dump(settings).splitlines()])


def size_of(settings: Settings) -> str:
    """Return the size of the frames in words: of the animation, and of the files where frames are finished."""
    (width, height), (wide, high) = settings.size, settings.written_size
    return f"{width}x{height}" + (f", written as {wide}x{high}" if settings.finishes else "")


def about(settings: Settings) -> dict[str, object]:
    """Return the facts of a run in one line: frames, size, rate, mode, model, seed."""
    return {
        "frames": settings.max_frames,
        "width": settings.width,
        "height": settings.height,
        "written": list(settings.written_size),
        "fps": settings.fps,
        "animation_mode": settings.animation_mode,
        "model": settings.model,
        "seed": settings.seed,
    }


def changed(settings: Settings) -> dict[str, object]:
    """Return the settings that differ from their defaults: schedules as texts, keyed texts and units as objects."""
    from deforum.settings.read import list_values
    from deforum.settings.units import Unit, changed_values

    def plain(value: object) -> object:
        if isinstance(value, Unit):
            return {name: plain(each) for name, each in changed_values(value)}
        if isinstance(value, tuple):
            return dict(value) if all(isinstance(each, tuple) for each in value) else [plain(each) for each in value]
        return getattr(value, "text", value)

    return {name: plain(value) for name, _, value, default in list_values(settings) if value != default}


def of_result(result: RunResult) -> dict[str, object]:
    """Return the files of a render."""
    return {
        "video": None if result.video is None else str(result.video),
        "films": [str(film) for film in result.films],
        "folder": str(result.folder),
        "frames": result.frames,
        "stopped": result.stopped,
    }


def _of_frame(frame: Frame) -> dict[str, object]:
    from deforum.output.labels import prompts_of

    prompt, negative_prompt = prompts_of(frame)
    return {
        "frame": frame.index,
        "seed": frame.seed,
        "sampler": frame.sampler,
        "prompt": prompt,
        "negative_prompt": negative_prompt,
    }


def _of_breakdown(breakdown: Breakdown) -> dict[str, object]:
    stages = {
        each.stage: {"seconds": round(each.spent, 4), "lasted": round(each.lasted, 4), "hidden": round(each.hidden, 4)}
        for each in breakdown.stages
    }
    return {"frames": breakdown.frames, "seconds": round(breakdown.seconds, 4), "stages": stages}


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(spent, 4) for stage, spent in seconds.items()}


def _versions() -> str:
    """Return the versions of the program and of what it computes with."""
    from platform import platform, python_version

    import torch

    from deforum.version import __version__

    return (
        f"deforum {__version__}, Python {python_version()}, torch {torch.__version__} "
        f"with {torch.get_num_threads()} threads, {platform()}"
    )
