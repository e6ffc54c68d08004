"""Terminal output: messages, results, the log, and stopping by Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deforum.errors import UserError
from deforum.output.pause import Pause
from deforum.paths import to_path

LOG = logging.getLogger("deforum.cli")
"""What is said, and details; it goes nowhere without --log. (Loggers of other modules are for warnings.)"""
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


def say(text: str) -> None:
    """Print a message for people on stderr, and log it; names and texts in it are shown escaped."""
    from schedules.quoting import printable

    text = printable(text)
    print(text, file=sys.stderr, flush=True)
    LOG.info(text)


def put_out(text: str) -> None:
    """Write a result to stdout; control characters in it are escaped."""
    from schedules.quoting import escape

    try:
        sys.stdout.write(escape(text))
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as `head` closed the pipe; Python must not flush it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def logging_to(file: str | None) -> Iterator[None]:
    """Append to a log file within the block, each line with its time. Raises UserError if it cannot be written."""
    if file is None:
        yield
        return
    if os.path.splitext(file)[1].lower() in (".yaml", ".yml", ".json"):
        raise UserError(f"--log {file}: this is the name of a settings file; expected one such as render.log")
    try:
        handler = logging.FileHandler(to_path(file), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"--log {file}: cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(logging.NOTSET)
        handler.close()


@contextmanager
def warnings_to(say: Callable[[str], None]) -> Iterator[None]:
    """Within the block, pass the warnings of the program's modules to a function."""

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    logger, handler = logging.getLogger("deforum"), Hearing(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def clock(seconds: float) -> str:
    """Format a duration as 0:07, 12:30 or 1:02:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Stop:
    """Stop requests: the first Ctrl-C stops after the current frame, the second at once."""

    def __init__(self) -> None:
        self.signal = 0
        self.rendering: set[object] = set()
        """The runs whose frames are being rendered; while there is none, the first request stops at once."""

    def __call__(self) -> bool:
        return self.signal != 0

    @property
    def status(self) -> int:
        return 128 + (self.signal or signal.SIGINT)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal != 0, number
        if again or not self.rendering:
            raise KeyboardInterrupt
        say("\nstopping after this frame; press Ctrl-C again to stop at once")

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle SIGINT (Ctrl-C) and SIGTERM within the block."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Suspend(Pause):
    """Pause also by SIGTSTP (Ctrl-Z): the run frees its memory after the frame, then the process stops until SIGCONT.

    A second one, or one before anything is rendered, stops the process at once, as it is.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._suspended = False

    def asked(self, folder: Path) -> bool:
        return self._suspended or super().asked(folder)

    def until(self, folder: Path) -> str:
        return "this program is continued (fg, or kill -CONT)" if self._suspended else super().until(folder)

    def wait(self, folder: Path, stop: Callable[[], bool]) -> None:
        if self._suspended:
            self._suspended = False
            os.kill(os.getpid(), signal.SIGSTOP)
        super().wait(folder, stop)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._suspended or not self._stop.rendering:
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        self._suspended = True
        say("\npausing after this frame; press Ctrl-Z again to pause at once, with its memory")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGTSTP within the block, where the system has it."""
        number = getattr(signal, "SIGTSTP", None)
        if number is None:
            yield
            return
        before = signal.signal(number, self._ask)
        try:
            yield
        finally:
            signal.signal(number, before)
