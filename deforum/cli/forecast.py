"""The command forecast: what a render will be like, before any model is loaded."""

from __future__ import annotations

import argparse

from deforum.cli.console import OK, Console
from deforum.cli.files import find_files, name_of
from deforum.cli.outcomes import SEVERITY


def forecast_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value",
        help="settings files (- is the standard input), and settings to change in them",
    )  # fmt: skip
    parser.add_argument(
        "--allow-download",
        action="store_true",
        help="models that are not here may be on the hub (default: never)",
    )


def forecast(arguments: argparse.Namespace) -> int:
    """Print the forecast of each file, or of each run of a sweep; a file with mistakes does not stop the others."""
    from deforum.build import prepare
    from deforum.cli.files import load_file
    from deforum.cli.sweep import list_jobs
    from deforum.forecast import forecast as foresee

    console: Console = arguments.console
    worst, foreseen = OK, list[dict[str, object]]()
    for job in list_jobs(find_files(arguments.files), arguments.overrides)[0]:
        try:
            loaded = load_file(job.file, job.overrides)
            for line in loaded.report:
                console.note(line, name_of(job.file))
            found = foresee(prepare(loaded.settings, allow_download=arguments.allow_download))
        except Exception as error:
            status = console.fail(error, job.label)
            foreseen.append({"file": job.label, "status": status})
            worst = max(worst, status, key=SEVERITY.index)
            continue
        console.put("".join(f"{line}\n" for line in (job.label, *(f"  {line}" for line in found.lines()))))
        if console.json or arguments.log:  # of many frames it takes a while
            foreseen.append({"file": job.label, "status": OK, **found.as_json()})
    console.record(forecasts=foreseen)
    return worst
