"""The commands plan and submit: the tasks of runs for others to carry out, as commands or as a job of a farm."""

from __future__ import annotations

import argparse
import json
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.check import check_arguments
from deforum.cli.console import OK, Console
from deforum.cli.files import STDIN, find_files, name_of
from deforum.cli.on import begun, chunks_of
from deforum.cli.session import Session
from deforum.cli.terminal import Stop
from deforum.errors import UserError
from deforum.paths import to_path
from deforum.program import command_line

if TYPE_CHECKING:
    from deforum.cli.sweep import Job
    from deforum.cluster.openjd import Submission

WORKERS = 8
"""Workers that chunks are made for where --chunk says nothing."""


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--name", metavar="NAME",
        help="name of the run's folder; where it is there already, of the same settings, it is gone on with",
    )  # fmt: skip


def submit_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--openjd", type=to_path, metavar="JOB.yaml", required=True,
        help="file for the template of Open Job Description; - is the standard output",
    )  # fmt: skip


def _common(parser: argparse.ArgumentParser) -> None:
    check_arguments(parser)
    parser.add_argument("--chunk", type=int, metavar="FRAMES", help="frames of a chunk, where frames are independent")
    parser.set_defaults(is_continued=False, resume=[])


def plan(arguments: argparse.Namespace) -> int:
    """Make the folders of runs and of their pieces, and print the commands that render them."""
    from deforum.cli.sweep import list_jobs
    from deforum.cluster.tasks import tasks_of

    console: Console = arguments.console
    session = Session(arguments, Stop())
    jobs, _ = list_jobs(find_files(arguments.files), arguments.overrides)
    _check(arguments)
    if arguments.name and len(jobs) > 1:
        raise UserError(f"--name {arguments.name}: one name for {len(jobs)} runs; without it each has its own")
    told: list[dict[str, object]] = []
    for job in jobs:
        with begun(job, session, workers=WORKERS, name=arguments.name or "") as (run, prepared):
            tasks = tasks_of(run, prepared)
        for task in tasks:
            if task.kind == "steps":
                continue  # the command before makes them too
            line = command_line("--resume", task.folder)
            after = f"  # after those of {run.folder.name} above" if task.kind == "complete" else ""
            console.put(f"{line}{after}\n")
            told.append({
                "name": task.name, "folder": str(task.folder), "kind": task.kind, "frames": task.frames,
                "gpus": task.resources.gpus, "memory_bytes": task.resources.bytes,
                "after": list(task.after), "command": line,
            })  # fmt: skip
    console.record(tasks=told)
    return OK


def submit(arguments: argparse.Namespace) -> int:
    """Write the runs as a job template; nothing is rendered."""
    from deforum.cli.sweep import list_jobs
    from deforum.cluster.openjd import check_steps, template_of
    from deforum.output.naming import runs_folder

    console: Console = arguments.console
    session = Session(arguments, Stop())
    jobs, _ = list_jobs(find_files(arguments.files), arguments.overrides)
    _check(arguments)
    if STDIN in [job.file for job in jobs]:
        raise UserError("-: a farm needs a settings file that it can read; give a file")
    check_steps(len(jobs), 2 * len(jobs), 0)
    names = set[str]()
    runs = [_submission(job, session, names) for job in jobs]
    output = runs_folder(runs[0].prepared.settings, arguments.output)
    target = None if arguments.openjd == STDIN else arguments.openjd
    template = template_of(
        name_of(jobs[0].file, stem=True), runs, output, (target or Path("job.yaml")).absolute().parent
    )
    for note in template.notes:
        console.note(note)
    console.put(template.text, target, parameters=dict(template.values))
    if target is not None:
        words, values = ["openjd", "run", str(target)], target.with_suffix(".parameters.json")
        if template.values:
            console.put(json.dumps(template.values, indent=1) + "\n", values)
            words += ["-p", f"file://{values}"]
        tasks = sum(1 + max(1, len(run.pieces)) + bool(run.pieces) for run in runs)
        console.say(f"{target}: {len(runs)} runs, {tasks} tasks; to try it here: {shlex.join(words)}")
    return OK


def _submission(job: Job, session: Session, names: set[str]) -> Submission:
    from deforum.cluster.openjd import Submission
    from deforum.output.naming import run_name
    from deforum.piecewise import pieces_of
    from deforum.rendering import check

    arguments = session.arguments
    settings = job.rename(session.load(job).settings)
    prepared = check(settings, output=arguments.output, allow_download=arguments.allow_download)
    for note in prepared.notes:
        session.tell(job.file, note)
    name = first = run_name(prepared.settings, datetime.now())
    number = 1
    while name in names:
        number += 1
        name = f"{first}_{number}"
    names.add(name)
    chunks = chunks_of(prepared, arguments.chunk, WORKERS)
    pieces = pieces_of(prepared, chunks)
    chunk = -(-len(prepared.frames) // chunks)
    # What is drawn by chance is drawn once.
    overrides = (*(each for each in job.overrides if not each.startswith("seed=")), f"seed={prepared.settings.seed}")
    return Submission(name, Path(job.file), overrides, prepared, pieces, chunk)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.chunk is not None and arguments.chunk < 1:
        raise UserError(f"--chunk {arguments.chunk}: expected a whole number of at least 1")
    if arguments.into is not None:
        raise UserError("--into edits a run here; plan and submit are for new runs")
