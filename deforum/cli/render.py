"""The command render, for each file or each combination of swept values."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from deforum.cli.check import check_arguments, check_into
from deforum.cli.console import INTERRUPTED, OK, Console
from deforum.cli.files import find_files
from deforum.cli.on import check_on, on_arguments, piece_folder, render_on
from deforum.cli.outcomes import SEVERITY, Outcome, finished, first_line, summary, write_sheets
from deforum.cli.progress import Progress, display_of, progress_argument
from deforum.cli.session import Session
from deforum.cli.terminal import Stop, Suspend, say
from deforum.errors import UserError
from deforum.models.kept import KeptModels
from deforum.output.pause import NoPause, Pause
from deforum.paths import to_path
from deforum.program import command_line

if TYPE_CHECKING:
    from deforum.animation.together import Together
    from deforum.cli.sweep import Job
    from deforum.events import Event, Observer, RunResult
    from deforum.going import Change
    from deforum.loading import Loaded
    from deforum.settings.options import Settings


def render_arguments(parser: argparse.ArgumentParser) -> None:
    check_arguments(parser)
    progress_argument(parser)
    parser.add_argument(
        "--profile",
        action="store_true",
        help="print where the time of a run went, by stage, and write trace.json for ui.perfetto.dev into its folder",
    )
    parser.add_argument(
        "--trace", type=to_path, metavar="FILE", help="as --profile, with the trace in FILE; for a single run"
    )
    parser.add_argument(
        "--resume", action="append", type=to_path, metavar="RUN_FOLDER", default=[],
        help="go on with a run, or a sweep, that was stopped in any way; a FILE and name=value are compared with it",
    )  # fmt: skip
    parser.add_argument(
        "--with", action="append", dest="changes", metavar="NAME=VALUE", default=[],
        help="with --resume: change a setting from the resumed frame on",
    )  # fmt: skip
    parser.add_argument(
        "--frames", metavar="A:B",
        help="render these frames alone, both ends included, such as 100:150 or 4s:6s; frames before them are rendered "
        "without being written",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="states_of", type=to_path, metavar="RUN_FOLDER",
        help="with --frames: begin at the nearest state of a run that is the same up to there",
    )  # fmt: skip
    parser.add_argument(
        "--continue", action="store_true", dest="is_continued",
        help="leave out what is finished of the same files and settings, resume what was stopped, render the rest",
    )  # fmt: skip
    parser.add_argument(
        "--together", action="store_true",
        help="render several files, or the runs of a sweep, at once: faster than one after the other. The pictures are "
        "those of runs alone (on a graphics card in 16 bits, nearly)",
    )  # fmt: skip
    on_arguments(parser)


def render(arguments: argparse.Namespace) -> int:
    """Render each file, or each combination of swept values; a failed run does not stop the others."""
    from deforum.cli.resume import jobs_to_resume
    from deforum.cli.sweep import list_jobs

    console: Console = arguments.console
    session = Session(arguments, Stop())
    check_on(arguments)
    if arguments.resume:
        jobs, axes, sweeps = jobs_to_resume(arguments.resume, arguments.files, arguments.overrides)
        session.sweeps.update(sweeps)
        if arguments.piece is not None:
            jobs = piece_folder(jobs, arguments.piece)
    else:
        if arguments.changes:
            raise UserError("--with changes a run that is resumed: give its folder with --resume, or name=value alone")
        jobs, axes = list_jobs(find_files(arguments.files), arguments.overrides)
    check_single(arguments, jobs)
    if arguments.trace is not None and len(jobs) > 1:
        raise UserError(f"--trace {arguments.trace}: one file for {len(jobs)} runs; --profile writes one for each run")
    if arguments.together and len(jobs) > 1:
        refuse_together(arguments)
    stop = session.stop
    outcomes = [Outcome(job, INTERRUPTED, state="not begun") for job in jobs]
    with stop.listening():
        if arguments.on is not None:
            render_on(jobs, session, outcomes)
        elif arguments.together and len(jobs) > 1:
            render_together(jobs, session, outcomes)
        else:
            render_in_turn(jobs, session, outcomes)
    sheets = write_sheets(session.sweeps, axes, outcomes, console)
    if len(jobs) > 1:
        console.say(summary(outcomes))
    for path in sheets:
        console.put(f"{path}\n")
    console.record(runs=[outcome.fields for outcome in outcomes], sheets=[str(path) for path in sheets])
    if stop() and any(outcome.status == INTERRUPTED for outcome in outcomes):
        if len(jobs) > 1 or outcomes[-1].result is not None:  # else it was said with the frames
            say(f"to go on: {way_on(session, jobs)}")
        return stop.status
    return max((outcome.status for outcome in outcomes), key=SEVERITY.index)


def refuse_together(arguments: argparse.Namespace) -> None:
    """Raise UserError for what cannot be done with several runs at once."""
    if arguments.profile:
        raise UserError("--profile --together: the time of runs at once cannot be told apart; profile them without it")
    if arguments.resume:
        raise UserError("--resume --together: runs are resumed one after the other; leave --together out")


def render_in_turn(jobs: Sequence[Job], session: Session, outcomes: list[Outcome]) -> None:
    """Render runs one after the other, until a stop; their outcomes take the place of those in `outcomes`."""
    console = session.console
    for number, job in enumerate(jobs):
        if len(jobs) > 1:
            console.say(f"[{number + 1}/{len(jobs)}] {job.label}")
        console.progress = display_of(session.arguments, run=number + 1, runs=len(jobs))
        outcomes[number] = render_job(job, session, console.progress)
        session.forget_broken([outcomes[number]])
        finished(outcomes[number], console)
        if session.stop():
            break


def render_together(jobs: Sequence[Job], session: Session, outcomes: list[Outcome]) -> None:
    """Render runs of one size and model at once, and such groups one after the other; else as `render_in_turn`."""
    from deforum.build import Prepared, prepare
    from deforum.cli.together import SharedProgress, groups_of, together_for

    console, stop = session.console, session.stop
    ready: list[tuple[tuple[int, Loaded, Prepared], Prepared]] = []
    console.progress = display_of(session.arguments, run=1, runs=1)
    for number, job in enumerate(jobs):
        try:
            loaded = session.load(job)
            prepared = prepare(loaded.settings, allow_download=session.arguments.allow_download)
            session.folder(job, loaded.settings)
            ready.append(((number, loaded, prepared), prepared))
        except KeyboardInterrupt:
            say("stopped")
            return
        except Exception as error:
            outcomes[number] = Outcome(job, console.fail(error, job.label), where=first_line(error))
    groups = groups_of(ready)
    for place, group in enumerate(groups, 1):
        _, _, first = group[0]
        settings, names = first.settings, ", ".join(jobs[number].label for number, _, _ in group)
        console.say(f"[{place}/{len(groups)}] {settings.width}x{settings.height}, {settings.model}, together: {names}")
        console.progress = display_of(session.arguments, run=place, runs=len(groups))
        shared = SharedProgress(console.progress, [len(prepared.timeline) for _, _, prepared in group])
        together = together_for(first)

        def work(
            part: int, number: int, loaded: Loaded, together: Together = together, shared: SharedProgress = shared
        ) -> None:
            job = jobs[number]
            outcomes[number] = Outcome(job, INTERRUPTED)  # where the program ends before it
            outcomes[number] = render_job(
                job, session, shared.part(part), loaded=loaded, change=together.join, name=job.label
            )

        works = [partial(work, part, number, loaded) for part, (number, loaded, _) in enumerate(group)]
        try:
            for future in together.run(works, stop):
                if future is not None:
                    future.result()
        except KeyboardInterrupt:  # each run has said how far it is
            stop.signal = stop.signal or signal.SIGINT
        finally:
            console.progress.close()
        of_group = [outcomes[number] for number, _, _ in group]
        session.forget_broken(of_group)
        for outcome in of_group:
            finished(outcome, console)
        if stop():
            return


def go(
    job: Job, session: Session, observer: Observer, *, loaded: Loaded | None = None, change: Change | None = None
) -> RunResult:
    """Render one run, or go on with one; `loaded` and `change` as for `render_job`. Raises UserError."""
    from deforum.cli.resume import settings_given
    from deforum.going import unchanged
    from deforum.rendering import render as render_settings
    from deforum.resuming import resume

    suspend = Suspend(session.stop)
    shared = Shared(
        observer=observer, stop=session.stop, pause=suspend if change is None else NoPause(), models=session.models,
        change=change or unchanged, allow_download=session.arguments.allow_download,
        profile=session.arguments.trace or session.arguments.profile,
    )  # fmt: skip
    with suspend.listening() if change is None else nullcontext():  # signals are for the main thread
        if job.run is not None:
            return resume(
                job.run,
                settings=settings_given(job, allow_download=shared["allow_download"]),
                changes=session.arguments.changes,
                **shared,
            )
        loaded = session.load(job) if loaded is None else loaded
        settings = job.rename(loaded.settings)
        begun = session.find_begun(job, settings)
        if begun is not None:
            return resume(begun, settings=settings, **shared)
        settings = replace(settings, resume_from_timestring=False)
        if session.arguments.into is not None:
            from deforum.editing import update

            return update(settings, session.arguments.into, origin=loaded.origin, source_sha256=loaded.sha256, **shared)
        settings, stretch, state = stretch_of(job, session, settings)
        return render_settings(
            settings, origin=loaded.origin, source_sha256=loaded.sha256, output=session.folder(job, settings),
            stretch=stretch, state=state, **shared,
        )  # fmt: skip


def check_single(arguments: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Raise UserError for --into, --frames and --from where they mean nothing."""
    check_into(arguments, jobs)
    into, frames, states_of = arguments.into, arguments.frames, arguments.states_of
    if states_of is not None and frames is None:
        raise UserError(
            "--from names the run at whose states --frames A:B begins; give both, or --into to edit the run"
        )
    others = {"--resume": arguments.resume, "--continue": arguments.is_continued, "-o": arguments.output}
    if into is not None:
        others["--frames"] = frames
    given = [name for name, value in others.items() if value and (into is not None or (frames and name != "-o"))]
    if given:
        raise UserError(f"{'--into' if into is not None else '--frames'} cannot be combined with {', '.join(given)}")


def stretch_of(job: Job, session: Session, settings: Settings) -> tuple[Settings, range | None, Path | None]:
    """Return the settings, the frames that --frames names, and the state that they begin at."""
    arguments = session.arguments
    if arguments.frames is None:
        return settings, None, None
    from deforum.cli.frame import pick_range
    from deforum.editing import fitting_state

    stretch = pick_range(arguments.frames, settings.max_frames, settings.seed, settings.fps)
    if arguments.states_of is None:
        return settings, stretch, None
    settings, state, note = fitting_state(
        settings, arguments.states_of, stretch.start, allow_download=arguments.allow_download
    )
    session.tell(job.file, note)
    return settings, stretch, state


class Shared(TypedDict):
    """Arguments that `render` and `resume` share."""

    observer: Observer
    stop: Stop
    pause: Pause
    models: KeptModels
    change: Change
    allow_download: bool
    profile: bool | Path


def render_job(
    job: Job,
    session: Session,
    display: Progress,
    *,
    loaded: Loaded | None = None,
    change: Change | None = None,
    name: str = "",
) -> Outcome:
    """Render one run and return its outcome; errors are printed, not raised.

    `loaded` are its settings if they are read already; `change` is that of `rendering.render`; `name` is put before its
    messages, where other runs write theirs at the same time.
    """
    from deforum.cli.observers import all_of, details, json_lines, profiles

    started = time.monotonic()
    console, stop = session.console, session.stop
    observer = all_of(
        json_lines(console, job.label), progress_of(job, session, display), profiles(), details(console, name)
    )
    before = f"{name}: " if name else ""
    try:
        try:
            result = go(job, session, observer, loaded=loaded, change=change)
        finally:
            stop.rendering.discard(job)
            display.close()
    except KeyboardInterrupt as error:
        stop.signal = stop.signal or signal.SIGINT
        say("\n".join([f"{before}stopped", *getattr(error, "__notes__", [])]))
        return Outcome(job, INTERRUPTED, time.monotonic() - started)
    except Exception as error:
        if name:
            error.add_note(f"in {name}; the other runs go on")
        status = console.fail(error, job.label)
        return Outcome(job, status, time.monotonic() - started, first_line(error))
    status = INTERRUPTED if result.stopped else OK
    return Outcome(job, status, time.monotonic() - started, str(result.video or result.folder), result)


def progress_of(job: Job, session: Session, progress: Progress) -> Observer:
    """Return the observer that says what is rendered, its notes, and its progress."""
    from deforum.cli.observers import size_of
    from deforum.events import FrameShown, Note, RunLoaded, RunPrepared, StepBegun, StepFrame

    stop = session.stop

    def watch(event: Event) -> None:
        match event:
            case RunPrepared(settings) as found:
                shots = f" in {len(found.shots)} shots" if found.shots else ""
                session.tell(job.file, f"{found.count} frames{shots} of {size_of(settings)}, model: {settings.model}")
                progress.status(f"{job.label}: loading {settings.model}")
            case Note(text):
                session.tell(job.file, text)
            case RunLoaded(folder, total):
                stop.rendering.add(job)
                if folder is not None:
                    session.begun[job] = folder
                progress(0, total)
            case FrameShown(done=done, total=total):
                progress(done, total)
            case StepBegun(total=total) as begun:
                progress.step(0, total)
                session.tell(job.file, begun.words)
            case StepFrame(done, total):
                progress.step(done, total)

    return watch


def way_on(session: Session, jobs: Sequence[Job]) -> str:
    """Return the command that goes on with what was stopped."""
    arguments = session.arguments
    if arguments.resume:
        return command_line(*(word for folder in arguments.resume for word in ("--resume", folder)))
    if len(jobs) == 1 and jobs[0] in session.begun:
        return command_line("--resume", session.begun[jobs[0]])
    if len(session.sweeps) == 1 and len(arguments.files) == 1:
        return command_line("--resume", *session.sweeps.values())
    output = [] if arguments.output is None else ["-o", arguments.output]
    continued = ["--continue"] if session.begun else []
    return command_line(*arguments.files, *arguments.overrides, *output, *continued)
