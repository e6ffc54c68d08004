"""Terminal output: messages, progress, and stopping by Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO


def say(text: str) -> None:
    """Print a message on stderr; names and texts in it are shown escaped."""
    from schedules.quoting import printable

    print(printable(text), file=sys.stderr, flush=True)


class Progress:
    """Shows frames done, speed and time left: a progress bar on a terminal, else a line every few seconds."""

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
        """Close the progress bar; it stays on the screen."""
        if self._bar is not None:
            from tqdm import tqdm

            assert isinstance(self._bar, tqdm)
            self._bar.close()
            self._bar = None


def clock(seconds: float) -> str:
    """Format a duration as 0:07, 12:30 or 1:02:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Stop:
    """Stop requests: the first Ctrl-C stops after the current frame, the second at once."""

    def __init__(self) -> None:
        self.signal = 0
        self.rendering = False
        """False: no frame is being rendered, so the first request stops at once."""

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
