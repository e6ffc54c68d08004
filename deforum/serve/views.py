"""What the page and the API say of runs: plain data, made of the queue and of the folders of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from deforum.cli.observers import about
from deforum.errors import UserError
from deforum.metadata import FRAME, read_texts
from deforum.output.labels import prompts_of
from deforum.paths import only_in
from deforum.profiling import TRACE_FILE
from deforum.reports.tabulate import look
from deforum.serve.checking import Rules
from deforum.serve.jobs import Job
from deforum.serve.previews import Previews
from deforum.serve.queue import Queue
from deforum.serve.runs import Runs, RunView, trace_stages
from deforum.settings.options import Settings


@dataclass(frozen=True)
class OpenedFile:
    """The settings file that the server was started with. `overrides` change settings in it, as name=value."""

    path: Path
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    """What a server works with."""

    queue: Queue
    runs: Runs
    rules: Rules
    previews: Previews
    file: OpenedFile | None = None
    shown: str = ""
    """The run that the page shows first; "": the newest."""


@dataclass(frozen=True)
class RunInQueue:
    """A run in the queue. Times are seconds since 1970, `seconds_left` is an estimate from the latest frames."""

    id: str
    name: str
    batch: str
    state: str
    actions: tuple[str, ...]
    phase: str
    """preparing, rendering, finishing (films and steps behind the render), or done."""
    done: int
    total: int
    step: str
    step_done: int
    step_total: int
    folder: str
    created: float
    started: float
    ended: float
    seconds_left: float | None
    message: str


@dataclass(frozen=True)
class FolderInList:
    """A run on the disk."""

    name: str
    state: str
    done: int
    total: int


@dataclass(frozen=True)
class Happened:
    """An event of a run's history."""

    what: str
    when: str
    frames: int
    why: str


@dataclass(frozen=True)
class RunInFolder:
    """A run on the disk, in full."""

    name: str
    state: str
    """rendering, paused, finished, stopped, failed or interrupted."""
    job: str
    """Its id in the queue; "" if it is not of this queue."""
    done: int
    first: int
    total: int
    seconds_left: float | None
    facts: Mapping[str, object]
    """Frames, width, height, fps, mode, model and seed."""
    films: tuple[str, ...]
    notes: tuple[str, ...]
    times: Mapping[str, float]
    """Milliseconds for each frame by stage; empty where they were not measured."""
    history: tuple[Happened, ...]
    origin: str
    device: str


@dataclass(frozen=True)
class FramesOfRun:
    """The frames of a run that are there, as [index, seed, seconds, version]; a new version is another picture."""

    first: int
    total: int
    frames: Sequence[tuple[int, int, float, str]]


def run_in_queue(server: Server, job: Job) -> RunInQueue:
    progress = server.queue.progress(job.id)
    left = None
    if job.state == "running" and progress.phase == "rendering" and job.folder:
        try:
            left = server.runs.view(job.folder).seconds_left
        except UserError:  # it is removed while it is looked at
            left = None
    total = progress.total or job.frames
    return RunInQueue(
        job.id, job.name, job.batch, job.state, job.actions, "done" if job.is_over else progress.phase,
        total if job.state == "finished" else min(progress.done, total), total,
        progress.step, progress.step_done, progress.step_total, job.folder,
        job.created, job.started, job.ended, left, job.message,
    )  # fmt: skip


def folders(server: Server) -> list[FolderInList]:
    """List the runs on the disk, the newest first; those that cannot be read are left out."""
    found = []
    for name in server.runs.names():
        try:
            view = server.runs.view(name)
        except UserError:
            continue
        found.append(FolderInList(name, view.state, view.done, view.total))
    return found


def run_in_folder(server: Server, name: str) -> RunInFolder:
    """Describe a run. Raises Unknown."""
    view = server.runs.view(name)
    record = view.record
    job = next((job for job in reversed(list(server.queue.state.jobs.values())) if job.folder == name), None)
    notes, times = record.notes, dict[str, float]()
    if job is not None:
        progress = server.queue.progress(job.id)
        notes = tuple(dict.fromkeys((*job.notes, *notes, *progress.notes)))
        times = {stage: 1000 * spent / progress.timed for stage, spent in progress.times.items() if progress.timed}
    if not times:
        stages = trace_stages(server.runs.root / name / TRACE_FILE)
        times = {stage: 1000 * spent / max(len(view.frames), 1) for stage, spent in stages.items()}
    settings = settings_of(view)
    is_sized = settings is not None and settings.width is not None and settings.height is not None
    return RunInFolder(
        name=name,
        state=view.state,
        job="" if job is None else job.id,
        done=view.done,
        first=record.first,
        total=view.total,
        seconds_left=view.seconds_left if view.state == "rendering" else None,
        facts=about(settings) if settings is not None and is_sized else {},
        films=tuple(film.file for film in record.films),
        notes=notes,
        times=times,
        history=tuple(Happened(each.what, each.when, each.frames, each.why) for each in record.history),
        origin=record.origin,
        device=record.device,
    )


def frames_of(view: RunView) -> FramesOfRun:
    frames = [(each.index, each.seed, each.seconds, each.sha256[:12]) for each in view.frames.values()]
    return FramesOfRun(view.record.first, view.total, frames)


def settings_of(view: RunView) -> Settings | None:
    """Return the settings of a run; None where they cannot be read any more."""
    return _read(view.record.parts[-1].settings)


@lru_cache(maxsize=16)
def _read(text: str) -> Settings | None:
    from deforum.loading import load_text

    try:
        with only_in(None):
            return load_text(text, name="settings.yaml", to_render=False).settings
    except UserError:
        return None


def facts_of(server: Server, name: str, index: int) -> dict[str, object]:
    """Return what a frame was made with: its prompts, as its picture says, or where it says nothing the settings.

    Raises Unknown.
    """
    view = server.runs.view(name)
    told = _told(server.runs.picture(name, index)) if index in view.frames else {}
    prompts = told.get("prompts")
    if isinstance(prompts, list) and prompts and all(isinstance(each, dict) for each in prompts):
        return {"prompt": _joined(prompts, "positive"), "negative_prompt": _joined(prompts, "negative")}
    settings = settings_of(view)
    timeline = None if settings is None or settings.shots else _timeline(settings)
    if timeline is None or not 0 <= index < len(timeline):
        return {"prompt": "", "negative_prompt": ""}
    prompt, negative = prompts_of(timeline[index])
    return {"prompt": prompt, "negative_prompt": negative}


def _told(picture: Path) -> dict[str, object]:
    try:
        told = json.loads((read_texts(picture) or {}).get(FRAME, "{}"))
    except (OSError, ValueError, UserError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _joined(prompts: Sequence[dict[str, object]], side: str) -> str:
    """Return the texts of one side, with weights where several are blended."""
    texts = {str(prompt.get(side, "")): prompt.get("weight") for prompt in prompts}
    if len(texts) == 1:
        return next(iter(texts))
    return " | ".join(f"{text} ({weight:.4g})" if isinstance(weight, int | float) else text
                      for text, weight in texts.items() if text)  # fmt: skip


_timeline = lru_cache(maxsize=4)(look)
