"""The commands render and check, for each file or each combination of swept values."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from deforum.cli.console import BROKEN, INTERRUPTED, OK, USER, Console
from deforum.cli.files import find_files, load_file, name_of
from deforum.cli.progress import Progress, display_of, progress_argument
from deforum.cli.terminal import Stop, Suspend, clock, say
from deforum.errors import UserError, disk_error
from deforum.models.kept import KeptModels
from deforum.output.pause import NoPause, Pause
from deforum.paths import to_path
from deforum.program import command_line

if TYPE_CHECKING:
    from deforum.animation.together import Together
    from deforum.cli.sweep import Axis, Job
    from deforum.events import Event, Observer, RunResult
    from deforum.going import Change
    from deforum.loading import Loaded
    from deforum.settings.options import Settings


def check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value",
        help="settings files (- is the standard input), and settings to change in them",
    )  # fmt: skip
    parser.add_argument(
        "-o",
        "--output",
        type=to_path,
        metavar="FOLDER",
        help="folder in which the run's folder is created (default: the setting output)",
    )
    parser.add_argument(
        "--allow-download",
        action="store_true",
        help="download models that the files name and that are not here from the model hub (default: never)",
    )
    parser.add_argument(
        "--into", type=to_path, metavar="RUN_FOLDER",
        help="change a run to the edited FILE: frames are rendered from the first one that comes out different on; "
        "check says which frame that is, and why",
    )  # fmt: skip


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


@dataclass(frozen=True)
class Session:
    """State shared by the runs of one command."""

    arguments: argparse.Namespace
    stop: Stop
    sweeps: dict[Path, Path] = field(default_factory=dict)
    """The sweep folder of each file."""
    models: KeptModels = field(default_factory=KeptModels)
    """Loaded models, reused by the next run."""
    begun: dict[Job, Path] = field(default_factory=dict)
    """The folder of each run that began."""

    @property
    def is_continued(self) -> bool:
        """Whether finished runs of the same settings are left out, and those that were stopped are resumed."""
        return bool(self.arguments.is_continued or self.arguments.resume)

    @property
    def console(self) -> Console:
        console: Console = self.arguments.console
        return console

    def tell(self, path: Path, line: str) -> None:
        self.console.note(line, name_of(path))

    def load(self, job: Job) -> Loaded:
        """Read the settings of a run and print the notes on them."""
        given = self.arguments.output
        # The folder of the person who renders is an override, so that the file's own is not even read.
        overrides = job.overrides if given is None else (*job.overrides, f"output={given}")
        loaded = load_file(job.file, overrides)
        for line in loaded.report:
            self.tell(job.file, line)
        return loaded

    def folder(self, job: Job, settings: Settings) -> Path | None:
        """Return the parent of the run's folder (None: by the settings); the runs of a sweep share a sweep folder."""
        if not job.swept:
            output: Path | None = self.arguments.output
            return output
        if job.file not in self.sweeps:
            from deforum.cli.resume import Sweep, find_sweep
            from deforum.output.naming import new_folder, runs_folder, safe_name

            parent, sweep = runs_folder(settings, self.arguments.output), Sweep.of(job.file, self.arguments.overrides)
            folder = find_sweep(parent, sweep) if self.is_continued else None
            if folder is None:
                folder = new_folder(parent, safe_name(f"{name_of(job.file, stem=True)}_sweep"))
                try:
                    sweep.write(folder)
                except OSError as error:
                    raise disk_error(error, folder) from error
            self.sweeps[job.file] = folder
        return self.sweeps[job.file]

    def find_begun(self, job: Job, settings: Settings) -> Path | None:
        """Return the folder of the run to go on with; None: a new one begins. Raises UserError."""
        from deforum.output.naming import runs_folder
        from deforum.rendering import asked
        from deforum.resuming import find_unfinished, run_of_timestring

        if not self.is_continued and not settings.resume_from_timestring:
            return None
        parent = runs_folder(settings, self.folder(job, settings))
        if self.is_continued:
            return next((folder for folder, _ in find_unfinished(parent, asked(settings))), None)
        folder = run_of_timestring(parent, settings.resume_timestring)
        if folder is None:
            named = settings.resume_timestring
            what = f"resume_timestring: no run of this program with {named} in its name is in {parent}"
            if not settings.is_lenient:
                raise UserError(f"{what}; name its folder with --resume, or set resume_from_timestring to false")
            self.tell(job.file, f"{what}; rendered from the start")
        return folder

    def forget_broken(self, outcomes: Sequence[Outcome]) -> None:
        """Free the models after a failed run, which may leave them in any state."""
        if any(outcome.status in (USER, BROKEN) for outcome in outcomes):
            self.models.clear()


def check(arguments: argparse.Namespace) -> int:
    """Find every mistake that can be found without loading a model."""
    from deforum import needs
    from deforum.cli.observers import about, changed, in_full, size_of
    from deforum.cli.sweep import list_jobs
    from deforum.rendering import check as check_settings

    worst, session, checked = OK, Session(arguments, Stop()), list[dict[str, object]]()
    console = session.console
    jobs = list_jobs(find_files(arguments.files), arguments.overrides)[0]
    check_into(arguments, jobs)
    for job in jobs:
        try:
            loaded = session.load(job).settings
            prepared = check_settings(loaded, output=arguments.output, allow_download=arguments.allow_download)
            for line in edit_lines(loaded, arguments):
                console.put(f"{job.label}: {line}\n")
        except Exception as error:
            status = console.fail(error, job.label)
            checked.append({"file": job.label, "status": status})
            worst = max(worst, status, key=SEVERITY.index)
            continue
        for note in prepared.notes:
            session.tell(job.file, note)
        settings = prepared.settings
        console.detail(in_full(settings))
        count, memory, took = len(prepared.timeline), needs.memory(prepared), needs.seconds_on_two_cores(prepared)
        console.put(
            f"{job.label}: good: {count} frames of {size_of(settings)}, "
            f"{settings.fps:g} fps, {clock(count / settings.fps)}, {settings.animation_mode}"
            + ("" if memory is None else f"; about {needs.gigabytes(memory)} of memory")
            + ("" if took is None else f" and {clock(took)} on 2 CPU cores")
            + "\n"
        )
        estimates = {"memory_bytes": memory, "seconds_on_two_cores": took}
        facts = {**about(prepared.settings), "seed": settings.seed, **estimates, "settings": changed(settings)}
        checked.append({"file": job.label, "status": OK, **facts})
    console.record(checked=checked)
    return worst


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run: a line of the summary."""

    job: Job
    status: int
    seconds: float = 0.0
    where: str = ""
    result: RunResult | None = None
    state: str = ""
    """"not begun", or empty for the state that the status means."""

    @property
    def in_words(self) -> str:
        return self.state or STATES.get(self.status, "stopped")

    @property
    def fields(self) -> dict[str, object]:
        """The outcome for the result of --json."""
        from deforum.cli.observers import of_result

        files = {"frames": 0} if self.result is None else of_result(self.result)
        swept = {name: value.text for name, value in self.job.swept}
        seconds = round(self.seconds, 3)
        return {"file": str(self.job.file), "swept": swept, "state": self.in_words, "seconds": seconds, **files}


STATES = {OK: "done", BROKEN: "broke", USER: "failed", INTERRUPTED: "stopped"}
SEVERITY = (OK, USER, BROKEN)


def render(arguments: argparse.Namespace) -> int:
    """Render each file, or each combination of swept values; a failed run does not stop the others."""
    from deforum.cli.resume import jobs_to_resume
    from deforum.cli.sweep import list_jobs

    console: Console = arguments.console
    session = Session(arguments, Stop())
    if arguments.resume:
        jobs, axes, sweeps = jobs_to_resume(arguments.resume, arguments.files, arguments.overrides)
        session.sweeps.update(sweeps)
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
        if arguments.together and len(jobs) > 1:
            render_together(jobs, session, outcomes)
        else:
            render_in_turn(jobs, session, outcomes)
    sheets = write_sheets(session, axes, outcomes)
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
            return resume(job.run, settings=settings_given(job), changes=session.arguments.changes, **shared)
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


def check_into(arguments: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Raise UserError for --into with several runs."""
    into = arguments.into
    if into is not None and len(jobs) > 1:
        raise UserError(
            f"--into {into}: one run for {len(jobs)} renders; give one file, and one value for each setting"
        )


def edit_lines(settings: Settings, arguments: argparse.Namespace) -> list[str]:
    """Return what settings change in the run that --into names, a line each; nothing without it. Raises UserError."""
    if arguments.into is None:
        return []
    from deforum.editing import plan, said
    from deforum.output.finished import find_run
    from deforum.output.record import read_record

    folder = find_run(arguments.into)
    planned = plan(read_record(folder), settings, output=folder.parent, allow_download=arguments.allow_download)
    return said(planned.edit, planned.total)


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
    from deforum.events import FrameShown, Note, RunLoaded, RunPrepared

    stop = session.stop

    def watch(event: Event) -> None:
        match event:
            case RunPrepared(settings):
                session.tell(job.file, f"{settings.max_frames} frames of {size_of(settings)}, model: {settings.model}")
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


def write_sheets(session: Session, axes: Sequence[Axis], outcomes: Sequence[Outcome]) -> list[Path]:
    """Write the contact sheet of each sweep; return their paths. The folder of a sweep without results is removed."""
    from deforum.cli.contact_sheet import write_sheet
    from deforum.sources import SWEEP_FILE

    sheets = []
    for file, folder in session.sweeps.items():
        results = {
            tuple(value.label for _, value in each.job.swept): each.result
            for each in outcomes
            if each.job.file == file and each.result is not None
        }
        if not results:
            if not any(path.is_dir() for path in folder.iterdir()):  # else it holds frames of a failed run
                with suppress(OSError):
                    (folder / SWEEP_FILE).unlink(missing_ok=True)
                    folder.rmdir()
            continue
        try:
            sheets.append(write_sheet(folder / "sheet.png", file.name, axes, results))
        except Exception as error:  # the runs themselves are complete
            session.console.fail(error, str(file))
    return sheets


def finished(outcome: Outcome, console: Console) -> None:
    """Print the paths of the results; the last line on stdout is the video, or the folder if there is none."""
    result = outcome.result
    if result is None:
        return
    if result.stopped:
        say(f"stopped after {result.frames} frames: {result.folder}")
    paths = [*result.films[1:], result.video or result.folder]
    console.put("".join(f"{path}\n" for path in paths))


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes of all runs as a table."""
    rows = [
        (
            o.in_words,
            o.job.label,
            str(o.result.frames if o.result else 0),
            "" if o.state else clock(o.seconds),
            o.where,
        )
        for o in outcomes
    ]
    rows = [("state", "file", "frames", "time", "result"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row[:4], widths, strict=True)), row[4]]) for row in rows
    ]
    return "\n".join(["", *(line.rstrip() for line in lines)])
