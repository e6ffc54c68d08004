"""Times and progress as they are shown."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest

from deforum.cli.terminal import Progress, clock

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")])
def test_times_read_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_progress_off_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = Progress(stream, quiet=False)
    for done in range(13):
        progress(done, 12)
        now += 2
    assert stream.getvalue().splitlines() == [
        "frame 3/12, 0.5 frames/s, 0:18 left",
        "frame 6/12, 0.5 frames/s, 0:12 left",
        "frame 9/12, 0.5 frames/s, 0:06 left",
        "frame 12/12, 0.5 frames/s in 0:24",
    ]


def test_progress_on_a_terminal_is_a_bar_with_frames_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = 100.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    stream = Terminal()
    progress = Progress(stream, quiet=False)
    for done in range(5):
        progress(done, 8)
        now += 2
    progress.close()
    last = stream.getvalue().replace("\n", "\r").split("\r")[-2]
    # The bar is closed 10 s after its beginning.
    assert "4/8 [00:10<00:10,  2.50s/frame]" in last
