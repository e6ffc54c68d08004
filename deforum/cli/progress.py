"""The ways to show progress: a bar, lines, nothing, or the lines of Open Job Description."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import IO, Protocol

from deforum.cli.terminal import clock, put_out
from deforum.errors import UserError


class Progress(Protocol):
    """How the progress of one run is shown."""

    def status(self, text: str) -> None:
        """Show what is being done before the first frame."""

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` frames are finished; 0 when rendering begins."""

    def step(self, done: int, total: int) -> None:
        """Show that `done` of `total` frames of a step behind the render are made; 0 when it begins."""

    def fail(self, text: str) -> None:
        """Show that the run failed."""

    def close(self) -> None:
        """End the display; what it shows stays on the screen."""


class Silent:
    """Shows nothing."""

    def status(self, text: str) -> None: ...

    def __call__(self, done: int, total: int) -> None: ...

    def step(self, done: int, total: int) -> None: ...

    def fail(self, text: str) -> None: ...

    def close(self) -> None: ...


class Lines(Silent):
    """A line with frames done, speed and time left, every few seconds."""

    SECONDS_BETWEEN_LINES = 5.0

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._started = self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 0:
            self._started = self._said = now
        elif now - self._said >= self.SECONDS_BETWEEN_LINES or done == total:
            self._said = now
            self._say(pace(done, total, now - self._started))

    def step(self, done: int, total: int) -> None:
        Lines.__call__(self, done, total)

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Bar(Silent):
    """A progress bar on a terminal."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._bar: object | None = None

    def __call__(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            size = fixed_size(self._stream)
            columns, rows = size or (None, None)
            self._bar = tqdm(
                total=total, unit="frame", file=self._stream, smoothing=0.1,
                dynamic_ncols=size is None, ncols=columns, nrows=rows,
            )  # fmt: skip
        assert isinstance(self._bar, tqdm)
        self._bar.update(done - self._bar.n)

    def step(self, done: int, total: int) -> None:
        if not done:
            self.close()
        self(done, total)

    def close(self) -> None:
        if self._bar is not None:
            from tqdm import tqdm

            assert isinstance(self._bar, tqdm)
            self._bar.close()
            self._bar = None
            self._bar = None


class OpenJobDescription(Lines):
    """The lines that render farms of Open Job Description read from stdout, with the progress of all runs in per cent.

    Source: the specification "How Jobs Are Run" of OpenJD, "Stdout/stderr messages".
    """

    def __init__(self, stream: IO[str], run: int, runs: int) -> None:
        super().__init__(stream)
        self._before, self._runs = run - 1, runs

    def status(self, text: str) -> None:
        self._put("status", text)

    def __call__(self, done: int, total: int) -> None:
        self._put("progress", f"{100 * (self._before + done / max(total, 1)) / self._runs:.2f}")
        super().__call__(done, total)

    def fail(self, text: str) -> None:
        self._put("fail", text)

    def _say(self, text: str) -> None:
        self._put("status", text)

    def _put(self, kind: str, text: str) -> None:
        put_out(f"openjd_{kind}: {' '.join(text.split())}\n")


def pace(done: int, total: int, seconds: float) -> str:
    """Return frames done, speed, and time left or taken, as one line."""
    speed = done / max(seconds, 1e-9)
    left = f", {clock((total - done) / speed)} left" if done < total else f" in {clock(seconds)}"
    return f"frame {done}/{total}, {speed:.3g} frames/s{left}"


UNKNOWN_SIZE = (80, 24)
"""Columns and rows assumed where a terminal says that it has none, as those of job runners and editors do."""


def fixed_size(stream: IO[str]) -> tuple[int, int] | None:
    """Return the columns and rows to assume for a terminal that gives none; None for one that gives its size."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return None  # tqdm has its own ways, such as the variable COLUMNS
    return None if columns > 0 and rows > 0 else (columns or UNKNOWN_SIZE[0], rows or UNKNOWN_SIZE[1])


KINDS: Mapping[str, str] = {
    "bar": "a bar, for terminals",
    "plain": "a line every few seconds",
    "none": "nothing",
    "openjd": "lines for Open Job Description, on the standard output",
}
"""The choices of --progress."""


def progress_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress", choices=list(KINDS), metavar="|".join(KINDS),
        help="how progress is shown: " + "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
        + " (default: bar on a terminal, plain elsewhere, none with --quiet)",
    )  # fmt: skip


def display_of(arguments: argparse.Namespace, *, run: int, runs: int) -> Progress:
    """Return the display that the arguments of a command choose, for `run` of `runs`. Raises UserError."""
    if arguments.json and arguments.progress == "openjd":
        raise UserError("--json and --progress openjd both write to the standard output; give one of them")
    return progress_display(arguments.progress, quiet=arguments.quiet, verbose=arguments.verbose, run=run, runs=runs)


def progress_display(
    kind: str | None, *, quiet: bool = False, verbose: bool = False, run: int = 1, runs: int = 1
) -> Progress:
    """Return the display of one of KINDS. None chooses the bar on a terminal and lines elsewhere; nothing if quiet.

    If verbose, lines are chosen on a terminal too: details would break the bar. `run` of `runs` is the number of the
    run, from 1.
    """
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    match kind or ("none" if quiet else "bar" if is_terminal and not verbose else "plain"):
        case "bar":
            return Bar(sys.stderr)
        case "plain":
            return Lines(sys.stderr)
        case "openjd":
            return OpenJobDescription(sys.stdout, run, runs)
        case _:
            return Silent()
