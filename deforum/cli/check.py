"""The command check: what can be found without loading a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deforum.cli.console import OK
from deforum.cli.files import find_files
from deforum.cli.outcomes import SEVERITY
from deforum.cli.session import Session
from deforum.cli.terminal import Stop, clock
from deforum.errors import UserError
from deforum.paths import to_path

if TYPE_CHECKING:
    from deforum.build import Prepared
    from deforum.cli.sweep import Job
    from deforum.forecast import Needs
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
        help="download models that the files name and that are not here from the model hub, and fetch Parseq manifests "
        "that are given by their address (default: never)",
    )
    parser.add_argument(
        "--into", type=to_path, metavar="RUN_FOLDER",
        help="change a run to the edited FILE: frames are rendered from the first one that comes out different on; "
        "check says which frame that is, and why",
    )  # fmt: skip


def check(arguments: argparse.Namespace) -> int:
    """Find every mistake that can be found without loading a model."""
    from deforum import needs
    from deforum.cli.observers import about, changed, in_full
    from deforum.cli.sweep import list_jobs
    from deforum.forecast import forecast as foresee
    from deforum.forecast import needs_of
    from deforum.post.behind import times_of
    from deforum.rendering import check as check_settings

    worst, session, checked = OK, Session(arguments, Stop()), list[dict[str, object]]()
    console = session.console
    jobs = list_jobs(find_files(arguments.files), arguments.overrides)[0]
    check_into(arguments, jobs)
    for job in jobs:
        try:
            loaded = session.load(job).settings
            prepared = check_settings(loaded, output=arguments.output, allow_download=arguments.allow_download)
            needed = needs_of(prepared)
            # Of many frames it takes longer than the check.
            foreseen = foresee(prepared) if console.verbose or console.json or arguments.log else None
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
        for line in times_of(settings):
            console.detail(f"{job.label}: {line}")
        for line in () if foreseen is None else foreseen.lines():
            console.detail(f"{job.label}: {line}")
        console.put(f"{job.label}: {good(prepared, needed)}\n")
        estimates = {
            "memory_bytes": needed.memory, "seconds": needed.seconds,
            "seconds_on_two_cores": needs.seconds_on_two_cores(prepared),
            "forecast": None if foreseen is None else foreseen.as_json(),
        }  # fmt: skip
        facts = {**about(prepared.settings), "seed": settings.seed, **estimates, "settings": changed(settings)}
        checked.append({"file": job.label, "status": OK, **facts})
    console.record(checked=checked)
    return worst


def good(prepared: Prepared, needed: Needs) -> str:
    """Return what is said of settings without mistakes: frames, size, duration, mode, and what a render will take."""
    from deforum import needs
    from deforum.cli.observers import size_of

    settings, count = prepared.settings, len(prepared.frames)
    memory, took = needed.memory, needed.seconds
    where = " on 2 CPU cores" if needed.time_from == "elsewhere" else " on this machine"
    shots = f" in {len(prepared.shots)} shots" if prepared.shots else ""
    return (
        f"good: {count} frames{shots} of {size_of(settings)}, {settings.fps:g} fps, {clock(count / settings.fps)}, "
        f"{settings.animation_mode}"
        + ("" if memory is None else f"; about {needs.gigabytes(memory)} of memory")
        + ("" if took is None else f" and {clock(took)}{where}")
    )


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
