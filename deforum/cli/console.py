"""The words of a command: for people on stderr, results on stdout, JSON lines and a log where asked for."""

from __future__ import annotations

import json
import threading
import traceback
from pathlib import Path

from deforum.cli.progress import Progress, Silent
from deforum.cli.terminal import LOG, put_out, say
from deforum.errors import Problem, UserError

LOGGED_LINES = 5
"""Results of more lines, such as tables, are not logged."""

OK, BROKEN, USER, INTERRUPTED = 0, 1, 2, 130


class Console:
    """Where a command says its notes, results and errors.

    With `json`, stdout has nothing but a JSON object per line: events as they happen, then one with "event": "result".
    Runs that render at once share it: its methods may be called by several threads.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, json: bool = False) -> None:
        self.quiet, self.verbose, self.json = quiet, verbose, json
        self.progress: Progress = Silent()
        """The display of the current run; it hears of errors."""
        self._lock = threading.RLock()
        self._told: set[str] = set()
        self._result: dict[str, object] = {}

    def note(self, text: str, file: str = "") -> None:
        """Say a note, once: the runs of a sweep repeat theirs. `file` is the settings file."""
        line = f"{file}: {text}" if file else text
        with self._lock:
            if line in self._told:
                return
            self._told.add(line)
            self.emit("note", file=file, text=text)
            self.say(line)

    def say(self, text: str) -> None:
        """Say something unless --quiet."""
        with self._lock:
            if self.quiet:
                LOG.info(text)
            else:
                say(text)

    def detail(self, text: str) -> None:
        """Say something with --verbose; the log has it always."""
        with self._lock:
            if self.verbose:
                say(text)
            else:
                LOG.info(text)

    def put(self, text: str, target: Path | None = None, **result: object) -> None:
        """Write a result to a file, or to stdout for None. With `json` stdout has the fields `result` in its place.

        Raises UserError if the file cannot be written.
        """
        self._result |= result
        if target is not None:
            try:
                target.write_text(text, encoding="utf-8", newline="\n")
            except OSError as error:
                raise UserError(f"{target}: cannot be written: {error.strerror}") from error
            self._result["output"] = str(target)
            return
        if text.count("\n") <= LOGGED_LINES:
            LOG.info(text.rstrip())
        if not self.json:
            put_out(text)

    def emit(self, event: str, **fields: object) -> None:
        """With `json`, print an event as one line."""
        if self.json:
            line = json.dumps({"event": event, **fields}, default=str) + "\n"
            with self._lock:
                put_out(line)

    def fail(self, error: BaseException, file: str = "") -> int:
        """Say an error, with a traceback unless the user can fix it; return the exit status."""
        status = USER if is_users(error) else BROKEN
        lines = [str(error) or type(error).__name__, *getattr(error, "__notes__", [])]
        trace = "".join(traceback.format_exception(error)).rstrip()
        with self._lock:
            say("\n".join(lines) if status == USER else trace)
            if status == USER:
                LOG.debug(trace)
        problems = error.problems if isinstance(error, UserError) else (Problem(lines[0]),)
        self.emit(
            "error",
            file=file,
            status=status,
            message="\n".join(lines),
            problems=[{"message": problem.message, "where": problem.where} for problem in problems],
            **({} if status == USER else {"traceback": trace}),
        )
        self.progress.fail("; ".join(map(str, problems)))
        return status

    def record(self, **result: object) -> None:
        """Add fields to the final result of --json."""
        self._result |= result

    def finish(self, status: int) -> int:
        """Print the final result with `json`; return the status."""
        self.emit("result", status=status, **self._result)
        return status


def is_users(error: BaseException) -> bool:
    """Whether the user can fix an error: UserError, or ScheduleError."""
    from schedules import ScheduleError

    return isinstance(error, UserError | ScheduleError)
