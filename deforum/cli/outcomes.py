"""The outcomes of the runs of one command: in words, as a table, as a contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import BROKEN, INTERRUPTED, OK, USER, Console
from deforum.cli.terminal import clock, say

if TYPE_CHECKING:
    from deforum.cli.sweep import Axis, Job
    from deforum.events import RunResult

STATES = {OK: "done", BROKEN: "broke", USER: "failed", INTERRUPTED: "stopped"}
SEVERITY = (OK, USER, BROKEN)


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


def write_sheets(
    sweeps: Mapping[Path, Path], axes: Sequence[Axis], outcomes: Sequence[Outcome], console: Console
) -> list[Path]:
    """Write the contact sheet of each sweep; return their paths. The folder of a sweep without results is removed."""
    from deforum.cli.contact_sheet import write_sheet
    from deforum.sources import SWEEP_FILE

    sheets = []
    for file, folder in sweeps.items():
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
            console.fail(error, str(file))
    return sheets


def finished(outcome: Outcome, console: Console) -> None:
    """Print the paths of the results; the last line on stdout is the video, or the folder if there is none."""
    result = outcome.result
    if result is None:
        return
    if result.stopped:
        say(f"stopped after {result.frames} frames: {result.folder}")
    paths = [*(film for film in result.films if film != result.video), result.video or result.folder]
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
