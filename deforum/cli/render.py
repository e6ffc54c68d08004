"""The commands render and check, for each file or each combination of swept values."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.models.kept import KeptModels

if TYPE_CHECKING:
    from deforum.cli.sweep import Axis, Job
    from deforum.events import Event, RunResult
    from deforum.settings.options import Settings
from deforum.cli.files import find_files
from deforum.cli.terminal import Progress, Stop, clock, say

OK, BROKEN, USER, INTERRUPTED = 0, 1, 2, 130


def render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="FILE | name=value", help="settings files, and settings to change in them"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder in which the run's folder is created (default: the setting output)",
    )
    parser.add_argument(
        "--allow-download",
        action="store_true",
        help="download models that the files name and that are not here from the model hub (default: never)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors and the path of the video")


@dataclass(frozen=True)
class Session:
    """State shared by the runs of one command."""

    arguments: argparse.Namespace
    stop: Stop
    told: set[str] = field(default_factory=set)
    """Notes printed so far, so that the runs of a sweep do not repeat them."""
    sweeps: dict[Path, Path] = field(default_factory=dict)
    """The sweep folder of each file."""
    models: KeptModels = field(default_factory=KeptModels)
    """Loaded models, reused by the next run."""

    def tell(self, path: Path, line: str) -> None:
        line = f"{path.name}: {line}"
        if not self.arguments.quiet and line not in self.told:
            self.told.add(line)
            say(line)

    def load(self, job: Job) -> Settings:
        """Read the settings of a run and print the notes on them."""
        from deforum.loading import load

        given = self.arguments.output
        # The folder of the person who renders is an override, so that the file's own is not even read.
        overrides = job.overrides if given is None else (*job.overrides, f"output={given}")
        loaded = load(job.file, overrides)
        for line in loaded.report:
            self.tell(job.file, line)
        return loaded.settings

    def folder(self, job: Job, settings: Settings) -> Path | None:
        """Return the parent of the run's folder (None: by the settings); the runs of a sweep share a sweep folder."""
        if not job.swept:
            output: Path | None = self.arguments.output
            return output
        if job.file not in self.sweeps:
            from deforum.output.naming import new_folder, runs_folder, safe_name

            parent = runs_folder(settings, self.arguments.output)
            self.sweeps[job.file] = new_folder(parent, safe_name(f"{job.file.stem}_sweep"))
        return self.sweeps[job.file]


def check(arguments: argparse.Namespace) -> int:
    """Find every mistake that can be found without loading a model."""
    from deforum.cli.sweep import list_jobs
    from deforum.rendering import check as check_settings

    worst, session = OK, Session(arguments, Stop())
    for job in list_jobs(find_files(arguments.files), arguments.overrides)[0]:
        try:
            settings = session.load(job)
            prepared = check_settings(settings, allow_download=arguments.allow_download)
        except Exception as error:
            worst = max(worst, report(error), key=SEVERITY.index)
            continue
        for note in prepared.notes:
            session.tell(job.file, note)
        count = len(prepared.timeline)
        seconds = count / settings.fps
        print(
            f"{job.label}: good: {count} frames of {settings.width}x{settings.height}, "
            f"{settings.fps:g} fps, {clock(seconds)}, {settings.animation_mode}"
        )
    return worst


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run: a line of the summary."""

    job: Job
    status: int
    seconds: float = 0.0
    where: str = ""
    result: RunResult | None = None

    @property
    def frames(self) -> int:
        return 0 if self.result is None else self.result.frames


STATES = {OK: "done", BROKEN: "broke", USER: "failed", INTERRUPTED: "stopped"}
SEVERITY = (OK, USER, BROKEN)


def render(arguments: argparse.Namespace) -> int:
    """Render each file, or each combination of swept values; a failed run does not stop the others."""
    from deforum.cli.sweep import list_jobs

    jobs, axes = list_jobs(find_files(arguments.files), arguments.overrides)
    session, outcomes = Session(arguments, Stop()), list[Outcome]()
    stop = session.stop
    with stop.listening():
        for number, job in enumerate(jobs, 1):
            if len(jobs) > 1 and not arguments.quiet:
                say(f"[{number}/{len(jobs)}] {job.label}")
            outcomes.append(render_job(job, session))
            if stop():
                break
    sheets = write_sheets(session, axes, outcomes)
    if len(jobs) > 1 and not arguments.quiet:
        say(summary(outcomes, jobs[len(outcomes) :]))
    for path in sheets:
        print(path, flush=True)
    if stop():
        return stop.status
    return max((outcome.status for outcome in outcomes), key=SEVERITY.index)


def render_job(job: Job, session: Session) -> Outcome:
    """Render one run and return its outcome; errors are printed, not raised."""
    from deforum.events import FrameShown, Note, RunLoaded, RunPrepared
    from deforum.rendering import render as render_settings

    started = time.monotonic()
    arguments, stop = session.arguments, session.stop
    progress = Progress(sys.stderr, quiet=arguments.quiet)

    def watch(event: Event) -> None:
        match event:
            case RunPrepared(settings):
                size = f"{settings.width}x{settings.height}"
                session.tell(job.file, f"{settings.max_frames} frames of {size}, model: {settings.model}")
            case Note(text):
                session.tell(job.file, text)
            case RunLoaded(_, total):
                stop.rendering = True
                progress(0, total)
            case FrameShown(done=done, total=total):
                progress(done, total)

    try:
        settings = job.rename(session.load(job))
        try:
            result = render_settings(
                settings,
                output=session.folder(job, settings),
                observer=watch,
                stop=stop,
                models=session.models,
                allow_download=arguments.allow_download,
            )
        finally:
            stop.rendering = False
            progress.close()
    except KeyboardInterrupt as error:
        stop.signal = stop.signal or signal.SIGINT
        say("\n".join(["stopped", *getattr(error, "__notes__", [])]))
        return Outcome(job, INTERRUPTED, time.monotonic() - started)
    except Exception as error:
        session.models.clear()  # they may be in any state
        return Outcome(job, report(error), time.monotonic() - started, first_line(error))
    finished(result)
    status = INTERRUPTED if result.stopped else OK
    return Outcome(job, status, time.monotonic() - started, str(result.video or result.folder), result)


def write_sheets(session: Session, axes: Sequence[Axis], outcomes: Sequence[Outcome]) -> list[Path]:
    """Write the contact sheet of each sweep; return their paths. The folder of a sweep without results is removed."""
    from deforum.cli.contact_sheet import write_sheet

    sheets = []
    for file, folder in session.sweeps.items():
        results = {
            tuple(value.label for _, value in each.job.swept): each.result
            for each in outcomes
            if each.job.file == file and each.result is not None
        }
        if not results:
            with suppress(OSError):  # it holds frames of a failed run
                folder.rmdir()
            continue
        try:
            sheets.append(write_sheet(folder / "sheet.png", file.name, axes, results))
        except Exception as error:  # the runs themselves are complete
            report(error)
    return sheets


def finished(result: RunResult) -> None:
    """Print the paths of the results; the last line on stdout is the video, or the folder if there is none."""
    if result.stopped:
        say(f"stopped after {result.frames} frames: {result.folder}")
    for film in result.films[1:]:
        print(film)
    print(result.video or result.folder, flush=True)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def summary(outcomes: Sequence[Outcome], not_started: Sequence[Job]) -> str:
    """Return the outcomes of all runs as a table."""
    rows = [
        (
            STATES.get(o.status, "stopped"),
            o.job.label,
            str(o.result.frames if o.result else 0),
            clock(o.seconds),
            o.where,
        )
        for o in outcomes
    ]
    rows += [("not begun", job.label, "0", "", "") for job in not_started]
    rows = [("state", "file", "frames", "time", "result"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row[:4], widths, strict=True)), row[4]]) for row in rows
    ]
    return "\n".join(["", *(line.rstrip() for line in lines)])


def is_users(error: BaseException) -> bool:
    """Whether the user can fix an error: UserError, or ScheduleError."""
    from schedules import ScheduleError

    return isinstance(error, UserError | ScheduleError)


def report(error: Exception) -> int:
    """Print an error on stderr, with a traceback unless the user can fix it; return the exit status."""
    if is_users(error):
        say("\n".join([str(error), *getattr(error, "__notes__", [])]))
        return USER
    say("".join(traceback.format_exception(error)).rstrip())
    return BROKEN
