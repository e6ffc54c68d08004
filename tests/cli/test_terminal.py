"""Times as they are shown, and the log."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from deforum.cli.terminal import LOG, clock, logging_to, warnings_to
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


@pytest.mark.parametrize("name", ["none/a.log", "."])
def test_a_log_that_cannot_be_written_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="cannot be written"), logging_to(name):
        pass


def test_a_log_is_not_written_into_a_settings_file(tmp_path: Path) -> None:
    """As where the name of the log was forgotten: --log my.yaml."""
    settings = tmp_path / "my.yaml"
    settings.write_text("seed: 1")
    with pytest.raises(UserError, match="this is the name of a settings file"), logging_to(str(settings)):
        pass
    assert settings.read_text() == "seed: 1"


def test_warnings_of_other_modules_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with warnings_to(heard.append):
        logging.getLogger("deforum.video.reader").warning("%s ends early", "clip.mp4")
        logging.getLogger("deforum.video.reader").info("opened")
    logging.getLogger("deforum.cli").info("nothing")
    assert heard == ["clip.mp4 ends early"] and capsys.readouterr().err == ""
