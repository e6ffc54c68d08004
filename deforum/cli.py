"""The command line. Nothing heavy is imported before it is needed: `--help` answers at once.

Exit status: 0 all is well; 1 something unexpected broke (a traceback says where); 2 something is for the user to mend
(one message, no traceback); 130 stopped by Ctrl-C (143 by a request to terminate).
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from deforum import __version__, commands
from deforum.errors import UserError
from deforum.models import Models

if TYPE_CHECKING:
    from deforum.run import RunResult
    from deforum.settings import Settings
    from deforum.sweep import Axis, Job

OK, BROKEN, USER, INTERRUPTED = 0, 1, 2, 130
SETTINGS_SUFFIXES = (".yaml", ".yml", ".txt", ".json")

EPILOG = """\
Give several files, folders or patterns to render them one after the other; what fails does not stop the others.
An argument with '=' in it that is not the name of a file sets a setting, and wins over the file:

    python render.py examples/quickstart.yaml seed=3 max_frames=12 strength="0:(0.5), 30:(0.7)" -o films

Several values make a sweep: a run for each combination, and a picture that compares them, sheet.png. Numbers may be
lists and ranges, choices and samplers lists; lists in brackets do for everything:

    python render.py my.yaml seed=1,2,3 cfg_scale=5..9:2 sampler="Euler a,DDIM" prompts='[a calm sea, a storm]'

The last line printed is the path of the video, or of the sheet. Ctrl-C finishes the frame and closes the video; twice
stops at once.
"""


# --- arguments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A word that may stand first on the command line: a row of COMMANDS."""

    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None]
    """Adds what the command takes; `words` are then told apart into `files` and `overrides`."""
    usage: str = "FILE [FILE ...] [name=value ...]"
    needs_file: bool = True


def render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="FILE | name=value", help="settings files, and settings that win over them"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="make the run's folder in here")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors and the video's path")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell files from overrides: `name=value` is an override unless a file has that very name."""
    files: list[str] = []
    overrides: list[str] = []
    for word in words:
        is_override = re.match(r"[A-Za-z_]\w*=", word) is not None and not Path(word).exists()
        (overrides if is_override else files).append(word)
    return files, overrides


def find_files(words: Sequence[str]) -> list[Path]:
    """Resolve files, folders and patterns to settings files, in order, each once. Raises UserError with all misses."""
    from deforum.errors import Problem

    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SETTINGS_SUFFIXES and p.is_file())
            if not inside:
                problems.append(
                    Problem(f"no settings file in it; expected one ending in {', '.join(SETTINGS_SUFFIXES)}", word)
                )
        elif path.is_file():
            inside = [path]
        else:
            inside = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())
            if not inside:
                problems.append(Problem("no such file; expected a settings file, a folder of them or a pattern", word))
        found.update(dict.fromkeys(inside))
    if problems:
        raise UserError(problems)
    return list(found)


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Read the command line. A first word that names a command is one, unless a file has that very name."""
    name = "render"
    if argv and argv[0] in COMMANDS and not Path(argv[0]).is_file():
        name, argv = argv[0], argv[1:]
    command = COMMANDS[name]
    rows = "\n".join(f"  {word:8}{each.help}" for word, each in COMMANDS.items())
    about = f"Render keyframe animations from settings files.\n\ncommands (default: render):\n{rows}"
    parser = argparse.ArgumentParser(
        prog="render.py",
        usage=f"render.py {'[COMMAND]' if name == 'render' else name} {command.usage}",
        description=about if name == "render" else f"{command.help[:1].upper()}{command.help[1:]}.",
        epilog=EPILOG if name == "render" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    parser.add_argument("--version", action="version", version=f"deforum {__version__}")
    arguments = parser.parse_intermixed_args(argv)
    arguments.files, arguments.overrides = split_words(arguments.words)
    if command.needs_file and not arguments.files:
        parser.error("which settings file? Only settings were given")
    return command, arguments


# --- saying what happens ----------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Show frames done, speed and time left: a bar on a terminal, a line every few seconds elsewhere."""

    SECONDS_BETWEEN_LINES = 5.0

    def __init__(self, stream: IO[str], *, quiet: bool) -> None:
        self._stream, self._quiet = stream, quiet
        self._bar: object | None = None
        self._started = self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 0:
            self._started = self._said = now
        if self._quiet:
            return
        if self._stream.isatty():
            from tqdm import tqdm

            if self._bar is None:
                self._bar = tqdm(total=total, unit="frame", file=self._stream, dynamic_ncols=True, smoothing=0.1)
            assert isinstance(self._bar, tqdm)
            self._bar.update(done - self._bar.n)
        elif done and (now - self._said >= self.SECONDS_BETWEEN_LINES or done == total):
            self._said = now
            speed = done / max(now - self._started, 1e-9)
            left = f", {clock((total - done) / speed)} left" if done < total else f" in {clock(now - self._started)}"
            print(f"frame {done}/{total}, {speed:.3g} frames/s{left}", file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is and go to a new line."""
        if self._bar is not None:
            from tqdm import tqdm

            assert isinstance(self._bar, tqdm)
            self._bar.close()
            self._bar = None


def clock(seconds: float) -> str:
    """Write a time as people do: 0:07, 12:30, 1:02:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


# --- stopping ---------------------------------------------------------------------------------------------------------


class Stop:
    """What Ctrl-C asks for: first to stop after the frame, then at once."""

    def __init__(self) -> None:
        self.signal = 0
        self.rendering = False
        """False: there is no frame to wait for, so the first request is already the last."""

    def __call__(self) -> bool:
        return self.signal != 0

    @property
    def status(self) -> int:
        return 128 + (self.signal or signal.SIGINT)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal != 0, number
        if again or not self.rendering:
            raise KeyboardInterrupt
        say("\nstopping after this frame; once more to stop at once")

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Take over Ctrl-C and the request to terminate for as long as the block lasts."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """What the runs of one command share."""

    arguments: argparse.Namespace
    stop: Stop
    told: set[str] = field(default_factory=set)
    """What was said of files: the runs of a sweep would say it over and over."""
    sweeps: dict[Path, Path] = field(default_factory=dict)
    """The folder of the sweep of each file."""
    models: Models = field(default_factory=Models)
    """Kept from one run to the next."""

    def tell(self, path: Path, line: str) -> None:
        line = f"{path.name}: {line}"
        if not self.arguments.quiet and line not in self.told:
            self.told.add(line)
            say(line)

    def load(self, job: Job) -> Settings:
        from deforum.find import notes
        from deforum.run import Outputs
        from deforum.settings import load

        loaded = load(job.file, job.overrides)
        for line in (*loaded.report, *notes(loaded.settings), *Outputs.of(loaded.settings)[1]):
            self.tell(job.file, line)
        return loaded.settings

    def folder(self, job: Job, settings: Settings) -> Path | None:
        """Give the folder that the run's folder is made in; the runs of a sweep are made in one of their own."""
        if not job.swept:
            output: Path | None = self.arguments.output
            return output
        if job.file not in self.sweeps:
            from deforum.names import new_folder, runs_folder, safe_name

            parent = runs_folder(settings, self.arguments.output)
            self.sweeps[job.file] = new_folder(parent, safe_name(f"{job.file.stem}_sweep"))
        return self.sweeps[job.file]


def check(arguments: argparse.Namespace) -> int:
    """Find every mistake that can be found without loading a model."""
    from deforum.run import check as check_settings
    from deforum.sweep import list_jobs

    worst, session = OK, Session(arguments, Stop())
    for job in list_jobs(find_files(arguments.files), arguments.overrides)[0]:
        try:
            settings = session.load(job)
            timeline = check_settings(settings)
        except Exception as error:
            worst = max(worst, report(error), key=SEVERITY.index)
            continue
        seconds = len(timeline) / settings.fps
        print(
            f"{job.label}: good: {len(timeline)} frames of {settings.width}x{settings.height}, "
            f"{settings.fps:g} fps, {clock(seconds)}, {settings.animation_mode}"
        )
    return worst


@dataclass(frozen=True)
class Outcome:
    """How one of several runs went: a line of the summary."""

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
    """Render each file, or each combination of swept values; what fails does not stop the others."""
    from deforum.sweep import list_jobs

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
    """Render once, and say what came of it; errors are said here and go no further."""
    from deforum.run import render as render_settings

    started = time.monotonic()
    arguments, stop = session.arguments, session.stop
    progress = Progress(sys.stderr, quiet=arguments.quiet)

    def show(done: int, total: int) -> None:
        stop.rendering = True
        progress(done, total)

    try:
        settings = job.rename(session.load(job))
        size = f"{settings.width}x{settings.height}"
        session.tell(job.file, f"{settings.max_frames} frames of {size}, model: {settings.model}")
        try:
            result = render_settings(
                settings,
                output=session.folder(job, settings),
                progress=show,
                stop=stop,
                models=session.models,
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
    """Compare the runs of each sweep in a picture; give where these are. A sweep without any run leaves no folder."""
    from deforum.sheet import write_sheet

    sheets = []
    for file, folder in session.sweeps.items():
        results = {
            tuple(value.label for _, value in each.job.swept): each.result
            for each in outcomes
            if each.job.file == file and each.result is not None
        }
        if not results:
            with suppress(OSError):  # frames of a run that broke are in it
                folder.rmdir()
            continue
        try:
            sheets.append(write_sheet(folder / "sheet.png", file.name, axes, results))
        except Exception as error:  # the runs are there all the same
            report(error)
    return sheets


def finished(result: RunResult) -> None:
    """Say where things are; the last line on stdout is the video, or the folder where there is none."""
    if result.stopped:
        say(f"stopped after {result.frames} frames: {result.folder}")
    for film in result.films[1:]:
        print(film)
    print(result.video or result.folder, flush=True)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def summary(outcomes: Sequence[Outcome], not_started: Sequence[Job]) -> str:
    """Lay out how each run went, in columns."""
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


COMMANDS: dict[str, Command] = {
    "render": Command(
        "render each file into a folder of its own", render, render_arguments,
        "FILE [FILE ...] [name=value ...] [-o FOLDER] [-q]",
    ),
    "check": Command("find mistakes without rendering", check, render_arguments),
    "convert": Command(
        "write a file of any kind as YAML that renders the same", commands.convert, commands.convert_arguments,
        "FILE [FILE ...] [name=value ...] [-o OUT.yaml]",
    ),
    "values": Command(
        "print what every schedule gives at every frame", commands.values, commands.values_arguments,
        "FILE [NAME ...] [name=value ...] [--frames A:B:STEP] [--format csv|json|table] [-o OUT]",
    ),
    "params": Command(
        "print the reference of all settings, or of some", commands.params, commands.params_arguments,
        "[NAME ...]", needs_file=False,
    ),
    "diff": Command(
        "tell how two files differ in what they render (exit status 1: they do)", commands.diff,
        commands.diff_arguments, "FILE FILE [name=value ...]",
    ),
}  # fmt: skip


# --- the end ----------------------------------------------------------------------------------------------------------


def is_users(error: BaseException) -> bool:
    """Say whether an error is for the user to mend: ours, or one of the schedule language."""
    from schedules import ScheduleError

    return isinstance(error, UserError | ScheduleError)


def report(error: Exception) -> int:
    """Say an error on stderr, as its kind deserves, and give the exit status."""
    if is_users(error):
        say("\n".join([str(error), *getattr(error, "__notes__", [])]))
        return USER
    say("".join(traceback.format_exception(error)).rstrip())
    return BROKEN


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    # Threads that spin while they wait for each other take the cores from the encoder: a warp takes 60 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return command.run(arguments)
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    except Exception as error:
        return report(error)
