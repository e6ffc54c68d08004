"""Times as they are shown, and the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deforum.cli.terminal import LOG, clock, logging_to
from deforum.errors import UserError


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")])
def test_times_read_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_log_is_appended_to_and_closed(tmp_path: Path) -> None:
    for text in ("one\nwith two lines", "two \udcff"):
        with logging_to(str(tmp_path / "a.log")):
            LOG.info(text)
        LOG.info("outside")
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert [re.sub(r"^[\d-]+ [\d:,]+ ", "", line) for line in lines] == ["one", "with two lines", "two \\udcff"]


@pytest.mark.parametrize("name", ["none/a.log", ".", "a\0.log"])
def test_a_log_that_cannot_be_written_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="cannot be written"), logging_to(name):
        pass
