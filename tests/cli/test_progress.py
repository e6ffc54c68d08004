"""Progress as it is shown: a bar, lines, nothing, and for render farms."""

from __future__ import annotations

import io
import os
import re
import sys
import time

import pytest

from deforum.cli.progress import Bar, Lines, OpenJobDescription, Silent, progress_display


class Terminal(io.StringIO):
    """A terminal that has no file, so that its size is unknown."""

    def isatty(self) -> bool:
        return True


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = Lines(stream)
    for done in range(13):
        progress(done, 12)
        now += 2
    assert stream.getvalue().splitlines() == [
        "frame 3/12, 0.5 frames/s, 0:18 left",
        "frame 6/12, 0.5 frames/s, 0:12 left",
        "frame 9/12, 0.5 frames/s, 0:06 left",
        "frame 12/12, 0.5 frames/s in 0:24",
    ]


def test_a_bar_has_frames_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    stream = Terminal()
    progress = Bar(stream)
    for done in range(5):
        progress(done, 8)
        now += 2
    progress.close()
    last = stream.getvalue().replace("\n", "\r").split("\r")[-2]
    # The bar is closed 10 s after its beginning.
    assert "4/8 [00:10<00:10,  2.50s/frame]" in last


def read(terminal: int) -> str:
    """Read what a pseudo-terminal was sent; "" at its end, which Linux gives as an error."""
    try:
        return os.read(terminal, 10_000).decode()
    except OSError:
        return ""


@pytest.mark.skipif(os.name == "nt", reason="a pseudo-terminal")
@pytest.mark.parametrize(("columns", "rows", "width"), [(0, 0, 80), (0, 24, 80), (60, 0, 60), (60, 24, 60)])
def test_a_terminal_of_no_size_shows_the_bar_too(columns: int, rows: int, width: int) -> None:
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        progress = Bar(terminal)
        progress(0, 8)
        progress(4, 8)
        progress.close()
    shown = "".join(iter(lambda: read(master), ""))
    os.close(master)
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert "50%|" in lines[-1] and "4/8 [" in lines[-1] and len(lines[-1]) in range(width - 2, width + 1)


def test_a_farm_reads_the_progress_of_all_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = OpenJobDescription(sys.stdout, run=2, runs=4)
    progress.status("b.yaml: loading\nembedded")
    for done in range(3):
        progress(done, 2)
        now += 6
    progress.fail("b.yaml: no such\nfile")
    assert capsys.readouterr().out.splitlines() == [
        "openjd_status: b.yaml: loading embedded",
        "openjd_progress: 25.00",
        "openjd_progress: 37.50",
        "openjd_status: frame 1/2, 0.167 frames/s, 0:06 left",
        "openjd_progress: 50.00",
        "openjd_status: frame 2/2, 0.167 frames/s in 0:12",
        "openjd_fail: b.yaml: no such file",
    ]


@pytest.mark.parametrize(
    ("kind", "quiet", "terminal", "term", "display"),
    [
        (None, False, True, "xterm", Bar),
        (None, False, True, "dumb", Lines),
        (None, False, False, "xterm", Lines),
        (None, True, True, "xterm", Silent),
        ("bar", True, False, "xterm", Bar),
        ("plain", True, True, "xterm", Lines),
        ("none", False, True, "xterm", Silent),
        ("openjd", True, False, "xterm", OpenJobDescription),
    ],
)
def test_the_display_is_chosen_by_the_option_and_the_terminal(
    kind: str | None, quiet: bool, terminal: bool, term: str, display: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    monkeypatch.setenv("TERM", term)
    assert type(progress_display(kind, quiet=quiet)) is display
    if display is Bar and kind is None:
        assert type(progress_display(kind, verbose=True)) is Lines
