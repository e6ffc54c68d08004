"""The command verify: a run against its record."""

from __future__ import annotations

import argparse

from deforum.cli.console import OK, Console
from deforum.errors import UserError
from deforum.paths import to_path

DIFFERENT = 1
"""Exit status where something is not as it was recorded."""


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="RUN_FOLDER", help="folders of runs, finished or not")


def verify(arguments: argparse.Namespace) -> int:
    """Check every frame, film and state of runs; print what is not as it was recorded, and a line for each run."""
    from deforum.output.finished import find_run
    from deforum.output.verify import verify as verify_run
    from deforum.post.record import verify_steps

    console: Console = arguments.console
    if arguments.overrides:
        raise UserError(f"{arguments.overrides[0]}: verify takes no settings; expected folders of runs")
    status, verified = OK, list[dict[str, object]]()
    for word in arguments.files:
        folder = find_run(to_path(word))
        found = verify_run(folder)
        counts = [f"{found.frames} of {found.total} frames", f"{found.films} films", f"{found.states} states"]
        if found.others:
            counts.insert(1, f"{found.others} other files of frames")
        state = "finished" if found.finished else "not finished"
        verdict = f"{len(found.faults)} faults" if found.faults else "all as written"
        status = DIFFERENT if found.faults else status
        verified.append({"folder": str(folder), "finished": found.finished, "faults": list(found.faults)})
        console.put("".join(f"{fault}\n" for fault in found.faults))
        for step in verify_steps(folder):
            console.put("".join(f"{fault}\n" for fault in step.faults))
            status = DIFFERENT if step.faults else status
            state_of = "finished" if step.record.finished else "not finished"
            what = f"{step.frames} of {step.record.count} frames"
            if step.record.film:
                what = step.record.film.file
            elif step.record.frames_deleted:
                what = f"{step.record.count} frames, which are not kept"
            verdict_of = f"{len(step.faults)} faults" if step.faults else "all as written"
            verified[-1].setdefault("steps", []).append(  # type: ignore[attr-defined]
                {"folder": str(step.folder), "finished": step.record.finished, "faults": list(step.faults)}
            )
            console.put(f"{step.folder}: {state_of}, {what}: {verdict_of}\n")
        console.put(f"{folder}: {state}, {', '.join(counts)}: {verdict}\n", verified=verified)
    return status
