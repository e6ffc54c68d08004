"""`render --on ENGINE`: runs, shots and chunks of frames as tasks for several workers."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import INTERRUPTED, OK, USER
from deforum.cli.outcomes import Outcome, finished, first_line
from deforum.cli.progress import Progress, display_of
from deforum.cli.session import Session
from deforum.cli.together import SharedProgress
from deforum.errors import UserError

if TYPE_CHECKING:
    from deforum.build import Prepared
    from deforum.cli.sweep import Job
    from deforum.cluster.carrying import Crew, Ending
    from deforum.cluster.tasks import Plan, Task
    from deforum.cluster.work import News
    from deforum.output.run_folder import RunFolder

CHUNKS_PER_WORKER = 3
"""Chunks of independent frames for each worker: the slowest one is waited for at the end, and then is short."""
LEAST_CHUNK = 8
"""Frames of a chunk, at least."""


def on_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on", metavar="ENGINE[://ADDRESS]",
        help="render on several workers: runs, shots and chunks of independent frames go to whoever is free. local: "
        "processes here; ray: a Ray cluster, or one started here; slurm: jobs",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, metavar="N", help="with --on: the number of workers (default: as many as there is room)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N",
        help="with --on: processor threads of each worker (default: 1); the last bits of frames depend on it",
    )  # fmt: skip
    parser.add_argument(
        "--chunk", type=int, metavar="FRAMES",
        help=f"with --on: frames of a chunk, where frames are independent (default: {CHUNKS_PER_WORKER} chunks for "
        "each worker)",
    )  # fmt: skip
    parser.add_argument(
        "--piece", type=int, metavar="N",
        help="with --resume: go on with one piece of the run alone, a shot or a chunk, by its number from 1",
    )  # fmt: skip


def check_on(arguments: argparse.Namespace) -> None:
    """Raise UserError for what --on cannot be combined with, and for options that need it."""
    for name in ("workers", "threads", "chunk"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: expected a whole number of at least 1")
        if value is not None and arguments.on is None:
            raise UserError(f"--{name} is for several workers: give --on local, --on ray or --on slurm too")
    if arguments.piece is not None and (not arguments.resume or arguments.on is not None):
        raise UserError(f"--piece {arguments.piece}: goes with --resume RUN_FOLDER, and without --on")
    if arguments.on is None:
        return
    others = {
        "--together": arguments.together, "--profile": arguments.profile, "--trace": arguments.trace,
        "--frames": arguments.frames, "--into": arguments.into, "--with": arguments.changes,
    }  # fmt: skip
    given = [name for name, value in others.items() if value]
    if given:
        raise UserError(f"--on {arguments.on} cannot be combined with {', '.join(given)}")


@dataclass
class Running:
    """A run that workers render."""

    number: int
    job: Job
    folder: Path
    plan: Plan
    total: int
    there: int
    """Frames that were there before."""
    done: dict[str, int] = field(default_factory=dict)
    """Frames of its tasks."""


def render_on(jobs: Sequence[Job], session: Session, outcomes: list[Outcome]) -> None:
    """Render runs on the workers that --on names; their outcomes take the place of those in `outcomes`."""
    from deforum.cluster.carrying import carry_out_plan, failures
    from deforum.cluster.engines import open_crew
    from deforum.cluster.tasks import with_all

    console, arguments, started = session.console, session.arguments, time.monotonic()
    crew = open_crew(arguments.on, arguments.workers or 0, arguments.threads or 1)
    try:
        runs: list[Running] = []
        for number, job in enumerate(jobs):
            try:
                runs.append(_begin(number, job, session, crew))
            except Exception as error:
                status = console.fail(error, job.label)
                outcomes[number] = Outcome(job, status, where=first_line(error))
        if not runs:
            return
        plan = with_all(run.plan for run in runs)
        console.say(f"{len(plan)} tasks on {arguments.on}, {crew.size} at once")
        console.progress = display_of(arguments, run=1, runs=1)
        shared = SharedProgress(console.progress, [run.total for run in runs])
        watch = _Watch(session, runs, [shared.part(part) for part in range(len(runs))])
        session.stop.rendering.add(plan)
        endings = carry_out_plan(plan, crew, watch, stop=session.stop)
        for part in range(len(runs)):
            shared.end(part)
        for line in failures(plan, endings):
            console.say(line)
        for run in runs:
            outcomes[run.number] = _outcome(run, endings, time.monotonic() - started)
            finished(outcomes[run.number], console)
    finally:
        session.stop.rendering.clear()
        crew.close()


def _begin(number: int, job: Job, session: Session, crew: Crew) -> Running:
    """Make the folder of a run, or find the one to go on with, and its tasks. Raises UserError."""
    from deforum.cluster.tasks import tasks_of

    with begun(job, session, workers=crew.size) as (run, prepared):
        plan = tasks_of(run, prepared)
        total = len(run.record.frames)
        return Running(number, job, run.folder, plan, total, total - sum(task.frames for task in plan))


@contextlib.contextmanager
def begun(job: Job, session: Session, *, workers: int, name: str = "") -> Iterator[tuple[RunFolder, Prepared]]:
    """Open the folder of a run with those of its pieces, a new one or the one to go on with. Raises UserError.

    `name`: that of the folder. Where there is one of the same settings, it is gone on with.
    """
    from deforum.output.finished import find_run
    from deforum.output.naming import runs_folder
    from deforum.output.record import read_record
    from deforum.output.run_folder import RunFolder
    from deforum.piecewise import make_pieces
    from deforum.rendering import asked, begin, check
    from deforum.resuming import settings_of

    allow_download = session.arguments.allow_download
    loaded = None if job.run is not None else session.load(job)
    settings = None if loaded is None else job.rename(loaded.settings)
    there = job.run if settings is None else session.find_begun(job, settings)
    if settings is not None and loaded is not None:
        prepared = check(settings, output=session.folder(job, settings), allow_download=allow_download)
        parent = runs_folder(settings, session.folder(job, settings))
        if name and (parent / name).is_dir() and read_record(parent / name).asked == asked(settings):
            there = parent / name
    if there is None and settings is not None and loaded is not None:
        chunks = chunks_of(prepared, session.arguments.chunk, workers)
        run = begin(
            settings, prepared, parent, origin=loaded.origin, source_sha256=loaded.sha256, chunks=chunks, name=name
        )
        for note in prepared.notes:
            session.tell(job.file, note)
    else:
        assert there is not None
        run = RunFolder.open(find_run(there))
        prepared = check(settings_of(run.record)[-1], output=run.folder.parent, allow_download=allow_download)
    try:
        make_pieces(run, prepared, allow_download=allow_download)
        session.begun[job] = run.folder
        yield run, prepared
    finally:
        run.ledger.close()


def chunks_of(prepared: Prepared, chunk: int | None, workers: int) -> int:
    """Return the number of chunks of a run whose frames are independent, of `chunk` frames, or as many as go well."""
    from deforum.build import independent_every

    frames, every = len(prepared.frames), independent_every(prepared.settings)
    size = chunk or max(LEAST_CHUNK, every, -(-frames // (CHUNKS_PER_WORKER * workers)))
    return -(-frames // size)


def piece_folder(jobs: Sequence[Job], number: int) -> list[Job]:
    """Return the job of one piece of a run to resume. Raises UserError."""
    from deforum.output.finished import find_run
    from deforum.output.record import read_record

    folder = jobs[0].run
    if len(jobs) > 1 or folder is None:
        raise UserError(f"--piece {number}: give the folder of one run, with --resume")
    pieces = read_record(find_run(folder)).pieces
    if not 1 <= number <= len(pieces):
        raise UserError(f"--piece {number}: {folder} has {len(pieces)} pieces that are not in it yet")
    return [replace(jobs[0], file=folder / pieces[number - 1].folder, run=folder / pieces[number - 1].folder)]


class _Watch:
    """Shows the news of all tasks in one display."""

    def __init__(self, session: Session, runs: Sequence[Running], parts: Sequence[Progress]) -> None:
        self._session = session
        self._runs = {run.folder.absolute(): (run, part) for run, part in zip(runs, parts, strict=True)}
        for run, part in zip(runs, parts, strict=True):
            part(run.there, run.total)

    def __call__(self, task: Task, news: News | str) -> None:
        from deforum.cluster.work import Frames, Said

        run, part = self._runs[task.run]
        match news:
            case str():
                self._session.console.say(f"{task.name}: {news}")
            case Said(text):
                self._session.console.note(text, run.job.label)
            case Frames(done) if task.kind == "render":
                run.done[task.name] = done
                part(min(run.there + sum(run.done.values()), run.total), run.total)
                self._session.console.emit("frames", file=run.job.label, task=task.name, done=done, total=task.frames)
            case _:
                self._session.console.emit("task", file=run.job.label, task=task.name, news=type(news).__name__)


def _outcome(run: Running, endings: Mapping[str, Ending], seconds: float) -> Outcome:
    from deforum.output.record import read_record
    from deforum.post.behind import films_in
    from deforum.resuming import result_of

    of_run = [endings[task.name] for task in run.plan]
    record = read_record(run.folder)
    result = result_of(run.folder, record)
    failed = next((ending for ending in of_run if ending.state == "failed"), None)
    if failed is not None:
        return Outcome(run.job, USER, seconds, failed.why.splitlines()[0][:100])
    if any(ending.state != "done" for ending in of_run):
        return Outcome(run.job, INTERRUPTED, seconds, str(run.folder), result)
    steps = films_in(run.folder)
    if steps:
        result = replace(result, video=steps[-1], films=(*result.films, *steps))
    return Outcome(run.job, OK, seconds, str(result.video or result.folder), result)
